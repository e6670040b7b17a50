//! The page that shows a directory, and the same as JSON.
//!
//! ```text
//!   /photos/2026/  →  Index of / photos / 2026
//!                     ../
//!                     summer/                        2026-08-01 12:00
//!                     beach.jpg        1.2 MiB       2026-08-02 09:30
//! ```

use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::fs::DirEntry;
use crate::http::conditional::EntityTag;
use crate::http::negotiate;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::target::percent_encode_segment;
use crate::limits::DIRECTORY_ENTRIES_MAX;
use crate::server::calendar::Moment;
use crate::server::files::pages::Page;
use crate::server::files::representation::Representation;
use crate::server::files::representation::Source;

/// One line of a listing.
pub(super) struct Item {
    /// The name in its directory, without `/`; any bytes.
    pub(super) name: Vec<u8>,
    /// True for a directory, and for a link to one.
    is_dir: bool,
    /// Size of a file.
    bytes: u64,
    /// Last change, seconds since 1970.
    modified_seconds: u64,
}

impl From<DirEntry> for Item {
    fn from(entry: DirEntry) -> Item {
        Item {
            name: entry.name.into_vec(),
            is_dir: entry.metadata.is_dir,
            bytes: entry.metadata.len,
            modified_seconds: entry.metadata.modified_seconds,
        }
    }
}

/// How a directory is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Json,
}

impl Format {
    pub(super) const COUNT: usize = 2;

    /// JSON where the client prefers it to HTML.
    pub(super) fn of(request: &Request) -> Format {
        let weight = |media_type| negotiate::type_weight(request.headers(), media_type);
        match weight("application/json") > weight("text/html") {
            true => Format::Json,
            false => Format::Html,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Format::Html => "text/html; charset=utf-8",
            Format::Json => "application/json",
        }
    }
}

/// The response that lists a directory which stands at `path` (percent-decoded, with a final `/`). A
/// directory's own time says nothing about sizes and times of its files, so the tag is a hash of
/// what is shown.
pub(super) fn respond(
    request: &Request,
    path: &str,
    has_parent: bool,
    format: Format,
    page: &Page,
) -> Response {
    let text = Bytes::from_owner(Arc::clone(&page.text));
    let source = Source::Listing(match format {
        Format::Html => vec![html_head(path, has_parent).into(), text, HTML_END.into()],
        Format::Json => vec![text],
    });
    let representation = Representation {
        source: &source,
        content_type: format.content_type(),
        coding: None,
        etag: EntityTag::strong(&page.tag).map(|etag| EntityTag {
            is_weak: true,
            ..etag
        }),
        modified_seconds: None,
        cache_control: None,
        vary: Some(VARY),
        is_typed: true,
    };
    let response = representation.respond(request);
    match format {
        Format::Html if response.status_code().is_success() => guarded(response),
        _ => response,
    }
}

/// The response to HEAD, for which no directory is read: without a length and a tag.
pub(super) fn respond_to_head(format: Format) -> Response {
    let response = Response::new()
        .content_type(format.content_type())
        .header("Vary", VARY)
        .header("X-Content-Type-Options", "nosniff");
    match format {
        Format::Html => guarded(response),
        Format::Json => response,
    }
}

const VARY: &str = "Accept";

