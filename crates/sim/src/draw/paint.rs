//! Writing SVG elements: shapes with a class each, since the style sheet alone knows colours.

use std::fmt::{self, Arguments, Display, Write as _};

use super::text::Escaped;

/// An SVG document under way.
#[derive(Debug, Default)]
pub(super) struct Paint {
    out: String,
}

/// A coordinate, to a tenth of a pixel and without a needless zero.
struct Px(f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Adding zero makes a zero of the negative one.
        let rounded = (self.0 * 10.0).round() / 10.0 + 0.0;
        write!(f, "{rounded}")
    }
}

/// Where a text stands to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
}

impl Paint {
    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// What has been written so far.
    pub(super) fn drawn(&self) -> &str {
        &self.out
    }

    /// Markup that is already whole.
    pub(super) fn put(&mut self, markup: Arguments<'_>) {
        self.out
            .write_fmt(markup)
            .expect("a String takes whatever is written to it");
    }

    /// A box with upright corners; `title` is what a reader sees who points at it.
    pub(super) fn rect(&mut self, class: &str, [x, y, w, h]: [f64; 4], title: &str) {
        let (x, y, w, h) = (Px(x), Px(y), Px(w), Px(h));
        self.put(format_args!(
            r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}""#
        ));
        self.titled("rect", title);
    }

    /// A box with round ends, for a number.
    pub(super) fn pill(&mut self, [x, y, w, h]: [f64; 4], title: &str) {
        let (x, y, w, h, r) = (Px(x), Px(y), Px(w), Px(h), Px(h / 2.0));
        self.put(format_args!(
            r#"<rect class="pill" x="{x}" y="{y}" width="{w}" height="{h}" rx="{r}""#
        ));
        self.titled("rect", title);
    }

    /// A line.
    pub(super) fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        let (x1, y1, x2, y2) = (Px(x1), Px(y1), Px(x2), Px(y2));
        self.put(format_args!(
            r#"<path class="{class}" d="M{x1} {y1}L{x2} {y2}"/>"#
        ));
        self.out.push('\n');
    }

    /// What a [`Strokes`] has gathered; nothing if that is nothing.
    pub(super) fn strokes(&mut self, class: &str, strokes: &Strokes, title: &str) {
        if strokes.0.is_empty() {
            return;
        }
        self.put(format_args!(r#"<path class="{class}" d="{}""#, strokes.0));
        self.titled("path", title);
    }

    /// A text; its `y` is the line it stands on.
    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let (x, y) = (Px(x), Px(y));
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
        };
        let text = Escaped(text);
        self.put(format_args!(
            r#"<text class="{class}" x="{x}" y="{y}"{anchor}>{text}</text>"#
        ));
        self.out.push('\n');
    }

    /// Ends an element that has been begun, with a title if there is one.
    fn titled(&mut self, element: &str, title: &str) {
        if title.is_empty() {
            self.out.push_str("/>\n");
        } else {
            let title = Escaped(title);
            self.put(format_args!("><title>{title}</title></{element}>\n"));
        }
    }
}

/// Many small shapes in one path, so that a thousand of them stay small.
#[derive(Debug, Default)]
pub(super) struct Strokes(String);

impl Strokes {
    /// A dot, as wide as the class's stroke.
    pub(super) fn dot(&mut self, x: f64, y: f64) {
        self.add(format_args!("M{} {}h0", Px(x), Px(y)));
    }

    /// A diagonal cross.
    pub(super) fn cross(&mut self, x: f64, y: f64) {
        let (x, y) = (Px(x - 3.5), Px(y - 3.5));
        self.add(format_args!("M{x} {y}l7 7m0-7l-7 7"));
    }

    /// A triangle on its base.
    pub(super) fn triangle(&mut self, x: f64, y: f64) {
        let (x, y) = (Px(x), Px(y - 4.5));
        self.add(format_args!("M{x} {y}l4.5 8h-9z"));
    }

    /// A square on its corner.
    pub(super) fn diamond(&mut self, x: f64, y: f64) {
        let (x, y) = (Px(x), Px(y - 4.5));
        self.add(format_args!("M{x} {y}l4.5 4.5l-4.5 4.5l-4.5-4.5z"));
    }

    /// A circle around something.
    pub(super) fn ring(&mut self, x: f64, y: f64) {
        let (x, y) = (Px(x - 6.5), Px(y));
        self.add(format_args!(
            "M{x} {y}a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0-13 0z"
        ));
    }

    /// An upright line.
    pub(super) fn upright(&mut self, x: f64, from: f64, to: f64) {
        self.add(format_args!("M{} {}V{}", Px(x), Px(from), Px(to)));
    }

    /// A box.
    pub(super) fn block(&mut self, x: f64, y: f64, w: f64, h: f64) {
        let (w, h) = (Px(w), Px(h));
        self.add(format_args!("M{} {}h{w}v{h}H{}z", Px(x), Px(y), Px(x)));
    }

    fn add(&mut self, shape: Arguments<'_>) {
        self.0
            .write_fmt(shape)
            .expect("a String takes whatever is written to it");
    }
}
