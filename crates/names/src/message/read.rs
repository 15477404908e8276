//! Reading questions.

use super::{HEADER, LARGEST_DATAGRAM, RecordType, Reply, ResponseCode, SMALLEST_DATAGRAM};

/// The longest name, with the length before each label and the 0 at the end.
const LONGEST_NAME: usize = 255;
const LONGEST_LABEL: u8 = 63;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
const FLAG_RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const FLAG_RECURSION_DESIRED: u16 = 0x0100;
const FLAG_CHECKING_DISABLED: u16 = 0x0010;

/// One question, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub(super) id: u16,
    /// The flags that are given back.
    pub(super) flags: u16,
    /// The question as it is on the wire, with upper and lower case as the client wrote it.
    pub(super) question: Vec<u8>,
    /// The name's labels in lower case; `None` if one is no text or has a dot in it.
    labels: Option<Vec<String>>,
    kind: RecordType,
    is_internet: bool,
    /// The size of datagram that the client takes, if it speaks EDNS.
    pub(super) edns: Option<u16>,
}

/// A packet that is no question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Nobody waits for an answer to it.
    #[error("not a question")]
    Ignored,
    /// This is the answer.
    #[error("a question that cannot be understood")]
    Answered(Vec<u8>),
}

impl Query {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(packet: &[u8]) -> Result<Self, Malformed> {
        let header: [u16; 6] = header(packet).ok_or(Malformed::Ignored)?;
        let [id, flags, questions, ..] = header;
        if flags & FLAG_RESPONSE != 0 {
            return Err(Malformed::Ignored);
        }
        let refused = |code| Malformed::Answered(Self::bare(id, flags).write(&Reply::of(code)));
        if flags & OPCODE != 0 {
            return Err(refused(ResponseCode::NotImplemented));
        }
        let read = if questions == 1 {
            Self::with_header(packet, header)
        } else {
            None
        };
        let (query, version) = read.ok_or_else(|| refused(ResponseCode::FormatError))?;
        if version != 0 {
            let answer = query.write(&Reply::of(ResponseCode::BadVersion));
            return Err(Malformed::Answered(answer));
        }
        Ok(query)
    }

    /// What can be said about a question that could not be read.
    const fn bare(id: u16, flags: u16) -> Self {
        Self {
            id,
            flags: flags & (OPCODE | FLAG_RECURSION_DESIRED),
            question: Vec::new(),
            labels: None,
            kind: RecordType(0),
            is_internet: false,
            edns: None,
        }
    }

    /// The question, and the version of EDNS it comes with.
    fn with_header(packet: &[u8], header: [u16; 6]) -> Option<(Self, u8)> {
        let [id, flags, _, answers, authorities, additional] = header;
        let mut reader = Reader { packet, at: HEADER };
        let labels = reader.name()?;
        let kind = RecordType(reader.u16()?);
        let class = reader.u16()?;
        let question = packet[HEADER..reader.at].to_vec();
        let mut edns = None;
        let mut version = 0;
        for number in 0..u32::from(answers) + u32::from(authorities) + u32::from(additional) {
            let record = reader.record()?;
            let is_additional = number >= u32::from(answers) + u32::from(authorities);
            if record.kind == TYPE_OPT && is_additional {
                if !record.is_root || edns.is_some() {
                    return None;
                }
                edns = Some(record.class);
                version = record.ttl.to_be_bytes()[1];
            }
        }
        if reader.at != packet.len() {
            return None;
        }
        let query = Self {
            id,
            flags: flags & (FLAG_RECURSION_DESIRED | FLAG_CHECKING_DISABLED),
            question,
            labels: plain(&labels),
            kind,
            is_internet: class == CLASS_IN,
            edns,
        };
        Some((query, version))
    }

    /// The labels of the name, in lower case and as one reads them; `None` for a name that none of the
    /// cluster has, and no host.
    #[must_use]
    pub fn labels(&self) -> Option<&[String]> {
        self.labels.as_deref().filter(|_| self.is_internet)
    }

    /// What is asked for.
    #[must_use]
    pub const fn kind(&self) -> RecordType {
        self.kind
    }

    /// How long an answer by datagram may be, in bytes.
    #[must_use]
    pub fn datagram(&self) -> usize {
        let taken = self.edns.unwrap_or(SMALLEST_DATAGRAM);
        taken.clamp(SMALLEST_DATAGRAM, LARGEST_DATAGRAM).into()
    }
}

/// Whether `packet` answers the question of `query`, where it went out with another `id`.
#[must_use]
pub fn is_answer_to(packet: &[u8], query: &Query, id: u16) -> bool {
    let Some([its_id, flags, questions, ..]) = header(packet) else {
        return false;
    };
    let its_question = packet.get(HEADER..HEADER + query.question.len());
    its_id == id
        && flags & FLAG_RESPONSE != 0
        && questions == 1
        && its_question.is_some_and(|question| question.eq_ignore_ascii_case(&query.question))
}

fn header(packet: &[u8]) -> Option<[u16; 6]> {
    let header = packet.get(..HEADER)?;
    let mut numbers = [0; 6];
    for (number, bytes) in numbers.iter_mut().zip(header.chunks_exact(2)) {
        *number = u16::from_be_bytes([bytes[0], bytes[1]]);
    }
    Some(numbers)
}

fn plain(labels: &[&[u8]]) -> Option<Vec<String>> {
    let plain = |label: &&[u8]| {
        let text = std::str::from_utf8(label).ok()?;
        let is_plain = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'.');
        is_plain.then(|| text.to_ascii_lowercase())
    };
    labels.iter().map(plain).collect()
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

struct ReadRecord {
    is_root: bool,
    kind: u16,
    class: u16,
    ttl: u32,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.packet.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The first name of a packet, which nothing stands before that it could point to.
    fn name(&mut self) -> Option<Vec<&'a [u8]>> {
        let start = self.at;
        let mut labels = Vec::new();
        loop {
            match self.u8()? {
                0 => return (self.at - start <= LONGEST_NAME).then_some(labels),
                length @ 1..=LONGEST_LABEL => labels.push(self.take(length.into())?),
                _ => return None,
            }
        }
    }

    /// A record that is of no interest but for what it is. Its name may point elsewhere; nobody goes there.
    fn record(&mut self) -> Option<ReadRecord> {
        let start = self.at;
        loop {
            match self.u8()? {
                0 => break,
                length @ 1..=LONGEST_LABEL => drop(self.take(length.into())?),
                0xc0.. => {
                    self.u8()?;
                    break;
                }
                _ => return None,
            }
        }
        let is_root = self.at - start == 1;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        let length = self.u16()?;
        self.take(length.into())?;
        Some(ReadRecord {
            is_root,
            kind,
            class,
            ttl,
        })
    }
}
