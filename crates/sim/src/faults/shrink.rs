//! A long log made short.

/// Leaves out of `log` whatever is not needed for it to go on failing: halves first, then ever smaller
/// parts, down to single entries (Zeller's ddmin). `fails` is asked at most `tries` times.
pub(super) fn shrink<T: Clone>(
    log: &[T],
    mut tries: usize,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut least = log.to_vec();
    let mut size = least.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        let mut any = false;
        while start < least.len() {
            let end = (start + size).min(least.len());
            let without = [&least[..start], &least[end..]].concat();
            if tries == 0 {
                return least;
            }
            tries -= 1;
            if fails(&without) {
                least = without;
                any = true;
            } else {
                start = end;
            }
        }
        // As long as single entries can go, others may have become superfluous.
        size = if size == 1 && any { 1 } else { size / 2 };
    }
    least
}

#[cfg(test)]
mod tests {
    use super::shrink;

    #[test]
    fn only_what_is_needed_is_left() {
        let log: Vec<u32> = (0..100).collect();
        let mut asked = 0;
        let least = shrink(&log, 1_000, |log| {
            asked += 1;
            log.contains(&17) && log.contains(&83)
        });
        assert_eq!(least, [17, 83]);
        assert!(asked < 100, "{asked}");
    }

    #[test]
    fn it_ends_when_it_has_tried_often_enough() {
        let log: Vec<u32> = (0..100).collect();
        let least = shrink(&log, 3, |log| log.contains(&99));
        assert!(least.contains(&99));
    }
}
