//! A front before a registry, which writes down what is asked, and may cut answers off.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::ground::Counts;

/// Passes connections on.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<String>,
    /// The next answer to a request for a blob ends after so many bytes.
    cut: Option<usize>,
}

impl Front {
    /// Goes with the process.
    pub(crate) fn before(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = Self {
            host: listener.local_addr().unwrap().to_string(),
            state: Arc::default(),
        };
        let (state, registry) = (Arc::clone(&front.state), registry.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&state);
                let Ok(server) = TcpStream::connect(&registry) else {
                    return;
                };
                std::thread::spawn(move || {
                    // Either side may go at any time.
                    let _gone = pass(client, server, &state);
                });
            }
        });
        front
    }

    pub(crate) fn cut_next_blob_after(&self, bytes: usize) {
        self.state.lock().unwrap().cut = Some(bytes);
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How often each blob was asked for.
    pub(crate) fn blobs(&self) -> Counts {
        let mut counts = Counts::new();
        for request in self.requests() {
            let line = request.lines().next().unwrap_or_default();
            if let Some((_, blob)) = line.split_once("/blobs/") {
                let blob = blob.split(['?', ' ']).next().unwrap_or_default();
                *counts.entry(blob.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

/// One request at a time, as HTTP/1.1 without pipelining is.
fn pass(mut client: TcpStream, server: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut to_server = server.try_clone()?;
    let mut to_client = client.try_clone()?;
    let cut: Arc<Mutex<Option<usize>>> = Arc::default();
    let answers = {
        let cut = Arc::clone(&cut);
        let mut server = server;
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            loop {
                let read = server.read(&mut buffer).unwrap_or(0);
                let mut left = cut.lock().unwrap();
                let most = left.map_or(read, |left| left.min(read));
                let written = to_client.write_all(&buffer[..most]);
                if let Some(left) = left.as_mut() {
                    *left -= most;
                }
                if read == 0 || most < read || written.is_err() {
                    // Both ways: nobody is to think that it was all.
                    let _gone = to_client.shutdown(Shutdown::Both);
                    let _gone = server.shutdown(Shutdown::Both);
                    return;
                }
            }
        })
    };
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = client.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            break;
        }
        request.extend_from_slice(&buffer[..read]);
        if request.starts_with(b"\x16") {
            // TLS is not spoken here.
            break;
        }
        if request.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&request).into_owned();
            let is_blob = text
                .lines()
                .next()
                .is_some_and(|line| line.contains("/blobs/"));
            let mut state = state.lock().map_err(|_| io::ErrorKind::Other)?;
            if is_blob {
                *cut.lock().map_err(|_| io::ErrorKind::Other)? = state.cut.take();
            }
            state.requests.push(text);
            drop(state);
            to_server.write_all(&request)?;
            request.clear();
        }
    }
    let _gone = to_server.shutdown(Shutdown::Both);
    let _gone = client.shutdown(Shutdown::Both);
    let _ended = answers.join();
    Ok(())
}
