//! Work on the repository itself: `cargo xtask upstream` writes docs/upstream.md anew, `cargo xtask schema`
//! the data of `probelet-schema`, and `cargo xtask tags` the part of that which comes from upstream's sources.
//!
//! It is no part of the product, and nothing depends on it. Start reading at [`upstream`] or [`schema`].

mod scan;
mod schema;
mod upstream;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const USAGE: &str = "usage: cargo xtask upstream [--check]
       cargo xtask schema [--check]
       cargo xtask tags <k8s.io/api> <k8s.io/apimachinery>";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["upstream"] => {
            upstream::page(Path::new(ROOT)).and_then(|page| write(upstream::PAGE, page))
        }
        ["upstream", "--check"] => check_upstream(),
        ["schema"] => schema::data(Path::new(ROOT)).and_then(|data| write(schema::DATA, data)),
        ["schema", "--check"] => schema::check(Path::new(ROOT)),
        ["tags", api, apimachinery] => schema::tags_of(Path::new(api), Path::new(apimachinery))
            .and_then(|tags| write(schema::TAGS, tags)),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a command for people")]
            {
                eprintln!("{error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn write(path: &str, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    std::fs::write(Path::new(ROOT).join(path), content).with_context(|| path.to_owned())
}

fn check_upstream() -> anyhow::Result<()> {
    let path = Path::new(ROOT).join(upstream::PAGE);
    let there = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if there != upstream::page(Path::new(ROOT))? {
        bail!(
            "{} is not what the sources say: run cargo xtask upstream",
            upstream::PAGE
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_says_what_the_sources_say() {
        if let Err(error) = super::check_upstream() {
            panic!("{error:#}");
        }
    }

    #[test]
    fn the_data_of_the_schema_is_what_is_made_here() {
        if let Err(error) = super::schema::check(std::path::Path::new(super::ROOT)) {
            panic!("{error:#}");
        }
    }
}
