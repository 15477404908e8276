//! Writing answers.

use std::collections::BTreeMap;

use super::{Data, HEADER, LARGEST_DATAGRAM, Query, Record, Reply, ResponseCode};

const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_AUTHORITATIVE: u16 = 0x0400;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_AVAILABLE: u16 = 0x0080;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;

/// An OPT record: root, type, class, four bytes of flags, and no data.
const OPT_LENGTH: usize = 11;

/// A pointer has 14 bits.
const FARTHEST: usize = 0x3fff;

/// For how many seconds an answer may be kept, and the lack of one.
///
/// Upstream: coredns plugin/kubernetes/kubernetes.go, defaultTTL.
/// Shown by: a_service_is_found_by_name_port_and_address.
const TTL: u32 = 5;

/// The longest message.
const STREAM: usize = 65_535;

impl Query {
    /// The answer on the wire, of whatever length.
    #[must_use]
    pub fn write(&self, reply: &Reply) -> Vec<u8> {
        self.write_within(reply, STREAM)
    }

    /// The answer on the wire in at most `limit` bytes, at least 512. What does not fit is left out, and if
    /// that was asked for, the client is told to ask again by TCP.
    #[must_use]
    pub fn write_within(&self, reply: &Reply, limit: usize) -> Vec<u8> {
        let mut writer = Writer::new(self);
        let room = if self.edns.is_some() {
            limit - OPT_LENGTH
        } else {
            limit
        };
        let (answers, fit) = writer.records(&reply.answers, room);
        let (authority, authority_fits) = if fit {
            writer.records(&reply.authority, room)
        } else {
            (0, true)
        };
        let is_truncated = !fit || !authority_fits;
        let mut additional = 0;
        if !is_truncated {
            (additional, _) = writer.records(&reply.additional, room);
        }
        let code = reply.code.number();
        if self.edns.is_some() {
            writer.opt(code);
            additional += 1;
        }
        let mut flags = FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | self.flags | code & 0xf;
        if reply.authoritative {
            flags |= FLAG_AUTHORITATIVE;
        }
        if is_truncated {
            flags |= FLAG_TRUNCATED;
        }
        let questions = u16::from(!self.question.is_empty());
        writer.finish([self.id, flags, questions, answers, authority, additional])
    }

    /// The same message with the id of the query, as whoever asked expects it.
    #[must_use]
    pub fn with_own_id(&self, mut packet: Vec<u8>) -> Vec<u8> {
        for (byte, own) in packet.iter_mut().zip(self.id.to_be_bytes()) {
            *byte = own;
        }
        packet
    }

    /// An answer of somebody else, in what a datagram may hold: one that is longer becomes none, and the
    /// client is told to ask again by TCP.
    #[must_use]
    pub fn fitting(&self, packet: Vec<u8>) -> Vec<u8> {
        if packet.len() <= self.datagram() {
            return packet;
        }
        let mut bare = self.write(&Reply::of(ResponseCode::NoError));
        bare[2] |= FLAG_TRUNCATED.to_be_bytes()[0];
        bare
    }
}

struct Writer {
    packet: Vec<u8>,
    /// Where names that are written begin.
    known: BTreeMap<String, u16>,
}

impl Writer {
    fn new(query: &Query) -> Self {
        let mut packet = vec![0; HEADER];
        packet.extend(&query.question);
        let mut known = BTreeMap::new();
        let mut at = HEADER;
        let labels = query.labels().unwrap_or_default();
        for first in 0..labels.len() {
            known.insert(labels[first..].join("."), place(at).unwrap_or(0));
            at += 1 + labels[first].len();
        }
        Self { packet, known }
    }

    /// Writes as many of these as there is room for; how many that are, and whether all.
    fn records(&mut self, records: &[Record], room: usize) -> (u16, bool) {
        let mut count = 0;
        for record in records {
            let (length, known) = (self.packet.len(), self.known.clone());
            self.record(record);
            if self.packet.len() > room || count == u16::MAX {
                self.packet.truncate(length);
                self.known = known;
                return (count, false);
            }
            count += 1;
        }
        (count, true)
    }

    fn record(&mut self, record: &Record) {
        self.name(&record.name);
        self.u16(record.data.kind().0);
        self.u16(CLASS_IN);
        self.packet.extend(TTL.to_be_bytes());
        let length_at = self.packet.len();
        self.u16(0);
        match &record.data {
            Data::A(address) => self.packet.extend(address.octets()),
            Data::Aaaa(address) => self.packet.extend(address.octets()),
            Data::Ns(name) | Data::Ptr(name) => self.name(name),
            Data::Txt(text) => {
                let text = &text.as_bytes()[..text.len().min(255)];
                self.packet
                    .push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                self.packet.extend(text);
            }
            Data::Srv {
                weight,
                port,
                target,
            } => {
                self.u16(0);
                self.u16(*weight);
                self.u16(*port);
                // RFC 2782: never shortened.
                self.whole_name(target);
            }
            Data::Soa {
                server,
                mailbox,
                serial,
            } => {
                self.name(server);
                self.name(mailbox);
                // refresh, retry, expire, and how long it may be kept that something is not there
                for number in [*serial, 7200, 1800, 86400, TTL] {
                    self.packet.extend(number.to_be_bytes());
                }
            }
        }
        let length = u16::try_from(self.packet.len() - length_at - 2).unwrap_or(u16::MAX);
        self.packet[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// A name, of which what was written before is only pointed to.
    fn name(&mut self, name: &str) {
        let mut rest = name;
        while !rest.is_empty() {
            if let Some(at) = self.known.get(rest) {
                return self.u16(0xc000 | *at);
            }
            if let Some(at) = place(self.packet.len()) {
                self.known.insert(rest.to_owned(), at);
            }
            rest = self.label(rest);
        }
        self.packet.push(0);
    }

    fn whole_name(&mut self, name: &str) {
        let mut rest = name;
        while !rest.is_empty() {
            rest = self.label(rest);
        }
        self.packet.push(0);
    }

    /// Writes the first label and returns the others.
    fn label<'a>(&mut self, name: &'a str) -> &'a str {
        let (label, rest) = name.split_once('.').unwrap_or((name, ""));
        let length = u8::try_from(label.len()).expect("the names of a cluster have short labels");
        self.packet.push(length);
        self.packet.extend(label.as_bytes());
        rest
    }

    fn opt(&mut self, code: u16) {
        self.packet.push(0);
        self.u16(TYPE_OPT);
        self.u16(LARGEST_DATAGRAM);
        let [_, upper] = (code >> 4).to_be_bytes();
        // The code's upper bits, version 0, no flags, no data.
        self.packet.extend([upper, 0, 0, 0, 0, 0]);
    }

    fn u16(&mut self, number: u16) {
        self.packet.extend(number.to_be_bytes());
    }

    fn finish(mut self, header: [u16; 6]) -> Vec<u8> {
        for (place, number) in self.packet.chunks_exact_mut(2).zip(header) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        self.packet
    }
}

fn place(at: usize) -> Option<u16> {
    u16::try_from(at).ok().filter(|_| at <= FARTHEST)
}
