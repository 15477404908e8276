//! One layer, unpacked by the process that does it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tar::EntryType;
use tempfile::TempDir;

use crate::is_root;
use crate::tarball::{Tarball, digest, gzip, zstd};

pub(crate) struct Ground {
    pub(crate) dir: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        Self { dir }
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.files().join(path)
    }

    /// Unpacks a layer that was `plain` before it was compressed.
    pub(crate) fn run(&self, layer: &[u8], diff_id: &str) -> Output {
        let (owners, opaque) = if is_root() {
            ("kept", "trusted")
        } else {
            ("squashed", "user")
        };
        let mut child = Command::new(crate::unpack_program())
            .arg("layer")
            .arg(self.files())
            .args([diff_id, &layer.len().to_string(), owners, opaque])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may stop reading.
        let _closed = child.stdin.take().unwrap().write_all(layer);
        child.wait_with_output().unwrap()
    }

    pub(crate) fn unpack(&self, tarball: &Tarball) {
        let layer = tarball.finish();
        let output = self.run(&layer, &digest(&layer));
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{complaint}");
    }

    pub(crate) fn refusal(&self, tarball: &Tarball) -> String {
        let layer = tarball.finish();
        refused(&self.run(&layer, &digest(&layer)))
    }
}

pub(crate) fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "it was unpacked");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn is_whiteout(path: &Path) -> bool {
    let metadata = fs::symlink_metadata(path).unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let name = if is_root() {
        "trusted.overlay.opaque"
    } else {
        "user.overlay.opaque"
    };
    let mut value = [0; 8];
    match rustix::fs::lgetxattr(path, name, &mut value) {
        Ok(read) => &value[..read] == b"y",
        Err(rustix::io::Errno::NODATA) => false,
        Err(errno) => panic!("{errno}"),
    }
}

