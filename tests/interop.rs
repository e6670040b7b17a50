//! Other people's programs against our servers, and our client against theirs: `make interop` installs
//! them and runs this. One that is missing is a failure, never skipped.
//!
//! ```text
//!   curl · wrk · ab · h2load · Python requests · Node fetch ──► roundtrip serve, examples/echo
//!   curl ──► files on overlayfs
//!   1 GiB down and up ──► byte for byte, in constant memory
//!   roundtrip get = curl: exit codes and output
//!   our client ──► Squid, Tinyproxy, MicroSocks ──► roundtrip serve
//!   wrk ──► HAProxy ──► two instances that are restarted in turn
//!   Client, blocking::Client ──► Go, Node, Python, httpbin, nginx
//!   handlers of examples/database ──► PostgreSQL
//! ```

mod interop {
    mod clients;
    mod curl;
    mod database;
    mod files;
    mod forms;
    mod get;
    mod large;
    mod load;
    mod origins;
    mod overlay;
    mod proxies;
    mod restart;
}
mod process;
