//! Layers of images, made of busybox and what a test adds, as they are after unpacking.
use crate::{ContainerConfig, ImageRoot};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use rustix::process::geteuid;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::*;

pub const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/var/www:/bin/sh\nother:x:1234:1234::/:/bin/sh\n";
pub const GROUP: &str = "root:x:0:\nadm:x:4:web\nweb:x:44:web\nlog:x:55:other,web\n";

/// Which ids a pod has here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// All: this is root.
    Root,
    /// Ranges of `/etc/subuid`.
    Many,
    /// One.
    One,
}

pub fn ids() -> Ids {
    if geteuid().is_root() {
        Ids::Root
    } else if std::env::var_os("PROBELET_TEST_IDS").is_some() {
        Ids::Many
    } else {
        Ids::One
    }
}

/// A layer in the making.
#[derive(Debug)]
pub struct Layer(PathBuf);

impl Layer {
    pub fn new(place: &Path, name: &str) -> Self {
        let dir = place.join("layers").join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A small system.
    pub fn busybox(place: &Path) -> Self {
        let layer = Self::new(place, "busybox");
        for dir in ["bin", "etc", "root", "var/www"] {
            layer.dir(dir, 0o755);
        }
        layer.dir("tmp", 0o1777);
        fs::copy("/bin/busybox", layer.path("bin/busybox")).unwrap();
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for applet in String::from_utf8(applets.stdout).unwrap().lines() {
            if applet != "busybox" {
                symlink("busybox", layer.path("bin").join(applet)).unwrap();
            }
        }
        layer.file("etc/passwd", PASSWD);
        layer.file("etc/group", GROUP);
        layer
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub fn dir(&self, path: &str, mode: u32) {
        fs::create_dir_all(self.path(path)).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn file(&self, path: &str, content: &str) {
        if let Some(parent) = self.path(path).parent() {
            fs::create_dir_all(parent).unwrap();
        }
        fs::write(self.path(path), content).unwrap();
    }

    pub fn link(&self, path: &str, to: impl AsRef<Path>) {
        if let Some(parent) = self.path(path).parent() {
            fs::create_dir_all(parent).unwrap();
        }
        symlink(to, self.path(path)).unwrap();
    }

    /// A mark that what the layers below have there is gone.
    pub fn whiteout(&self, path: &str) {
        if let Some(parent) = self.path(path).parent() {
            fs::create_dir_all(parent).unwrap();
        }
        let kind = FileType::CharacterDevice;
        mknodat(CWD, self.path(path), kind, Mode::empty(), 0).unwrap();
    }

    /// A directory that hides what the layers below have in theirs.
    pub fn opaque(&self, path: &str) {
        self.dir(path, 0o755);
        let name = if geteuid().is_root() {
            "trusted.overlay.opaque"
        } else {
            "user.overlay.opaque"
        };
        setxattr(self.path(path), name, b"y", XattrFlags::empty()).unwrap();
    }
}

pub fn root(layers: &[&Layer]) -> ImageRoot {
    ImageRoot {
        layers: layers.iter().map(|layer| layer.0.clone()).collect(),
        volumes: Vec::new(),
    }
}

/// A shell script on these layers.
pub fn sh_on(layers: &[&Layer], id: &str, script: &str) -> ContainerConfig {
    let mut config = container(id, &["sh", "-c", script]);
    config.image = Some(root(layers));
    config
}
