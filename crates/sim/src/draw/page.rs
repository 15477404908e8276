//! A page: the picture, and a table of the records that goes with it.
//!
//! One file that loads nothing and says so to the browser. Without scripts the picture and the whole table are
//! there; with them the table can be filtered, dragging over the picture picks a span of time, and pointing at
//! one shows the place in the other.

use std::collections::BTreeMap;

use super::story::Story;
use super::text::{self, Escaped};
use super::words::{self, Words};
use super::{MAX_PODS, Options, picture};
use crate::record::{At, AttemptOutcome, Record, What};

/// More rows than this make a page slow, and nobody reads them.
const MOST_ROWS: usize = 4_000;

/// One row of the table.
#[derive(Debug)]
struct Row<'a> {
    from: At,
    to: At,
    times: u32,
    pod: &'a str,
    words: Words<'a>,
}

/// The page of `records`.
pub(super) fn write(records: &[Record], options: &Options) -> String {
    let story = Story::of(records, options.end, MAX_PODS);
    let svg = picture::draw(&story, &options.title);
    let rows = rows(records);
    let pods = records.iter().any(|record| record.pod.is_some());
    let title = Escaped(&options.title);
    let (style, script) = (include_str!("page.css"), include_str!("page.js"));
    let left_out = rows.len().saturating_sub(MOST_ROWS);
    let shown: String = rows[..rows.len() - left_out]
        .iter()
        .map(|row| line(row, pods))
        .collect();
    let note = if left_out > 0 {
        let more = text::count(u64::try_from(left_out).unwrap_or(u64::MAX), "more row");
        format!("<p>{more} left out; <code>-o jsonl</code> prints every record.</p>\n")
    } else {
        String::new()
    };
    let pod_head = if pods { "<th>Pod</th>" } else { "" };
    let sorts: String = sorts(&rows)
        .iter()
        .map(|sort| {
            format!("<label><input type=\"checkbox\" value=\"{sort}\" checked> {sort}</label>\n")
        })
        .collect();
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<div id="picture">
{svg}<div id="cursor" hidden></div><div id="span" hidden></div></div>
<form id="filter">
<input type="search" id="words" placeholder="filter: a container, a probe, a word" aria-label="filter">
{sorts}<button type="button" id="all" hidden>whole time</button>
<output id="shown"></output>
</form>
<table>
<thead><tr><th>Time</th>{pod_head}<th>What</th><th>About</th><th>Says</th><th>Message</th></tr></thead>
<tbody>
{shown}</tbody>
</table>
{note}</main>
<script>
{script}</script>
</body>
</html>
"#
    )
}

/// A row for each record but the summaries; a success that says the same as the attempt before it of its probe
/// goes into that one's row, unless anything else happened to the pod in between.
fn rows(records: &[Record]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    // For each pod the rows that may still take an attempt in, by what they are about.
    let mut open: BTreeMap<&str, Vec<(String, usize)>> = BTreeMap::new();
    for record in records {
        let Some(at) = record.t else { continue };
        let pod = record.pod.as_deref().unwrap_or_default();
        let words = words::of(record);
        let of_pod = open.entry(pod).or_default();
        if let What::Attempt { outcome, .. } = &record.what {
            let same = of_pod.iter().find(|(about, _)| *about == words.about);
            if let Some((_, index)) = same {
                let row = &mut rows[*index];
                let alike = row.words.text.split(' ').next() == words.text.split(' ').next()
                    && row.words.message == words.message;
                let settled = *outcome == AttemptOutcome::Success;
                if alike && settled {
                    row.to = at;
                    row.times += 1;
                    continue;
                }
            }
            of_pod.retain(|(about, _)| *about != words.about);
            of_pod.push((words.about.clone(), rows.len()));
        } else {
            of_pod.clear();
        }
        rows.push(Row {
            from: at,
            to: at,
            times: 1,
            pod,
            words,
        });
    }
    rows
}

/// The sorts that are there, in the order they appear.
fn sorts(rows: &[Row<'_>]) -> Vec<&'static str> {
    let mut sorts = Vec::new();
    for row in rows {
        if !sorts.contains(&row.words.sort) {
            sorts.push(row.words.sort);
        }
    }
    sorts
}

fn line(row: &Row<'_>, pods: bool) -> String {
    let (from, to) = (row.from.as_secs(), row.to.as_secs());
    let class = if row.words.bad { " class=\"bad\"" } else { "" };
    let mut time = text::seconds(from);
    if row.times > 1 {
        time += &format!(" to {}", text::seconds(to));
    }
    let times = if row.times > 1 {
        format!(" ×{}", row.times)
    } else {
        String::new()
    };
    let pod = if pods {
        format!("<td>{}</td>", Escaped(row.pod))
    } else {
        String::new()
    };
    let Words {
        sort,
        about,
        text,
        message,
        ..
    } = &row.words;
    let (about, text, message) = (Escaped(about), Escaped(text), Escaped(message));
    format!(
        "<tr data-from=\"{from}\" data-to=\"{to}\" data-sort=\"{sort}\"{class}><td>{time}</td>{pod}<td>{sort}</td>\
         <td>{about}</td><td>{text}{times}</td><td>{message}</td></tr>\n"
    )
}
