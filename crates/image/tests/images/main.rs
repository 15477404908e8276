//! The store of images with its real parts: a registry, archives, file systems, several processes; as whoever
//! runs the tests and, if that is root, once more as an ordinary user.
//!
//! Start reading at [`ground`].

#[cfg(test)]
mod front;
#[cfg(test)]
mod ground;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod keeping;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod loading;
#[cfg(test)]
mod pulling;
#[cfg(test)]
mod tarball;
#[cfg(test)]
mod unpacking;

#[cfg(test)]
use tests::{is_root, unpack_program};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::Command;

    pub(crate) fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    pub(crate) fn unpack_program() -> PathBuf {
        let given = std::env::var_os("PROBELET_TEST_UNPACK");
        given.map_or_else(
            || env!("CARGO_BIN_EXE_probelet-image-unpack").into(),
            PathBuf::from,
        )
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
        fs::copy(unpack_program(), place("unpack")).unwrap();
        fs::create_dir(place("tmp")).unwrap();
        std::os::unix::fs::chown(place("tmp"), Some(65534), Some(65534)).unwrap();
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(place("tests"))
            .env("PROBELET_TEST_UNPACK", place("unpack"))
            .env("TMPDIR", place("tmp"))
            .env("HOME", place("tmp"))
            .current_dir("/")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("test result: ok"));
    }
}
