use proptest::prelude::*;

use super::*;
use crate::grpc::message;

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// `:status: 200`, `content-type: application/grpc`.
const OK: &[u8] = b"\0\0\x14\x01\x04\0\0\0\x01\x88\x0f\x10\x10application/grpc";
const SERVING: &[u8] = b"\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01";
/// `grpc-status: 0`.
const TRAILERS: &[u8] = b"\0\0\x0f\x01\x05\0\0\0\x01\0\x0bgrpc-status\x010";

fn call() -> Call {
    Call::new(b"\x83", message::request("web"))
}

fn received(call: &mut Call, bytes: &[u8]) {
    assert_eq!(call.receive(bytes), bytes.len());
}

#[test]
fn the_request_goes_out_with_the_preface() {
    let mut call = call();
    let expected = [
        frame::PREFACE,
        b"\0\0\x06\x04\0\0\0\0\0\0\x02\0\0\0\0",
        b"\0\0\x01\x01\x04\0\0\0\x01\x83",
        b"\0\0\x0a\0\x01\0\0\0\x01\0\0\0\0\x05\x0a\x03web",
    ];
    assert_eq!(*call.out(), expected.concat());
}

#[test]
fn a_call_from_begin_to_end() {
    let mut call = call();
    call.out().clear();
    assert!(matches!(call.stage(), Stage::Waiting));
    received(&mut call, SETTINGS);
    assert!(matches!(call.stage(), Stage::Begun));
    assert_eq!(*call.out(), b"\0\0\0\x04\x01\0\0\0\0");
    for frame in [OK, SERVING, TRAILERS] {
        assert!(matches!(call.stage(), Stage::Begun));
        received(&mut call, frame);
    }
    let Stage::Ended(end) = call.stage() else {
        panic!("{call:?}");
    };
    assert_eq!(*end, End::Answered(ServingStatus::SERVING));
    // What comes after the end changes nothing.
    assert_eq!(call.receive(SERVING), 0);
    call.lost("EOF");
    assert!(matches!(call.stage(), Stage::Ended(End::Answered(_))));
}

#[test]
fn a_request_waits_for_the_windows() {
    let mut call = Call::new(b"", vec![b'x'; 70_000]);
    let data = |bytes: &[u8]| {
        let (mut at, mut data, mut is_last) = (0, 0, false);
        while let Ok(Some((frame, length))) = frame::parse(&bytes[at..]) {
            at += length;
            if let Frame::Data {
                size,
                is_last: last,
                ..
            } = frame
            {
                data += size;
                is_last = last;
            }
        }
        (data, is_last)
    };
    let first = call.out().split_off(frame::PREFACE.len());
    assert_eq!(data(&first), (65_535, false));
    call.out().clear();
    // A thousand less than was used: nothing may go, even if the connection's window grows.
    received(&mut call, b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xfc\x17");
    received(&mut call, b"\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0");
    assert_eq!(data(call.out()), (0, false));
    received(&mut call, b"\0\0\x04\x08\0\0\0\0\x01\0\0\x03\xe9");
    assert_eq!(data(call.out()), (1, false));
    received(&mut call, b"\0\0\x04\x08\0\0\0\0\x01\x7f\0\0\0");
    assert_eq!(data(call.out()), (70_000 - 65_535, true));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However the network cuts a server's bytes, the call ends the same.
    #[test]
    fn pieces_do_not_matter(
        rest in prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(vec![SETTINGS, OK, SERVING, TRAILERS]).prop_map(<[u8]>::to_vec),
                1 => prop::collection::vec(any::<u8>(), 0..20),
            ],
            0..8,
        ),
        size in 1..30_usize,
    ) {
        let bytes = [SETTINGS.to_vec(), rest.concat()].concat();
        let mut whole = call();
        whole.receive(&bytes);
        let (mut pieces, mut unused) = (call(), Vec::new());
        for piece in bytes.chunks(size) {
            unused.extend_from_slice(piece);
            let used = pieces.receive(&unused);
            unused.drain(..used);
        }
        prop_assert_eq!(format!("{:?}", whole.stage()), format!("{:?}", pieces.stage()));
    }
}
