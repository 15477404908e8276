//! `pasta`, of the package passt: finds whether it can be had. [`crate::shim`] runs it.

use std::fs::OpenOptions;
use std::path::PathBuf;

use crate::text;

const TUN: &str = "/dev/net/tun";

/// The program, or why there is no use for it, and what helps.
pub(super) fn find() -> Result<PathBuf, String> {
    let program = super::program("pasta").ok_or(
        "pods have no way out: without root that takes the program pasta (package passt), which is not there",
    )?;
    // Only opened: no interface is made before its name is told.
    match OpenOptions::new().read(true).write(true).open(TUN) {
        Ok(_) => Ok(program),
        Err(error) => Err(format!(
            "pods have no way out: without root that takes pasta, and pasta takes {TUN}: {}",
            text::of_io(&error)
        )),
    }
}
