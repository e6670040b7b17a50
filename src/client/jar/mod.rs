//! A cookie jar: what servers set comes back to them, and to nobody else (RFC 6265bis).
//!
//! ```text
//!   response ── Set-Cookie: sid=7; Path=/; Secure ──► Jar::set ──► kept, by site
//!   request  ◄─ Cookie: lang=de; sid=7 ◄──────────── Jar::get ◄── host, path, scheme, time
//!                                                       ▲
//!                        cookies.txt, as curl has it ── load, save
//! ```
//!
//! A client that was [given a jar](crate::client::ClientBuilder::cookies) uses it for each request
//! of a chain, redirects too. The jar is shared: clones are the same jar, for all cores and clients that
//! have one, behind a mutex that is held for a look-up.
//!
//! ```
//! use roundtrip::client::Client;
//! use roundtrip::client::jar::Jar;
//!
//! let jar = Jar::new();
//! let client = Client::builder().cookies(jar.clone()).build();
//! // … and without a client:
//! let url = url::Url::parse("https://www.example.com/")?;
//! let now = 1_790_000_000;
//! jar.set(&url, ["sid=7; Path=/; Secure; HttpOnly"], now);
//! assert_eq!(jar.get(&url, now).as_deref(), Some(&b"sid=7"[..]));
//! # drop(client);
//! # Ok::<(), url::ParseError>(())
//! ```
//!
//! What is other than in net/http's jar, and why:
//!
//! | net/http | here | because |
//! |---|---|---|
//! | `Secure` is taken from anywhere, and can be overwritten | taken over TLS and from this machine; one that came without TLS neither hides nor removes it | RFC 6265bis §5.7: else anybody on the way sets the cookies of the TLS site |
//! | names with a prefix are names | `__Secure-` and `__Host-` have to keep what they promise | RFC 6265bis §4.1.3 |
//! | one per name, domain and path | a cookie of the host alone and one of the same domain are two | RFC 6265bis §5.7, step 23 |
//! | a name that is no token, a quote or a byte beyond ASCII in the value: dropped | kept, and sent back as it came | RFC 6265bis §5.6; `a[b]=1`, `{"a":1}` and Latin-1 are in use |
//! | dates in three forms | any date of RFC 6265bis §5.1.1 | `01-Jan-70` deletes |
//! | no end to its age | 400 days | RFC 6265bis §5.6.1, as browsers |
//! | no bounds | 4,096 bytes each, 180 of a site, 3,000 altogether; what was used longest ago goes | input from outside has a bound |
//! | the public suffix list is the user's | built in | without one, `co.uk` is a domain like any other |
//! | the order of paths is that of their texts | the longest first | RFC 6265bis §5.8.3 |
//! | the path is compared decoded | as it was sent | RFC 6265bis §5.1.4: `%2F` is no `/` |
//! | lives as long as the process | [`Jar::load`], [`Jar::save`] | |
//!
//! The same as there: sending `Secure` to `http://localhost` and loop-back addresses; the domain of
//! an address is the address alone; `Domain=.`, two dots in front, a dot at the end, other than
//! ASCII are no domains; a public suffix is for the host of that name alone; `SameSite` and
//! `Partitioned` mean nothing, since no other site embeds this one.

mod file;
mod rules;
mod store;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use url::Url;

use crate::client::jar::rules::Place;
use crate::client::jar::store::Arrival;
use crate::client::jar::store::Store;
use crate::error::Result;

/// Cookies of a client. Cheap to clone; clones are the same jar. Times are seconds since 1970.
#[derive(Clone, Default)]
pub struct Jar {
    store: Arc<Mutex<Store>>,
}

/// A cookie as a jar keeps it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredCookie {
    /// As it was set: bytes, which need not be UTF-8.
    pub name: Vec<u8>,
    /// As it was set, with quotes if it had any.
    pub value: Vec<u8>,
    /// The host that it goes to, in lower case and ASCII; an address without brackets.
    pub domain: String,
    /// True when it goes to this host alone, and not to those below.
    pub is_host_only: bool,
    /// The path that it goes to, with all below.
    pub path: String,
    /// When it ends, in seconds since 1970; `None` when it ends with the jar.
    pub expires: Option<u64>,
    /// True when it goes over TLS alone, or to this very machine.
    pub is_secure: bool,
    /// True when scripts of a page should not see it: of no meaning here, but kept for who loads it.
    pub is_http_only: bool,
}

/// What [`Jar::load`] found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// How many cookies were added: those whose time is not over.
    pub added: usize,
    /// How many lines were skipped, since they are neither cookie nor comment.
    pub skipped_count: usize,
    /// The skipped lines, in order: the first
    /// [`limits::JAR_SKIPPED_LINES_MAX`](crate::limits::JAR_SKIPPED_LINES_MAX) of them.
    pub skipped: Vec<SkippedLine>,
}

