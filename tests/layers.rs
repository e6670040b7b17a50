//! The layers are law: every module imports only what the table of `src/ARCHITECTURE.md` allows.
//!
//! ```text
//!   ARCHITECTURE.md ## Layers ──► table ──┐
//!   src/**/*.rs ──► crate:: paths ────────┴──► complaints (none, or the test fails)
//! ```

use std::collections::BTreeMap;
use std::collections::BTreeSet;

mod source;

use source::Source;

/// What may be used outside its home, where, and why. `*` ends a path that covers all below it.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    // Addresses and durations are values; naming them calls nobody.
    ("std::net::IpAddr", "*", "a value"),
    ("std::net::Ipv4Addr", "*", "a value"),
    ("std::net::Ipv6Addr", "*", "a value"),
    ("std::net::SocketAddr", "*", "a value"),
    ("std::net::SocketAddrV4", "*", "a value"),
    ("std::net::SocketAddrV6", "*", "a value"),
    ("std::net::AddrParseError", "*", "a value"),
    ("std::time::Duration", "*", "a value"),
    // Given by users, who have it from files; nobody reads a clock with it.
    (
        "std::time::SystemTime",
        "src/server/files/content.rs",
        "a value",
    ),
    // An open file is a value too; bodies and outputs carry it to the ring.
    ("std::fs::File", "src/content.rs", "a value"),
    ("std::fs::File", "src/http/*", "bodies own files"),
    ("std::fs::File", "src/client/*", "bodies own files"),
    ("std::fs::File", "src/net/*", "outputs own files"),
    ("std::fs::File", "src/fs/*", "opens them"),
    ("std::fs::File", "src/server/*", "serves them"),
    ("std::fs::File", "src/client/*", "sends them"),
    // Unit tests in files of their own speak to the real system.
    ("std::net", "src/net/tests*", "a test"),
    ("std::thread", "src/net/tests*", "a test"),
    // Threads: the blocking pool, the workers, and the two facades that own a thread.
    ("std::thread", "src/runtime/*", "pool and workers"),
    ("std::thread", "src/server/log*", "the log's own writer"),
    ("std::thread", "src/server/access*", "the log's own writer"),
    ("std::thread", "src/client/spawned*", "its own reactor"),
    ("std::thread", "src/testing/*", "a server beside the test"),
    // The binary is a user of the library like any other.
    ("std::fs", "src/cli/*", "the binary"),
    ("std::time", "src/cli/*", "the binary"),
    ("std::thread", "src/cli/*", "the binary"),
    ("std::net", "src/cli/*", "the binary"),
    (
        "libc",
        "src/cli/standard.rs",
        "looks before the standard library",
    ),
    (
        "nix",
        "src/cli/console.rs",
        "poll(2), and a close(2) that may fail",
    ),
];

/// System interfaces that only `ring` uses.
const RING_ONLY: &[&str] = &[
    "libc",
    "nix",
    "io_uring",
    "std::net",
    "std::fs",
    "std::time",
    "std::thread",
];

/// Where `unsafe` may stand.
const UNSAFE_ALLOWED: &[&str] = &["src/ring/*", "src/reactor/slots.rs", "src/cli/standard.rs"];

/// Names of descriptors. Messages are values, and outlive the connections that they came by, whose
/// numbers are others' by then: `http` has none, and no function that asks by them.
const DESCRIPTORS: &[&str] = &[
    "RawFd",
    "AsRawFd",
    "BorrowedFd",
    "OwnedFd",
    "descriptor",
    "fd",
    "raw_fd",
];

/// Module → modules that it may import.
type Table = BTreeMap<String, BTreeSet<String>>;

