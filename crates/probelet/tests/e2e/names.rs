//! Names and Services inside pods.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, Rig, each, file_probe, server, service, shell, until};

/// Runs each file `/switch/question` and leaves what it says, and its exit code, in `/switch/answer`.
const ASKS: &str = "cd /switch; while :; do
    if [ -e question ]; then sh question >answer.new 2>&1; echo \"code $?\" >>answer.new
        rm question; mv answer.new answer
    fi
    sleep 0.05
done";

/// A pod in which something can be asked.
struct Asker {
    dir: PathBuf,
    pod: Value,
}

impl Asker {
    fn new(rig: &Rig) -> Self {
        let dir = rig.dir("asks");
        let pod = rig.pod("asks", &shell(ASKS)).with_switch(&dir);
        Self { dir, pod }
    }

    /// What a shell script says in the pod.
    fn ask(&self, script: &str) -> String {
        let [draft, question, answer] =
            ["draft", "question", "answer"].map(|name| self.dir.join(name));
        fs::write(&draft, script).unwrap();
        fs::rename(&draft, &question).unwrap();
        let said = until("an answer", || fs::read_to_string(&answer).ok());
        fs::remove_file(&answer).unwrap();
        println!("{script}: {said}");
        said
    }

    fn get(&self, url: &str) -> String {
        self.ask(&format!("curl -sS --max-time 5 http://{url}/"))
    }

    fn look_up(&self, name: &str) -> String {
        self.ask(&format!("busybox nslookup -type=a {name} 127.213.0.10"))
    }
}

/// The end of what curl says if the connection was refused; if nobody answers, it says 28.
const REFUSED: &str = "\ncode 7\n";

#[test]
fn a_pod_finds_a_service_by_name_and_reaches_it_while_a_pod_is_ready() {
    each(|rig| {
        let (dir, web, asker) = (rig.dir("ready"), &rig.unique("web"), Asker::new(rig));
        let ready = dir.join("one");
        fs::write(&ready, "").unwrap();
        // The port that it listens on, of all addresses, is the Service's.
        let mut one = rig
            .pod("one", &server("80", "/nothing"))
            .with("readinessProbe", file_probe("/switch/one"))
            .with_switch(&dir);
        one["metadata"]["labels"]["app"] = web.as_str().into();
        let service = service(web, &json!(80));
        let file = rig.manifest("all.json", &[&one, &service, &asker.pod]);
        let mut up = rig.up(&[&file]);
        up.ready("one", true);
        let status = rig.status();
        let ip = status.host_address(web).ip().to_string();
        let pod_ip = status.pod("one")["status"]["podIP"]
            .as_str()
            .unwrap()
            .to_owned();

        let name = format!("{web}.default.svc.cluster.local");
        let found = asker.look_up(&name);
        assert!(
            found.contains(&format!("Name:\t{name}\nAddress: {ip}\n")),
            "{found}"
        );
        assert_eq!(asker.get(&ip), "hello from one\ncode 0\n");
        let variable = web.to_uppercase().replace('-', "_");
        assert_eq!(
            asker.ask(&format!(
                "echo ${variable}_SERVICE_HOST:${variable}_SERVICE_PORT"
            )),
            format!("{ip}:80\ncode 0\n")
        );
        let dashes = pod_ip.replace('.', "-");
        let of_pod = asker.look_up(&format!("{dashes}.default.pod.cluster.local"));
        assert!(of_pod.contains(&format!("Address: {pod_ip}\n")), "{of_pod}");
        let nobody = asker.look_up("nobody.default.svc.cluster.local");
        assert!(nobody.contains("NXDOMAIN"), "{nobody}");

        fs::remove_file(&ready).unwrap();
        up.ready("one", false);
        let refused = asker.get(&ip);
        assert!(refused.contains(REFUSED), "{refused}");
        fs::write(&ready, "").unwrap();
        up.ready("one", true);
        assert_eq!(asker.get(&ip), "hello from one\ncode 0\n");

        assert!(up.end_with(Signal::TERM).success());
        let refused = asker.get(&ip);
        assert!(refused.contains(REFUSED), "nobody carries now: {refused}");
        let _up = rig.start(&[]);
        until("the service again", || {
            (asker.get(&ip) == "hello from one\ncode 0\n").then_some(())
        });
        let found = asker.look_up(&name);
        assert!(found.contains(&format!("Address: {ip}\n")), "{found}");
    });
}
