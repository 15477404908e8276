//! What one attempt costs in CPU time, beside the bare system calls it cannot do without.
//!
//! `cargo run --release -p probelet-probe --example cost [attempts]`
//!
//! The server is another process (this program once more), so that its time is not counted. The floor
//! is a blocking socket with connect, write and one read (for tcpSocket: connect alone), in this
//! process, turn and turn about with the attempts, so that both meet the same weather.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use probelet_model::probe::Scheme;
use probelet_probe::{HostSockets, grpc, http, tcp};
use rustix::time::{ClockId, clock_gettime};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\nUser-Agent: kube-probe/1.35\r\nAccept: */*\r\n\
                         Connection: close\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
/// Preface, settings, headers and message of a health check, about as long as the real ones.
const CHECK: &[u8] = &[b'x'; 230];
/// Settings, their acknowledgement, headers, the message SERVING and trailers.
const HEALTHY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
      \0\0\0\x04\x01\0\0\0\0\
      \0\0\x14\x01\x04\0\0\0\x01\x88\x0f\x10\x10application/grpc\
      \0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01\
      \0\0\x0f\x01\x05\0\0\0\x01\0\x0bgrpc-status\x010";
const ROUNDS: u32 = 20;
const TIMEOUT: Duration = Duration::from_secs(10);

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve(),
        attempts => compare(attempts.map_or(Ok(20_000), str::parse)?),
    }
}

/// Says its addresses, then answers until its stdin is closed with the process that holds it.
fn serve() -> Result<(), Failed> {
    let mut stdout = std::io::stdout();
    for response in [RESPONSE, HEALTHY] {
        let listener = TcpListener::bind((LOCALHOST, 0))?;
        // Room for connections that come faster than one thread takes them.
        rustix::net::listen(&listener, 4096)?;
        writeln!(stdout, "{}", listener.local_addr()?)?;
        std::thread::spawn(move || answer(&listener, response));
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer(listener: &TcpListener, response: &[u8]) {
    let mut request = [0; 1024];
    for mut stream in listener.incoming().flatten() {
        if stream.read(&mut request).is_ok_and(|read| read > 0) {
            drop(stream.write_all(response));
        }
    }
}

fn compare(attempts: u32) -> Result<(), Failed> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().ok_or("no stdout")?).lines();
    let mut address =
        || -> Result<SocketAddr, Failed> { Ok(lines.next().ok_or("no address")??.parse()?) };
    let (http, grpc) = (address()?, address()?);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let count = attempts / ROUNDS;
    let mut spent = [Duration::ZERO; 6];
    for _ in 0..ROUNDS {
        spent[0] += measured(|| (0..count).try_for_each(|_| floor(http, REQUEST, RESPONSE)))?;
        spent[1] += measured(|| runtime.block_on(attempts_http(http, count)))?;
        spent[2] += measured(|| (0..count).try_for_each(|_| floor_tcp(http)))?;
        spent[3] += measured(|| runtime.block_on(attempts_tcp(http, count)))?;
        spent[4] += measured(|| (0..count).try_for_each(|_| floor(grpc, CHECK, HEALTHY)))?;
        spent[5] += measured(|| runtime.block_on(attempts_grpc(grpc, count)))?;
    }
    let micros = spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(count * ROUNDS));
    let mut stdout = std::io::stdout();
    for (name, floor, attempt) in [
        ("httpGet", micros[0], micros[1]),
        ("tcpSocket", micros[2], micros[3]),
        ("grpc", micros[4], micros[5]),
    ] {
        writeln!(
            stdout,
            "{name:9}  floor {floor:6.1} us  attempt {attempt:6.1} us  ratio {:.2}",
            attempt / floor
        )?;
    }
    writeln!(
        stdout,
        "a grpc attempt is {:.2} bare connects",
        micros[5] / micros[2]
    )?;
    drop(server.stdin.take());
    server.wait()?;
    Ok(())
}

fn floor(address: SocketAddr, request: &[u8], response: &[u8]) -> Result<(), Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    let mut received = [0; 1024];
    if stream.read(&mut received)? != response.len() {
        Err("not the response".into())
    } else {
        Ok(())
    }
}

fn floor_tcp(address: SocketAddr) -> Result<(), Failed> {
    drop(TcpStream::connect(address)?);
    Ok(())
}

async fn attempts_http(address: SocketAddr, count: u32) -> Result<(), Failed> {
    let host = address.ip().to_string();
    let get = http::Get {
        scheme: Scheme::Http,
        host: &host,
        port: address.port(),
        path: "/",
        headers: &[],
    };
    for _ in 0..count {
        let outcome = http::attempt(&HostSockets, &get, TIMEOUT).await?;
        if !outcome.status.is_success() {
            return Err(outcome.output.into());
        }
    }
    Ok(())
}

async fn attempts_tcp(address: SocketAddr, count: u32) -> Result<(), Failed> {
    let host = address.ip().to_string();
    for _ in 0..count {
        let outcome = tcp::attempt(&HostSockets, &host, address.port(), TIMEOUT).await?;
        if !outcome.status.is_success() {
            return Err(outcome.output.into());
        }
    }
    Ok(())
}

async fn attempts_grpc(address: SocketAddr, count: u32) -> Result<(), Failed> {
    let host = address.ip().to_string();
    let check = grpc::Check {
        host: &host,
        port: address.port(),
        service: "",
    };
    for _ in 0..count {
        let outcome = grpc::attempt(&HostSockets, &check, TIMEOUT).await?;
        if !outcome.status.is_success() {
            return Err(outcome.output.into());
        }
    }
    Ok(())
}

/// The CPU time of this process, user and system, that `work` takes.
fn measured(work: impl FnOnce() -> Result<(), Failed>) -> Result<Duration, Failed> {
    let before = cpu();
    work()?;
    Ok(cpu().saturating_sub(before))
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
