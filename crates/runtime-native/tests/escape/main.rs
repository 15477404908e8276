//! Attempts to get out of a container, made from inside an ordinary one by the program `escape.c`: every one
//! of them has to fail. As whoever runs the tests and, if that is root, once more as an ordinary user.
//!
//! "Ordinary" is a container of an image, as user 0, with nothing in its security context; what such a container
//! may do beyond that (`privileged`, `hostPath`, added capabilities) its manifest has asked for.

#[cfg(test)]
mod files;
#[cfg(test)]
mod ground;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod network;
#[cfg(test)]
mod others;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod races;
#[cfg(test)]
mod removal;
#[cfg(test)]
#[path = "../conformance/suite.rs"]
#[expect(
    dead_code,
    reason = "shared with the conformance tests, which use all of it"
)]
mod suite;
#[cfg(test)]
mod volumes;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn all_of_it_as_an_ordinary_user_too() {
        if !rustix::process::geteuid().is_root() {
            println!("this is an ordinary user already");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::copy(std::env::current_exe().unwrap(), place("tests")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_probelet-native-shim"), place("shim")).unwrap();
        fs::copy(crate::ground::program(), place("escape")).unwrap();
        fs::copy(crate::ground::loader(), place("loader")).unwrap();
        fs::create_dir(place("tmp")).unwrap();
        std::os::unix::fs::chown(place("tmp"), Some(65534), Some(65534)).unwrap();
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(place("tests"))
            .env("PROBELET_TEST_SHIM", place("shim"))
            .env("PROBELET_TEST_ESCAPE", place("escape"))
            .env("PROBELET_TEST_LOADER", place("loader"))
            .env("TMPDIR", place("tmp"))
            .current_dir("/")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("test result: ok"));
    }
}
