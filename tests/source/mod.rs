//! Reads this crate's own source text for the tests that check it.
//!
//! ```text
//!   file ──► blanked (no comments, no literals) ──► code | tests
//! ```
#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// One file of ours.
pub struct Source {
    /// Path below the crate's root, with `/`.
    pub path: String,
    /// The text as it stands.
    pub text: String,
}

/// The crate's root directory.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `folder` of the crate, sorted; none if there is no such folder.
pub fn files(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("source files are UTF-8"),
            path: relative(&path),
        })
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("readable folder").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("below the root");
    path.to_str().expect("UTF-8 path").to_owned()
}

/// The text with comments and the insides of literals replaced by spaces. Lines stay where they
/// are, so that line numbers still hold.
pub fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment(bytes, at);
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|&byte| match byte {
                b'\n' => b'\n',
                _ => b' ',
            }));
            at = end;
        }
    }
    String::from_utf8(out).expect("only whole literals are replaced")
}

/// The end of the comment or literal that starts at `at`; `at` itself if none does.
fn literal_or_comment(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_word = at > 0 && is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
    } else if rest.starts_with(b"/*") {
        at + block_comment(rest)
    } else if rest[0] == b'"' {
        at + quoted(rest, 1)
    } else if !in_word && rest.starts_with(b"b\"") {
        at + quoted(rest, 2)
    } else if !in_word && let Some(length) = raw_string(rest) {
        at + length
    } else if rest[0] == b'\'' {
        at + character(rest)
    } else {
        at
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let after = rest.strip_prefix(b"br").or(rest.strip_prefix(b"r"))?;
    let hashes = after.iter().take_while(|&&byte| byte == b'#').count();
    if after.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'#'; hashes + 1];
    end[0] = b'"';
    let body = &after[hashes + 1..];
    let close = body.windows(end.len()).position(|window| window == end);
    Some(close.map_or(rest.len(), |close| {
        rest.len() - body.len() + close + end.len()
    }))
}

/// Length of the character literal at the start; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let close = rest[3..].iter().position(|&byte| byte == b'\'');
        return close.map_or(rest.len(), |close| close + 4);
    }
    let Some(&first) = rest.get(1) else { return 0 };
    let length = match first {
        0..0x80 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    match rest.get(1 + length) {
        Some(b'\'') => length + 2,
        _ => 0,
    }
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Splits blanked text into what is compiled always and what only for tests: items under
/// `#[cfg(test)]`. Both keep their line numbers.
pub fn split_tests(blanked: &str) -> (String, String) {
    let mut code = blanked.as_bytes().to_vec();
    let mut tests: Vec<u8> = code
        .iter()
        .map(|&b| if b == b'\n' { b } else { b' ' })
        .collect();
    let mut at = 0;
    while let Some(found) = blanked[at..].find("#[cfg(test)]") {
        let start = at + found;
        let end = item_end(blanked.as_bytes(), start + "#[cfg(test)]".len());
        for index in start..end {
            tests[index] = code[index];
            if code[index] != b'\n' {
                code[index] = b' ';
            }
        }
        at = end;
    }
    let text = |bytes| String::from_utf8(bytes).expect("whole items");
    (text(code), text(tests))
}

/// Where the item that starts at `at` ends: behind its `;` or its closing brace.
pub fn item_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_i32;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The line (from 1) of an offset.
pub fn line_of(text: &str, offset: usize) -> usize {
    1 + text[..offset].matches('\n').count()
}

/// The paths (`a::b::C`) and single words of blanked text, with their offsets. A leading `::` is
/// kept; a path ends before `{`, `*` or `<`, but keeps the `::` in front of it.
pub fn paths(blanked: &str) -> Vec<(usize, &str)> {
    let bytes = blanked.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let starts = is_word(bytes[at]) || bytes[at..].starts_with(b"::");
        if !starts {
            at += 1;
            continue;
        }
        let start = at;
        loop {
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
            if !bytes[at..].starts_with(b"::") {
                break;
            }
            at += 2;
        }
        found.push((start, &blanked[start..at]));
    }
    found
}
