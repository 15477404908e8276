use proptest::prelude::*;

use super::*;

/// A question as a resolver sends it.
pub(crate) fn question(name: &str, kind: RecordType, edns: Option<u16>) -> Vec<u8> {
    let mut packet = vec![
        0x12,
        0x34,
        0x01,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(edns.is_some()),
    ];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(kind.0.to_be_bytes());
    packet.extend([0, 1]);
    if let Some(size) = edns {
        packet.extend([0, 0, 41]);
        packet.extend(size.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0, 0]);
    }
    packet
}

pub(crate) fn query(name: &str, kind: RecordType) -> Query {
    Query::read(&question(name, kind, None)).unwrap()
}

fn addresses(count: u8) -> Reply {
    let record = |last| Record {
        name: "web.default.svc.cluster.local".to_owned(),
        data: Data::A([10, 213, 0, last].into()),
    };
    Reply {
        authoritative: true,
        answers: (0..count).map(record).collect(),
        ..Reply::of(ResponseCode::NoError)
    }
}

#[test]
fn a_question_is_read_and_given_back_as_it_was() {
    let packet = question("Web.default.SVC.cluster.local", RecordType::A, Some(1232));
    let query = Query::read(&packet).unwrap();
    let labels = ["web", "default", "svc", "cluster", "local"].map(str::to_owned);
    assert_eq!(query.labels(), Some(&labels[..]));
    assert_eq!((query.kind(), query.datagram()), (RecordType::A, 1232));
    let answer = query.write(&addresses(1));
    let mut expected = packet[..packet.len() - 11].to_vec();
    // An answer, authoritative, with recursion desired and available, one answer, one more for EDNS.
    expected[2..12].copy_from_slice(&[0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]);
    expected.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 213, 0, 0]);
    expected.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(answer, expected);
    assert!(is_answer_to(&answer, &query, 0x1234));
    assert!(!is_answer_to(&answer, &query, 0x1235));
    assert!(!is_answer_to(&packet, &query, 0x1234));
    assert_eq!(query.with_own_id(vec![9, 9, 1]), [0x12, 0x34, 1]);
}

#[test]
fn names_are_written_once_but_for_targets() {
    let query = query("_http._tcp.web.default.svc.cluster.local", RecordType::SRV);
    let target = "web.default.svc.cluster.local".to_owned();
    let reply = Reply {
        answers: vec![Record {
            name: "_http._tcp.web.default.svc.cluster.local".to_owned(),
            data: Data::Srv {
                weight: 100,
                port: 80,
                target: target.clone(),
            },
        }],
        additional: vec![Record {
            name: target,
            data: Data::A([127, 213, 0, 1].into()),
        }],
        ..Reply::of(ResponseCode::NoError)
    };
    let packet = query.write(&reply);
    let start = HEADER + 42 + 4;
    assert_eq!(packet[start..start + 2], [0xc0, 12]);
    assert_eq!(packet[start + 12..start + 18], [0, 0, 0, 100, 0, 80]);
    let target = &packet[start + 18..start + 18 + 31];
    assert_eq!(&target[..12], b"\x03web\x07default");
    // `web` stands behind `_http` and `_tcp` in the question.
    let additional = &packet[start + 18 + 31..];
    assert_eq!(additional[..4], [0xc0, 12 + 6 + 5, 0, 1]);
    assert_eq!(additional.len(), 16);
}

#[test]
fn what_does_not_fit_is_left_out_and_the_client_told() {
    let reply = addresses(200);
    let plain = query("web.default.svc.cluster.local", RecordType::A);
    assert_eq!(plain.datagram(), 512);
    let packet = plain.write_within(&reply, plain.datagram());
    assert!((497..=512).contains(&packet.len()), "{}", packet.len());
    assert_eq!(packet[2] & 2, 2, "truncated");
    assert_eq!(usize::from(packet[7]), (512 - HEADER - 35) / 16);
    let whole = plain.write(&reply);
    assert_eq!((whole[2] & 2, whole[7]), (0, 200));
    let large = question("web.default.svc.cluster.local", RecordType::A, Some(65000));
    let large = Query::read(&large).unwrap();
    assert_eq!(large.datagram(), 4096);
    assert_eq!(large.write_within(&reply, large.datagram())[7], 200);
    assert_eq!(
        plain.fitting(whole.clone())[..8],
        [0x12, 0x34, 0x83, 0x80, 0, 1, 0, 0]
    );
    assert_eq!(large.fitting(whole.clone()), whole);
    let tiny = question("a", RecordType::A, Some(0));
    assert_eq!(Query::read(&tiny).unwrap().datagram(), 512);
}

