use std::os::unix::fs::PermissionsExt;

use super::*;

/// 2026-11-01.
const NOW: Wall = Wall(1_793_491_200_000_000_000);

fn open(dir: &Path, now: Wall) -> Result<Certificates, CertificatesError> {
    Certificates::open(dir, "node-1", &[], now)
}

#[test]
fn what_was_made_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), NOW).unwrap();
    let second = open(dir.path(), NOW + DAY).unwrap();
    assert_eq!(first.ca, second.ca);
    assert_eq!(first.server.certificate, second.server.certificate);
    assert_eq!(first.admin.key, second.admin.key);
    assert_eq!(first.notes, Vec::<String>::new());
    for entry in fs::read_dir(dir.path().join("pki")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
    let (certificate, _) = second.admin.to_der().unwrap();
    let admin = user_of(&certificate).unwrap();
    assert_eq!(admin.name, "kubernetes-admin");
    assert!(admin.is_in(MASTERS));
}

#[test]
fn leaves_are_made_anew_before_they_expire_and_the_ca_stays() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), NOW).unwrap();
    let kept = open(dir.path(), NOW + DAY * 274).unwrap();
    assert_eq!(first.server.certificate, kept.server.certificate);
    let later = open(dir.path(), NOW + DAY * 276).unwrap();
    assert_eq!(first.ca, later.ca);
    assert_ne!(first.server.certificate, later.server.certificate);
    assert_ne!(first.admin.certificate, later.admin.certificate);
    assert_eq!(later.notes.len(), 2, "{:?}", later.notes);
    let last = open(dir.path(), NOW + DAY * 3600).unwrap();
    assert!(
        last.notes[0].contains("expires in 50 days"),
        "{:?}",
        last.notes
    );
    let error = open(dir.path(), NOW + DAY * 3651).unwrap_err();
    assert!(error.to_string().contains("it has expired"), "{error}");
}

#[test]
fn a_further_address_needs_a_new_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), NOW).unwrap();
    let address = IpAddr::from([10, 0, 0, 7]);
    let second = Certificates::open(dir.path(), "node-1", &[address], NOW).unwrap();
    assert_ne!(first.server.certificate, second.server.certificate);
    assert!(
        second.notes[0].ends_with("it was not good for 10.0.0.7"),
        "{:?}",
        second.notes
    );
    assert_eq!(first.admin.certificate, second.admin.certificate);
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_left() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), NOW).unwrap();
    let other = tempfile::tempdir().unwrap();
    open(other.path(), NOW).unwrap();
    let whole = |name: &str| fs::read_to_string(dir.path().join("pki").join(name)).unwrap();
    let foreign = fs::read_to_string(other.path().join("pki/apiserver.pem")).unwrap();
    let (key, certificate) = foreign.split_at(foreign.find("-----BEGIN C").unwrap());
    let server = whole("apiserver.pem");
    let own_key = &server[..server.find("-----BEGIN C").unwrap()];
    let rows = [
        (
            "ca.pem",
            "rubbish".to_owned(),
            "there is no certificate in it",
        ),
        (
            "apiserver.pem",
            String::new(),
            "there is no certificate in it",
        ),
        (
            "apiserver.pem",
            certificate.to_owned(),
            "its key cannot be read",
        ),
        (
            "apiserver.pem",
            format!("{own_key}{certificate}"),
            "its key is not that of its certificate",
        ),
        (
            "admin.pem",
            format!("{key}-----BEGIN CERTIFICATE-----\nAA"),
            "its certificate cannot be read",
        ),
    ];
    for (name, content, why) in rows {
        let path = dir.path().join("pki").join(name);
        let before = whole(name);
        fs::write(&path, &content).unwrap();
        let error = open(dir.path(), NOW).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
        assert_eq!(error.contains("kubeconfigs"), name == "ca.pem", "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        fs::write(&path, before).unwrap();
    }
    fs::write(dir.path().join("pki/apiserver.pem"), &foreign).unwrap();
    let notes = open(dir.path(), NOW).unwrap().notes;
    assert!(notes[0].ends_with("another CA had signed it"), "{notes:?}");
}
