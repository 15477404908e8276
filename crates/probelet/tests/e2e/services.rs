//! Services over more than one pod.

use std::collections::BTreeSet;
use std::fs::{self, File};

use serde_json::json;

use crate::rig::{PodValue, each, get, server, service};

/// More than enough to meet both of two pods.
const REQUESTS: usize = 40;

#[test]
fn two_pods_with_one_port_number_answer_for_one_service() {
    each(|rig| {
        let (dir, web) = (rig.dir("switch"), &rig.unique("web"));
        let pods = ["one", "two"].map(|name| {
            File::create(dir.join(name)).unwrap();
            let mut pod = rig
                .pod(name, &server("8080", "/nothing"))
                .with(
                    "readinessProbe",
                    crate::rig::file_probe(&format!("/switch/{name}")),
                )
                .with_switch(&dir);
            pod["metadata"]["labels"]["app"] = web.as_str().into();
            pod
        });
        let file = rig.manifest(
            "web.json",
            &[&pods[0], &pods[1], &service(web, &json!(8080))],
        );
        let mut up = rig.up(&[&file]);
        let status = rig.status_when("both ready", |status| status.endpoints(web)[0].len() == 2);
        let address = status.host_address(web);
        let answers =
            || -> BTreeSet<String> { (0..REQUESTS).map(|_| get(address).unwrap()).collect() };
        let both = BTreeSet::from(["one", "two"].map(|name| format!("hello from {name}\n")));
        assert_eq!(answers(), both);
        up.ready("one", true);

        fs::remove_file(dir.join("one")).unwrap();
        up.ready("one", false);
        assert_eq!(answers(), BTreeSet::from(["hello from two\n".to_owned()]));

        File::create(dir.join("one")).unwrap();
        up.ready("one", true);
        assert_eq!(answers(), both);
        assert_eq!(rig.status().host_address(web), address);
    });
}
