//! Whatever a server sends, an attempt ends with an answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::{Arc, Mutex};

use probelet_probe::OUTPUT_LIMIT;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::ground::{LOCALHOST, PATIENT, Server, get, run};

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
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let sent = Arc::clone(&bytes);
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let server = Server::raw(listener, Arc::default(), move |mut stream| {
        let answer = sent.lock().unwrap().clone();
        drop(stream.write_all(&answer));
        drop(stream.shutdown(Shutdown::Write));
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: 1_500,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&answer(), |answer| {
        *bytes.lock().unwrap() = answer;
        let report = runtime.block_on(run(server.address, get("/"), PATIENT));
        prop_assert!(report.duration < PATIENT, "{report:?}");
        match report.result {
            Ok(outcome) => prop_assert!(outcome.output.len() < OUTPUT_LIMIT + 1_000),
            Err(error) => prop_assert!(!error.message.is_empty() && report.tries == 3),
        }
        Ok(())
    });
    outcome.unwrap();
}
