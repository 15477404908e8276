//! A small file that survives the death of the process, for what changes at every turn.
//!
//! It has two slots. A save fills the older one in a single write and no fsync, which costs microseconds;
//! the page cache belongs to the kernel, so a process killed at any moment leaves either the new slot
//! whole or the old one untouched. A power cut may lose the newest saves, or all: then there is nothing
//! to load, never something wrong.
//!
//! ```text
//! slot = magic (8) · capacity (8) · sequence (8) · length (8) · checksum (8) · payload · unused
//! file = slot · slot, both of the same capacity: 4096 times a power of two
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MAGIC: u64 = u64::from_be_bytes(*b"probelet");
const HEADER: usize = 40;
const SMALLEST: u64 = 4096;
/// 1 GiB: no offset beyond is looked at.
const LARGEST: u64 = SMALLEST << 18;

/// The memory of one pod.
///
/// Shape: one writer at a time; who that is, is the caller's matter.
#[derive(Debug)]
pub struct MemoryFile {
    path: PathBuf,
    file: File,
    /// Bytes of a slot; 0 in a file that has none yet, or none that can be read.
    capacity: u64,
    /// Sequence of the newest slot; the one after it goes to the other slot.
    sequence: u64,
}

impl MemoryFile {
    /// Opens the file, and makes it if it is missing; its directory must be there.
    ///
    /// # Errors
    /// Those of opening and reading it. What is in it is no error.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = options().create(true).open(path)?;
        let newest = newest(&file)?;
        let (capacity, sequence) = newest.map_or((0, 0), |slot| (slot.capacity, slot.sequence));
        Ok(Self {
            path: path.to_owned(),
            file,
            capacity,
            sequence,
        })
    }

    /// What was saved last, and `None` if nothing was, or if nothing whole is left of it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(newest(&self.file)?.map(|slot| slot.payload))
    }

    /// Replaces what was saved before. When this returns, the death of the process cannot undo it.
    ///
    /// # Errors
    /// Those of writing; what was saved before is still there then. `InvalidInput` if `payload` is larger
    /// than a slot of 1 GiB.
    pub fn save(&mut self, payload: &[u8]) -> io::Result<()> {
        let needed = HEADER as u64 + payload.len() as u64;
        if needed > LARGEST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "more than a memory file holds",
            ));
        }
        let sequence = self.sequence + 1;
        if needed > self.capacity {
            self.grow(needed.next_power_of_two().max(SMALLEST), sequence, payload)?;
        } else {
            let offset = if sequence.is_multiple_of(2) {
                0
            } else {
                self.capacity
            };
            self.file
                .write_all_at(&encode(self.capacity, sequence, payload), offset)?;
        }
        self.sequence = sequence;
        Ok(())
    }

    /// Removes the file. One that is gone already is no error.
    ///
    /// # Errors
    /// Those of removing it.
    pub fn remove(self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts a file with larger slots in the place of this one; a rename is whole or has not been.
    fn grow(&mut self, capacity: u64, sequence: u64, payload: &[u8]) -> io::Result<()> {
        let mut draft = self.path.clone().into_os_string();
        draft.push(".new");
        let file = options().create(true).truncate(true).open(&draft)?;
        let offset = if sequence.is_multiple_of(2) {
            0
        } else {
            capacity
        };
        let written = file.set_len(2 * capacity).and_then(|()| {
            file.write_all_at(&encode(capacity, sequence, payload), offset)?;
            std::fs::rename(&draft, &self.path)
        });
        if let Err(error) = written {
            // The draft is worth nothing; the error that matters is the first one.
            let _ = std::fs::remove_file(&draft);
            return Err(error);
        }
        self.file = file;
        self.capacity = capacity;
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// A slot that was found whole.
struct Slot {
    capacity: u64,
    sequence: u64,
    payload: Vec<u8>,
}

fn newest(file: &File) -> io::Result<Option<Slot>> {
    let length = file.metadata()?.len();
    // Where the second slot begins is known from the first, which may be torn: so look wherever one can.
    let mut offsets = std::iter::once(0).chain((0..=18).map(|power| SMALLEST << power));
    offsets.try_fold(None::<Slot>, |newest, offset| {
        let slot = decode(file, offset, length)?;
        Ok(slot
            .into_iter()
            .chain(newest)
            .max_by_key(|slot| slot.sequence))
    })
}

fn encode(capacity: u64, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let fields = [MAGIC, capacity, sequence, payload.len() as u64];
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
    bytes.extend(checksum(&[&bytes, payload]).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The slot at `offset`, unless there is none or it is not whole.
fn decode(file: &File, offset: u64, length: u64) -> io::Result<Option<Slot>> {
    let Some(room) = length.checked_sub(offset + HEADER as u64) else {
        return Ok(None);
    };
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, offset)?;
    let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[8 * at + byte]));
    let [magic, capacity, sequence, size, sum] = std::array::from_fn(field);
    // The second slot begins where the first ends, so any other slot is the bytes of a payload.
    if magic != MAGIC || (offset != 0 && offset != capacity) || size > room.min(LARGEST) {
        return Ok(None);
    }
    let Ok(size) = usize::try_from(size) else {
        return Ok(None);
    };
    let mut payload = vec![0; size];
    file.read_exact_at(&mut payload, offset + HEADER as u64)?;
    let whole = checksum(&[&header[..HEADER - 8], &payload]) == sum;
    Ok(whole.then_some(Slot {
        capacity,
        sequence,
        payload,
    }))
}

/// FNV-1a of 64 bits: each step is a bijection of the sum, so any one changed byte changes it.
fn checksum(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().copied().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(path: &Path) -> Option<Vec<u8>> {
        MemoryFile::open(path).unwrap().load().unwrap()
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pod");
        (dir, path)
    }

    #[test]
    fn the_last_save_is_loaded() {
        let (_dir, path) = place();
        let mut memory = MemoryFile::open(&path).unwrap();
        assert_eq!(memory.load().unwrap(), None);
        for text in ["one", "", "three", "four"] {
            memory.save(text.as_bytes()).unwrap();
            assert_eq!(load(&path).as_deref(), Some(text.as_bytes()));
        }
        let mut again = MemoryFile::open(&path).unwrap();
        again.save(b"five").unwrap();
        assert_eq!(load(&path).as_deref(), Some(&b"five"[..]));
        again.remove().unwrap();
        assert!(!path.exists());
        memory.remove().unwrap();
    }

    #[test]
    fn it_grows_with_what_is_saved_and_leaves_no_draft() {
        let (dir, path) = place();
        let mut memory = MemoryFile::open(&path).unwrap();
        for size in [1, 4096 - HEADER, 4096 - HEADER + 1, 3, 100_000, 5] {
            let payload = vec![u8::try_from(size % 251).unwrap(); size];
            memory.save(&payload).unwrap();
            assert_eq!(load(&path), Some(payload), "{size}");
        }
        assert_eq!(path.metadata().unwrap().len(), 2 * 131_072);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Two saves, the newer in the first slot or in the second, then one byte of damage everywhere.
    #[test]
    fn a_torn_slot_falls_back_to_the_other() {
        for saves in [2, 3] {
            let (_dir, path) = place();
            let mut memory = MemoryFile::open(&path).unwrap();
            for number in 1..=saves {
                memory.save(format!("save {number}").as_bytes()).unwrap();
            }
            let new = format!("save {saves}").into_bytes();
            let old = format!("save {}", saves - 1).into_bytes();
            let new_at = if saves % 2 == 0 { 0 } else { 4096 };
            let whole = std::fs::read(&path).unwrap();
            assert_eq!(whole.len(), 8192);
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x41;
                std::fs::write(&path, &bytes).unwrap();
                let expected = if (new_at..new_at + HEADER + new.len()).contains(&at) {
                    &old
                } else {
                    &new
                };
                assert_eq!(
                    load(&path).as_ref(),
                    Some(expected),
                    "byte {at}, {saves} saves"
                );
            }
            for length in 0..whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                let first = length >= HEADER + new.len();
                let second = length >= 4096 + HEADER + new.len();
                let (in_first, in_second) = if new_at == 0 {
                    (&new, &old)
                } else {
                    (&old, &new)
                };
                let expected = match (first, second) {
                    (true, true) => Some(&new),
                    (true, false) => Some(in_first),
                    (false, true) => Some(in_second),
                    (false, false) => None,
                };
                assert_eq!(
                    load(&path).as_ref(),
                    expected,
                    "{length} bytes, {saves} saves"
                );
            }
        }
    }

    #[test]
    fn a_damaged_file_takes_the_next_save() {
        let (_dir, path) = place();
        std::fs::write(&path, [7; 10_000]).unwrap();
        let mut memory = MemoryFile::open(&path).unwrap();
        assert_eq!(memory.load().unwrap(), None);
        memory.save(b"fresh").unwrap();
        assert_eq!(load(&path).as_deref(), Some(&b"fresh"[..]));
    }

    #[test]
    fn a_save_that_fails_leaves_the_one_before() {
        let (dir, path) = place();
        let mut memory = MemoryFile::open(&path).unwrap();
        memory.save(b"kept").unwrap();
        std::fs::create_dir(dir.path().join("pod.new")).unwrap();
        assert!(memory.save(&[0; 5000]).is_err());
        assert_eq!(memory.load().unwrap().as_deref(), Some(&b"kept"[..]));
        memory.save(b"and the next").unwrap();
        assert_eq!(load(&path).as_deref(), Some(&b"and the next"[..]));
    }
}
