//! Suffixes of names, from a seed.

/// Letters and digits that make no words.
///
/// Upstream: apimachinery pkg/util/rand/rand.go, alphanums.
/// Shown by: suffixes_are_of_upstreams_letters_and_differ.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// The length of a random suffix.
const SUFFIX: usize = 5;
/// What is kept of a base, so that the whole is a DNS label of 63 characters.
///
/// Upstream: apiserver pkg/storage/names/generate.go, MaxGeneratedNameLength.
/// Shown by: suffixes_are_of_upstreams_letters_and_differ.
const LONGEST_BASE: usize = 58;

/// SplitMix64 over a seed that is drawn for each plan.
#[derive(Clone, Debug)]
pub(crate) struct Names(u64);

impl Names {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next name that begins with `base`.
    pub(crate) fn next(&mut self, base: &str) -> String {
        let base = base.get(..LONGEST_BASE).unwrap_or(base);
        let mut number = self.number();
        let mut name = base.to_owned();
        for _ in 0..SUFFIX {
            name.push(letter(usize::try_from(number % 27).unwrap_or(0)));
            number /= 27;
        }
        name
    }

    const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Each character of a text as one that makes no words.
///
/// Upstream: apimachinery pkg/util/rand/rand.go, SafeEncodeString.
/// Shown by: suffixes_are_of_upstreams_letters_and_differ.
pub(crate) fn safe(text: &str) -> String {
    text.bytes()
        .map(|byte| letter(usize::from(byte) % LETTERS.len()))
        .collect()
}

const fn letter(index: usize) -> char {
    LETTERS[index] as char
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn suffixes_are_of_upstreams_letters_and_differ() {
        let mut names = Names::new(7);
        let made: BTreeSet<String> = (0..500).map(|_| names.next("web-")).collect();
        assert_eq!(made.len(), 500);
        for name in &made {
            let suffix = name.strip_prefix("web-").unwrap();
            assert_eq!(suffix.len(), 5);
            assert!(suffix.bytes().all(|byte| LETTERS.contains(&byte)), "{name}");
        }
        assert_eq!(names.next(&"x".repeat(70)).len(), 63);
        // As upstream's, by its own test of the function.
        assert_eq!(safe("0123456789"), "456789bcdf");
    }
}