/// Reads the table below `## Layers`: `| module | what | may import |`.
fn table(architecture: &str) -> Table {
    let section = architecture
        .split("\n## ")
        .find(|section| section.starts_with("Layers"))
        .expect("ARCHITECTURE.md has a section `## Layers`");
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|--") && !line.contains("| -"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let modules: BTreeSet<String> = rows.iter().skip(1).flat_map(|row| names(row[0])).collect();
    let mut table = Table::new();
    for row in rows.iter().skip(1) {
        assert_eq!(row.len(), 3, "three columns: {row:?}");
        for module in names(row[0]) {
            let allowed = match row[2] {
                "nothing" => BTreeSet::new(),
                "everything below" | "everything" => modules
                    .iter()
                    .filter(|name| !names(row[0]).contains(name))
                    .cloned()
                    .collect(),
                "the public API only" => BTreeSet::new(),
                list => names(list).into_iter().collect(),
            };
            let before = table.insert(module, allowed);
            assert!(before.is_none(), "two rows for {}", row[0]);
        }
    }
    table
}

/// The words of a cell, without back quotes.
fn names(cell: &str) -> Vec<String> {
    cell.split([',', ' ', '`'])
        .filter(|word| !word.is_empty() && *word != "binary")
        .map(str::to_owned)
        .collect()
}

/// A cycle of the table, if it has one.
fn cycle(table: &Table) -> Option<String> {
    let mut left = table.clone();
    loop {
        let leaf = left
            .iter()
            .find(|(_, allowed)| allowed.iter().all(|name| !left.contains_key(name)))
            .map(|(name, _)| name.clone());
        match leaf {
            Some(leaf) => left.remove(&leaf),
            None if left.is_empty() => return None,
            None => return Some(format!("{:?}", left.keys())),
        };
    }
}

/// All that a module reaches through the table: what its tests may use.
fn below(table: &Table, module: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![module.to_owned()];
    while let Some(next) = open.pop() {
        for name in table.get(&next).into_iter().flatten() {
            if reached.insert(name.clone()) {
                open.push(name.clone());
            }
        }
    }
    reached
}

/// Everything wrong with one file, one line each.
fn complaints(file: &Source, table: &Table) -> Vec<String> {
    let module = top_module(&file.path);
    let (code, tests) = source::split_tests(&source::blanked(&file.text));
    let direct = table.get(module).cloned().unwrap_or_default();
    let mut found = Vec::new();
    let root = ["lib", "main"].contains(&module);
    if !root && !table.contains_key(module) {
        found.push(format!("{}: `{module}` is not in the table", file.path));
    }
    if !root {
        imports(file, module, &code, &direct, table, &mut found);
        imports(
            file,
            module,
            &tests,
            &below(table, module),
            table,
            &mut found,
        );
    }
    for text in [&code, &tests] {
        style(file, text, text == &tests, &mut found);
    }
    system(file, &code, &mut found);
    if module == "http" {
        descriptors(file, &code, &mut found);
    }
    found
}

