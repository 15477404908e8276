//! Work on the repository itself: `cargo xtask upstream` writes docs/upstream.md anew.
//!
//! It is no part of the product, and nothing depends on it. Start reading at [`upstream`].

mod scan;
mod upstream;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const USAGE: &str = "usage: cargo xtask upstream [--check]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["upstream"] => write_upstream(),
        ["upstream", "--check"] => check_upstream(),
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

fn write_upstream() -> anyhow::Result<()> {
    let text = upstream::page(Path::new(ROOT))?;
    let path = Path::new(ROOT).join(upstream::PAGE);
    std::fs::write(&path, text).with_context(|| path.display().to_string())
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
}
