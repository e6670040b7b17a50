//! Header fields, in order, over one buffer.
//!
//! ```text
//!   bytes   H o s t :   a . e x \r \n A c c e p t :   * / * \r \n
//!           └─name─┘    └value┘       └──name───┘     └val┘
//!   fields  [ name, value ] [ name, value ] …             (positions in `bytes`)
//! ```
//!
//! Names keep the case in which they came and are compared without it. Nothing is merged: two
//! fields of one name stay two fields. The memory of dropped headers serves the next ones of the
//! same thread, so that a server in steady state allocates nothing for them.

use std::fmt;

use ::http::HeaderMap;
use ::http::HeaderName;
use ::http::HeaderValue;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::http::known::Known;
use crate::http::recycle::FreeList;
use crate::http::token;
use crate::limits::FREE_HEADER_BYTES_MAX;
use crate::limits::FREE_HEADERS_MAX;
use crate::limits::HEADER_COUNT_MAX;

/// Ordered header fields; one pointer wide, without memory while empty.
///
/// ```
/// use roundtrip::http::headers::Headers;
///
/// let mut headers = Headers::new();
/// headers.append("Vary", "accept")?;
/// headers.append("vary", "origin")?;
/// assert_eq!(headers.get("VARY"), Some("accept"));
/// assert_eq!(headers.get_all("vary").count(), 2);
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Default)]
pub struct Headers {
    memory: Option<Box<Memory>>,
}

/// What headers own; recycled when they are dropped.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    /// Bytes that removed and replaced fields left behind.
    dead_bytes: usize,
}

/// Where a field stands in the buffer.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name_start: u32,
    pub(crate) value_start: u32,
    pub(crate) value_len: u32,
    pub(crate) name_len: u16,
    /// Which of the names it is that framing cares for.
    pub(crate) known: Known,
}

/// Why a field cannot be a header field. The text never repeats what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The name is not a token (RFC 9110 §5.1), or longer than 65,535 bytes.
    Name,
    /// The value holds a control character (RFC 9110 §5.5): CR, LF, NUL, DEL and their like.
    Value,
    /// All fields together would take more than 4 GiB, or more entries than the target type holds.
    Size,
}

thread_local! {
    static FREE: FreeList<Box<Memory>> = const { FreeList::new(FREE_HEADERS_MAX) };
}

impl Headers {
    /// No fields, no memory.
    pub const fn new() -> Headers {
        Headers { memory: None }
    }

