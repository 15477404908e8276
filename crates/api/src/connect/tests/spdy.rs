//! A client of SPDY, written by hand.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ground::Ground;

/// What a server says of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Data(u32, Bytes),
    /// FIN.
    End(u32),
    Reply(u32),
    Reset(u32),
    GoAway,
}

pub(super) struct Client<T> {
    io: T,
    compress: Compress,
    read: BytesMut,
    /// The end of the frame whose data was the last that was said.
    end: Option<u32>,
}

impl Client<TcpStream> {
    /// Upgrades a connection; answers with the subprotocol, too.
    pub(super) async fn connect(ground: &Ground, path: &str, protocols: &str) -> (Self, String) {
        let mut io = TcpStream::connect(ground.address).await.unwrap();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
             X-Stream-Protocol-Version: {protocols}\r\n\r\n"
        );
        io.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("upgrade: spdy/3.1\r\n"), "{head}");
        let chosen = head
            .lines()
            .find_map(|line| line.strip_prefix("x-stream-protocol-version: "));
        (Self::over(io), chosen.unwrap().to_owned())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    pub(super) fn over(io: T) -> Self {
        Self {
            io,
            compress: Compress::new(Compression::fast(), true),
            read: BytesMut::new(),
            end: None,
        }
    }

    pub(super) async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let mut block = BytesMut::new();
        let length = |text: &str| u32::try_from(text.len()).unwrap();
        block.put_u32(u32::try_from(headers.len()).unwrap());
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.put_u32(length(text));
            block.put_slice(text.as_bytes());
        }
        let mut compressed = Vec::with_capacity(1024);
        self.compress
            .compress_vec(&block, &mut compressed, FlushCompress::Sync)
            .unwrap();
        let mut frame = BytesMut::new();
        frame.put_u32(0x8003_0001);
        frame.put_u32(10 + u32::try_from(compressed.len()).unwrap());
        frame.put_u32(stream);
        frame.put_slice(&[0; 6]);
        frame.put_slice(&compressed);
        self.io.write_all(&frame).await.unwrap();
        self.io.flush().await.unwrap();
        assert_eq!(self.hear().await, Some(Said::Reply(stream)));
    }

    pub(super) async fn say(&mut self, stream: u32, data: &[u8]) {
        self.data(stream, 0, data).await;
    }

    pub(super) async fn finish(&mut self, stream: u32) {
        self.data(stream, 1, b"").await;
    }

    async fn data(&mut self, stream: u32, flags: u32, data: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_u32(stream);
        frame.put_u32(flags << 24 | u32::try_from(data.len()).unwrap());
        frame.put_slice(data);
        self.io.write_all(&frame).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// What the server says next; `None` when it has hung up.
    pub(super) async fn hear(&mut self) -> Option<Said> {
        if let Some(stream) = self.end.take() {
            return Some(Said::End(stream));
        }
        self.fill(8).await?;
        let first = self.read.get_u32();
        let second = self.read.get_u32();
        let length = usize::try_from(second & 0x00ff_ffff).unwrap();
        self.fill(length).await?;
        let mut body = self.read.split_to(length).freeze();
        if first >> 31 == 0 {
            let ends = second >> 24 & 1 == 1;
            if ends && body.is_empty() {
                return Some(Said::End(first));
            }
            self.end = ends.then_some(first);
            return Some(Said::Data(first, body));
        }
        Some(match first & 0xffff {
            2 => Said::Reply(body.get_u32()),
            3 => Said::Reset(body.get_u32()),
            7 => Said::GoAway,
            other => panic!("a frame of type {other}"),
        })
    }

    async fn fill(&mut self, length: usize) -> Option<()> {
        while self.read.len() < length {
            if self.io.read_buf(&mut self.read).await.unwrap() == 0 {
                return None;
            }
        }
        Some(())
    }

    /// All that is said of a stream until it ends.
    pub(super) async fn all(&mut self, stream: u32) -> String {
        let mut text = Vec::new();
        loop {
            match self.hear().await.unwrap() {
                Said::Data(of, data) if of == stream => text.extend_from_slice(&data),
                Said::End(of) if of == stream => return String::from_utf8(text).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }
}
