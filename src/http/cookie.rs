//! Cookies (RFC 6265): read from requests, written to responses, read from responses.
//!
//! ```text
//!   Cookie: a=1; b="2" ──► request.cookie("b") = "2"
//!   Cookie::new("id", "7").path("/").secure() ──► response.cookie(…) ──► Set-Cookie: id=7; Path=/; Secure
//!   Set-Cookie: id=7; Max-Age=60 ──► Cookie::parse ──► name, value, attributes
//!                                └─► Cookie::received ──► the same as a client's jar keeps it
//! ```
//!
//! What is read is lenient where RFC 6265 wants it: a bad cookie is skipped, an unknown attribute
//! ignored. What is written is strict: a browser would silently drop it otherwise.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::http::date;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::token;
#[cfg(feature = "cookies")]
use crate::limits::COOKIE_ATTRIBUTE_BYTES_MAX;
#[cfg(feature = "cookies")]
use crate::limits::COOKIE_BYTES_MAX;
use crate::limits::COOKIE_DOMAIN_BYTES_MAX;
use crate::limits::COOKIES_MAX;

/// A cookie with its attributes, as `Set-Cookie` carries it.
///
/// ```
/// use std::time::Duration;
///
/// use roundtrip::Response;
/// use roundtrip::http::cookie::Cookie;
/// use roundtrip::http::cookie::SameSite;
///
/// let session = Cookie::new("session", "4f1c")
///     .path("/")
///     .http_only()
///     .secure()
///     .same_site(SameSite::Lax)
///     .max_age(Duration::from_secs(3600));
/// let response = Response::new().cookie(session);
/// assert_eq!(
///     response.headers().get("set-cookie"),
///     Some("session=4f1c; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"),
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cookie {
    /// A token.
    pub name: String,
    /// Printable ASCII without `"`, `;` and `\`; without the quotes that stand around it on the wire.
    pub value: String,
    /// The paths that the cookie is sent to, with all below; that of the request without one.
    pub path: Option<String>,
    /// The host that the cookie is sent to, with all below, without a leading dot; without one, the
    /// host that set it alone.
    pub domain: Option<String>,
    /// When it ends, in seconds since 1970. `max_age` wins over it.
    pub expires: Option<u64>,
    /// How long it lives; zero removes it. Without this and `expires` it ends with the browser.
    pub max_age: Option<Duration>,
    /// True when scripts of the page do not see it.
    pub http_only: bool,
    /// True when it is sent over TLS alone.
    pub secure: bool,
    /// Whether requests that other sites cause carry it.
    pub same_site: Option<SameSite>,
    /// True when each site that embeds this one has a cookie of its own (CHIPS).
    pub partitioned: bool,
}

/// Which requests of other sites carry a cookie (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// None.
    Strict,
    /// Links that are followed, with a safe method.
    Lax,
    /// All; the cookie must be [`secure`](Cookie::secure).
    None,
}

/// Why a cookie cannot be written, or a text is none. The text never repeats what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidCookie {
    /// The name is no token, or there is none.
    Name,
    /// The value holds a byte that no cookie has: a control character, `"`, `;`, `\`, or no ASCII.
    Value,
    /// The path does not begin with `/`, or holds a control character, `;`, or no ASCII.
    Path,
    /// The domain is no host name and no IPv4 address.
    Domain,
    /// Browsers take it with [`Cookie::secure`] alone: the name begins with `__Secure-` or
    /// `__Host-`, or it is [`SameSite::None`] or partitioned.
    NotSecure,
    /// The name begins with `__Host-`: it needs the path `/`, and no domain.
    HostPrefix,
}

