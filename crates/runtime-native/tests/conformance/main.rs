//! What [`Runtime`] promises, tried on the native runtime with real processes, as whoever runs the tests
//! and, if that is root, once more as an ordinary user.

#[cfg(test)]
mod attach;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod files;
#[cfg(test)]
mod last_words;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod network;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod volume_files;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
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
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::copy(std::env::current_exe().unwrap(), place("tests")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_probelet-native-shim"), place("shim")).unwrap();
        fs::create_dir(place("tmp")).unwrap();
        std::os::unix::fs::chown(place("tmp"), Some(65534), Some(65534)).unwrap();
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(place("tests"))
            .env("PROBELET_TEST_SHIM", place("shim"))
            .env("TMPDIR", place("tmp"))
            .current_dir("/")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("test result: ok"));
    }
}
