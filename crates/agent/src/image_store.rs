//! The images of a data directory, opened in one way by whoever opens them.

use std::ffi::OsString;
use std::io;

use probelet_image::{ImageStore, Options, Registries};
use probelet_runtime_native::{enter_user_namespace, single_id_notice};

use crate::data_dir::DataDir;

/// Opens the images of a data directory. `unpack_command` is the program, and its first arguments, that lead to
/// [`unpack_main`].
///
/// Files have the owners that the image says where containers can have them: as root, or with the user's
/// subordinate ids.
///
/// # Errors
/// If the directory cannot be made.
pub fn open(
    data_dir: &DataDir,
    unpack_command: Vec<OsString>,
    registries: Registries,
) -> io::Result<ImageStore> {
    let options = Options {
        dir: data_dir.images(),
        unpack_command,
    };
    let is_root = rustix::process::geteuid().is_root();
    let store = if !is_root && single_id_notice().is_none() {
        ImageStore::open_mapped(options)?
    } else {
        ImageStore::open(options)?
    };
    Ok(store.with_registries(registries))
}

/// What the process does that unpacks a layer, with the arguments after those of its command. Nothing else may run
/// in it.
#[must_use]
pub fn unpack_main(args: impl Iterator<Item = OsString>) -> std::process::ExitCode {
    probelet_image::unpack_main(args, || {
        if enter_user_namespace()? {
            Ok(())
        } else {
            Err(io::Error::other("the user's subordinate ids cannot be had"))
        }
    })
}