impl Cookie {
    /// A cookie that ends with the browser, for the host and directory that set it.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Cookie {
        Cookie {
            name: name.into(),
            value: value.into(),
            ..Cookie::default()
        }
    }

    /// Removes a cookie: `Cookie::removal("session").path("/")`. Path and domain must be those that
    /// it was set with.
    pub fn removal(name: impl Into<String>) -> Cookie {
        Cookie::new(name, "").max_age(Duration::ZERO)
    }

    /// For this path and all below: `/` is the whole host.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Cookie {
        self.path = Some(path.into());
        self
    }

    /// For this host and all below. A leading dot means nothing and is dropped.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Cookie {
        let domain = domain.into();
        self.domain = Some(match domain.strip_prefix('.') {
            Some(rest) => rest.to_owned(),
            None => domain,
        });
        self
    }

    /// Until this time, in seconds since 1970. [`Cookie::max_age`] does not depend on the clock of
    /// the browser.
    #[must_use]
    pub fn expires(mut self, seconds: u64) -> Cookie {
        self.expires = Some(seconds);
        self
    }

    /// For this long, in whole seconds; zero removes it. Browsers cut it to 400 days.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Cookie {
        self.max_age = Some(age);
        self
    }

    /// Hidden from scripts of the page.
    #[must_use]
    pub fn http_only(mut self) -> Cookie {
        self.http_only = true;
        self
    }

    /// Over TLS alone, or to this very machine.
    #[must_use]
    pub fn secure(mut self) -> Cookie {
        self.secure = true;
        self
    }

    /// Whether requests that other sites cause carry it.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Cookie {
        self.same_site = Some(same_site);
        self
    }

    /// One for each site that embeds this one; it must be [`secure`](Cookie::secure).
    #[must_use]
    pub fn partitioned(mut self) -> Cookie {
        self.partitioned = true;
        self
    }

    /// Reads the value of a `Set-Cookie` field (RFC 6265bis §5.6). Attributes that are unknown or
    /// malformed are ignored; of two of the same name the last counts.
    ///
    /// # Errors
    ///
    /// There is no `=`, or name or value is not that of a cookie.
    pub fn parse(text: &str) -> Result<Cookie, InvalidCookie> {
        let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
        let (name, value) = pair.split_once('=').ok_or(InvalidCookie::Name)?;
        let name = trim(name);
        if !token::is_token(name.as_bytes()) {
            return Err(InvalidCookie::Name);
        }
        let value = unquoted(trim(value)).ok_or(InvalidCookie::Value)?;
        let mut cookie = Cookie::new(name, value);
        for attribute in attributes.split(';') {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            cookie.set_attribute(trim(name), trim(value));
        }
        Ok(cookie)
    }

    /// Reads the value of a `Set-Cookie` field as a client keeps it (RFC 6265bis §5.6); `None` when it
    /// is no cookie: its name, its value, and a cookie with the attributes alone. Other than
    /// [`Cookie::parse`] it takes names that are no tokens, and values with any byte, and keeps their
    /// quotes: a server gets back what it has set. The domain is in lower case and else as it came:
    /// whoever looks for matches must see what is wrong with it.
    ///
    /// Refused are a control character, which no file of cookies could hold either (the RFC would
    /// take a tab), a cookie without a name (it could pass for any other), and one that is too long.
    #[cfg(feature = "cookies")]
    pub(crate) fn received(line: &[u8]) -> Option<(&[u8], &[u8], Cookie)> {
        let pair_end = memchr::memchr(b';', line).unwrap_or(line.len());
        let (pair, attributes) = line.split_at(pair_end);
        let (name, value) = pair.split_at(memchr::memchr(b'=', pair)?);
        let (name, value) = (token::trim(name), token::trim(&value[1..]));
        let is_refused = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        let is_cookie = !name.is_empty()
            && !name.contains(&b'\t')
            && !value.contains(&b'\t')
            && !line.iter().any(is_refused)
            && name.len() + value.len() <= COOKIE_BYTES_MAX;
        if !is_cookie {
            return None;
        }
        let mut cookie = Cookie::new("", "");
        // What is not UTF-8 is no attribute, and is part of no domain.
        for attribute in String::from_utf8_lossy(attributes).split(';') {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let (name, value) = (trim(name), trim(value));
            if value.len() > COOKIE_ATTRIBUTE_BYTES_MAX {
                continue;
            }
            if name.eq_ignore_ascii_case("domain") {
                cookie.domain = (!value.is_empty()).then(|| value.to_ascii_lowercase());
            } else {
                cookie.set_attribute(name, value);
            }
        }
        Some((name, value, cookie))
    }

    fn set_attribute(&mut self, name: &str, value: &str) {
        if !value.bytes().all(is_attribute_byte) {
            return;
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("path") {
            self.path = value.starts_with('/').then(|| value.to_owned());
        } else if is("domain") {
            let domain = value.strip_prefix('.').unwrap_or(value);
            self.domain = (!domain.is_empty()).then(|| domain.to_ascii_lowercase());
        } else if is("expires") {
            self.expires = parse_date(value).or(self.expires);
        } else if is("max-age") {
            self.max_age = parse_age(value).or(self.max_age);
        } else if is("httponly") {
            self.http_only = true;
        } else if is("secure") {
            self.secure = true;
        } else if is("partitioned") {
            self.partitioned = true;
        } else if is("samesite") {
            let kinds = [SameSite::Strict, SameSite::Lax, SameSite::None];
            let named = |kind: &SameSite| kind.as_str().eq_ignore_ascii_case(value);
            self.same_site = kinds.into_iter().find(named);
        }
    }

    /// The value of a `Set-Cookie` field. A value with a blank or a comma is quoted.
    ///
    /// # Errors
    ///
    /// It would not be a cookie, or browsers would drop it.
    pub fn to_value(&self) -> Result<String, InvalidCookie> {
        self.check()?;
        let quote = if self.value.contains([' ', ',']) {
            "\""
        } else {
            ""
        };
        let mut text = format!("{}={quote}{}{quote}", self.name, self.value);
        if let Some(path) = &self.path {
            text += "; Path=";
            text += path;
        }
        if let Some(domain) = &self.domain {
            text += "; Domain=";
            text += domain;
        }
        if let Some(seconds) = self.expires {
            text += "; Expires=";
            let date = date::format(seconds);
            text += std::str::from_utf8(&date).expect("a date is ASCII");
        }
        if let Some(age) = self.max_age {
            write!(text, "; Max-Age={}", age.as_secs()).expect("a string takes all");
        }
        if self.http_only {
            text += "; HttpOnly";
        }
        if self.secure {
            text += "; Secure";
        }
        if let Some(same_site) = self.same_site {
            text += "; SameSite=";
            text += same_site.as_str();
        }
        if self.partitioned {
            text += "; Partitioned";
        }
        Ok(text)
    }

    fn check(&self) -> Result<(), InvalidCookie> {
        if !token::is_token(self.name.as_bytes()) {
            return Err(InvalidCookie::Name);
        }
        if !self.value.bytes().all(is_value_byte) {
            return Err(InvalidCookie::Value);
        }
        let is_path = |path: &String| path.starts_with('/') && path.bytes().all(is_attribute_byte);
        if !self.path.as_ref().is_none_or(is_path) {
            return Err(InvalidCookie::Path);
        }
        if !self.domain.as_deref().is_none_or(is_domain) {
            return Err(InvalidCookie::Domain);
        }
        // Browsers look at the prefixes without case (RFC 6265bis §4.1.3).
        let begins = |prefix: &str| {
            let own = self.name.as_bytes().get(..prefix.len());
            own.is_some_and(|own| own.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let is_host = begins("__Host-");
        let is_none = self.same_site == Some(SameSite::None);
        if !self.secure && (is_host || begins("__Secure-") || is_none || self.partitioned) {
            return Err(InvalidCookie::NotSecure);
        }
        if is_host && (self.domain.is_some() || self.path.as_deref() != Some("/")) {
            return Err(InvalidCookie::HostPrefix);
        }
        Ok(())
    }
}

impl SameSite {
    fn as_str(self) -> &'static str {
        match self {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        }
    }
}

impl Request {
    /// The value of the first cookie of this name, without quotes around it. What a browser sends
    /// is set by whoever could set cookies for this host: sign what must be genuine.
    ///
    /// ```
    /// use roundtrip::Request;
    ///
    /// let request = Request::for_target("GET", "/")?.with_header("Cookie", "a=1; session=4f1c")?;
    /// assert_eq!(request.cookie("session"), Some("4f1c"));
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let mut cookies = self.cookies();
        cookies
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// Names and values of all cookies, in order, without quotes around the values. What is no
    /// cookie is skipped: without `=`, with a name that is no token, with a byte in the value that
    /// no cookie has. Of a request with more than 3,000 ([`COOKIES_MAX`]) there are none.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let count = self
            .headers()
            .get_all("cookie")
            .map(|line| 1 + memchr::memchr_iter(b';', line).count())
            .sum::<usize>();
        let lines = self.headers().get_all("cookie");
        let lines = lines.take(if count > COOKIES_MAX { 0 } else { usize::MAX });
        lines
            .flat_map(|line| line.split(|&byte| byte == b';'))
            .filter_map(cookie_of)
    }
}

