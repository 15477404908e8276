//! What the shim gives back to the system.

use std::ffi::c_void;
use std::ptr;

/// Has what is large given back to the system as soon as it is freed.
///
/// The C library takes the size of what is freed for a sign that as much will be wanted again, and then
/// keeps it; a shim that has once passed on a large secret would never be small again.
pub(crate) fn give_back_large_allocations() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes no pointers; sets to its own initial value what would change by itself otherwise.
        let _not_changed = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024) };
    }
}

/// Gives back the pages of program and libraries that are as they are on disk; those still needed come
/// back one by one.
///
/// Starting up touches far more code than waiting does, and what it has touched would count as resident
/// for the years that a shim waits.
pub(crate) fn give_back_clean_pages() -> std::io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    for range in clean_file_mappings(&maps) {
        let start = ptr::with_exposed_provenance_mut::<c_void>(range.start);
        // SAFETY: the mapping is of a file, cannot be written, and has no page of its own ("Anonymous: 0"),
        // so every page that is dropped is read again from the file as it was. This process has one thread,
        // and changes no mapping between reading the list and this call.
        let dropped = unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
        if dropped != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The mappings in an `smaps` text that are of files, read-only, and without a page that differs from the
/// file: relocated data has been written to before it became read-only, and must stay.
fn clean_file_mappings(smaps: &str) -> Vec<std::ops::Range<usize>> {
    let mut clean = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((start, end)) = first.split_once('-') {
            let read_only = words.next().is_some_and(|flags| !flags.contains('w'));
            let of_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
            let range = usize::from_str_radix(start, 16)
                .ok()
                .zip(usize::from_str_radix(end, 16).ok());
            candidate = range
                .filter(|_| read_only && of_file)
                .map(|(start, end)| start..end);
        } else if first == "Anonymous:"
            && words.next() == Some("0")
            && let Some(range) = candidate.take()
        {
            clean.push(range);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_untouched_file_mappings_are_given_back() {
        let smaps = "\
1000-3000 r-xp 00000000 08:01 1 /bin/a b
Rss:                   8 kB
Anonymous:             0 kB
3000-4000 r--p 00002000 08:01 1 /bin/a b
Anonymous:             4 kB
4000-5000 rw-p 00003000 08:01 1 /bin/a b
Anonymous:             0 kB
7000-8000 r--p 00000000 00:00 0 [vvar]
Anonymous:             0 kB
9000-a000 rw-p 00000000 00:00 0
Anonymous:             0 kB
";
        let clean = clean_file_mappings(smaps);
        assert_eq!(clean.len(), 1);
        assert_eq!(clean[0], 0x1000..0x3000);
        let own = std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(
            !clean_file_mappings(&own).is_empty(),
            "this program has code"
        );
    }
}
