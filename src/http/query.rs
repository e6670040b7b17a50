//! Names and values of a query or a form: `application/x-www-form-urlencoded` (WHATWG URL §5).
//!
//! ```text
//!   "a=1&b=x+y&a=%32" ──► Pairs: decoded once ──► get("a") = "1", get_all("a") = "1", "2"
//!                                     └─ `;`, a bad escape, no UTF-8, too many: InvalidPairs
//!   [("a", 1), ("b", 2)] ── encode ──► "a=1&b=2"
//! ```
//!
//! A text that needs no decoding is read where it stands.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Display;
use std::fmt::Write;
use std::str::FromStr;

use ::http::StatusCode;
use url::form_urlencoded::byte_serialize;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::target::hex_digit;
use crate::limits::QUERY_PAIRS_MAX;

/// The names and values of a query or a form, decoded, in their order. Reading them cannot fail.
///
/// ```
/// use roundtrip::http::query::Pairs;
///
/// let pairs = Pairs::parse("tag=a&page=7&tag=b+c%21")?;
/// assert_eq!(pairs.get("page"), Some("7"));
/// assert_eq!(pairs.get_as::<u32>("page")?, Some(7));
/// assert_eq!(pairs.get_all("tag").collect::<Vec<_>>(), ["a", "b c!"]);
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Clone)]
pub struct Pairs<'a> {
    text: Text<'a>,
}

#[derive(Clone)]
enum Text<'a> {
    /// As it came: nothing in it needs decoding.
    Plain(Cow<'a, str>),
    /// All names and values, decoded, and where each name and each value ends.
    Decoded {
        text: String,
        ends: Vec<(usize, usize)>,
    },
}

/// Why a text is no list of pairs. The text never repeats what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPairs {
    /// A `;` that is not percent-coded: some readers separate pairs there, and some do not.
    Semicolon,
    /// A `%` is not followed by two hexadecimal digits.
    BadEscape,
    /// A decoded name or value is not UTF-8.
    NotUtf8,
    /// There are more pairs than [`QUERY_PAIRS_MAX`].
    TooMany,
}

impl<'a> Pairs<'a> {
    /// Checks a text, without the `?` of a query. Nothing between two `&` is no pair; a pair
    /// without `=` has an empty value; `+` is a blank.
    ///
    /// # Errors
    ///
    /// [`InvalidPairs`], also for more than 10,000 pairs ([`QUERY_PAIRS_MAX`]).
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Pairs<'a>, InvalidPairs> {
        let text = text.into();
        check(&text)?;
        let text = match memchr::memchr2(b'%', b'+', text.as_bytes()) {
            None => Text::Plain(text),
            Some(_) => Text::decoded(&text),
        };
        Ok(Pairs { text })
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.iter();
        let found = pairs.find(|(candidate, _)| *candidate == name);
        found.map(|(_, value)| value)
    }

    /// All values of this name, in order.
    pub fn get_all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        let own = self.iter().filter(move |(candidate, _)| *candidate == name);
        own.map(|(_, value)| value)
    }

    /// The first value of this name, as a number or anything else that is made of text.
    ///
    /// # Errors
    ///
    /// The value does not spell a `T`: returned by a handler it is answered 400.
    pub fn get_as<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        parse_as(self.get(name), name)
    }

    /// True when there is a pair of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        // One of the two is empty.
        let (plain, text, ends) = match &self.text {
            Text::Plain(text) => (&text[..], "", &[][..]),
            Text::Decoded { text, ends } => ("", &text[..], &ends[..]),
        };
        let mut start = 0;
        let decoded = ends.iter().map(move |&(name_end, value_end)| {
            let pair = (&text[start..name_end], &text[name_end..value_end]);
            start = value_end;
            pair
        });
        raw(plain).chain(decoded)
    }

    /// How many pairs there are; two of the same name are two.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// True without pairs.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl Text<'_> {
    /// Of a checked text.
    fn decoded(checked: &str) -> Text<'static> {
        let (mut text, mut ends) = (String::with_capacity(checked.len()), Vec::new());
        for (name, value) in decoded(checked) {
            text.push_str(&name);
            let name_end = text.len();
            text.push_str(&value);
            ends.push((name_end, text.len()));
        }
        Text::Decoded { text, ends }
    }
}