#[test]
fn what_is_no_question_is_passed_over_or_refused() {
    let good = question("a.b", RecordType::A, None);
    for cut in 0..HEADER {
        assert_eq!(Query::read(&good[..cut]), Err(Malformed::Ignored));
    }
    let mut answer = good.clone();
    answer[2] |= 0x80;
    assert_eq!(
        Query::read(&answer),
        Err(Malformed::Ignored),
        "a loop of answers"
    );
    let code = |packet: &[u8]| match Query::read(packet) {
        Err(Malformed::Answered(answer)) => {
            assert_eq!(answer[..2], packet[..2]);
            assert_eq!(answer[2] & 0x80, 0x80);
            answer[3] & 0xf
        }
        other => panic!("{other:?}"),
    };
    for cut in HEADER..good.len() {
        assert_eq!(code(&good[..cut]), 1, "{cut}");
    }
    let with = |at: usize, byte: u8| {
        let mut packet = good.clone();
        packet[at] = byte;
        packet
    };
    assert_eq!(code(&with(2, 0x29)), 4, "an update");
    assert_eq!(code(&with(5, 0)), 1, "no question");
    assert_eq!(code(&with(5, 2)), 1, "two questions");
    assert_eq!(code(&with(12, 0xc0)), 1, "a name that points at itself");
    assert_eq!(
        code(&with(12, 0x40)),
        1,
        "a label of a kind that nobody uses"
    );
    assert_eq!(code(&[&good[..], &[0]].concat()), 1, "more behind it");
    let long = vec!["a".repeat(63); 4].join(".");
    assert_eq!(code(&question(&long, RecordType::A, None)), 1);
    let mut version = question("a", RecordType::A, Some(512));
    let at = version.len() - 5;
    version[at] = 1;
    let Err(Malformed::Answered(answer)) = Query::read(&version) else {
        panic!("refused")
    };
    assert_eq!(
        (answer[3] & 0xf, answer[answer.len() - 6]),
        (0, 1),
        "16 in two parts"
    );
}

#[test]
fn names_that_are_no_text_and_other_classes_have_no_labels() {
    let mut packet = question("ab.c", RecordType::A, None);
    packet[13] = b'.';
    assert_eq!(Query::read(&packet).unwrap().labels(), None);
    packet[13] = 0xff;
    assert_eq!(Query::read(&packet).unwrap().labels(), None);
    let mut chaos = question("a", RecordType::TXT, None);
    let last = chaos.len() - 1;
    chaos[last] = 3;
    assert_eq!(Query::read(&chaos).unwrap().labels(), None);
}

proptest! {
    #[test]
    fn nothing_that_comes_does_harm(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(query) = Query::read(&packet) {
            let answer = query.write_within(&addresses(100), query.datagram());
            prop_assert!(answer.len() <= query.datagram());
            prop_assert!(is_answer_to(&answer, &query, u16::from_be_bytes([packet[0], packet[1]])));
        }
    }

    #[test]
    fn a_question_with_changed_bytes_does_no_harm(
        changes in proptest::collection::vec((0_usize..60, any::<u8>()), 0..4),
        edns in any::<Option<u16>>(),
    ) {
        let mut packet = question("web.default.svc.cluster.local", RecordType::A, edns);
        for (at, byte) in changes {
            let at = at % packet.len();
            packet[at] = byte;
        }
        match Query::read(&packet) {
            Ok(query) => {
                let answer = query.write_within(&addresses(100), query.datagram());
                prop_assert!(answer.len() <= query.datagram());
            }
            Err(Malformed::Answered(answer)) => prop_assert!(answer.len() <= packet.len() + 11),
            Err(Malformed::Ignored) => {}
        }
    }
}