/// A page of ours runs nothing, whatever its names are.
fn guarded(response: Response) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    response.header("Content-Security-Policy", policy)
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.25rem;font-weight:600;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}\
th{text-align:left;font-weight:600;border-bottom:1px solid #8888}\
th,td{padding:.25rem .75rem .25rem 0}\
tr:hover td{background:#8881}\
td:first-child{overflow-wrap:anywhere}\
td+td,th+th{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
a{text-decoration:none}a:hover{text-decoration:underline}";

/// Directories first, each group by name.
pub(super) fn sort(items: &mut [Item]) {
    items.sort_by(|a, b| {
        let kind = b.is_dir.cmp(&a.is_dir);
        // Without memory for each comparison: there are many.
        let folded = || {
            let (a, b) = (a.name.iter(), b.name.iter());
            a.map(u8::to_ascii_lowercase)
                .cmp(b.map(u8::to_ascii_lowercase))
        };
        kind.then_with(folded).then_with(|| a.name.cmp(&b.name))
    });
}

/// What is in a directory, in a form. `is_cut` tells that it has more names than were read.
pub(super) fn write(format: Format, items: &[Item], is_cut: bool) -> String {
    match format {
        Format::Html => html_rows(items, is_cut),
        Format::Json => json(items, is_cut),
    }
}

/// What stands above the rows of a directory at `path`. `has_parent` tells whether there is something
/// above it to go to.
fn html_head(path: &str, has_parent: bool) -> String {
    let mut html = String::with_capacity(2_048);
    html.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.push_str(
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Index of ",
    );
    escape(&mut html, path);
    html.push_str("</title>\n<style>");
    html.push_str(STYLE);
    html.push_str("</style>\n</head>\n<body>\n<h1>Index of ");
    escape(&mut html, path);
    html.push_str("</h1>\n<table>\n<thead><tr><th>Name</th><th>Size</th>");
    html.push_str("<th>Modified (UTC)</th></tr></thead>\n<tbody>\n");
    if has_parent {
        html.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    html
}

const HTML_END: &str = "</tbody>\n</table>\n</body>\n</html>\n";

fn html_rows(items: &[Item], is_cut: bool) -> String {
    let mut html = String::with_capacity(1_024 + 192 * items.len());
    if is_cut {
        put(
            &mut html,
            format_args!(
                "<tr><td colspan=\"3\">There are more names than are shown: these are of the first \
                 {DIRECTORY_ENTRIES_MAX} that were read.</td></tr>\n"
            ),
        );
    }
    for item in items {
        row(&mut html, item);
    }
    if items.is_empty() {
        html.push_str("<tr><td colspan=\"3\">Nothing here.</td></tr>\n");
    }
    html
}

fn row(html: &mut String, item: &Item) {
    let slash = if item.is_dir { "/" } else { "" };
    // "./" keeps a name with a colon from being read as a scheme.
    let link = percent_encode_segment(&item.name);
    html.push_str("<tr><td><a href=\"./");
    escape(html, &link);
    put(html, format_args!("{slash}\">"));
    escape(html, &String::from_utf8_lossy(&item.name));
    put(html, format_args!("{slash}</a></td><td>"));
    if !item.is_dir {
        size(html, item.bytes);
    }
    let m = Moment::from_seconds(item.modified_seconds);
    put(
        html,
        format_args!(
            "</td><td>{:04}-{:02}-{:02} {:02}:{:02}</td></tr>\n",
            m.year, m.month, m.day, m.hour, m.minute
        ),
    );
}

/// One object per entry: `name` (U+FFFD stands for what is not UTF-8), `href` (relative, percent-coded:
/// the bytes of the name), `type` (`file` or `directory`), `size` of files in bytes, `modified` (RFC 3339).
/// One of type `truncated` behind them says how many names were read, where there are more.
fn json(items: &[Item], is_cut: bool) -> String {
    let mut text = String::with_capacity(128 * items.len() + 4);
    text.push('[');
    for (index, item) in items.iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        let (slash, kind) = match item.is_dir {
            true => ("/", "directory"),
            false => ("", "file"),
        };
        text.push_str("{\"name\":\"");
        escape_json(&mut text, &String::from_utf8_lossy(&item.name));
        let link = percent_encode_segment(&item.name);
        put(
            &mut text,
            // Percent-coding leaves nothing that JSON escapes.
            format_args!("\",\"href\":\"./{link}{slash}\",\"type\":\"{kind}\""),
        );
        if !item.is_dir {
            put(&mut text, format_args!(",\"size\":{}", item.bytes));
        }
        let m = Moment::from_seconds(item.modified_seconds);
        put(
            &mut text,
            format_args!(
                ",\"modified\":\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z\"}}",
                m.year, m.month, m.day, m.hour, m.minute, m.second
            ),
        );
    }
    if is_cut {
        let comma = if items.is_empty() { "" } else { "," };
        let read = DIRECTORY_ENTRIES_MAX;
        put(
            &mut text,
            format_args!("{comma}\n{{\"type\":\"truncated\",\"read\":{read}}}"),
        );
    }
    text.push_str("\n]\n");
    text
}

/// RFC 8259 §7.
fn escape_json(json: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if control < ' ' => put(json, format_args!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text)
        .expect("memory takes all that is written");
}

/// A size with three digits or fewer: `999 B`, `1.2 KiB`, `57 MiB`.
fn size(html: &mut String, bytes: u64) {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_000 {
        return put(html, format_args!("{bytes} B"));
    }
    let mut unit = 0;
    // In tenths of the unit, rounded.
    let mut tenths = (u128::from(bytes) * 10 + 512) / 1_024;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1_024;
        unit += 1;
    }
    if tenths < 100 {
        put(
            html,
            format_args!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        );
    } else {
        put(html, format_args!("{} {}", (tenths + 5) / 10, UNITS[unit]));
    }
}

fn escape(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, is_dir: bool) -> Item {
        Item {
            name: name.as_bytes().to_vec(),
            is_dir,
            bytes: 1,
            modified_seconds: 784_111_777,
        }
    }

    #[test]
    fn directories_first_then_by_name() {
        let mut items = [
            item("b", false),
            item("A", false),
            item("z", true),
            item("C", true),
        ];
        sort(&mut items);
        let html = html_head("/x/", true) + &html_rows(&items, false);
        let order: Vec<_> = ["../", "./C/", "./z/", "./A", "./b"]
            .iter()
            .map(|link| html.find(&format!("href=\"{link}\"")).unwrap())
            .collect();
        assert!(order.is_sorted(), "{order:?}\n{html}");
        assert!(html.contains("1994-11-06 08:49"));
        assert!(!html_head("/", false).contains("../"));
        assert!(html_rows(&[], false).contains("Nothing here."));
    }

    #[test]
    fn names_are_escaped() {
        let name = "<script>\"&' ü:a?#%.txt";
        let html = html_head("/<b>/", false) + &html_rows(&[item(name, false)], false);
        assert!(!html.contains("<script>"));
        assert!(!html.contains("<b>"));
        assert!(
            html.contains("href=\"./%3Cscript%3E%22&amp;&#39;%20%C3%BC%3Aa%3F%23%25.txt\""),
            "{html}"
        );
        assert!(html.contains(">&lt;script&gt;&quot;&amp;&#39; ü:a?#%.txt</a>"));
    }

    #[test]
    fn lists_as_json() {
        let items = [item("a b", true), item("q\"\\\n<é>", false)];
        assert_eq!(
            json(&items, false),
            "[\n{\"name\":\"a b\",\"href\":\"./a%20b/\",\"type\":\"directory\",\
             \"modified\":\"1994-11-06T08:49:37Z\"},\n\
             {\"name\":\"q\\\"\\\\\\u000a<é>\",\"href\":\"./q%22%5C%0A%3C%C3%A9%3E\",\
             \"type\":\"file\",\"size\":1,\"modified\":\"1994-11-06T08:49:37Z\"}\n]\n"
        );
        assert_eq!(json(&[], false), "[\n]\n");
        let cut = json(&[], true);
        assert_eq!(cut, "[\n{\"type\":\"truncated\",\"read\":10000}\n]\n");
    }

    #[test]
    fn sizes_are_short() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 KiB"),
            (1_229, "1.2 KiB"),
            (10_240, "10 KiB"),
            (999 * 1_024, "999 KiB"),
            (1_000 * 1_024, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (bytes, expected) in table {
            let mut text = String::new();
            size(&mut text, bytes);
            assert_eq!(text, expected, "{bytes}");
        }
    }
}
