//! A shim by itself, for this crate's tests; `probelet shim` is the same thing in the real binary.

fn main() -> std::process::ExitCode {
    probelet_runtime_native::shim_main(std::env::args_os().skip(1))
}
