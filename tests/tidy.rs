//! House style that a machine can check. Each check has a test that it can fail.
//!
//! ```text
//!   src, tests, … ──► lengths · markers · module docs · first routers · dead files ──► complaints
//! ```

use std::collections::BTreeSet;

mod source;

use source::Source;

/// Lines of a file without its tests.
const FILE_LINES_MAX: usize = 800;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of `lib.rs`: it is a map.
const LIB_LINES_MAX: usize = 120;
/// Lines of ARCHITECTURE.md.
const ARCHITECTURE_LINES_MAX: usize = 300;

/// Longer functions that exist, with the length they may not pass: `(file, function, lines)`. When
/// one gets shorter the number here must follow, so that it cannot grow again.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Words that mark unfinished work. Split, so that this file does not find itself.
const MARKERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
];

/// Folders with our Rust code.
const FOLDERS: &[&str] = &["src", "tests", "examples", "benches", "fuzz"];

fn all_files() -> Vec<Source> {
    FOLDERS
        .iter()
        .flat_map(|folder| source::files(folder))
        .collect()
}

// ---- checks --------------------------------------------------------------------------------

fn file_length(file: &Source) -> Option<String> {
    let (code, _) = source::split_tests(&source::blanked(&file.text));
    let raw: Vec<&str> = file.text.lines().collect();
    // A line counts unless only the test part has something on it.
    let test_lines = raw
        .iter()
        .zip(code.lines())
        .filter(|(raw, code)| !raw.trim().is_empty() && code.trim().is_empty())
        .filter(|(raw, _)| !raw.trim_start().starts_with("//"))
        .count();
    let lines = raw.len() - test_lines;
    (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines without tests", file.path))
}

/// The functions of a file that are too long for the ratchet, and ratchet entries to lower.
fn function_lengths(file: &Source, ratchet: &[(&str, &str, usize)]) -> Vec<String> {
    let (code, _) = source::split_tests(&source::blanked(&file.text));
    let mut found = Vec::new();
    for (name, line, lines) in functions(&code) {
        let place = format!("{}:{line}: `{name}` has {lines} lines", file.path);
        let entry = ratchet
            .iter()
            .find(|(path, function, _)| *path == file.path && *function == name);
        match entry {
            Some((_, _, was)) if lines > *was => found.push(format!("{place}, had {was}")),
            Some((_, _, was)) if lines < *was => found.push(format!("{place}: lower the {was}")),
            None if lines > FUNCTION_LINES_MAX => found.push(place),
            _ => {}
        }
    }
    found
}

/// Name, first line and number of lines of every function with a body.
fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let words = source::paths(code);
    let mut found = Vec::new();
    for pair in words.windows(2) {
        let [(offset, "fn"), (name_at, name)] = pair else {
            continue;
        };
        // `fn(u8)` is a type: no name follows directly.
        if !code[offset + 2..*name_at].trim().is_empty() {
            continue;
        }
        let end = source::item_end(code.as_bytes(), *offset);
        if code.as_bytes()[end - 1] == b'}' {
            let first = source::line_of(code, *offset);
            found.push((*name, first, source::line_of(code, end - 1) - first + 1));
        }
    }
    found
}

fn text_length(path: &str, text: &str, max: usize) -> Option<String> {
    let lines = text.lines().count();
    (lines > max).then(|| format!("{path}: {lines} lines, at most {max}"))
}

fn module_doc(file: &Source) -> Option<String> {
    let first = file.text.lines().next().unwrap_or_default();
    (!first.starts_with("//! ")).then(|| format!("{}: does not open with `//! `", file.path))
}

fn markers(file: &Source) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let marker = MARKERS.iter().find(|marker| has_word(line, marker))?;
            Some(format!("{}:{}: {marker}", file.path, index + 1))
        })
        .collect()
}

/// Handlers that ignore the path and answer every one, in what people copy first: with those, nothing
/// is ever 404.
fn covering_routes(path: &str, text: &str) -> Vec<String> {
    let copied = |line: &str| !path.starts_with("src/") || line.trim_start().starts_with("//");
    let covers = |line: &str| {
        [
            "|_: &Request| \"",
            "async |_: Request|",
            "async move |_: Request|",
        ]
        .iter()
        .any(|handler| line.contains(&format!("(\"/\", {handler}")))
    };
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| copied(line) && covers(line))
        .map(|(index, _)| format!("{path}:{}: write `/{{$}}`", index + 1))
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].bytes().next_back();
        let after = line[at + word.len()..].bytes().next();
        let open = |byte: Option<u8>| !byte.is_some_and(source::is_word);
        open(before) && (word.ends_with('(') || open(after))
    })
}

/// Files below `src/` that no `mod` line reaches from `lib.rs` or `main.rs`.
fn dead_files(files: &[Source]) -> Vec<String> {
    let mut live = BTreeSet::new();
    let mut open = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    while let Some(path) = open.pop() {
        let Some(file) = files.iter().find(|file| file.path == path) else {
            continue;
        };
        live.insert(path.clone());
        let folder = match path.strip_suffix("/mod.rs") {
            Some(folder) => folder.to_owned(),
            None if path == "src/lib.rs" || path == "src/main.rs" => "src".to_owned(),
            None => path.trim_end_matches(".rs").to_owned(),
        };
        let code = source::blanked(&file.text);
        let words = source::paths(&code);
        for pair in words.windows(2) {
            if let [(_, "mod"), (at, name)] = pair
                && code[at + name.len()..].trim_start().starts_with(';')
            {
                open.push(format!("{folder}/{name}.rs"));
                open.push(format!("{folder}/{name}/mod.rs"));
            }
        }
    }
    let dead = files.iter().filter(|file| !live.contains(&file.path));
    dead.map(|file| format!("{}: no `mod` line reaches it", file.path))
        .collect()
}

