//! DNS messages (RFC 1035), as much of them as a question about a name takes.

mod read;
mod write;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use read::{Malformed, Query, is_answer_to};

/// The size of a datagram that every client takes.
const SMALLEST_DATAGRAM: u16 = 512;

/// The size of the largest datagram that is sent, whatever a client takes.
const LARGEST_DATAGRAM: u16 = 4096;

/// Length of a message's header.
const HEADER: usize = 12;

/// What kind of record is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// A name server.
    pub const NS: Self = Self(2);
    /// The start of a zone.
    pub const SOA: Self = Self(6);
    /// The name of an address.
    pub const PTR: Self = Self(12);
    /// A text.
    pub const TXT: Self = Self(16);
    /// An IPv6 address.
    pub const AAAA: Self = Self(28);
    /// Name and port of a service.
    pub const SRV: Self = Self(33);
    /// All there are.
    pub const ANY: Self = Self(255);
}

/// How a question was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseCode {
    /// The name is there, with or without records of that kind.
    NoError,
    /// The question cannot be understood.
    FormatError,
    /// It cannot be answered now.
    ServerFailure,
    /// There is no such name.
    NameError,
    /// Such questions are not answered at all.
    NotImplemented,
    /// The version of EDNS is not known (RFC 6891).
    BadVersion,
}

impl ResponseCode {
    const fn number(self) -> u16 {
        match self {
            Self::NoError => 0,
            Self::FormatError => 1,
            Self::ServerFailure => 2,
            Self::NameError => 3,
            Self::NotImplemented => 4,
            Self::BadVersion => 16,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it went.
    pub code: ResponseCode,
    /// Whether it comes from who knows, and not from hearsay.
    pub authoritative: bool,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// Who says that it is not there.
    pub authority: Vec<Record>,
    /// What is likely to be asked next.
    pub additional: Vec<Record>,
}

impl Reply {
    /// One that says nothing but how it went.
    #[must_use]
    pub const fn of(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
        }
    }
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name, without a dot at its end.
    pub name: String,
    /// What is known.
    pub data: Data,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A name server's name.
    Ns(String),
    /// The name of an address.
    Ptr(String),
    /// A text of at most 255 bytes.
    Txt(String),
    /// Where a service is.
    Srv {
        /// How much of it this one should get, of what all get.
        weight: u16,
        /// The port.
        port: u16,
        /// The name.
        target: String,
    },
    /// The start of a zone.
    Soa {
        /// The zone's server.
        server: String,
        /// Who is responsible, with a dot for the `@`.
        mailbox: String,
        /// Grows with each change.
        serial: u32,
    },
}

impl Data {
    const fn kind(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Ns(_) => RecordType::NS,
            Self::Ptr(_) => RecordType::PTR,
            Self::Txt(_) => RecordType::TXT,
            Self::Srv { .. } => RecordType::SRV,
            Self::Soa { .. } => RecordType::SOA,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
