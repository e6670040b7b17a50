//! The page that shows a directory.
//!
//! ```text
//!   /photos/2026/  →  Index of / photos / 2026
//!                     ../
//!                     summer/                        2026-08-01 12:00
//!                     beach.jpg        1.2 MiB       2026-08-02 09:30
//! ```

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use crate::fs::DirEntry;
use crate::http::target::percent_encode_segment;
use crate::server::calendar::Moment;

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The name in its directory, without `/`; any bytes.
    pub name: Vec<u8>,
    /// True for a directory, and for a link to one.
    pub is_dir: bool,
    /// Size of a file.
    pub bytes: u64,
    /// Last change, seconds since 1970.
    pub modified_seconds: u64,
}

impl From<&DirEntry> for Item {
    fn from(entry: &DirEntry) -> Item {
        Item {
            name: entry.name.as_bytes().to_vec(),
            is_dir: entry.metadata.is_dir,
            bytes: entry.metadata.len,
            modified_seconds: entry.metadata.modified_seconds,
        }
    }
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

/// The page for the directory that stands at `path` (percent-decoded, with a final `/`).
/// `has_parent` tells whether there is something above it to go to. Directories come first, each
/// group sorted by name.
pub fn page(path: &str, has_parent: bool, items: &mut [Item]) -> String {
    items.sort_by(|a, b| {
        let kind = b.is_dir.cmp(&a.is_dir);
        let folded = || {
            let (a, b) = (a.name.to_ascii_lowercase(), b.name.to_ascii_lowercase());
            a.cmp(&b)
        };
        kind.then_with(folded).then_with(|| a.name.cmp(&b.name))
    });
    let mut html = String::with_capacity(1_024 + 192 * items.len());
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
    for item in items.iter() {
        row(&mut html, item);
    }
    html.push_str("</tbody>\n</table>\n</body>\n</html>\n");
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
        let html = page("/x/", true, &mut items);
        let order: Vec<_> = ["../", "./C/", "./z/", "./A", "./b"]
            .iter()
            .map(|link| html.find(&format!("href=\"{link}\"")).unwrap())
            .collect();
        assert!(order.is_sorted(), "{order:?}\n{html}");
        assert!(html.contains("1994-11-06 08:49"));
        assert!(!page("/", false, &mut items).contains("../"));
    }

    #[test]
    fn names_are_escaped() {
        let name = "<script>\"&' ü:a?#%.txt";
        let html = page("/<b>/", false, &mut [item(name, false)]);
        assert!(!html.contains("<script>"));
        assert!(!html.contains("<b>"));
        assert!(
            html.contains("href=\"./%3Cscript%3E%22&amp;&#39;%20%C3%BC%3Aa%3F%23%25.txt\""),
            "{html}"
        );
        assert!(html.contains(">&lt;script&gt;&quot;&amp;&#39; ü:a?#%.txt</a>"));
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
