//! Words for errors, as Kubernetes' users know them.

use rustix::io::Errno;

/// What the C library says about an error, as Go programs print it: `no such file or directory`.
pub(crate) fn reason(errno: Errno) -> String {
    of_io(&errno.into())
}

/// The same of an [`std::io::Error`].
pub(crate) fn of_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    let Some(code) = error.raw_os_error() else {
        return text;
    };
    let text = text
        .strip_suffix(&format!(" (os error {code})"))
        .unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_go_prints_them() {
        assert_eq!(reason(Errno::NOENT), "no such file or directory");
        assert_eq!(reason(Errno::ACCESS), "permission denied");
        assert_eq!(of_io(&std::io::Error::other("as it is")), "as it is");
    }
}
