//! The process that unpacks layers, for the tests: what `probelet unpack` is.

use std::process::ExitCode;

fn main() -> ExitCode {
    let enter = || Err(std::io::ErrorKind::Unsupported.into());
    probelet_image::unpack_main(std::env::args_os().skip(1), enter)
}