    /// Fields from pairs of names and values, in their order.
    pub fn from_pairs<N, V>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Headers, InvalidHeader>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let mut headers = Headers::new();
        for (name, value) in pairs {
            headers.append(name, value)?;
        }
        Ok(headers)
    }

    /// How many fields there are; two of the same name are two.
    pub fn len(&self) -> usize {
        self.fields().len()
    }

    /// True without fields.
    pub fn is_empty(&self) -> bool {
        self.fields().is_empty()
    }

    /// Removes all fields, and keeps the memory.
    pub fn clear(&mut self) {
        if let Some(memory) = &mut self.memory {
            memory.clear();
        }
    }

    /// The first value of `name`, without the blanks around it. `None` also when it is not UTF-8;
    /// [`Headers::get_bytes`] has it then.
    pub fn get(&self, name: impl AsRef<str>) -> Option<&str> {
        std::str::from_utf8(self.get_bytes(name)?).ok()
    }

    /// The first value of `name` as it came, without the blanks around it.
    pub fn get_bytes(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        let memory = self.memory.as_deref()?;
        let index = memory.position(name.as_ref().as_bytes())?;
        Some(memory.value(memory.fields[index]))
    }

    /// All values of `name`, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.memory.iter().flat_map(move |memory| {
            let fields = memory.fields.iter();
            fields
                .filter(|field| memory.is_named(**field, name.as_bytes()))
                .map(|field| memory.value(*field))
        })
    }

    /// True when there is a field of this name.
    pub fn contains(&self, name: impl AsRef<str>) -> bool {
        self.get_bytes(name).is_some()
    }

    /// True when one of the comma-separated elements of all fields `name` is `token`, in any case:
    /// `headers.contains_token("connection", "upgrade")`.
    pub fn contains_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|element| token::trim(element).eq_ignore_ascii_case(token.as_bytes()))
    }

    /// All fields, in order: the name in the case in which it came, and the value.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            bytes: self.memory.as_ref().map_or(&[], |memory| &memory.bytes),
            fields: self.fields().iter(),
        }
    }

    /// Adds a field behind the others. Blanks around the value are not part of it.
    pub fn append(
        &mut self,
        name: impl AsRef<str>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), InvalidHeader> {
        let (name, value) = check(name.as_ref(), value.as_ref())?;
        self.memory_mut().append(name, value)
    }

    /// As [`Headers::append`], for a name that is known to be one.
    pub(crate) fn append_known(
        &mut self,
        known: Known,
        name: &'static str,
        value: &str,
    ) -> Result<(), InvalidHeader> {
        let value = token::trim(value.as_bytes());
        if !token::is_value(value) {
            return Err(InvalidHeader::Value);
        }
        self.memory_mut().append_as(known, name.as_bytes(), value)
    }

    /// As [`Headers::append`], for what [`Headers::append`] has accepted before.
    pub(crate) fn append_checked(
        &mut self,
        name: &'static str,
        value: &str,
    ) -> Result<(), InvalidHeader> {
        let value = token::trim(value.as_bytes());
        self.memory_mut().append(name.as_bytes(), value)
    }

    /// Sets a field: its first occurrence takes the value, the others go.
    pub fn insert(
        &mut self,
        name: impl AsRef<str>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), InvalidHeader> {
        let (name, value) = check(name.as_ref(), value.as_ref())?;
        let memory = self.memory_mut();
        let Some(index) = memory.position(name) else {
            return memory.append(name, value);
        };
        memory.append(name, value)?;
        let field = memory.fields.pop().expect("a field was appended");
        // Compaction may move bytes, but keeps the order of fields.
        let replaced = std::mem::replace(&mut memory.fields[index], field);
        memory.dead_bytes += replaced.bytes_len();
        memory.remove_from(index + 1, name);
        Ok(())
    }

    /// Removes all fields of this name; true when there was one.
    pub fn remove(&mut self, name: impl AsRef<str>) -> bool {
        match &mut self.memory {
            Some(memory) => memory.remove_from(0, name.as_ref().as_bytes()),
            None => false,
        }
    }

    /// Adds all fields of `other` behind these.
    pub fn extend(&mut self, other: &Headers) -> Result<(), InvalidHeader> {
        for (name, value) in other.iter() {
            self.memory_mut().append(name.as_bytes(), value)?;
        }
        Ok(())
    }

    /// Removes all fields, and gives memory of unusual size back to the allocator.
    pub(crate) fn recycle(&mut self) {
        if let Some(memory) = &mut self.memory {
            memory.clear();
            let is_usual = memory.bytes.capacity() <= FREE_HEADER_BYTES_MAX
                && memory.fields.capacity() <= 2 * HEADER_COUNT_MAX;
            if !is_usual {
                self.memory = None;
            }
        }
    }

    /// Takes memory of this thread's free list along, where these have none: for headers that go to
    /// another thread, from which others come back.
    pub(crate) fn take_memory_along(&mut self) {
        if self.memory.is_none() {
            self.memory = FREE.try_with(FreeList::take).ok().flatten();
        }
    }

    /// Fills empty headers with a field section that was checked, whose fields are then
    /// [pushed](Headers::push_checked).
    pub(crate) fn load(&mut self, section: &[u8], fields: usize) {
        let memory = self.memory_mut();
        assert!(memory.fields.is_empty());
        memory.bytes.clear();
        memory.bytes.extend_from_slice(section);
        memory.fields.reserve(fields);
    }

    /// Notes a field of the section that was loaded.
    pub(crate) fn push_checked(&mut self, field: Field) {
        let memory = self.memory.as_deref_mut().expect("a section was loaded");
        memory.fields.push(field);
    }

    /// The first value of one of the names that framing cares for.
    pub(crate) fn get_known(&self, known: Known) -> Option<&[u8]> {
        let memory = self.memory.as_deref()?;
        let field = memory.fields.iter().find(|field| field.known == known)?;
        Some(memory.value(*field))
    }

    /// All fields with what framing knows of their names.
    pub(crate) fn iter_known(&self) -> impl Iterator<Item = (Known, &[u8], &[u8])> {
        let bytes = self.memory.as_ref().map_or(&[][..], |memory| &memory.bytes);
        let fields = self.fields().iter();
        fields.map(|field| (field.known, field.name_in(bytes), field.value_in(bytes)))
    }

    fn fields(&self) -> &[Field] {
        self.memory.as_ref().map_or(&[], |memory| &memory.fields)
    }

    fn memory_mut(&mut self) -> &mut Memory {
        self.memory.get_or_insert_with(|| {
            FREE.try_with(FreeList::take)
                .ok()
                .flatten()
                .unwrap_or_default()
        })
    }
}

