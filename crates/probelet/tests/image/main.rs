//! `probelet image` as people use it: its binary and its words.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output, Stdio};

    use serde_json::{Value, json};
    use tempfile::TempDir;

    struct Ground {
        dir: TempDir,
    }

    impl Ground {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { dir }
        }

        fn command(&self, args: &[&str]) -> Command {
            let mut command = Command::new(env!("CARGO_BIN_EXE_probelet"));
            command.arg("image").args(args);
            command.env("PROBELET_DATA_DIR", self.dir.path().join("data"));
            command
        }

        /// What it prints, if it ends with that code.
        fn run(&self, args: &[&str], code: i32) -> (String, String) {
            told(&self.command(args).output().unwrap(), code)
        }

        /// An OCI layout of one image with that file, packed.
        fn layout(&self, name: &str) -> PathBuf {
            let _not_there = fs::remove_dir_all(self.dir.path().join("layout"));
            self.add(name, "io.containerd.image.name", name)
        }

        /// The layout with one image more, which has only a tag.
        fn tagged(&self, content: &str, tag: &str) -> PathBuf {
            self.add(content, "org.opencontainers.image.ref.name", tag)
        }

        fn add(&self, name: &str, annotation: &str, value: &str) -> PathBuf {
            let (folder, root) = (self.dir.path().join("layout"), self.dir.path().join("root"));
            let blobs = folder.join("blobs/sha256");
            fs::create_dir_all(&blobs).unwrap();
            fs::create_dir_all(&root).unwrap();
            fs::write(root.join("name"), name).unwrap();
            let layer = tar(&root);
            let blob = |bytes: &[u8]| {
                let digest = sha256(bytes);
                fs::write(blobs.join(&digest), bytes).unwrap();
                json!({ "digest": format!("sha256:{digest}"), "size": bytes.len() })
            };
            let mut layer = blob(&layer);
            let diff_ids = [layer["digest"].clone()];
            layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
            let config = json!({ "rootfs": { "type": "layers", "diff_ids": diff_ids } });
            let config = blob(config.to_string().as_bytes());
            let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
            let mut manifest = blob(manifest.to_string().as_bytes());
            manifest["annotations"] = json!({ annotation: value });
            let path = folder.join("index.json");
            let mut index = match fs::read(&path) {
                Ok(text) => serde_json::from_slice(&text).unwrap(),
                Err(_) => json!({ "schemaVersion": 2, "manifests": [] }),
            };
            index["manifests"].as_array_mut().unwrap().push(manifest);
            fs::write(path, index.to_string()).unwrap();
            let packed = self.dir.path().join("layout.tar");
            fs::write(&packed, tar(&folder)).unwrap();
            packed
        }
    }

    fn tar(folder: &Path) -> Vec<u8> {
        let output = Command::new("tar")
            .arg("-C")
            .arg(folder)
            .args(["-c", "."])
            .output();
        output.unwrap().stdout
    }

    fn sha256(bytes: &[u8]) -> String {
        let mut child = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    }

    fn told(output: &Output, code: i32) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        (out, err)
    }

    #[test]
    fn images_are_loaded_listed_and_removed() {
        let ground = Ground::new();
        let (out, _) = ground.run(&["ls"], 0);
        assert_eq!(out, "REPOSITORY   TAG   IMAGE ID   SIZE   PODS\n");
        let archive = ground.layout("registry.example.com/team/app:v1");
        let path = archive.to_str().unwrap();
        let (out, err) = ground.run(&["load", "-i", path], 0);
        let id = out.trim().rsplit(' ').next().unwrap().to_owned();
        assert_eq!(out, format!("registry.example.com/team/app:v1 {id}\n"));
        let short = |text: &str| err.contains(&format!(": {text}\n"));
        assert!(short("Extracting") && short("Pull complete"), "{err}");
        let mut command = ground.command(&["load", "-q", "-i", "-"]);
        let archive = fs::File::open(ground.layout("second")).unwrap();
        let (out, err) = told(&command.stdin(archive).output().unwrap(), 0);
        assert!(
            out.starts_with("docker.io/library/second:latest sha256:"),
            "{out}"
        );
        assert_eq!(err, "");

        let (out, _) = ground.run(&["ls"], 0);
        let rows: Vec<Vec<&str>> = out
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let app = [
            "registry.example.com/team/app",
            "v1",
            &id[7..19],
            "32B",
            "0",
        ];
        assert_eq!(rows[2], app, "{out}");
        let (out, _) = ground.run(&["ls", "-o", "json"], 0);
        let listed: Value = serde_json::from_str(&out).unwrap();
        let images = listed["images"].as_array().unwrap();
        let app = json!({
            "id": id, "repoTags": ["registry.example.com/team/app:v1"], "repoDigests": [], "size": 32, "heldBy": [],
        });
        assert_eq!((images.len(), &images[1]), (2, &app));

        let (out, err) = ground.run(&["rm", "nothing", &id[7..15]], 1);
        assert_eq!(
            out,
            format!("Untagged: registry.example.com/team/app:v1\nDeleted: {id}\n")
        );
        assert_eq!(
            err,
            "error: no such image: nothing\nerror: 1 of 2 not removed\n"
        );
        let (out, _) = ground.run(&["prune"], 0);
        assert_eq!(out, "Total reclaimed space: 0B\n");
        let (out, _) = ground.run(&["prune", "--all"], 0);
        assert!(
            out.starts_with("Untagged: docker.io/library/second:latest\nDeleted: "),
            "{out}"
        );
        assert!(out.ends_with("Total reclaimed space: 6B\n"), "{out}");
        let (out, _) = ground.run(&["ls", "-o", "json"], 0);
        assert_eq!(
            serde_json::from_str::<Value>(&out).unwrap(),
            json!({ "images": [] })
        );
    }

    #[test]
    fn a_data_directory_that_cannot_be_had_is_said_once() {
        let ground = Ground::new();
        let mut command = ground.command(&["ls"]);
        let output = command.env("PROBELET_DATA_DIR", "/proc/x").output();
        let (_, err) = told(&output.unwrap(), 1);
        assert_eq!(
            err,
            "error: data directory /proc/x: No such file or directory (os error 2)\n"
        );
    }

    #[test]
    fn what_is_no_archive_is_said_in_a_line() {
        let ground = Ground::new();
        let path = ground.dir.path().join("text.tar");
        fs::write(&path, "A line of a text.\n".repeat(100)).unwrap();
        let (_, err) = ground.run(&["load", "-i", path.to_str().unwrap()], 1);
        assert!(
            err.lines().count() == 1 && err.contains(": not a tar archive"),
            "{err}"
        );
        let folder = ground.dir.path().join("skopeo");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("manifest.json"), r#"{"schemaVersion":2}"#).unwrap();
        let (_, err) = ground.run(&["load", "-i", folder.to_str().unwrap()], 1);
        assert!(
            err.contains("manifest.json: expected the list of images that `docker save` writes"),
            "{err}"
        );
    }

    #[test]
    fn images_that_have_only_tags_are_all_loaded() {
        let ground = Ground::new();
        let first = ground.tagged("first", "multi");
        let both = ground.tagged("second", "bb");
        let (out, err) = ground.run(&["load", "-i", both.to_str().unwrap()], 0);
        let rows: Vec<&str> = out.lines().collect();
        assert!(
            rows.len() == 2 && rows.iter().all(|row| row.starts_with("<none> sha256:")),
            "{first:?}: {out}"
        );
        assert_eq!(
            err.matches("has no name there; --name gives it one")
                .count(),
            2,
            "{err}"
        );
        let named = ["load", "-q", "--name", "app", "-i", both.to_str().unwrap()];
        let (out, err) = ground.run(&named, 0);
        assert!(
            out.starts_with("docker.io/library/app:bb sha256:")
                && out.contains("\ndocker.io/library/app:multi sha256:"),
            "{out}"
        );
        assert_eq!(err, "");
        let (out, _) = ground.run(&["ls"], 0);
        assert_eq!(out.lines().count(), 3, "{out}");
    }

    #[test]
    fn a_pipe_sees_no_colours() {
        let ground = Ground::new();
        let mut command = ground.command(&["pull", "127.0.0.1:1/app"]);
        let (_, err) = told(&command.env("PROBELET_LOG", "debug").output().unwrap(), 1);
        assert!(err.contains("DEBUG"), "{err}");
        assert!(!err.contains('\u{1b}'), "{err:?}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let ground = Ground::new();
        let (_, err) = ground.run(&["pull", "A B"], 1);
        assert_eq!(
            err,
            "error: couldn't parse image name \"A B\": invalid reference format: repository name (library/A B) must be lowercase\n"
        );
        let (_, err) = ground.run(&["pull", "127.0.0.1:1/app"], 1);
        assert!(
            err.starts_with("error: failed to pull and unpack image \"127.0.0.1:1/app:latest\": "),
            "{err}"
        );
        let (_, err) = ground.run(&["pull", "x", "--insecure-registry", "https://x"], 1);
        assert_eq!(
            err,
            "error: --insecure-registry: \"https://x\" is not HOST or HOST:PORT\n"
        );
        let (_, err) = ground.run(&["pull", "x", "--registry-mirror", "x"], 1);
        assert!(
            err.starts_with("error: --registry-mirror: \"x\" is not HOST=URL"),
            "{err}"
        );
        let (_, err) = ground.run(&["load", "-i", "/nothing"], 1);
        assert_eq!(
            err,
            "error: /nothing: No such file or directory (os error 2)\n"
        );
        let (_, err) = ground.run(&["pull", "A", "127.0.0.1:1/app", "B"], 1);
        let lines: Vec<&str> = err.lines().collect();
        let said = |index: usize, words: &str| lines[index].contains(words);
        assert!(said(0, "\"A\"") && said(1, "127.0.0.1:1/app"), "{err}");
        assert!(
            said(2, "\"B\"") && said(3, "error: 3 of 3 not pulled"),
            "{err}"
        );
        ground.run(&["pull"], 2);
        ground.run(&["rm"], 2);
    }
}