impl fmt::Debug for Pairs<'_> {
    /// The names alone: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Request {
    /// The names and values of the query; none without a query.
    ///
    /// ```
    /// use roundtrip::Request;
    ///
    /// let request = Request::for_target("GET", "/search?q=io+uring&page=2")?;
    /// let query = request.query_pairs()?;
    /// assert_eq!(query.get("q"), Some("io uring"));
    /// assert_eq!(query.get_as::<u32>("page")?.unwrap_or(1), 2);
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A query that readers could read differently, or with more than 10,000 pairs
    /// ([`InvalidPairs`]): returned by a handler it is answered 400.
    pub fn query_pairs(&self) -> Result<Pairs<'_>> {
        Ok(Pairs::parse(self.query().unwrap_or_default())?)
    }

    /// The first value of this name in the query, decoded; borrowed where nothing is to be decoded.
    ///
    /// # Errors
    ///
    /// As for [`Request::query_pairs`], whichever pair is at fault.
    pub fn query_value(&self, name: &str) -> Result<Option<Cow<'_, str>>> {
        let text = self.query().unwrap_or_default();
        check(text)?;
        Ok(find(text, name))
    }

    /// As [`Request::query_value`], in bytes, which need not be UTF-8: what old programs send for
    /// letters beyond ASCII.
    ///
    /// ```
    /// use roundtrip::Request;
    ///
    /// let request = Request::for_target("GET", "/search?q=caf%E9")?;
    /// assert!(request.query_value("q").is_err());
    /// assert_eq!(request.query_value_bytes("q")?.as_deref(), Some(&b"caf\xe9"[..]));
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Request::query_pairs`], but for what is not UTF-8.
    pub fn query_value_bytes(&self, name: impl AsRef<[u8]>) -> Result<Option<Cow<'_, [u8]>>> {
        let mut pairs = decode(self.query().unwrap_or_default())?.into_iter();
        let found = pairs.find(|(own, _)| **own == *name.as_ref());
        Ok(found.map(|(_, value)| value))
    }

    /// The first value of this name in the query, as a number or anything else that is made of
    /// text: `request.query_as::<u32>("page")?.unwrap_or(1)`.
    ///
    /// # Errors
    ///
    /// As for [`Request::query_pairs`], and a value that does not spell a `T`: returned by a
    /// handler it is answered 400.
    pub fn query_as<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        parse_as(self.query_value(name)?.as_deref(), name)
    }
}

/// A name and a value of a query or a form that is written: `("page", 2)`, or a reference to such a
/// pair. Anything that can be displayed will do.
#[diagnostic::on_unimplemented(
    message = "a query or a form is made of pairs, as in `[(\"page\", 2)]`",
    label = "this is no pair of things that can be displayed"
)]
pub trait Pair {
    /// The name.
    fn name(&self) -> &dyn Display;

    /// The value.
    fn value(&self) -> &dyn Display;
}

impl<N: Display, V: Display> Pair for (N, V) {
    fn name(&self) -> &dyn Display {
        &self.0
    }

    fn value(&self) -> &dyn Display {
        &self.1
    }
}

impl<P: Pair> Pair for &P {
    fn name(&self) -> &dyn Display {
        (**self).name()
    }

    fn value(&self) -> &dyn Display {
        (**self).value()
    }
}