fn top_module(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let first = path.split('/').next().expect("a path has a first part");
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Rules b, c, d: every `crate::NAME` is a module that this one may import.
fn imports(
    file: &Source,
    module: &str,
    text: &str,
    allowed: &BTreeSet<String>,
    table: &Table,
    found: &mut Vec<String>,
) {
    for (offset, path) in source::paths(text) {
        let Some(rest) = path.strip_prefix("crate::") else {
            continue;
        };
        let name = rest.split("::").next().unwrap_or_default();
        let line = source::line_of(text, offset);
        let says = if !table.contains_key(name) {
            "is no module of the table (a root re-export?)"
        } else if name != module && !allowed.contains(name) {
            "may not be imported here"
        } else {
            continue;
        };
        found.push(format!("{}:{line}: `crate::{name}` {says}", file.path));
    }
}

/// Rule a, and `::http` for the crate.
fn style(file: &Source, text: &str, is_test: bool, found: &mut Vec<String>) {
    let mut complain = |offset, what: &str| {
        let line = source::line_of(text, offset);
        found.push(format!("{}:{line}: {what}", file.path));
    };
    let in_root = file.path.matches('/').count() == 1
        || file.path.matches('/').count() == 2 && file.path.ends_with("/mod.rs");
    for (offset, path) in source::paths(text) {
        let next = text[offset + path.len()..].chars().next();
        let before = text[..offset].chars().next_back();
        if path.contains("super::super::") {
            complain(offset, "`super::super::` hides which module is meant");
        }
        if in_root && !is_test && path.starts_with("super::") {
            complain(offset, "`super::` of a top module is the root");
        }
        if path.ends_with("::") && next == Some('*') && !(is_test && path == "super::") {
            complain(offset, "glob import");
        }
        if path.ends_with("::") && next == Some('{') {
            complain(offset, "grouped import: one path per line");
        }
        let root_file = file.path == "src/lib.rs";
        if path.starts_with("http::") && before != Some('$') && !root_file {
            complain(offset, "write `::http` for the crate");
        }
        if path == "crate::http" && text[..offset].ends_with("use ") {
            complain(offset, "`use crate::http;` hides the crate of that name");
        }
    }
}

/// System interfaces and `unsafe` stay where they belong. Tests may use the system.
fn system(file: &Source, code: &str, found: &mut Vec<String>) {
    for (offset, path) in source::paths(code) {
        let line = source::line_of(code, offset);
        let full = path.strip_prefix("::").unwrap_or(path);
        let is = |name: &str| full == name || full.starts_with(&format!("{name}::"));
        if full == "unsafe" && !UNSAFE_ALLOWED.iter().any(|at| matches(at, &file.path)) {
            found.push(format!("{}:{line}: unsafe code", file.path));
        }
        let forbidden = full.contains("::") && RING_ONLY.iter().any(|name| is(name));
        let excepted = EXCEPTIONS
            .iter()
            .any(|(name, at, _)| is(name) && matches(at, &file.path));
        if forbidden && !excepted && top_module(&file.path) != "ring" {
            found.push(format!("{}:{line}: `{full}` outside `ring`", file.path));
        }
    }
}

/// No descriptor travels in a message.
fn descriptors(file: &Source, code: &str, found: &mut Vec<String>) {
    for (offset, path) in source::paths(code) {
        let last = path.rsplit("::").next().unwrap_or_default();
        if DESCRIPTORS.contains(&last) || path.starts_with("std::os::fd") {
            let line = source::line_of(code, offset);
            found.push(format!("{}:{line}: a descriptor in a message", file.path));
        }
    }
}

/// `*` at the end of a pattern stands for the rest.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    }
}

