//! Whatever a server sends, an attempt ends with an answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use probelet_model::probe::Handler;
use probelet_probe::OUTPUT_LIMIT;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::ground::{LOCALHOST, PATIENT, Server, get, run};
use crate::grpc::grpc;
use crate::grpc_wire::{block, frame, read_request, settings};

/// Pieces of responses, likely to reach every corner of the parsers, and bytes of any kind.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 302 Found\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 ",
            "Content-Length: 3\r\n",
            "Content-Length: 18446744073709551615\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Location: http://127.0.0.2/\r\n",
            "Location: //[\r\n",
            "Location: %\r\n",
            "\r\n",
            "\n",
            "ffffffffffffffff\r\n",
            "3;x\r\nabc\r\n",
            "0\r\n\r\n",
            ": ",
            " \t",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn any_bytes_end_an_attempt() {
    every_answer_ends_an_attempt(answer(), get("/"), |stream, answer| {
        drop(stream.write_all(answer));
    });
}

/// Frames that a call may meet, well formed and not, and bytes of any kind.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::sample::subsequence(
        vec![
            (":status", "200"),
            (":status", "100"),
            ("content-type", "application/grpc"),
            ("grpc-encoding", "gzip"),
            ("grpc-status", "0"),
            ("grpc-status", "99"),
            ("grpc-message", "%41%4"),
        ],
        0..=7,
    );
    let payload = prop_oneof![
        fields.prop_map(|fields| block(&fields)),
        Just(b"\0\0\0\0\x02\x08\x01".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
        prop::sample::select(vec![0, 1, 4, 8]).prop_map(|length| vec![0; length]),
    ];
    let piece = prop_oneof![
        9 => (0..12_u8, prop::sample::select(vec![0, 1, 4, 5, 8, 0x20, 0x2d]), 0..3_u32, payload)
            .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn any_frames_end_a_call() {
    let handler = grpc((LOCALHOST, 0).into(), "");
    every_answer_ends_an_attempt(frames(), handler, |stream, answer| {
        if read_request(stream).is_some() {
            drop(stream.write_all(&[&settings(), answer].concat()));
        }
    });
}

fn every_answer_ends_an_attempt(
    answers: impl Strategy<Value = Vec<u8>>,
    mut handler: Handler,
    give: impl Fn(&mut TcpStream, &[u8]) + Send + 'static,
) {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let sent = Arc::clone(&bytes);
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let server = Server::raw(listener, Arc::default(), move |mut stream| {
        let answer = sent.lock().unwrap().clone();
        give(&mut stream, &answer);
        drop(stream.shutdown(Shutdown::Write));
        drop(stream.read_to_end(&mut Vec::new()));
    });
    if let Handler::Grpc { port, .. } = &mut handler {
        *port = server.address.port();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: 1_500,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&answers, |answer| {
        *bytes.lock().unwrap() = answer;
        let report = runtime.block_on(run(server.address, handler.clone(), PATIENT));
        prop_assert!(report.duration < PATIENT, "{report:?}");
        match report.result {
            Ok(outcome) => prop_assert!(outcome.output.len() < OUTPUT_LIMIT + 1_000),
            Err(error) => prop_assert!(!error.message.is_empty() && report.tries == 3),
        }
        Ok(())
    });
    outcome.unwrap();
}
