//! How far the word reaches that a place points at.

use std::collections::BTreeMap;

use probelet_model::yaml::Position;

/// The lines of some texts.
#[derive(Debug)]
pub(crate) struct Lines<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> Lines<'a> {
    pub(crate) fn of(texts: &'a BTreeMap<String, String>) -> Self {
        let lines = texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.lines().collect()));
        Self(lines.collect())
    }

    /// The word at a place; none if the text does not reach so far.
    pub(crate) fn word(&self, source: &str, at: Position) -> Option<Word<'a>> {
        let line = self.0.get(source)?.get(index(at.line))?;
        Some(Word::at(line, at.column))
    }
}

/// Counted from 0 instead of 1.
fn index(number: u32) -> usize {
    usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX)
}

/// One line of a text and the part of it that a place points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    /// The line, without its end.
    pub(crate) line: &'a str,
    /// In bytes of the line.
    pub(crate) start: usize,
    /// In bytes of the line, not before `start`.
    pub(crate) end: usize,
}

impl<'a> Word<'a> {
    /// The word at a column; the empty one behind the line if it does not reach so far.
    fn at(line: &'a str, column: u32) -> Self {
        let mut starts = line.char_indices().map(|(start, _)| start);
        let start = starts.nth(index(column)).unwrap_or(line.len());
        let end = start + reach(&line[start..]);
        Self { line, start, end }
    }

    /// The column behind the word, in characters, from 1.
    pub(crate) fn end_column(&self) -> usize {
        self.line[..self.end].chars().count() + 1
    }
}

/// How many bytes of `rest` belong to the word that it starts with: a quoted text with its quotes, a list
/// or an object in brackets as far as it is on the line, else what comes before the next sign of YAML.
fn reach(rest: &str) -> usize {
    let Some(first) = rest.chars().next() else {
        return 0;
    };
    if let Some(quote) = ['"', '\''].into_iter().find(|quote| *quote == first) {
        return rest[1..]
            .find(quote)
            .map_or(rest.trim_end().len(), |end| end + 2);
    }
    if let Some(closing) = match first {
        '[' => Some(']'),
        '{' => Some('}'),
        _ => None,
    } {
        let mut depth = 0_usize;
        for (index, character) in rest.char_indices() {
            depth += usize::from(character == first);
            if character == closing {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
        }
        return rest.trim_end().len();
    }
    let signs = [": ", " #", ",", "}", "]"]
        .into_iter()
        .filter_map(|sign| rest.find(sign));
    let end = signs.min().unwrap_or(rest.len());
    rest[..end]
        .trim_end()
        .trim_end_matches(':')
        .len()
        .max(1)
        .min(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn word(line: &str, column: u32, expected: &str) {
        let word = Word::at(line, column);
        assert_eq!(&word.line[word.start..word.end], expected);
    }

    #[test]
    fn words_end_where_yaml_ends_them() {
        word("  periodSeconds: 10 # often", 18, "10");
        word("  livenessProbe:", 3, "livenessProbe");
        word("a: {port: 80, host: b}", 11, "80");
        word("a: {port: 80, host: b}", 21, "b");
        word("a: {port: 80, host: b} # c", 4, "{port: 80, host: b}");
        word("command: [a, [b], c]", 10, "[a, [b], c]");
        word("command: [a,", 10, "[a,");
        word("name: 'a b'", 7, "'a b'");
        word("ä: \"über\" ", 4, "\"über\"");
        word("key: value", 1, "key");
        word("short", 40, "");
    }

    proptest! {
        #[test]
        fn no_text_and_no_place_does_harm(text in any::<String>(), line in 0..4_u32, column in 0..30_u32) {
            let texts = BTreeMap::from([("t".to_owned(), text)]);
            if let Some(word) = Lines::of(&texts).word("t", Position { line, column }) {
                prop_assert!(word.start <= word.end);
                prop_assert!(word.line.get(word.start..word.end).is_some());
            }
        }
    }
}
