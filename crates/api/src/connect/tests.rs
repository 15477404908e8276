//! Everything at the wire: a server of hyper's, a runtime that is this host, and clients of several kinds.

mod forwards;
mod ground;
mod logs;
mod processes;
mod spdy;

#[test]
fn go_has_no_numbers_of_errors() {
    let error = std::io::Error::from_raw_os_error(111);
    assert_eq!(super::go_words(&error), "connection refused");
}
