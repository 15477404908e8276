//! Protobuf bodies as clients send them, and as nobody should.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{DecodeError, decode};

/// Every body of the test data, by its file.
fn bodies() -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bodies");
    let mut bodies: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pb"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    bodies.sort();
    bodies
}

/// A body of that kind around a message.
fn body(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [&b"k8s\0"[..], &field(1, &type_meta), &field(2, message)].concat()
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let tag = varint(usize::from(number) << 3 | 2);
    [&tag, &varint(bytes.len()), bytes].concat()
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

fn malformed(body: &[u8], says: &str) {
    match decode(body) {
        Err(DecodeError::Malformed(text)) => assert_eq!(text, says),
        other => panic!("{says}: {other:?}"),
    }
}

#[test]
fn bodies_of_kubectl_are_read_as_their_json() {
    let bodies = bodies();
    assert!(bodies.len() >= 12);
    for (path, body) in bodies {
        let json = fs::read(path.with_extension("json")).unwrap();
        let expected: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(decode(&body).unwrap(), expected, "{}", path.display());
    }
}

/// Each as a real one begins, with its metadata first.
#[test]
fn every_kind_that_kubectl_posts_is_known() {
    for (api_version, kinds) in [
        (
            "v1",
            "Namespace ConfigMap Secret Service ServiceAccount Pod Node Event Endpoints ResourceQuota",
        ),
        ("apps/v1", "Deployment ReplicaSet"),
        (
            "authentication.k8s.io/v1",
            "SelfSubjectReview TokenRequest TokenReview",
        ),
        (
            "authorization.k8s.io/v1",
            "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
        ),
        ("autoscaling/v1", "HorizontalPodAutoscaler Scale"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("batch/v1", "CronJob Job"),
        ("coordination.k8s.io/v1", "Lease"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("events.k8s.io/v1", "Event"),
        ("networking.k8s.io/v1", "Ingress"),
        ("node.k8s.io/v1", "RuntimeClass"),
        ("policy/v1", "Eviction PodDisruptionBudget"),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole ClusterRoleBinding Role RoleBinding",
        ),
        ("scheduling.k8s.io/v1", "PriorityClass"),
    ] {
        for kind in kinds.split(' ') {
            let metadata = field(1, &field(1, b"demo"));
            assert_eq!(
                decode(&body(api_version, kind, &metadata)),
                Ok(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "demo"}}))
            );
        }
    }
    assert_eq!(
        decode(&body("v1", "DeleteOptions", &[0x08, 0x00])),
        Ok(json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}))
    );
}

#[test]
fn what_is_no_body_is_told_apart() {
    assert_eq!(decode(b""), Err(DecodeError::Prefix));
    assert_eq!(decode(b"{\"kind\":\"Pod\"}"), Err(DecodeError::Prefix));
    for (api_version, kind) in [("v1", "Unheard"), ("v1", ""), ("apps/v1", "Pod")] {
        let error = decode(&body(api_version, kind, b"")).unwrap_err();
        let expected = DecodeError::UnknownKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        };
        assert_eq!(error, expected);
    }
    assert!(matches!(
        decode(b"k8s\0"),
        Err(DecodeError::UnknownKind { .. })
    ));
}

#[test]
fn a_body_that_is_cut_short_is_an_error_or_the_same_kind() {
    for (path, body) in bodies() {
        for length in 4..body.len() {
            // Between two fields of the envelope a cut cannot be seen.
            if let Ok(value) = decode(&body[..length]) {
                let whole = decode(&body).unwrap();
                assert_eq!(value["kind"], whole["kind"], "{}", path.display());
                let empty = value.as_object().unwrap().len() == 2;
                assert!(value == whole || empty, "{} {length}", path.display());
            }
        }
    }
}

#[test]
fn flaws_are_told_with_their_path() {
    let container = |field: &[u8]| body("v1", "Pod", &self::field(2, &self::field(2, field)));
    malformed(
        &container(&[0x0a, 0x05, b'c']),
        "Pod.spec.containers: unexpected end",
    );
    malformed(
        &container(&field(1, b"\xff\xfe")),
        "Pod.spec.containers.name: invalid UTF-8",
    );
    malformed(
        &container(&[0x08, 0x01]),
        "Pod.spec.containers.name: text or a message was expected",
    );
    malformed(
        &container(&field(16, b"yes")),
        "Pod.spec.containers.stdin: a number was expected",
    );
    malformed(b"k8s\0\x0a\x7f", "body: unexpected end");
}

#[test]
fn unknown_fields_are_passed_over() {
    let message = [
        &[0xf8, 0x3f, 0x07, 0xf5, 0x3f, 1, 2, 3, 4][..],
        &field(15, b"new"),
    ]
    .concat();
    assert_eq!(
        decode(&body("v1", "Namespace", &message)),
        Ok(json!({"apiVersion": "v1", "kind": "Namespace"}))
    );
}

#[test]
fn a_message_that_comes_twice_is_merged_and_the_last_scalar_counts() {
    let metadata = |fields: &[u8]| field(1, fields);
    let message = [
        metadata(&[field(1, b"first"), field(3, b"demo"), field(2, b"gone")].concat()),
        metadata(&[field(1, b"second"), field(2, b"")].concat()),
    ]
    .concat();
    assert_eq!(
        decode(&body("v1", "ConfigMap", &message)).unwrap()["metadata"],
        json!({"name": "second", "namespace": "demo"})
    );
}

#[test]
fn packed_numbers_are_a_list() {
    // spec.securityContext.supplementalGroups, field 4, as one field of three numbers.
    let packed = field(4, &[5, 0x80, 0x01, 0]);
    let pod = field(2, &field(14, &packed));
    assert_eq!(
        decode(&body("v1", "Pod", &pod)).unwrap()["spec"]["securityContext"],
        json!({"supplementalGroups": [5, 128, 0]})
    );
}

#[test]
fn map_entries_without_key_or_value_are_empty_ones() {
    let entry = |bytes: &[u8]| field(2, bytes);
    let message = [entry(b""), entry(&field(1, b"key"))].concat();
    assert_eq!(
        decode(&body("v1", "ConfigMap", &message)).unwrap()["data"],
        json!({"": "", "key": ""})
    );
}

#[test]
fn a_body_of_countless_values_is_refused() {
    // Empty containers, two bytes each.
    let containers = [0x12, 0x00].repeat(600_000);
    let body = body("v1", "Pod", &field(2, &containers));
    malformed(&body, "Pod.spec: too many values");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        for (api_version, kind) in [("v1", "Pod"), ("v1", "Event"), ("policy/v1", "Eviction")] {
            if let Ok(value) = decode(&body(api_version, kind, &bytes)) {
                prop_assert_eq!(&value["kind"], kind);
            }
        }
    }

    #[test]
    fn nor_does_a_real_body_with_some_bytes_changed(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let bodies = bodies();
        let (_, mut body) = which.get(&bodies).clone();
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        if let Ok(value) = decode(&body) {
            prop_assert!(value.is_object());
        }
    }
}