/// A checked name, and the value without the blanks around it.
fn check<'a>(name: &'a str, value: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), InvalidHeader> {
    if !token::is_token(name.as_bytes()) || name.len() > usize::from(u16::MAX) {
        return Err(InvalidHeader::Name);
    }
    let value = token::trim(value);
    if !token::is_value(value) {
        return Err(InvalidHeader::Value);
    }
    Ok((name.as_bytes(), value))
}

impl Field {
    #[inline]
    fn name_in(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.name_start as usize..][..usize::from(self.name_len)]
    }

    #[inline]
    fn value_in(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.value_start as usize..][..self.value_len as usize]
    }

    fn bytes_len(self) -> usize {
        usize::from(self.name_len) + self.value_len as usize
    }
}

impl Memory {
    fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.dead_bytes = 0;
    }

    fn name_bytes(&self, field: Field) -> &[u8] {
        field.name_in(&self.bytes)
    }

    fn value(&self, field: Field) -> &[u8] {
        field.value_in(&self.bytes)
    }

    fn is_named(&self, field: Field, name: &[u8]) -> bool {
        usize::from(field.name_len) == name.len()
            && self.name_bytes(field).eq_ignore_ascii_case(name)
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.fields
            .iter()
            .position(|field| self.is_named(*field, name))
    }

    fn append(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidHeader> {
        self.append_as(Known::of(name), name, value)
    }

    fn append_as(&mut self, known: Known, name: &[u8], value: &[u8]) -> Result<(), InvalidHeader> {
        if self.dead_bytes > FREE_HEADER_BYTES_MAX.max(self.bytes.len() / 2) {
            self.compact();
        }
        let name_start = self.bytes.len();
        if name_start + name.len() + value.len() > u32::MAX as usize {
            return Err(InvalidHeader::Size);
        }
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.fields.push(Field {
            name_start: name_start as u32,
            value_start: (name_start + name.len()) as u32,
            value_len: value.len() as u32,
            name_len: name.len() as u16,
            known,
        });
        Ok(())
    }

    /// Removes the fields of this name from the one at `start` on.
    fn remove_from(&mut self, start: usize, name: &[u8]) -> bool {
        let count = self.fields.len();
        let mut kept = start;
        for index in start..count {
            let field = self.fields[index];
            if self.is_named(field, name) {
                self.dead_bytes += field.bytes_len();
            } else {
                self.fields[kept] = field;
                kept += 1;
            }
        }
        self.fields.truncate(kept);
        kept < count
    }

    /// Drops the bytes that no field uses, so that replacing a value for ever takes no more memory.
    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.dead_bytes);
        for index in 0..self.fields.len() {
            let field = self.fields[index];
            let name_start = bytes.len();
            bytes.extend_from_slice(self.name_bytes(field));
            bytes.extend_from_slice(self.value(field));
            self.fields[index].name_start = name_start as u32;
            self.fields[index].value_start = (name_start + usize::from(field.name_len)) as u32;
        }
        self.bytes = bytes;
        self.dead_bytes = 0;
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        self.recycle();
        if let Some(memory) = self.memory.take() {
            // At the end of a thread the list may be gone already.
            let _ = FREE.try_with(|free| free.give(memory));
        }
    }
}