impl Response {
    /// With one more cookie. An invalid one is treated as in [`Response::header`]: a server answers
    /// 500 instead. [`Cookie::to_value`] says what is wrong with it.
    #[must_use]
    pub fn cookie(self, cookie: Cookie) -> Response {
        match cookie.to_value() {
            Ok(value) => self.header("Set-Cookie", value),
            // No field is like that: it is remembered as invalid.
            Err(_) => self.header("Set-Cookie", "\0"),
        }
    }
}

/// A pair of a `Cookie` field.
fn cookie_of(pair: &[u8]) -> Option<(&str, &str)> {
    let pair = std::str::from_utf8(pair).ok()?;
    let (name, value) = pair.split_once('=')?;
    let name = trim(name);
    let value = unquoted(trim(value))?;
    token::is_token(name.as_bytes()).then_some((name, value))
}

/// Without blanks around it.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The value without quotes around it; `None` when it is none.
fn unquoted(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let value = inner.unwrap_or(value);
    value.bytes().all(is_value_byte).then_some(value)
}

/// As net/http, and a little more than RFC 6265 §4.1.1: blank and comma are in use.
fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b';' | b'\\')
}

fn is_attribute_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b';'
}

/// A host name (RFC 1034 §3.5, digits first allowed), or an IPv4 address, which looks like one.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_byte)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= COOKIE_DOMAIN_BYTES_MAX && domain.split('.').all(is_label)
}

