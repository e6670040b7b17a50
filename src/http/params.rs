//! Path parameters, in recycled memory.
//!
//! ```text
//!   text     i d 7 r e s t a / b
//!   entries  [ "id", "7" ] [ "rest", "a/b" ]      (lengths, one behind the other)
//!   raw      values that are not UTF-8, whose text has U+FFFD in their place
//! ```

use std::borrow::Cow;

/// Names and values that a router found in a path.
#[derive(Default)]
pub(super) struct Params {
    text: String,
    /// Lengths of name and value, in order.
    lengths: Vec<(u32, u32)>,
    /// Values that are not UTF-8, with their places, in order.
    raw: Vec<(usize, Box<[u8]>)>,
}

impl Params {
    /// Adds a parameter behind the others.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        self.text.push_str(value);
        self.lengths.push((name.len() as u32, value.len() as u32));
    }

    /// As [`Params::push`], of bytes that may be no UTF-8.
    pub(super) fn push_bytes(&mut self, name: &str, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        if let Cow::Owned(_) = text {
            self.raw.push((self.lengths.len(), value.into()));
        }
        self.push(name, &text);
    }

    /// The value of the first parameter of this name, as bytes.
    pub(super) fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        let mut pairs = self.iter_bytes();
        let found = pairs.find(|(candidate, _)| *candidate == name);
        found.map(|(_, value)| value)
    }

    /// All parameters as bytes, in order.
    pub(super) fn iter_bytes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let pairs = self.iter().enumerate();
        pairs.map(|(at, (name, text))| {
            let mut raw = self.raw.iter();
            match raw.find(|(place, _)| *place == at) {
                Some((_, value)) => (name, &value[..]),
                None => (name, text.as_bytes()),
            }
        })
    }

    /// The value of the first parameter of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(candidate, _)| *candidate == name)
            .map(|(_, value)| value)
    }

    /// All parameters, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.lengths.iter().map(move |(name_len, value_len)| {
            let value_start = start + *name_len as usize;
            let end = value_start + *value_len as usize;
            let pair = (&self.text[start..value_start], &self.text[value_start..end]);
            start = end;
            pair
        })
    }

    /// Removes all parameters, and keeps memory of usual size.
    pub(super) fn clear(&mut self) {
        if self.text.capacity() > KEPT_BYTES_MAX {
            *self = Params::default();
        }
        self.text.clear();
        self.lengths.clear();
        self.raw.clear();
    }
}

/// More text is given back to the allocator.
const KEPT_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_name_in_order() {
        let mut params = Params::default();
        params.push("id", "7");
        params.push("empty", "");
        params.push("rest", "a/b");
        assert_eq!(params.get("id"), Some("7"));
        assert_eq!(params.get("empty"), Some(""));
        assert_eq!(params.get("rest"), Some("a/b"));
        assert_eq!(params.get("i"), None);
        params.clear();
        assert_eq!(params.iter().count(), 0);
    }

    #[test]
    fn bytes_stay_bytes() {
        let mut params = Params::default();
        params.push_bytes("a", b"\xff");
        params.push("b", "%FF");
        params.push_bytes("c", "\u{e4}".as_bytes());
        params.push_bytes("d", b"x\xfey");
        let bytes: Vec<_> = params.iter_bytes().collect();
        let expected: [(&str, &[u8]); 4] = [
            ("a", b"\xff"),
            ("b", b"%FF"),
            ("c", b"\xc3\xa4"),
            ("d", b"x\xfey"),
        ];
        assert_eq!(bytes, expected);
        assert_eq!(params.get("a"), Some("\u{fffd}"));
        assert_eq!(params.get("d"), Some("x\u{fffd}y"));
        assert_eq!(params.get_bytes("d"), Some(&b"x\xfey"[..]));
        assert_eq!(params.get_bytes("e"), None);
        params.clear();
        params.push("a", "b");
        assert_eq!(params.get_bytes("a"), Some(&b"b"[..]));
    }
}