// ---- the checks on this crate --------------------------------------------------------------

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn files_are_short() {
    assert_none(
        source::files("src")
            .iter()
            .filter_map(file_length)
            .collect(),
    );
}

#[test]
fn functions_are_short() {
    let files = source::files("src");
    assert_none(
        files
            .iter()
            .flat_map(|file| function_lengths(file, LONG_FUNCTIONS))
            .collect(),
    );
}

#[test]
fn maps_are_short() {
    let read = |path: &str| std::fs::read_to_string(source::root().join(path)).expect(path);
    let lib = text_length("src/lib.rs", &read("src/lib.rs"), LIB_LINES_MAX);
    let architecture = read("src/ARCHITECTURE.md");
    let architecture = text_length("ARCHITECTURE.md", &architecture, ARCHITECTURE_LINES_MAX);
    assert_none(lib.into_iter().chain(architecture).collect());
}

#[test]
fn modules_open_with_what_they_are() {
    assert_none(source::files("src").iter().filter_map(module_doc).collect());
}

#[test]
fn nothing_is_marked_unfinished() {
    assert_none(all_files().iter().flat_map(markers).collect());
}

#[test]
fn first_routers_answer_404() {
    let readme = std::fs::read_to_string(source::root().join("README.md")).expect("README.md");
    let mut found = covering_routes("README.md", &readme);
    for file in source::files("src")
        .iter()
        .chain(&source::files("examples"))
    {
        found.extend(covering_routes(&file.path, &file.text));
    }
    assert_none(found);
}

#[test]
fn no_file_is_dead() {
    assert_none(dead_files(&source::files("src")));
}

// ---- the checks can fail -------------------------------------------------------------------

fn file(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

#[test]
fn long_file_is_found_and_tests_do_not_count() {
    let code = "let a = 1;\n".repeat(FILE_LINES_MAX);
    assert!(file_length(&file("src/a.rs", &code)).is_none());
    let more = format!("{code}let b = 1;\n");
    assert!(file_length(&file("src/a.rs", &more)).is_some());
    let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
    assert!(file_length(&file("src/a.rs", &tests)).is_none());
}

#[test]
fn long_function_is_found() {
    let function = |lines| {
        let body = "    a();\n".repeat(lines - 2);
        file("src/a.rs", &format!("fn f(g: fn(u8)) {{\n{body}}}\n"))
    };
    let long = function(FUNCTION_LINES_MAX + 1);
    assert!(function_lengths(&function(FUNCTION_LINES_MAX), &[]).is_empty());
    assert_eq!(function_lengths(&long, &[]).len(), 1);
    let had = |lines| [("src/a.rs", "f", lines)];
    assert!(function_lengths(&long, &had(FUNCTION_LINES_MAX + 1)).is_empty());
    assert_eq!(function_lengths(&long, &had(FUNCTION_LINES_MAX)).len(), 1);
    assert_eq!(
        function_lengths(&long, &had(FUNCTION_LINES_MAX + 2)).len(),
        1
    );
}

#[test]
fn long_text_is_found() {
    assert!(text_length("a", "x\n", 1).is_none());
    assert!(text_length("a", "x\ny\n", 1).is_some());
}

#[test]
fn missing_module_doc_is_found() {
    assert!(module_doc(&file("src/a.rs", "//! What.\n")).is_none());
    assert!(module_doc(&file("src/a.rs", "// What.\n")).is_some());
    assert!(module_doc(&file("src/a.rs", "")).is_some());
}

#[test]
fn markers_are_found() {
    for marker in MARKERS {
        let text = format!("// {marker} later\n");
        assert_eq!(markers(&file("src/a.rs", &text)).len(), 1, "{marker}");
    }
    let longer = concat!("let a = \"TO", "DOS\";");
    assert!(markers(&file("src/a.rs", longer)).is_empty());
}

#[test]
fn covering_route_is_found() {
    let router = |pattern: &str| format!("/// .get(\"{pattern}\", |_: &Request| \"hello\")\n");
    assert_eq!(covering_routes("src/a.rs", &router("/")).len(), 1);
    assert_eq!(covering_routes("README.md", &router("/")).len(), 1);
    assert!(covering_routes("src/a.rs", &router("/{$}")).is_empty());
    assert!(
        covering_routes("src/a.rs", &router("/")[4..]).is_empty(),
        "a test's own"
    );
}

#[test]
fn dead_file_is_found() {
    let files = [
        file("src/lib.rs", "pub mod a;\nmod c { }\n// mod b;\n"),
        file("src/a/mod.rs", "mod inner;\n"),
        file("src/a/inner.rs", ""),
        file("src/b.rs", ""),
    ];
    assert_eq!(dead_files(&files), ["src/b.rs: no `mod` line reaches it"]);
}