/// Seconds; what is not above zero removes the cookie. As net/http, a zero before other digits is
/// no number.
fn parse_age(value: &str) -> Option<Duration> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    if digits.len() < value.len() {
        return Some(Duration::ZERO);
    }
    let seconds = token::decimal(digits.as_bytes()).unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds))
}

/// A date as HTTP writes it, or anything that cookies have had since Netscape (RFC 6265bis §5.1.1):
/// words, of which the first of each kind counts, in any order. What is before 1970 is its first
/// second: such a date removes the cookie.
fn parse_date(value: &str) -> Option<u64> {
    let is_delimiter =
        |char: char| matches!(char, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~');
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for word in value.split(is_delimiter) {
        if time.is_none() && word.contains(':') {
            time = time_of_day(word);
            if time.is_some() {
                continue;
            }
        }
        let number = leading_number(word);
        let is_month = |name: &&&str| {
            let start = word.as_bytes().get(..3);
            start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        };
        match number {
            Some((number, 1 | 2)) if day.is_none() => day = Some(number),
            Some((number, 2..=4)) if year.is_none() => year = Some(number),
            _ if month.is_none() => month = MONTHS.iter().find(is_month),
            _ => {}
        }
    }
    let year = match year? {
        short @ 70..=99 => 1900 + short,
        short @ 0..=69 => 2000 + short,
        year => year,
    };
    let (hour, minute, second) = time?;
    // A leap year has all dates.
    let shown_year = if year < 1970 { 1972 } else { year };
    let (day, month) = (day?, month?);
    let fixed =
        format!("Thu, {day:02} {month} {shown_year:04} {hour:02}:{minute:02}:{second:02} GMT");
    let seconds = date::parse(&fixed, 0)?;
    (year >= 1601).then_some(if year < 1970 { 0 } else { seconds })
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Hours, minutes and seconds of one or two digits each; what follows is ignored.
fn time_of_day(word: &str) -> Option<(u64, u64, u64)> {
    let mut parts = word.splitn(3, ':');
    let mut part = || {
        let text = parts.next()?;
        let (number, digits) = leading_number(text)?;
        (digits <= 2).then_some((number, text.len() == digits))
    };
    let (hour, minute, second) = (part()?, part()?, part()?);
    (hour.1 && minute.1).then_some((hour.0, minute.0, second.0))
}

/// The number that a word begins with, and how many digits it has: at most four.
fn leading_number(word: &str) -> Option<(u64, usize)> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let number = token::decimal(word.get(..digits)?.as_bytes())?;
    (1..=4).contains(&digits).then_some((number, digits))
}

impl fmt::Display for InvalidCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidCookie::Name => "the name of a cookie is a token",
            InvalidCookie::Value => "the value of a cookie is printable ASCII without \" ; \\",
            InvalidCookie::Path => "the path of a cookie begins with / and is ASCII without ;",
            InvalidCookie::Domain => "the domain of a cookie is a host name",
            InvalidCookie::NotSecure => {
                "browsers take a cookie with this prefix, SameSite=None or Partitioned only with \
                 Secure"
            }
            InvalidCookie::HostPrefix => "a cookie __Host-… has the path / and no domain",
        })
    }
}