/// A line of a file of cookies that is no cookie. Its `Display` says which line and why, without the
/// text of the line, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedLine {
    /// The number of the line; the first of a file is 1.
    pub number: usize,
    /// Why the line is no cookie, in words.
    pub reason: Cow<'static, str>,
}

impl fmt::Display for SkippedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is skipped: {}", self.number, self.reason)
    }
}

impl fmt::Debug for StoredCookie {
    /// Without its value, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCookie")
            .field("name", &String::from_utf8_lossy(&self.name))
            .field("domain", &self.domain)
            .field("path", &self.path)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Jar {
    /// Without cookies.
    pub fn new() -> Jar {
        Jar::default()
    }

    /// Takes what a response from `url` sets: the values of its `Set-Cookie` fields. What the rules
    /// do not allow is ignored.
    pub fn set<L>(&self, url: &Url, lines: impl IntoIterator<Item = L>, now: u64)
    where
        L: AsRef<[u8]>,
    {
        let Some(place) = Place::of(url) else {
            return;
        };
        let arrival_of = |line: L| Arrival::of(&place, line.as_ref(), now);
        // Before the lock: the lines are the caller's.
        let arrivals: Vec<Arrival> = lines.into_iter().filter_map(arrival_of).collect();
        if arrivals.is_empty() {
            return;
        }
        let mut store = self.lock();
        for arrival in arrivals {
            store.take(arrival, now);
        }
    }

    /// The value of the `Cookie` field of a request to `url`: the longest path first, then what was
    /// set first. `None` when there are none.
    pub fn get(&self, url: &Url, now: u64) -> Option<Vec<u8>> {
        let place = Place::of(url)?;
        self.lock().find(&place, now)
    }

    /// All cookies whose time is not over, in the order in which they were set first.
    pub fn cookies(&self, now: u64) -> Vec<StoredCookie> {
        self.lock().all(now)
    }

    /// How many there are, with those whose time is over and which nobody has asked for since.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True without cookies.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all.
    pub fn clear(&self) {
        let dropped = std::mem::take(&mut *self.lock());
        drop(dropped);
    }

    /// Adds the cookies of a file in the form of Netscape, which curl (`--cookie-jar`), wget and
    /// others write: a line each, of seven fields with tabs in between. Those whose time is over are
    /// left out. Says how many were added; they replace others of the same name, domain and path. A
    /// line that is no cookie is skipped, and [`Loaded::skipped`] says which and why: a program that
    /// loads a file of its user's shows them.
    ///
    /// Reading waits: on a core, read the file first, or call this with
    /// [`blocking`](crate::runtime::blocking).
    ///
    /// ```
    /// use roundtrip::client::jar::Jar;
    ///
    /// let jar = Jar::new();
    /// let file = "# Netscape HTTP Cookie File\n\
    ///             .example.com\tTRUE\t/\tFALSE\t1893456000\tlang\tde\n\
    ///             #HttpOnly_www.example.com\tFALSE\t/\tTRUE\t0\tsid\t7\n";
    /// let loaded = jar.load(file.as_bytes(), 1_790_000_000)?;
    /// assert_eq!(loaded.added, 2);
    /// for line in &loaded.skipped {
    ///     eprintln!("cookies.txt: {line}");
    /// }
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Reading failed, or the file has more than [`limits::JAR_FILE_BYTES_MAX`](crate::limits); nothing
    /// was added.
    pub fn load(&self, reader: impl Read, now: u64) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let cookies = file::read(reader, &mut loaded)?;
        let mut store = self.lock();
        for cookie in cookies {
            loaded.added += usize::from(!cookie.is_expired(now));
            store.take(Arrival::vouched(cookie, now), now);
        }
        Ok(loaded)
    }

    /// Writes the cookies that outlive the jar, so that [`Jar::load`] and curl (`--cookie`) read them;
    /// those without an end of their own are left out. The file is as secret as they are.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub fn save(&self, writer: impl Write, now: u64) -> Result<()> {
        let mut cookies = self.cookies(now);
        cookies.retain(|cookie| cookie.expires.is_some());
        file::write(writer, &cookies)
    }

    /// As [`Jar::save`], with the cookies that have no end of their own: what a browser forgets when
    /// it is closed, which often is the session.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub fn save_all(&self, writer: impl Write, now: u64) -> Result<()> {
        file::write(writer, &self.cookies(now))
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Jar {
    /// Without the cookies, which are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar").field("len", &self.len()).finish()
    }
}

impl StoredCookie {
    fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// True when one replaces the other.
    fn is_same(&self, other: &StoredCookie) -> bool {
        self.name == other.name
            && self.domain == other.domain
            && self.is_host_only == other.is_host_only
            && self.path == other.path
    }

    fn is_for(&self, place: &Place<'_>) -> bool {
        let is_host = if self.is_host_only {
            self.domain == place.host
        } else {
            rules::domain_matches(&place.host, &self.domain)
        };
        is_host
            && rules::path_matches(place.path, &self.path)
            && (place.is_trusted || !self.is_secure)
    }
}