/// Writes names and values as `application/x-www-form-urlencoded`.
///
/// ```
/// use roundtrip::http::query::encode;
///
/// assert_eq!(encode([("q", "a b&c"), ("lang", "en")]), "q=a+b%26c&lang=en");
/// assert_eq!(encode(&[("page", 2)]), "page=2");
/// ```
pub fn encode<P: Pair>(pairs: impl IntoIterator<Item = P>) -> String {
    let mut encoded = Encoded(String::new());
    for pair in pairs {
        if !encoded.0.is_empty() {
            encoded.0.push('&');
        }
        encoded.push(pair.name());
        encoded.0.push('=');
        encoded.push(pair.value());
    }
    encoded.0
}

/// Reads names and values as the bytes that they are, which need not be UTF-8: those of a form in
/// another charset, which [`Request::form`] refuses.
///
/// ```
/// use roundtrip::http::query::decode;
///
/// let pairs = decode("name=J%F6rg&%E9")?;
/// assert_eq!(pairs[0], (b"name".into(), b"J\xf6rg".into()));
/// assert_eq!(pairs[1], (b"\xe9".into(), b"".into()));
/// # Ok::<(), roundtrip::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Pairs::parse`], but for what is not UTF-8.
pub fn decode(text: &str) -> Result<Vec<PairBytes<'_>>, InvalidPairs> {
    check_syntax(text)?;
    let decoded = |(name, value)| Ok((decode_bytes(name)?, decode_bytes(value)?));
    raw(text).map(decoded).collect()
}

/// A name and its value, as [`decode`] has them.
pub type PairBytes<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// What was written so far; text that is written to it is coded.
struct Encoded(String);

impl Encoded {
    fn push(&mut self, text: &dyn Display) {
        write!(self, "{text}").expect("what can be displayed does not fail by itself");
    }
}

impl Write for Encoded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(byte_serialize(text.as_bytes()));
        Ok(())
    }
}

impl Request {
    /// Adds names and values to the query of a client's request.
    pub(crate) fn add_query<P: Pair>(&mut self, pairs: impl IntoIterator<Item = P>) {
        let added = encode(pairs);
        if added.is_empty() {
            return;
        }
        let mut url = self.take_url().expect("a client's request has a URL");
        match url.query() {
            None | Some("") => url.set_query(Some(&added)),
            Some(query) => {
                let query = format!("{query}&{added}");
                url.set_query(Some(&query));
            }
        }
        self.set_url(url);
    }
}

/// What the value of a query or of a form of any kind spells.
pub(crate) fn parse_as<T: FromStr>(value: Option<&str>, name: &str) -> Result<Option<T>> {
    let Some(value) = value else {
        return Ok(None);
    };
    let parsed = value.parse().map_err(|_| {
        let text = format!("the value of `{name}` is not what it must be");
        Error::new(ErrorKind::Protocol, text).answered(StatusCode::BAD_REQUEST)
    });
    parsed.map(Some)
}

fn check(text: &str) -> Result<(), InvalidPairs> {
    check_syntax(text)?;
    for (name, value) in raw(text) {
        decode_text(name)?;
        decode_text(value)?;
    }
    Ok(())
}

/// What need not be UTF-8.
fn check_syntax(text: &str) -> Result<(), InvalidPairs> {
    if memchr::memchr(b';', text.as_bytes()).is_some() {
        return Err(InvalidPairs::Semicolon);
    }
    if raw(text).nth(QUERY_PAIRS_MAX).is_some() {
        return Err(InvalidPairs::TooMany);
    }
    Ok(())
}

/// The value of the first pair of this name in a checked text.
fn find<'t>(text: &'t str, name: &str) -> Option<Cow<'t, str>> {
    let mut pairs = decoded(text);
    let found = pairs.find(|(candidate, _)| candidate == name);
    found.map(|(_, value)| value)
}

/// The pairs of a checked text.
fn decoded(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let decode = |text| decode_text(text).expect("the text was checked");
    raw(text).map(move |(name, value)| (decode(name), decode(value)))
}

/// The pairs as they came.
fn raw(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Text of `%XX` and `+`.
fn decode_text(text: &str) -> Result<Cow<'_, str>, InvalidPairs> {
    Ok(match decode_bytes(text)? {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => {
            let decoded = String::from_utf8(bytes).map_err(|_| InvalidPairs::NotUtf8)?;
            Cow::Owned(decoded)
        }
    })
}