#[test]
fn files_come_as_they_were() {
    let ground = Ground::new();
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    let mut tarball = Tarball::default();
    tarball
        .directory("./", 0o750)
        .directory("bin/", 0o755)
        .entry(EntryType::Regular, "bin/su", "", b"su", |header| {
            header.set_mode(0o4755);
            header.set_uid(7);
            header.set_gid(8);
        })
        .symlink("bin/sh", "/bin/su")
        .link("bin/also", "bin/su")
        .directory("closed/", 0o000)
        .file("closed/inside", b"x")
        .entry(EntryType::Fifo, "fifo", "", b"", |header| {
            header.set_mode(0o600)
        })
        .entry(
            EntryType::GNULongName,
            "././@LongLink",
            "",
            format!("{long}\0").as_bytes(),
            |_| {},
        )
        .file("short", b"long by gnu")
        .pax(&[
            ("path", format!("pax/{long}").as_bytes()),
            ("mtime", b"-1.25"),
            ("uid", b"3000000"),
            ("SCHILY.xattr.user.note", b"line\nline"),
            ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
        ])
        .file("short", b"long by pax")
        .pax(&[("comment", b"nothing")])
        .file("no/parents/here", b"y");
    ground.unpack(&tarball);
    let su = fs::metadata(ground.at("bin/su")).unwrap();
    assert_eq!(
        (su.mode() & 0o7777, su.nlink(), su.mtime()),
        (0o4755, 2, 1_000_000_000)
    );
    assert_eq!(
        fs::read_link(ground.at("bin/sh")).unwrap(),
        Path::new("/bin/su")
    );
    assert_eq!(mode(&ground.files()), 0o750);
    assert_eq!(mode(&ground.at("closed")), 0);
    assert_eq!(mode(&ground.at("no/parents")), 0o755);
    assert_eq!(
        fs::metadata(ground.at("closed")).unwrap().mtime(),
        1_000_000_000
    );
    assert!(
        fs::metadata(ground.at("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert_eq!(fs::read(ground.at(&long)).unwrap(), b"long by gnu");
    let pax = ground.at(&format!("pax/{long}"));
    assert_eq!(fs::read(&pax).unwrap(), b"long by pax");
    let metadata = fs::metadata(&pax).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-2, 750_000_000));
    let mut value = [0; 16];
    let read = rustix::fs::lgetxattr(&pax, "user.note", &mut value).unwrap();
    assert_eq!(&value[..read], b"line\nline");
    let overlay = rustix::fs::lgetxattr(&pax, "user.overlay.redirect", &mut value);
    assert_eq!(overlay.unwrap_err(), rustix::io::Errno::NODATA);
    if is_root() {
        assert_eq!((su.uid(), su.gid()), (7, 8));
        assert_eq!(metadata.uid(), 3_000_000);
    } else {
        assert_eq!(su.uid(), rustix::process::geteuid().as_raw());
    }
}

#[test]
fn devices_and_capabilities_need_root() {
    let ground = Ground::new();
    // Version 2, cap_net_raw; there is a newline in it.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0];
    let mut tarball = Tarball::default();
    tarball
        .entry(EntryType::Char, "null", "", b"", |header| {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
            header.set_mode(0o666);
        })
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .file("ping", b"");
    ground.unpack(&tarball);
    if is_root() {
        let null = fs::metadata(ground.at("null")).unwrap();
        assert!(null.file_type().is_char_device());
        assert_eq!(
            (null.rdev(), null.mode() & 0o777),
            (rustix::fs::makedev(1, 3), 0o666)
        );
        let mut value = [0; 32];
        let read = rustix::fs::lgetxattr(ground.at("ping"), "security.capability", &mut value);
        assert_eq!(&value[..read.unwrap()], &capability);
    } else {
        assert!(!ground.at("null").exists());
        assert!(ground.at("ping").exists());
    }
}

#[test]
fn whiteouts_become_what_overlayfs_takes_for_them() {
    let ground = Ground::new();
    let mut tarball = Tarball::default();
    tarball
        .directory("etc/", 0o755)
        .whiteout("etc/.wh.gone")
        .whiteout("new/deep/.wh.x")
        .directory("all/", 0o755)
        .whiteout("all/.wh..wh..opq")
        .file("all/own", b"")
        .whiteout("later/.wh..wh..opq")
        .whiteout(".wh..wh.plnk");
    ground.unpack(&tarball);
    assert!(is_whiteout(&ground.at("etc/gone")) && is_whiteout(&ground.at("new/deep/x")));
    assert!(is_opaque(&ground.at("all")) && is_opaque(&ground.at("later")));
    assert!(!is_opaque(&ground.at("etc")));
    let own: Vec<_> = fs::read_dir(ground.at("all")).unwrap().collect();
    assert_eq!(own.len(), 1);
    assert!(!ground.at(".wh..wh.plnk").exists());
}

#[test]
fn what_is_white_in_its_own_layer_stays() {
    let ground = Ground::new();
    let mut tarball = Tarball::default();
    tarball
        .whiteout(".wh.first")
        .directory("first/", 0o755)
        .file("first/new", b"1")
        .whiteout(".wh.implied")
        .file("implied/new", b"2")
        .directory("second/", 0o755)
        .file("second/new", b"3")
        .whiteout(".wh.second")
        .file("file", b"4")
        .whiteout(".wh.file")
        .whiteout(".wh.other")
        .file("other", b"5");
    ground.unpack(&tarball);
    for name in ["first", "implied", "second"] {
        assert!(is_opaque(&ground.at(name)), "{name}");
        assert!(ground.at(name).join("new").exists(), "{name}");
    }
    assert_eq!(fs::read(ground.at("file")).unwrap(), b"4");
    assert_eq!(fs::read(ground.at("other")).unwrap(), b"5");
}

#[test]
fn later_members_take_the_place_of_earlier_ones() {
    let ground = Ground::new();
    let mut tarball = Tarball::default();
    tarball
        .file("a", b"file")
        .directory("a/", 0o755)
        .file("a/b", b"1")
        .directory("a/", 0o700)
        .directory("c/d/", 0o000)
        .file("c/d/e", b"")
        .file("c", b"was a directory")
        .symlink("f", "a")
        .file("f", b"was a link")
        .file("g", b"g")
        .link("g", "g")
        .link("h", "./x/../g")
        .symlink("i", "a/b")
        .link("j", "i")
        .directory("k/", 0o755)
        .symlink("k", "a");
    ground.unpack(&tarball);
    assert_eq!(mode(&ground.at("a")), 0o700);
    assert_eq!(fs::read(ground.at("a/b")).unwrap(), b"1");
    assert_eq!(fs::read(ground.at("c")).unwrap(), b"was a directory");
    assert_eq!(fs::read(ground.at("f")).unwrap(), b"was a link");
    assert_eq!(fs::metadata(ground.at("h")).unwrap().nlink(), 2);
    assert!(fs::symlink_metadata(ground.at("j")).unwrap().is_symlink());
    assert_eq!(fs::read_link(ground.at("k")).unwrap(), Path::new("a"));
}

#[test]
fn layers_may_be_plain_gzip_or_zstd() {
    let mut tarball = Tarball::default();
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let layer = tarball.file("numbers", &content).finish();
    let (front, back) = layer.split_at(300_000);
    let skippable = [&[0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    for (name, packed) in [
        ("plain", layer.clone()),
        ("gzip", gzip(&layer)),
        ("gzip members", [gzip(front), gzip(back)].concat()),
        ("zstd", zstd(&layer)),
        (
            "zstd frames",
            [&skippable[..], &zstd(front), &skippable, &zstd(back)].concat(),
        ),
    ] {
        let ground = Ground::new();
        let output = ground.run(&packed, &digest(&layer));
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(fs::read(ground.at("numbers")).unwrap() == content, "{name}");
        if name != "plain" {
            let half = &packed[..packed.len() / 2];
            refused(&Ground::new().run(half, &digest(&layer)));
        }
    }
}

/// Sparse files as GNU tar writes them, in its own format and in that of pax.
#[test]
fn sparse_files_stay_sparse() {
    for format in ["--format=gnu", "--format=pax"] {
        let ground = Ground::new();
        let source = tempfile::tempdir().unwrap();
        let path = source.path().join("sparse");
        let mut file = fs::File::create(&path).unwrap();
        let mut expected = vec![0; 3 << 20];
        for at in (0..12).map(|piece: usize| piece * 200_000) {
            use std::os::unix::fs::FileExt;
            file.write_all_at(b"here", at.try_into().unwrap()).unwrap();
            expected[at..at + 4].copy_from_slice(b"here");
        }
        file.set_len(3 << 20).unwrap();
        file.flush().unwrap();
        fs::write(source.path().join("after"), "after").unwrap();
        let archive = Command::new("tar")
            .args([format, "-S", "-C"])
            .arg(source.path())
            .args(["-c", "sparse", "after"])
            .output()
            .unwrap();
        assert!(archive.status.success());
        let output = ground.run(&archive.stdout, &digest(&archive.stdout));
        assert!(
            output.status.success(),
            "{format}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            fs::read(ground.at("sparse")).unwrap() == expected,
            "{format}"
        );
        assert!(archive.stdout.len() < 1 << 20, "{format}");
        assert!(
            fs::metadata(ground.at("sparse")).unwrap().blocks() < 4096,
            "{format}"
        );
        assert_eq!(fs::read(ground.at("after")).unwrap(), b"after");
    }
}

#[test]
fn everything_can_be_removed_again() {
    let ground = Ground::new();
    let mut tarball = Tarball::default();
    tarball
        .directory("closed/", 0o000)
        .file("closed/a", b"")
        .directory("closed/in/", 0o000);
    tarball
        .file("closed/in/b", b"")
        .directory("closed/.probelet-removed-1/x/", 0o500);
    ground.unpack(&tarball);
    let mut deep = ground.at("deep");
    fs::create_dir(&deep).unwrap();
    // Deeper than one process may have files open, and than a path may be long.
    let name = "n".repeat(200);
    let mut directory = fs::File::open(&deep).unwrap();
    for _ in 0..100 {
        rustix::fs::mkdirat(&directory, &*name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        let next = rustix::fs::openat(&directory, &*name, flags, rustix::fs::Mode::empty());
        directory = next.unwrap().into();
    }
    deep.push(&name);
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o000)).unwrap();
    let output = Command::new(crate::unpack_program())
        .arg("remove")
        .arg(ground.files())
        .output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(fs::read_dir(ground.dir.path()).unwrap().count(), 0);
}

#[test]
fn nobody_else_is_to_call_it() {
    for args in [
        &[][..],
        &["layer"],
        &["layer", "/", "sha256:x", "1", "kept", "user"],
        &["other"],
    ] {
        let output = Command::new(crate::unpack_program())
            .args(args)
            .output()
            .unwrap();
        assert_eq!(refused(&output), "this is not a command for people");
    }
    let output = Command::new(crate::unpack_program())
        .arg("--mapped-ids")
        .output()
        .unwrap();
    assert!(refused(&output).starts_with("user namespace: "));
}

/// With subordinate ids the process is root of a user namespace: owners are kept, as seen from there.
#[test]
fn in_a_user_namespace_owners_are_mapped() {
    if !is_root() {
        println!("an ordinary user without newuidmap maps one id only");
        return;
    }
    let ground = Ground::new();
    let mut tarball = Tarball::default();
    tarball
        .entry(EntryType::Regular, "su", "", b"", |header| {
            header.set_uid(33);
            header.set_gid(44);
            header.set_mode(0o4755);
        })
        .entry(EntryType::Char, "null", "", b"", |header| {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        })
        .directory("closed/", 0)
        .whiteout("closed/.wh.x")
        .whiteout("all/.wh..wh..opq");
    let layer = tarball.finish();
    let path = ground.dir.path().join("layer");
    fs::write(&path, &layer).unwrap();
    fs::copy(crate::unpack_program(), ground.dir.path().join("unpack")).unwrap();
    fs::set_permissions(ground.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for path in [ground.dir.path().to_owned(), ground.files()] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).unwrap();
    }
    let run = |args: &[&str]| {
        let script =
            "echo; read go; exec setpriv --reuid=0 --regid=0 --clear-groups ./unpack \"$@\" <layer";
        let mut child = Command::new("unshare")
            .args(["--user", "--keep-caps", "sh", "-c", script, "sh"])
            .args(args)
            .current_dir(ground.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It is in its namespace when it says something.
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        for map in ["uid_map", "gid_map"] {
            let map = format!("/proc/{}/{map}", child.id());
            fs::write(map, "0 100000 65536").unwrap();
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let (diff_id, bytes) = (digest(&layer), layer.len().to_string());
    run(&["layer", "files", &diff_id, &bytes, "mapped", "user"]);
    let su = fs::metadata(ground.at("su")).unwrap();
    assert_eq!(
        (su.uid(), su.gid(), su.mode() & 0o7777),
        (100_033, 100_044, 0o4755)
    );
    assert!(!ground.at("null").exists());
    assert!(is_whiteout(&ground.at("closed/x")));
    let mut value = [0; 8];
    let read = rustix::fs::lgetxattr(ground.at("all"), "user.overlay.opaque", &mut value);
    assert_eq!(&value[..read.unwrap()], b"y");
    run(&["remove", "files"]);
    assert!(!ground.files().exists());
}
