//! The rules on whole jars. Most rows say what net/http's tests of its jar say, which in part come
//! from Chromium; where a row differs, the table in the module's documentation says why.
//!
//! ```text
//!   places   which hosts and paths a cookie goes to
//!   changes  what is set anew, removed, over, or pushed out
//!   files    saved and loaded
//! ```

use url::Url;

use crate::client::jar::Jar;
use crate::http::date;

mod changes;
mod files;
mod places;

/// 2013-01-01 12:00:00.
const NOW: u64 = 1_357_041_600;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// The value of the field of a request, which is text in these tests.
fn sent(jar: &Jar, url: &Url, now: u64) -> Option<String> {
    let line = jar.get(url, now)?;
    Some(String::from_utf8(line).unwrap())
}

fn expires(at: u64) -> String {
    let date = date::format(at);
    format!("expires={}", std::str::from_utf8(&date).unwrap())
}

/// One response, what the jar holds then, and what requests get.
struct Step<'a> {
    what: &'a str,
    from: &'a str,
    set: &'a [&'a str],
    /// Names and values, sorted.
    holds: &'a str,
    requests: &'a [(&'a str, &'a str)],
}

impl Step<'_> {
    /// Each request one second after the other.
    fn check(&self, jar: &Jar) {
        jar.set(&url(self.from), self.set, NOW);
        let mut now = NOW + 1;
        let held = jar.cookies(now);
        let mut held: Vec<String> = held
            .iter()
            .map(|cookie| [&cookie.name[..], b"=", &cookie.value].concat())
            .map(|pair| String::from_utf8(pair).unwrap())
            .collect();
        held.sort();
        assert_eq!(held.join(" "), self.holds, "{}", self.what);
        for (to, expected) in self.requests {
            now += 1;
            let found = sent(jar, &url(to), now).unwrap_or_default();
            assert_eq!(found.replace("; ", " "), *expected, "{}: {to}", self.what);
        }
    }
}

/// Each step on a jar of its own.
fn each(steps: &[Step<'_>]) {
    for step in steps {
        step.check(&Jar::new());
    }
}

/// All steps on one jar.
fn in_order(steps: &[Step<'_>]) {
    let jar = Jar::new();
    for step in steps {
        step.check(&jar);
    }
}
