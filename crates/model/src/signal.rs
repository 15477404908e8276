//! The signals of Linux, by name.

/// Those with a name and a number of their own, as most architectures have them.
const SIGNALS: &[(&str, i32)] = &[
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];

/// `SIGRTMIN`, as the C libraries have it: the first two real-time signals are their own.
const REAL_TIME_MIN: i32 = 34;

/// `SIGRTMAX`.
const REAL_TIME_MAX: i32 = 64;

/// The number of a signal by its name, `SIGTERM`, `SIGRTMIN+1` or `SIGRTMAX-2`; nothing else is one.
///
/// Upstream: pkg/apis/core/types.go, Signal.
/// Shown by: signals_have_numbers.
#[must_use]
pub fn named(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG")?;
    let offset = |sign: &str, most: i32, text: &str| -> Option<i32> {
        match text.strip_prefix(sign) {
            None => text.is_empty().then_some(0),
            Some(digits) if digits.starts_with(|digit: char| matches!(digit, '1'..='9')) => {
                digits.parse().ok().filter(|offset| *offset <= most)
            }
            Some(_) => None,
        }
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return Some(REAL_TIME_MIN + offset("+", 15, rest)?);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return Some(REAL_TIME_MAX - offset("-", 14, rest)?);
    }
    let found = SIGNALS.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number)
}

/// Every name that [`named`] knows, in the order of the alphabet.
pub(crate) fn names() -> Vec<String> {
    let plain = SIGNALS.iter().map(|(name, _)| format!("SIG{name}"));
    let low = (1..=15).map(|offset| format!("SIGRTMIN+{offset}"));
    let high = (1..=14).map(|offset| format!("SIGRTMAX-{offset}"));
    let ends = ["SIGRTMIN", "SIGRTMAX"].map(str::to_owned);
    let mut names: Vec<String> = plain.chain(low).chain(high).chain(ends).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers() {
        for (name, number) in [
            ("SIGTERM", Some(15)),
            ("SIGUSR2", Some(12)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+15", Some(49)),
            ("SIGRTMIN+16", None),
            ("SIGRTMIN+01", None),
            ("SIGRTMIN-1", None),
            ("SIGRTMAX", Some(64)),
            ("SIGRTMAX-14", Some(50)),
            ("SIGRTMAX-15", None),
            ("TERM", None),
            ("sigterm", None),
            ("15", None),
            ("", None),
        ] {
            assert_eq!(named(name), number, "{name:?}");
        }
        let names = names();
        assert!(names.iter().all(|name| named(name).is_some()));
        assert_eq!(names.len(), 65);
    }
}