impl Clone for Headers {
    fn clone(&self) -> Headers {
        let mut clone = Headers::new();
        if let Some(memory) = &self.memory {
            let copy = clone.memory_mut();
            copy.bytes.extend_from_slice(&memory.bytes);
            copy.fields.extend_from_slice(&memory.fields);
            copy.dead_bytes = memory.dead_bytes;
        }
        clone
    }
}

/// All fields of [`Headers`], in order: the name in the case in which it came, and the value.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    fields: std::slice::Iter<'a, Field>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<(&'a str, &'a [u8])> {
        let field = self.fields.next()?;
        let name = std::str::from_utf8(field.name_in(self.bytes));
        let name = name.expect("names are tokens, tokens are ASCII");
        Some((name, field.value_in(self.bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for Headers {
    /// The same fields in the same order; the case of names does not matter.
    fn eq(&self, other: &Headers) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(a, b)| {
                let same_name = a.0.eq_ignore_ascii_case(b.0);
                same_name && a.1 == b.1
            })
    }
}

impl fmt::Debug for Headers {
    /// All fields; what authenticates somebody is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECRET: [&str; 4] = [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
        ];
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            if SECRET
                .iter()
                .any(|secret| secret.eq_ignore_ascii_case(name))
            {
                map.entry(&name, &"…");
            } else {
                map.entry(&name, &String::from_utf8_lossy(value));
            }
        }
        map.finish()
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(pairs: I) -> Headers {
        Headers::from_pairs(pairs).expect("the types allow valid fields only")
    }
}

impl TryFrom<&HeaderMap> for Headers {
    type Error = InvalidHeader;

    fn try_from(map: &HeaderMap) -> Result<Headers, InvalidHeader> {
        Headers::from_pairs(map.iter())
    }
}

impl TryFrom<&Headers> for HeaderMap {
    type Error = InvalidHeader;

    /// The map drops the case of names and the order between different names.
    fn try_from(headers: &Headers) -> Result<HeaderMap, InvalidHeader> {
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidHeader::Name)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| InvalidHeader::Value)?;
            map.try_append(name, value)
                .map_err(|_| InvalidHeader::Size)?;
        }
        Ok(map)
    }
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidHeader::Name => "a header name is not a token (RFC 9110 §5.1)",
            InvalidHeader::Value => "a header value holds a control character (RFC 9110 §5.5)",
            InvalidHeader::Size => "header fields take more memory than can be addressed",
        })
    }
}

impl std::error::Error for InvalidHeader {}

