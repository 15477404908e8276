//! Layers that are not what they should be: broken, or made to do harm.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use tar::EntryType;

use crate::tarball::{Tarball, digest};
use crate::unpacking::{Ground, refused};

#[test]
fn paths_that_lead_out_are_refused() {
    for (path, words) in [
        ("../out", "\"../out\" is outside of the root (breakout)"),
        (
            "a/../../out",
            "\"a/../../out\" is outside of the root (breakout)",
        ),
        ("/../out", "\"/../out\" is outside of the root (breakout)"),
        (
            ".wh...",
            "failed to extract \".wh...\": invalid whiteout name",
        ),
        (
            "a/.wh..",
            "failed to extract \"a/.wh..\": invalid whiteout name",
        ),
        (".wh.", "failed to extract \".wh.\": invalid whiteout name"),
    ] {
        let ground = Ground::new();
        assert_eq!(
            ground.refusal(Tarball::default().file(path, b"evil")),
            words
        );
        assert!(!ground.dir.path().join("out").exists());
    }
    let ground = Ground::new();
    ground.unpack(
        Tarball::default()
            .file("/etc/absolute", b"inside")
            .file("a/../b", b""),
    );
    assert_eq!(fs::read(ground.at("etc/absolute")).unwrap(), b"inside");
    assert!(ground.at("b").exists());
}

#[test]
fn links_do_not_lead_out() {
    let ground = Ground::new();
    let outside = ground.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let target = outside.to_str().unwrap();
    let mut tarball = Tarball::default();
    tarball
        .symlink("absolute", "/")
        .file("absolute/by-absolute", b"1")
        .symlink("up", "../../../../../../..")
        .file("up/by-up", b"2")
        .pax(&[("linkpath", target.as_bytes())])
        .symlink("out", "")
        .file("out/by-out", b"3")
        .directory("out/more/", 0o755)
        .whiteout("out/.wh.secret")
        .symlink("relative", "../outside")
        .file("relative/by-relative", b"4")
        .symlink("magic", "/proc/self/root")
        .file("magic/by-magic", b"5");
    ground.unpack(&tarball);
    for name in ["by-absolute", "by-up"] {
        assert!(ground.at(name).exists(), "{name}");
    }
    let inner = ground.files().join(target.trim_start_matches('/'));
    assert_eq!(fs::read(inner.join("by-out")).unwrap(), b"3");
    assert!(ground.at("outside/by-relative").exists());
    assert!(ground.at("proc/self/root/by-magic").exists());
    let left: Vec<_> = fs::read_dir(&outside).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    assert!(!ground.dir.path().join("by-relative").exists());

    for link in [
        "../outside/secret",
        "s/secret",
        "/etc/passwd",
        "up/outside/secret",
    ] {
        let ground = Ground::new();
        let outside = ground.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        let mut tarball = Tarball::default();
        tarball
            .pax(&[("linkpath", outside.to_str().unwrap().as_bytes())])
            .symlink("s", "")
            .symlink("up", "..")
            .link("copy", link);
        let words = ground.refusal(&tarball);
        assert!(words.starts_with("failed to extract \"copy\": "), "{words}");
        assert!(!ground.at("copy").exists());
        assert_eq!(fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
    }
    let ground = Ground::new();
    let words = ground.refusal(
        Tarball::default()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/x", b""),
    );
    assert!(
        words.contains("Too many levels of symbolic links"),
        "{words}"
    );
}

/// The directory that is unpacked into may have been made by somebody else.
#[test]
fn what_was_there_before_does_not_lead_out_either() {
    let ground = Ground::new();
    let outside = ground.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, ground.at("link")).unwrap();
    ground.unpack(
        Tarball::default()
            .file("link/x", b"")
            .directory("link2/", 0o755),
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_layer_is_what_its_digest_says() {
    let ground = Ground::new();
    let layer = Tarball::default().file("a", b"a").finish();
    let other = digest(b"other");
    let got = digest(&layer);
    assert_eq!(
        refused(&ground.run(&layer, &other)),
        format!("wrong diff id calculated on extraction: {got}, expected {other}")
    );
    // What comes after the end belongs to it.
    let longer = [&layer[..], b"more"].concat();
    assert!(refused(&ground.run(&longer, &got)).starts_with("wrong diff id"));
    assert!(
        Ground::new()
            .run(&longer, &digest(&longer))
            .status
            .success()
    );
}

#[test]
fn broken_and_absurd_archives_are_refused() {
    let refusal = |tarball: &mut Tarball| Ground::new().refusal(tarball);
    let unknown = EntryType::new(b'Z');
    let text = refusal(Tarball::default().entry(unknown, "a", "", b"", |_| {}));
    assert_eq!(text, "invalid layer: unhandled tar header type 'Z'");
    let huge = |header: &mut tar::Header| header.set_size(1 << 40);
    let text = refusal(Tarball::default().entry(EntryType::XHeader, "a", "", b"", huge));
    assert_eq!(text, "invalid layer: a header of absurd size");
    let text = refusal(Tarball::default().entry(EntryType::Regular, "a", "", b"", huge));
    assert_eq!(text, "files of 1099511627776 bytes");
    let some = |header: &mut tar::Header| header.set_size(1 << 20);
    let text = refusal(Tarball::default().entry(EntryType::Regular, "a", "", b"", some));
    assert!(text.starts_with("failed to extract \"a\": "), "{text}");
    let text = refusal(Tarball::default().pax(&[("size", b"x")]).file("a", b""));
    assert_eq!(text, "invalid layer: a number in a pax record is none");
    let text = refusal(Tarball::default().pax(&[("path", b"b")]));
    assert_eq!(
        text,
        "invalid layer: a member is described that does not come"
    );
    let text = refusal(Tarball::default().pax(&[("path", b"a\0b")]).file("a", b""));
    assert!(text.contains("outside of the root"), "{text}");
    let sparse = &[
        ("GNU.sparse.map", &b"0,10,5,10"[..]),
        ("GNU.sparse.size", b"100"),
    ];
    let text = refusal(Tarball::default().pax(sparse).file("a", &[1; 20]));
    assert_eq!(text, "invalid layer: a sparse file with a broken map");
    let mut garbage = Tarball::default().file("a", b"").finish();
    garbage[0] ^= 1;
    let text = refused(&Ground::new().run(&garbage, &digest(&garbage)));
    assert_eq!(text, "invalid layer: invalid tar header");
    let deep = "d/".repeat(5000);
    let text = refusal(
        Tarball::default()
            .pax(&[("path", deep.as_bytes())])
            .directory("d/", 0o755),
    );
    assert!(text.contains("File name too long"), "{text}");
}

/// Each of them may be, and what comes of them is a few bytes.
#[test]
fn holes_count_as_bytes_of_a_layer() {
    let sparse = &[
        ("GNU.sparse.map", &b"0,1"[..]),
        ("GNU.sparse.size", b"34359738368"),
    ];
    let mut tarball = Tarball::default();
    tarball.pax(sparse).file("a", b"1");
    tarball.pax(sparse).file("b", b"2");
    let output = Ground::new().run(&tarball.finish(), &digest(&tarball.finish()));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\"size\":68719476736,"), "{said}");
    tarball.file("c", b"3");
    let text = Ground::new().refusal(&tarball);
    assert_eq!(text, "files of 68719476737 bytes");
}
