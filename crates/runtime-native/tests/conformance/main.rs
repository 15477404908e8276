//! What [`Runtime`] promises, tried on the native runtime with real processes, as whoever runs the tests
//! and, if that is root, once more as an ordinary user.

#[cfg(test)]
mod attach;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod files;
#[cfg(test)]
mod fs_group;
#[cfg(test)]
mod hostile_images;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod image_root;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod last_words;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod log_rotation;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod seccomp;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod volume_files;

/// A test of each case of the suite.
#[cfg(test)]
macro_rules! tests {
    ($($file:ident: $($case:ident)+;)+) => {
        $(
            mod $file {
                $(
                    #[test]
                    fn $case() {
                        use crate::suite::{NATIVE, World, run};
                        run(probelet_runtime::conformance::$file::$case(World::new(NATIVE)));
                    }
                )+
            }
        )+
    };
}

/// What every runtime promises: the suite of crate `runtime`.
#[cfg(test)]
mod promises {
    probelet_runtime::conformance::each_case!(tests);

    #[test]
    fn they_are_enough() {
        macro_rules! count {
            ($($file:ident: $($case:ident)+;)+) => {
                [$($(stringify!($case)),+),+].len()
            };
        }
        const CASES: usize = probelet_runtime::conformance::each_case!(count);
        const { assert!(CASES >= 80) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::Command;

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn all_of_it_as_an_ordinary_user_too() {
        if !is_root() {
            println!("this is an ordinary user already");
            return;
        }
        let ground = Ground::new();
        let output = ground.as_user("", &[]);
        assert!(output.contains("test result: ok"));
    }

    /// What is about files and owners. The host's own `/etc` is covered in a mount namespace alone.
    #[test]
    fn files_and_owners_with_ids_of_etc_subuid_too() {
        if !is_root() {
            println!("ranges in /etc/subuid: only root can give some");
            return;
        }
        let ground = Ground::new();
        fs::write(ground.place("ranges"), "nobody:200000:65536\n").unwrap();
        let prepare = "for f in /etc/subuid /etc/subgid; do mount --bind $0/ranges $f; done; \
            export PROBELET_TEST_IDS=many; ";
        let subjects = [
            "image",
            "identity",
            "fs_group",
            "sub_path",
            "files",
            "lifecycle",
        ];
        let output = ground.as_user(prepare, &subjects);
        assert!(output.contains("test result: ok"));
    }

    struct Ground(tempfile::TempDir);

    impl Ground {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let ground = Self(dir);
            fs::copy(std::env::current_exe().unwrap(), ground.place("tests")).unwrap();
            fs::copy(
                env!("CARGO_BIN_EXE_probelet-native-shim"),
                ground.place("shim"),
            )
            .unwrap();
            fs::create_dir(ground.place("tmp")).unwrap();
            std::os::unix::fs::chown(ground.place("tmp"), Some(65534), Some(65534)).unwrap();
            ground
        }

        fn place(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// These tests as an ordinary user, in a mount namespace of their own that has been prepared.
        fn as_user(&self, prepare: &str, tests: &[&str]) -> String {
            let script = format!(
                "{prepare} exec setpriv --reuid=65534 --regid=65534 --clear-groups $0/tests \"$@\""
            );
            let output = Command::new("unshare")
                .args(["-m", "sh", "-ec", &script])
                .arg(self.0.path())
                .args(tests)
                .env("PROBELET_TEST_SHIM", self.place("shim"))
                .env("TMPDIR", self.place("tmp"))
                .current_dir("/")
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            println!("{text}{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success());
            text
        }
    }
}
