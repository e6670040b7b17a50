//! The binary `roundtrip`: serve a directory, fetch URLs, say what this system offers.
//!
//! ```text
//!   main ──► cli ──┬── serve  [DIR]
//!                  ├── get    URL…
//!                  └── doctor
//! ```
//! It is a user of the library like any other: it knows the public API only.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