/// `%XX` is a byte, `+` a blank.
fn decode_bytes(text: &str) -> Result<Cow<'_, [u8]>, InvalidPairs> {
    let bytes = text.as_bytes();
    let Some(first) = memchr::memchr2(b'%', b'+', bytes) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, behind) = tail
                    .split_first_chunk::<2>()
                    .ok_or(InvalidPairs::BadEscape)?;
                rest = behind;
                let digit = |at: usize| hex_digit(digits[at]).ok_or(InvalidPairs::BadEscape);
                digit(0)? << 4 | digit(1)?
            }
            other => other,
        });
    }
    Ok(Cow::Owned(decoded))
}

impl Display for InvalidPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidPairs::Semicolon => f.write_str("a semicolon, which must be written %3B"),
            InvalidPairs::BadEscape => f.write_str("a percent sign without two hexadecimal digits"),
            InvalidPairs::NotUtf8 => f.write_str("a name or value is not UTF-8"),
            InvalidPairs::TooMany => write!(f, "more than {QUERY_PAIRS_MAX} names and values"),
        }
    }
}

impl std::error::Error for InvalidPairs {}

impl From<InvalidPairs> for Error {
    fn from(invalid: InvalidPairs) -> Error {
        let kind = match invalid {
            InvalidPairs::TooMany => ErrorKind::Limit,
            _ => ErrorKind::Protocol,
        };
        Error::new(kind, invalid.to_string()).answered(StatusCode::BAD_REQUEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let pairs = Pairs::parse(text).unwrap();
        let all: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(pairs.len(), all.len());
        assert_eq!(pairs.is_empty(), all.is_empty());
        all
    }

    #[test]
    fn every_form_of_pair() {
        let table: [(&str, &[(&str, &str)]); 16] = [
            ("", &[]),
            ("&&", &[]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=a", &[("", "a")]),
            ("=", &[("", "")]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("&a=1&&b=2&", &[("a", "1"), ("b", "2")]),
            ("a=1&a=2", &[("a", "1"), ("a", "2")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a+b=c+d", &[("a b", "c d")]),
            ("%61=%62%2B%26%3D%3B", &[("a", "b+&=;")]),
            ("a=%C3%A4&b=\u{e4}", &[("a", "\u{e4}"), ("b", "\u{e4}")]),
            ("a=%00", &[("a", "\0")]),
            ("a=?/:@!$'()*,", &[("a", "?/:@!$'()*,")]),
            ("a=%25%32%35", &[("a", "%25")]),
        ];
        for (text, expected) in table {
            let found = pairs(text);
            let found: Vec<_> = found.iter().map(|(n, v)| (&n[..], &v[..])).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_pairs() {
        for (text, error) in [
            ("a;b", InvalidPairs::Semicolon),
            ("a=1;b=2", InvalidPairs::Semicolon),
            ("%", InvalidPairs::BadEscape),
            ("a=%4", InvalidPairs::BadEscape),
            ("a=%4g", InvalidPairs::BadEscape),
            ("a=%+4", InvalidPairs::BadEscape),
            ("a=1&%zz=2", InvalidPairs::BadEscape),
            ("a=%ff", InvalidPairs::NotUtf8),
            ("%c3=a", InvalidPairs::NotUtf8),
            // Each part must be text by itself.
            ("a%C3=%A4", InvalidPairs::NotUtf8),
            ("a=%ed%a0%80", InvalidPairs::NotUtf8),
        ] {
            assert_eq!(Pairs::parse(text).unwrap_err(), error, "{text}");
            let target = format!("/?b=1&{text}");
            let request = Request::for_target("GET", &target).unwrap();
            let error = request.query_value("b").unwrap_err();
            assert_eq!(error.answer(), Some(StatusCode::BAD_REQUEST));
        }
    }

    #[test]
    fn what_is_encoded_reads_as_it_was() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        let written = encode([("a b", &*all), ("", ""), ("a b", "\u{1f600}")]);
        assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
        let read = Pairs::parse(&*written).unwrap();
        assert!(read.get_all("a b").eq([&*all, "\u{1f600}"]));
        assert_eq!(read.len(), 3);
        assert_eq!(encode([("a", "*-._~ ")]), "a=*-._%7E+");
        assert_eq!(encode(std::iter::empty::<(u8, u8)>()), "");
        let map = std::collections::BTreeMap::from([(String::from("a"), 1.5), ("b".into(), -2.0)]);
        assert_eq!(encode(&map), "a=1.5&b=-2");
    }

    #[test]
    fn a_query_grows() {
        let added = |url: &str, pairs: &[(&str, &str)]| {
            let mut request = Request::new(::http::Method::GET, url.parse().unwrap());
            request.add_query(pairs);
            let query = request.query().map(str::to_owned);
            assert_eq!(request.url().unwrap().query(), query.as_deref());
            query
        };
        assert_eq!(added("http://h/", &[]), None);
        assert_eq!(added("http://h/?", &[]).as_deref(), Some(""));
        assert_eq!(added("http://h/#f", &[("a", "1")]).as_deref(), Some("a=1"));
        assert_eq!(added("http://h/?", &[("a", "1")]).as_deref(), Some("a=1"));
        let kept = added("http://h/?%20x;y", &[("a", "'#\"<")]);
        assert_eq!(kept.as_deref(), Some("%20x;y&a=%27%23%22%3C"));
    }

    #[test]
    fn no_more_than_the_bound() {
        let most = "a&".repeat(QUERY_PAIRS_MAX);
        assert_eq!(Pairs::parse(&most[..]).unwrap().len(), QUERY_PAIRS_MAX);
        let error = Pairs::parse(most + "a").unwrap_err();
        assert_eq!(error, InvalidPairs::TooMany);
        assert!(error.to_string().contains("10000"), "{error}");
        assert!(Error::from(error).is_limit());
    }

    #[test]
    fn borrows_what_needs_no_decoding() {
        let text = "a=1&b=2";
        let pairs = Pairs::parse(text).unwrap();
        assert_eq!(pairs.get("b").unwrap().as_ptr(), text[6..].as_ptr());
        let request = Request::for_target("GET", "/?a=1&b=%31").unwrap();
        let value = |name| request.query_value(name).unwrap().unwrap();
        assert!(matches!(value("a"), Cow::Borrowed("1")));
        assert!(matches!(value("b"), Cow::Owned(_)));
    }

    #[test]
    fn values_by_name() {
        let pairs = Pairs::parse("n=7&n=8&x=%2B7&e=&long=99999999999").unwrap();
        assert_eq!(pairs.get_as::<u8>("n").unwrap(), Some(7));
        assert_eq!(pairs.get_as::<u8>("no").unwrap(), None);
        assert_eq!(pairs.get_all("n").count(), 2);
        assert!(pairs.contains("e"));
        for name in ["e", "long"] {
            let error = pairs.get_as::<u8>(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains(name));
            assert!(!error.to_string().contains("999"));
        }
        let shown = format!("{pairs:?}");
        assert!(shown.contains("long") && !shown.contains("999"), "{shown}");
    }

    #[test]
    fn the_query_of_a_request() {
        let request = |target| Request::for_target("GET", target).unwrap();
        assert!(request("/").query_pairs().unwrap().is_empty());
        assert!(request("/?").query_pairs().unwrap().is_empty());
        let request = request("/a;b?c=1&d=%20");
        assert_eq!(request.query_value("d").unwrap().unwrap(), " ");
        assert_eq!(request.query_value("e").unwrap(), None);
        assert_eq!(request.query_as::<u64>("c").unwrap(), Some(1));
        assert!(request.query_as::<u64>("d").is_err());
    }
}