impl From<InvalidHeader> for Error {
    fn from(invalid: InvalidHeader) -> Error {
        Error::new(ErrorKind::Invalid, invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &Headers) -> Vec<(&str, &[u8])> {
        headers.iter().collect()
    }

    #[test]
    fn keeps_order_and_case() {
        let headers = Headers::from_pairs([("B", "1"), ("a", " 2\t"), ("b", "3")]).unwrap();
        assert_eq!(
            pairs(&headers),
            [("B", &b"1"[..]), ("a", b"2"), ("b", b"3")]
        );
        assert_eq!(headers.get("b"), Some("1"));
        assert_eq!(headers.get(::http::header::ACCEPT), None);
        assert_eq!(headers.get_all("B").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn insert_replaces_the_first_and_removes_the_rest() {
        let mut headers = Headers::from_pairs([("a", "1"), ("b", "2"), ("A", "3")]).unwrap();
        headers.insert("A", "new").unwrap();
        headers.insert("c", "4").unwrap();
        assert_eq!(
            pairs(&headers),
            [("A", &b"new"[..]), ("b", b"2"), ("c", b"4")]
        );
        assert!(headers.remove("B"));
        assert!(!headers.remove("B"));
        assert_eq!(pairs(&headers), [("A", &b"new"[..]), ("c", b"4")]);
    }

    #[test]
    fn refuses_what_would_split_a_message() {
        let mut headers = Headers::new();
        for name in ["", "a b", "a:", "a\r\n", "\u{e4}"] {
            assert_eq!(headers.append(name, "x"), Err(InvalidHeader::Name));
        }
        for value in [&b"a\r\nb"[..], b"a\nb", b"\0", b"\x7f", b"\x1b"] {
            assert_eq!(headers.append("x", value), Err(InvalidHeader::Value));
        }
        assert!(headers.append("x", b"a\tb\xff").is_ok());
        assert_eq!(headers.get("x"), None);
        assert_eq!(headers.get_bytes("x"), Some(&b"a\tb\xff"[..]));
    }

    #[test]
    fn replacing_for_ever_takes_bounded_memory() {
        let mut headers = Headers::from_pairs([("keep", "me")]).unwrap();
        for _ in 0..10_000 {
            headers
                .insert("x", "0123456789012345678901234567890123456789")
                .unwrap();
        }
        assert_eq!(headers.get("keep"), Some("me"));
        assert_eq!(headers.len(), 2);
        let bytes = headers.memory.as_ref().unwrap().bytes.len();
        assert!(bytes < 4 * FREE_HEADER_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn dropped_memory_serves_again() {
        let address = |headers: &Headers| headers.memory.as_ref().unwrap().bytes.as_ptr();
        let first = Headers::from_pairs([("a", "1")]).unwrap();
        let used = address(&first);
        drop(first);
        let second = Headers::from_pairs([("b", "2")]).unwrap();
        assert_eq!(address(&second), used);
        assert_eq!(pairs(&second), [("b", &b"2"[..])]);
    }

    #[test]
    fn converts_to_the_map_of_the_ecosystem_and_back() {
        let headers = Headers::from_pairs([("Vary", "a"), ("Host", "b"), ("vary", "c")]).unwrap();
        let map = HeaderMap::try_from(&headers).unwrap();
        assert_eq!(map.get_all("vary").iter().count(), 2);
        let back = Headers::try_from(&map).unwrap();
        assert_eq!(back.len(), 3);
        assert_eq!(back.get("HOST"), Some("b"));
    }

    #[test]
    fn finds_tokens_in_lists() {
        let headers =
            Headers::from_pairs([("Connection", "a, Keep-Alive"), ("connection", "upgrade")])
                .unwrap();
        assert!(headers.contains_token("connection", "keep-alive"));
        assert!(headers.contains_token("connection", "Upgrade"));
        assert!(!headers.contains_token("connection", "keep"));
    }

    #[test]
    fn debug_keeps_secrets() {
        let headers = Headers::from_pairs([("Cookie", "id=1"), ("Host", "a")]).unwrap();
        assert_eq!(format!("{headers:?}"), r#"{"Cookie": "…", "Host": "a"}"#);
    }

    #[test]
    fn clones_and_compares() {
        let headers = Headers::from_pairs([("A", "1"), ("b", "2")]).unwrap();
        assert_eq!(headers.clone(), headers);
        assert_ne!(
            headers,
            Headers::from_pairs([("b", "2"), ("a", "1")]).unwrap()
        );
        assert!(Headers::new().is_empty());
    }

    #[test]
    fn every_byte_counts_as_in_the_map_of_the_ecosystem() {
        for byte in 0..=255u8 {
            let (name, value) = ([b'a', byte], [b'a', byte, b'a']);
            let theirs = HeaderName::from_bytes(&name).is_ok();
            let ours = std::str::from_utf8(&name)
                .is_ok_and(|name| Headers::new().append(name, "x").is_ok());
            assert_eq!(ours, theirs, "name with {byte:#x}");
            let theirs = HeaderValue::from_bytes(&value).is_ok();
            let ours = Headers::new().append("a", value).is_ok();
            assert_eq!(ours, theirs, "value with {byte:#x}");
        }
    }
}