impl std::error::Error for InvalidCookie {}

impl From<InvalidCookie> for Error {
    fn from(invalid: InvalidCookie) -> Error {
        Error::new(ErrorKind::Invalid, invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&[u8]]) -> Request {
        let mut request = Request::for_target("GET", "/").unwrap();
        for line in lines {
            request.headers_mut().append("Cookie", line).unwrap();
        }
        request
    }

    /// `Cookie` fields, and the cookies in them.
    type Row = (
        &'static [&'static [u8]],
        &'static [(&'static str, &'static str)],
    );

    #[test]
    fn reads_the_cookies_of_a_request() {
        let table: [Row; 16] = [
            (&[], &[]),
            (&[b""], &[]),
            (&[b"a=1"], &[("a", "1")]),
            (&[b"a=1; b=2"], &[("a", "1"), ("b", "2")]),
            (
                &[b"a=1;b=2 ;; ", b"c=3"],
                &[("a", "1"), ("b", "2"), ("c", "3")],
            ),
            (&[b"a=\"1\"; b=\"2"], &[("a", "1")]),
            (&[b"a=\"\"; b=\"; c="], &[("a", ""), ("c", "")]),
            (&[b"a=1=2"], &[("a", "1=2")]),
            (&[b"a=1, b=2"], &[("a", "1, b=2")]),
            (&[b"a = 1 2 "], &[("a", "1 2")]),
            // Without a name, without a value: a cookie that was set without `=` could pass for
            // any other.
            (&[b"=1; a; __Host-b; c=3"], &[("c", "3")]),
            (&[b"a b=1; c(=2; \xe4=3; d=4"], &[("d", "4")]),
            (&[b"a=\xe4; b=2"], &[("b", "2")]),
            (&[b"a=1\\2; b=x\ty; c=3"], &[("c", "3")]),
            (&[b"a=1; a=2"], &[("a", "1"), ("a", "2")]),
            (&[b"A=1; a=2"], &[("A", "1"), ("a", "2")]),
        ];
        for (lines, expected) in table {
            let request = request(lines);
            assert!(request.cookies().eq(expected.iter().copied()), "{lines:?}");
        }
        let request = request(&[b"a=1; b=x; a=2"]);
        assert_eq!(request.cookie("a"), Some("1"));
        assert_eq!(request.cookie("A"), None);
    }

    #[test]
    fn more_than_the_bound_are_none() {
        let most = vec!["a=1"; COOKIES_MAX].join(";");
        assert_eq!(request(&[most.as_bytes()]).cookies().count(), COOKIES_MAX);
        let one = request(&[most.as_bytes(), b"b=1"]);
        assert_eq!(one.cookies().count(), 0);
        assert_eq!(one.cookie("b"), None);
    }

    #[test]
    fn writes_what_browsers_take() {
        let plain = || Cookie::new("a", "1");
        let table = [
            (plain(), "a=1"),
            (Cookie::new("a", ""), "a="),
            (Cookie::new("a", "b c"), "a=\"b c\""),
            (Cookie::new("a", "b,c"), "a=\"b,c\""),
            (Cookie::new("a", "b=c"), "a=b=c"),
            (plain().path("/b c"), "a=1; Path=/b c"),
            (plain().domain(".example.com"), "a=1; Domain=example.com"),
            (plain().domain("127.0.0.1"), "a=1; Domain=127.0.0.1"),
            (plain().domain("localhost"), "a=1; Domain=localhost"),
            (
                plain().expires(784_111_777),
                "a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT",
            ),
            (
                plain().max_age(Duration::from_millis(2_999)),
                "a=1; Max-Age=2",
            ),
            (Cookie::removal("a").path("/"), "a=; Path=/; Max-Age=0"),
            (
                plain().secure().partitioned().same_site(SameSite::None),
                "a=1; Secure; SameSite=None; Partitioned",
            ),
            (
                plain().same_site(SameSite::Strict).http_only(),
                "a=1; HttpOnly; SameSite=Strict",
            ),
            (
                Cookie::new("__Host-a", "1").path("/").secure(),
                "__Host-a=1; Path=/; Secure",
            ),
        ];
        for (cookie, expected) in table {
            assert_eq!(cookie.to_value().as_deref(), Ok(expected));
            let read = Cookie::parse(expected).unwrap();
            let whole = cookie.max_age.map(|age| Duration::from_secs(age.as_secs()));
            assert_eq!(
                read,
                Cookie {
                    max_age: whole,
                    ..cookie
                }
            );
            let response = Response::new().cookie(read);
            assert_eq!(response.headers().get("set-cookie"), Some(expected));
        }
    }

    #[test]
    fn refuses_what_is_no_cookie() {
        let plain = || Cookie::new("a", "1");
        let long = "a".repeat(64);
        for (cookie, error) in [
            (Cookie::new("", "1"), InvalidCookie::Name),
            (Cookie::new("a b", "1"), InvalidCookie::Name),
            (Cookie::new("a=b", "1"), InvalidCookie::Name),
            (Cookie::new("a\r\nb", "1"), InvalidCookie::Name),
            (Cookie::new("a", "1; Path=/"), InvalidCookie::Value),
            (Cookie::new("a", "\"1\""), InvalidCookie::Value),
            (Cookie::new("a", "1\\2"), InvalidCookie::Value),
            (
                Cookie::new("a", "1\r\nSet-Cookie: b=2"),
                InvalidCookie::Value,
            ),
            (Cookie::new("a", "\u{e4}"), InvalidCookie::Value),
            (plain().path("a"), InvalidCookie::Path),
            (plain().path("/;a"), InvalidCookie::Path),
            (plain().path("/\n"), InvalidCookie::Path),
            (plain().domain(""), InvalidCookie::Domain),
            (plain().domain("a..b"), InvalidCookie::Domain),
            (plain().domain("-a.b"), InvalidCookie::Domain),
            (plain().domain("a-.b"), InvalidCookie::Domain),
            (plain().domain("a b"), InvalidCookie::Domain),
            (plain().domain("[::1]"), InvalidCookie::Domain),
            (plain().domain("a:80"), InvalidCookie::Domain),
            (plain().domain(long), InvalidCookie::Domain),
            (
                plain().domain("a.".repeat(127) + "a"),
                InvalidCookie::Domain,
            ),
            (plain().partitioned(), InvalidCookie::NotSecure),
            (plain().same_site(SameSite::None), InvalidCookie::NotSecure),
            (Cookie::new("__Secure-a", "1"), InvalidCookie::NotSecure),
            (
                Cookie::new("__host-a", "1").path("/"),
                InvalidCookie::NotSecure,
            ),
            (
                Cookie::new("__Host-a", "1").secure(),
                InvalidCookie::HostPrefix,
            ),
            (
                Cookie::new("__Host-a", "1").secure().path("/").domain("a"),
                InvalidCookie::HostPrefix,
            ),
        ] {
            assert_eq!(cookie.to_value(), Err(error), "{cookie:?}");
            let response = Response::new().cookie(cookie);
            assert!(response.headers().is_empty());
            assert!(response.invalid_header().is_some());
        }
    }

    /// As sites write them; net/http's tests have the same.
    #[test]
    fn reads_cookies_from_the_wild() {
        let nid = "NID=99=YsDT5i3E-CXax-; expires=Wed, 23-Nov-2011 01:05:03 GMT; path=/; \
                   domain=.google.ch; HttpOnly";
        let nid = Cookie::parse(nid).unwrap();
        let expected = Cookie::new("NID", "99=YsDT5i3E-CXax-").expires(1_322_010_303);
        let expected = expected.path("/").domain("google.ch").http_only();
        assert_eq!(nid, expected);
        for (text, name, value) in [
            ("Cookie-1=v$1", "Cookie-1", "v$1"),
            (
                ".ASPXAUTH=7E3AA; expires=Wed, 07-Mar-2012 14:25:06 GMT; path=/",
                ".ASPXAUTH",
                "7E3AA",
            ),
            (
                "ASP.NET_SessionId=foo; path=/; HttpOnly",
                "ASP.NET_SessionId",
                "foo",
            ),
            ("special-1=a z", "special-1", "a z"),
            ("special-2=\" z\"", "special-2", " z"),
            ("special-3=\"a \"", "special-3", "a "),
            ("special-4=\" \"", "special-4", " "),
            ("special-5=a,z", "special-5", "a,z"),
            ("special-6=\",z\"", "special-6", ",z"),
            ("special-7=a,", "special-7", "a,"),
            ("special-8=\",\"", "special-8", ","),
            ("special-9 =\",\"", "special-9", ","),
            ("samesitedefault=foo; SameSite", "samesitedefault", "foo"),
        ] {
            let found = Cookie::parse(text).unwrap();
            assert_eq!((&found.name[..], &found.value[..]), (name, value), "{text}");
        }
    }

    /// RFC 6265bis §5.1.1, and what servers write that know only half of it.
    #[test]
    fn reads_dates_of_all_kinds() {
        let day = Some(784_111_777);
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", day),
            ("Sun, 06-Nov-94 08:49:37 GMT", day),
            ("Sun, 6 Nov 1994 8:49:37 GMT", day),
            ("sun, 06/november/1994 08:49:37", day),
            ("1994 Nov 6 08:49:37.5+0000", day),
            ("08:49:37x 06x NOVx 94x", day),
            ("06 07 Nov 1994 08:49:37 23:00:00 Dec", Some(1_194_338_977)),
            ("06 Nov 1994 1995 08:49:37 23:00:00 Dec", day),
            ("Sunday, 06-Nov-94 08:49:37 GMT", day),
            ("Sun Nov  6 08:49:37 1994", day),
            ("Thu, 01-Jan-70 00:00:01 GMT", Some(1)),
            ("Thursday, 01-Jan-70 00:00:01 GMT", Some(1)),
            ("Thu, 01 Jan 69 00:00:00 GMT", Some(3_124_224_000)),
            ("Thu, 01 Jan 1969 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 1601 00:00:00 GMT", Some(0)),
            ("Thu, 31 Dec 1600 00:00:00 GMT", None),
            ("Thu, 31 Feb 1994 00:00:00 GMT", None),
            ("Thu, 00 Nov 1994 00:00:00 GMT", None),
            ("Thu, 06 Nov 1994 24:00:00 GMT", None),
            ("Thu, 06 Nov 1994 00:60:00 GMT", None),
            ("Thu, 06 Nov 1994 00:00:61 GMT", None),
            ("Thu, 06 Nov 1994 000:00:00 GMT", None),
            ("Thu, 06 Nov 1994 00:00 GMT", None),
            ("Thu, 06 Nov 00:00:00 GMT", None),
            ("Thu, 06 1994 00:00:00 GMT", None),
            ("Thu, Nov 1994 00:00:00 GMT", None),
            ("06 Nov 19945 08:49:37", None),
            ("784111777", None),
            ("", None),
        ] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
    }

    #[test]
    #[cfg(feature = "cookies")]
    fn a_client_keeps_cookies_as_they_came() {
        for (text, name, value) in [
            ("a=1", "a", "1"),
            (" a = 1 ; Path=/", "a", "1"),
            ("a=\"1\"", "a", "\"1\""),
            ("a={\"b\":[1,2]}", "a", "{\"b\":[1,2]}"),
            ("a[b]=\u{e4}", "a[b]", "\u{e4}"),
            ("a=", "a", ""),
            ("\ta\t=\t1\t;\tPath=/", "a", "1"),
            ("a=b=c", "a", "b=c"),
        ] {
            let (own, found, _) = Cookie::received(text.as_bytes()).unwrap();
            assert_eq!((own, found), (name.as_bytes(), value.as_bytes()));
        }
        let (name, value, _) = Cookie::received(b"\xff=\xe9; Path=/\xe9").unwrap();
        assert_eq!((name, value), (&b"\xff"[..], &b"\xe9"[..]));
        let longest = format!("a={}", "v".repeat(COOKIE_BYTES_MAX - 1));
        assert!(Cookie::received(longest.as_bytes()).is_some());
        let too_long = format!("{longest}v");
        for text in [
            "",
            "a",
            "=1",
            " =1",
            "; a=1",
            "a=1\t2",
            "a=1\0",
            "a=1; Path=/\n",
            &too_long,
        ] {
            assert_eq!(Cookie::received(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    #[cfg(feature = "cookies")]
    fn a_client_sees_the_domain_as_it_came() {
        let received = |line: &str| Cookie::received(line.as_bytes()).unwrap().2;
        let domain = |line: &str| received(line).domain;
        assert_eq!(domain("a=1"), None);
        assert_eq!(domain("a=1; Domain="), None);
        assert_eq!(domain("a=1; Domain=b; domain="), None);
        assert_eq!(domain("a=1; Domain=.B.Example"), Some(".b.example".into()));
        assert_eq!(domain("a=1; Domain=\u{e4}"), Some("\u{e4}".into()));
        let long = "a".repeat(COOKIE_ATTRIBUTE_BYTES_MAX + 1);
        assert_eq!(domain(&format!("a=1; Domain={long}")), None);
        let long = format!("a=1; Path=/b; Path=/{long}; max-age=5");
        let expected = Cookie::new("", "").path("/b");
        assert_eq!(received(&long), expected.max_age(Duration::from_secs(5)));
    }

    #[test]
    fn reads_attributes() {
        let plain = || Cookie::new("a", "1");
        let day = 784_111_777;
        for (text, expected) in [
            ("a=1", plain()),
            (" a = \"1\" ", plain()),
            (
                "a=1; path=/b; DOMAIN=.Example.COM",
                plain().path("/b").domain("example.com"),
            ),
            ("a=1; Path=b; Domain=", plain()),
            ("a=1; Path=/b; Path=/c", plain().path("/c")),
            (
                "a=1; secure=x; httponly; Partitioned",
                plain().secure().http_only().partitioned(),
            ),
            ("a=1; samesite=LAX", plain().same_site(SameSite::Lax)),
            ("a=1; SameSite=other; what=ever;; ;", plain()),
            ("a=1; SameSite=Lax; SameSite=x", plain()),
            (
                "a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT",
                plain().expires(day),
            ),
            (
                "a=1; Expires=Sun, 06-Nov-1994 08:49:37 GMT",
                plain().expires(day),
            ),
            (
                "a=1; Expires=Sunday, 06-Nov-94 08:49:37 GMT",
                plain().expires(day),
            ),
            (
                "a=1; Expires=Wed, 31-Dec-1969 23:59:59 GMT",
                plain().expires(0),
            ),
            (
                "a=1; Expires=Mon, 29 Feb 1904 00:00:00 GMT",
                plain().expires(0),
            ),
            ("a=1; Expires=tomorrow", plain()),
            ("a=1; Max-Age=60", plain().max_age(Duration::from_secs(60))),
            ("a=1; Max-Age=0", plain().max_age(Duration::ZERO)),
            ("a=1; Max-Age=-7", plain().max_age(Duration::ZERO)),
            (
                "a=1; Max-Age=99999999999999999999",
                plain().max_age(Duration::from_secs(u64::MAX)),
            ),
            ("a=1; Max-Age=007; max-age=+1; max-age=", plain()),
            ("a=1; Path=/\u{e4}; Path", plain()),
        ] {
            assert_eq!(Cookie::parse(text), Ok(expected), "{text}");
        }
        for (text, error) in [
            ("", InvalidCookie::Name),
            ("a", InvalidCookie::Name),
            ("=1", InvalidCookie::Name),
            ("a b=1", InvalidCookie::Name),
            ("; a=1", InvalidCookie::Name),
            ("a=\"1", InvalidCookie::Value),
            ("a=1\x01", InvalidCookie::Value),
            ("a=\u{e4}", InvalidCookie::Value),
        ] {
            assert_eq!(Cookie::parse(text), Err(error), "{text}");
        }
    }
}
