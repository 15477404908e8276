//! A pod's events: a mark each, and its word where there is room for it.

use super::Sheet;
use crate::draw::paint::{Anchor, Strokes};
use crate::draw::story::Happening;
use crate::draw::text;

/// How high the strip of marks is, and each row of words below it.
const MARKS: f64 = 14.0;
const ROW: f64 = 14.0;

/// Marks nearer than this share one.
const COLUMN: f64 = 5.0;

/// With more marks than this none has a title, and the picture stays small.
const MOST_TITLES: usize = 80;

/// One mark.
#[derive(Debug)]
struct Sign<'a> {
    x: f64,
    /// The most telling of those that share it.
    happening: &'a Happening<'a>,
    /// How many others share it.
    others: usize,
}

/// A word with its place.
#[derive(Debug, PartialEq)]
struct Word {
    x: f64,
    /// Its left and right edge.
    edges: (f64, f64),
    row: usize,
    text: String,
}

/// Draws the lane below `y` and says how high it is, with the gap below it; without events nothing at all.
///
/// `named` says whether a word needs its container's name.
pub(in super::super) fn draw(
    sheet: &mut Sheet,
    y: f64,
    events: &[Happening<'_>],
    rows: usize,
    named: bool,
) -> f64 {
    if events.is_empty() {
        return 0.0;
    }
    sheet.name("small", (20.0, y + 11.0), "events");
    let signs = signs(sheet, events);
    let words = words(&signs, rows, sheet.axis.right() + 12.0, named);
    let used = words.iter().map(|word| word.row + 1).max().unwrap_or(0);
    for word in &words {
        let base = y + MARKS + ROW * f64_of(word.row);
        sheet
            .paint
            .line("lead", [word.x, y + 10.0, word.x, base + 8.0]);
    }
    marks(sheet, y + 7.0, &signs);
    for word in &words {
        let base = y + MARKS + ROW * f64_of(word.row) + 10.0;
        let place = (word.edges.0 + 1.0, base);
        sheet.over.text("what", place, Anchor::Start, &word.text);
    }
    MARKS + ROW * f64_of(used) + 8.0
}

fn f64_of(row: usize) -> f64 {
    f64::from(u32::try_from(row).unwrap_or(u32::MAX))
}

/// A sign for each event; where they are many, those at one place share one.
fn signs<'a>(sheet: &Sheet, events: &'a [Happening<'a>]) -> Vec<Sign<'a>> {
    let mut signs: Vec<Sign<'_>> = Vec::new();
    let mut sorted: Vec<&Happening<'_>> = events.iter().collect();
    sorted.sort_by_key(|happening| happening.from);
    for happening in sorted {
        let x = sheet.axis.x(happening.from);
        match signs.last_mut() {
            Some(last) if events.len() > MOST_TITLES && x - last.x < COLUMN => {
                last.others += 1;
                if happening.rank() < last.happening.rank() {
                    last.happening = happening;
                }
            }
            _ => signs.push(Sign {
                x,
                happening,
                others: 0,
            }),
        }
    }
    signs
}

/// The words that find room, by rank and then by time.
fn words(signs: &[Sign<'_>], rows: usize, right: f64, named: bool) -> Vec<Word> {
    let mut order: Vec<&Sign<'_>> = signs.iter().collect();
    order.sort_by(|a, b| {
        (a.happening.rank(), a.happening.from).cmp(&(b.happening.rank(), b.happening.from))
    });
    let mut words: Vec<Word> = Vec::new();
    let mut taken = vec![Row::default(); rows];
    for sign in order {
        let text = word(sign, named);
        let width = text::width(&text, 11.0) + 6.0;
        let edges = if sign.x + 2.0 + width <= right {
            (sign.x + 2.0, sign.x + 2.0 + width)
        } else {
            (sign.x - 2.0 - width, sign.x - 2.0)
        };
        let found = (0..rows).find(|row| {
            let lead_is_free = taken[..*row].iter().all(|above| above.lets_through(sign.x));
            lead_is_free && taken[*row].has_room(edges)
        });
        let Some(row) = found else { continue };
        taken[row].words.push(edges);
        for reached in &mut taken[..=row] {
            reached.leads.push(sign.x);
        }
        words.push(Word {
            x: sign.x,
            edges,
            row,
            text,
        });
    }
    words
}

/// What is taken in a row: by words, and by the lines that lead to words in it or further down.
#[derive(Clone, Debug, Default)]
struct Row {
    words: Vec<(f64, f64)>,
    leads: Vec<f64>,
}

impl Row {
    fn has_room(&self, (from, to): (f64, f64)) -> bool {
        self.words.iter().all(|(a, b)| to <= *a || from >= *b)
            && self.leads.iter().all(|lead| to <= *lead || from >= *lead)
    }

    fn lets_through(&self, x: f64) -> bool {
        self.words.iter().all(|(a, b)| x <= *a || x >= *b)
    }
}

fn word(sign: &Sign<'_>, named: bool) -> String {
    let happening = sign.happening;
    let mut text = happening.label.to_owned();
    if let Some(probe) = happening.probe() {
        text += &format!(" ({})", probe.to_lowercase());
    }
    if let Some(container) = happening.container.filter(|_| named) {
        text += &format!(" {container}");
    }
    if happening.times > 1 {
        text += &format!(" ×{}", happening.times);
    }
    text
}

/// The marks; with a title each as long as there are few enough for that.
fn marks(sheet: &mut Sheet, y: f64, signs: &[Sign<'_>]) {
    if signs.len() <= MOST_TITLES {
        for sign in signs {
            let mut shape = Strokes::default();
            let class = shape_of(&mut shape, sign, y);
            sheet.paint.strokes(class, &shape, &title(sign));
        }
        return;
    }
    let (mut warnings, mut notes) = (Strokes::default(), Strokes::default());
    for sign in signs {
        let shape = if sign.happening.warning {
            &mut warnings
        } else {
            &mut notes
        };
        shape_of(shape, sign, y);
    }
    sheet.paint.strokes("m-alarm", &warnings, "");
    sheet.paint.strokes("m-note", &notes, "");
}

/// Adds a sign's shape and gives its class.
fn shape_of(shape: &mut Strokes, sign: &Sign<'_>, y: f64) -> &'static str {
    if sign.happening.warning {
        shape.triangle(sign.x, y);
        "m-alarm"
    } else {
        shape.diamond(sign.x, y);
        "m-note"
    }
}

fn title(sign: &Sign<'_>) -> String {
    let time = text::seconds(sign.happening.from.as_secs());
    let message: String = sign.happening.message.chars().take(200).collect();
    let mut title = format!("{time}: {}: {message}", sign.happening.label);
    if sign.happening.times > 1 {
        let until = text::seconds(sign.happening.to.as_secs());
        title += &format!(" ({} times until {until})", sign.happening.times);
    }
    if sign.others > 0 {
        title += &format!(", and {} more here", sign.others);
    }
    title
}
