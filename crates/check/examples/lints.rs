//! Prints docs/lints.md: `cargo run -p probelet-check --example lints > docs/lints.md`.

#![expect(clippy::print_stdout, reason = "it is what it is for")]

fn main() {
    print!("{}", probelet_check::paper::lints());
}