#[test]
fn the_table_holds() {
    let architecture = std::fs::read_to_string(source::root().join("src/ARCHITECTURE.md"))
        .expect("src/ARCHITECTURE.md exists");
    let table = table(&architecture);
    assert_eq!(cycle(&table), None, "the table has a cycle");
    let found: Vec<String> = source::files("src")
        .iter()
        .flat_map(|file| complaints(file, &table))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_layer_of_the_table_is_known() {
    let architecture = std::fs::read_to_string(source::root().join("src/ARCHITECTURE.md"))
        .expect("src/ARCHITECTURE.md exists");
    let table = table(&architecture);
    for (module, allowed) in &table {
        for name in allowed {
            assert!(table.contains_key(name), "{module} may import {name}?");
        }
    }
}

// ---- the checks can fail -------------------------------------------------------------------

const SMALL: &str = "# x\n\n## Layers\n\n| module | what | may import |\n|---|---|---|\n\
    | `low` | a | nothing |\n| `mid` | b | low |\n| `http` | c | low |\n| `top` | d | mid, http |\n";

fn complaints_of(path: &str, text: &str) -> Vec<String> {
    let file = Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    complaints(&file, &table(SMALL))
}

fn assert_bad(path: &str, text: &str, what: &str) {
    let found = complaints_of(path, text);
    assert!(
        found.iter().any(|line| line.contains(what)),
        "{text} in {path}: {found:?}"
    );
}

fn assert_good(path: &str, text: &str) {
    let found = complaints_of(path, text);
    assert!(found.is_empty(), "{text} in {path}: {found:?}");
}

#[test]
fn finds_imports_up_and_sideways() {
    assert_good("src/top.rs", "use crate::mid::Item;\nuse crate::top::x;");
    assert_bad("src/mid/mod.rs", "use crate::top::Item;", "may not");
    assert_bad("src/mid/a.rs", "fn f() { crate::http::f() }", "may not");
    assert_bad("src/top.rs", "use crate::low::Item;", "may not");
    assert_bad("src/top.rs", "use crate::Error;", "re-export");
    assert_bad("src/other.rs", "", "not in the table");
}

#[test]
fn tests_look_down_only() {
    let test = |path: &str| format!("#[cfg(test)]\nmod tests {{\n    use {path};\n}}\n");
    assert_good("src/top.rs", &test("crate::low::Item"));
    assert_bad("src/mid.rs", &test("crate::top::Item"), "may not");
}

#[test]
fn finds_paths_that_hide_their_module() {
    assert_bad("src/top.rs", "use crate::{mid, low};", "grouped");
    assert_bad("src/top.rs", "use crate::mid::{a, b};", "grouped");
    assert_bad("src/top.rs", "use std::{net, fs};", "grouped");
    assert_bad("src/top.rs", "use crate::mid::*;", "glob");
    assert_bad("src/top/a/b.rs", "use super::super::x;", "super::super");
    assert_bad("src/top/mod.rs", "use super::low::x;", "the root");
    assert_good("src/top/a.rs", "use super::b::x;");
    assert_good(
        "src/top.rs",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n}",
    );
}

#[test]
fn finds_the_crate_http_written_like_the_module() {
    assert_bad("src/top.rs", "use http::StatusCode;", "::http");
    assert_bad("src/top.rs", "use crate::http;", "hides");
    assert_good("src/top.rs", "use ::http::StatusCode;");
    assert_good("src/top.rs", "use crate::http::head::Scanner;");
}

#[test]
fn finds_the_system_outside_ring() {
    assert_bad("src/mid.rs", "let x = libc::AF_INET;", "outside");
    assert_bad("src/mid.rs", "use std::net::TcpStream;", "outside");
    assert_bad("src/mid.rs", "std::thread::sleep(d)", "outside");
    assert_bad("src/mid.rs", "use std::time::Instant;", "outside");
    assert_bad("src/mid.rs", "use std::time;", "outside");
    assert_bad("src/mid.rs", "unsafe { f() }", "unsafe");
    assert_good("src/mid.rs", "use std::time::Duration;");
    assert_good("src/mid.rs", "use std::net::SocketAddr;");
    assert_good("src/mid.rs", "// unsafe libc::x\nlet a = \"libc::y\";");
}

#[test]
fn finds_descriptors_in_messages() {
    let bad = |text: &str| assert_bad("src/http/request.rs", text, "a descriptor");
    bad("use std::os::fd::RawFd;");
    bad("struct Ask { descriptor: i32 }");
    bad("type Lookup = fn(fd: i32) -> Option<u8>;");
    assert_good("src/http/request.rs", "// a descriptor\nstruct A;");
    assert_good("src/mid.rs", "use std::os::fd::RawFd;");
}

#[test]
fn finds_a_cycle() {
    let text = SMALL.replace("| `low` | a | nothing |", "| `low` | a | top |");
    assert!(cycle(&table(&text)).is_some());
    assert!(cycle(&table(SMALL)).is_none());
}

#[test]
fn blanks_comments_and_literals() {
    let text = "a /* x /* y */ z */ b \"q\\\"\" 'c' '\\'' r#\"raw\"# b\"s\" <'a> d // e\nf";
    let blanked = source::blanked(text);
    let words: Vec<&str> = blanked.split_whitespace().collect();
    assert_eq!(words, ["a", "b", "<'a>", "d", "f"]);
}
