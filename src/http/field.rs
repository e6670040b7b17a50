//! Field values with parameters: `Content-Type` and `Content-Disposition` (RFC 9110 §5.6.6).
//!
//! ```text
//!   form-data; name="a b"; filename=x ──► "form-data", [("name", "a b"), ("filename", "x")]
//! ```

use std::borrow::Cow;

use crate::http::headers::Headers;
use crate::http::token;
use crate::limits::FIELD_PARAMETERS_MAX;

/// A value and its parameters, in order, no two of the same name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameterized<'a> {
    /// What stands before the first `;`.
    pub value: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

/// A field that is not there exactly once, or is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Parameterized<'a> {
    /// The one field of this name; `None` without it.
    pub(super) fn of(headers: &'a Headers, name: &'a str) -> Result<Option<Self>, Malformed> {
        let mut values = headers.get_all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Malformed);
        }
        let value = std::str::from_utf8(value).map_err(|_| Malformed)?;
        Parameterized::parse(value).map(Some).ok_or(Malformed)
    }

    /// Reads a value. `\"` and `\\` are escapes in a quoted string and any other `\` is itself,
    /// as browsers write paths. `None` where it is malformed, has a parameter twice, or more than
    /// [`FIELD_PARAMETERS_MAX`].
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (value, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let value = value.trim_matches(BLANKS);
        if value.is_empty() {
            return None;
        }
        let mut parameters: Vec<(&str, Cow<'_, str>)> = Vec::new();
        loop {
            rest = rest.trim_start_matches(BLANKS);
            if let Some(behind) = rest.strip_prefix(';') {
                rest = behind;
                continue;
            }
            if rest.is_empty() {
                return Some(Parameterized { value, parameters });
            }
            let (name, behind) = rest.split_once('=')?;
            let (value, behind) = parameter_value(behind)?;
            if parameters.len() == FIELD_PARAMETERS_MAX {
                return None;
            }
            let is_known = |(known, _): &(&str, _)| name.eq_ignore_ascii_case(known);
            if !token::is_token(name.as_bytes()) || parameters.iter().any(is_known) {
                return None;
            }
            parameters.push((name, value));
            rest = behind.trim_start_matches(BLANKS);
            if !rest.is_empty() && !rest.starts_with(';') {
                return None;
            }
        }
    }

    /// The parameter of this name, in any case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.parameters.iter();
        all.find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// A token or a quoted string, and what stands behind it.
fn parameter_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let is_end = |byte: &u8| !token::is_token_byte(*byte);
        let end = text.bytes().position(|byte| is_end(&byte));
        let (value, rest) = text.split_at(end.unwrap_or(text.len()));
        return (!value.is_empty()).then_some((Cow::Borrowed(value), rest));
    };
    let mut value = Cow::Borrowed("");
    let mut start = 0;
    loop {
        let at = start + memchr::memchr2(b'"', b'\\', &quoted.as_bytes()[start..])?;
        let behind = &quoted[at + 1..];
        // What comes before, and the byte itself where it is no escape.
        let is_quote = quoted.as_bytes()[at] == b'"';
        let is_escape = !is_quote && behind.starts_with(['"', '\\']);
        let is_itself = usize::from(!is_quote && !is_escape);
        append(&mut value, &quoted[start..at + is_itself]);
        if is_quote {
            return Some((value, behind));
        }
        start = at + 1;
        if is_escape {
            append(&mut value, &quoted[start..start + 1]);
            start += 1;
        }
    }
}

/// Appends without a copy while there is one piece.
fn append<'a>(value: &mut Cow<'a, str>, piece: &'a str) {
    if value.is_empty() {
        *value = Cow::Borrowed(piece);
    } else if !piece.is_empty() {
        value.to_mut().push_str(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value, what stands before its parameters, and these.
    type Row = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
    );

    #[test]
    fn values_with_parameters() {
        let table: [Row; 14] = [
            ("a/b", "a/b", &[]),
            (" a/b ; ", "a/b", &[]),
            ("a; b=c", "a", &[("b", "c")]),
            ("a;b=c;;d=e;", "a", &[("b", "c"), ("d", "e")]),
            ("a; b=\"c d;=\" ; e=f", "a", &[("b", "c d;="), ("e", "f")]),
            ("a; b=\"\"", "a", &[("b", "")]),
            ("a; b=\"\\\"\"", "a", &[("b", "\"")]),
            ("a; b=\"x\\\\y\\\"z\"", "a", &[("b", "x\\y\"z")]),
            ("a; b=\"C:\\dir\\f.txt\"", "a", &[("b", "C:\\dir\\f.txt")]),
            ("a; b=\"\\d\"", "a", &[("b", "\\d")]),
            ("a; b=\"\u{e4}\"", "a", &[("b", "\u{e4}")]),
            ("a; b=\"\\\u{e4}\"", "a", &[("b", "\\\u{e4}")]),
            ("a; b=c%22", "a", &[("b", "c%22")]),
            ("a; B=C", "a", &[("b", "C")]),
        ];
        for (text, value, parameters) in table {
            let found = Parameterized::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found.value, value, "{text}");
            assert_eq!(found.parameters.len(), parameters.len(), "{text}");
            for (name, value) in parameters {
                assert_eq!(found.get(name), Some(*value), "{text}");
            }
        }
    }

    #[test]
    fn parameters_are_bounded() {
        let value = |count: usize| {
            let parameters = (0..count).map(|number| format!(";p{number}=v"));
            "a/b".to_owned() + &parameters.collect::<String>()
        };
        assert!(Parameterized::parse(&value(FIELD_PARAMETERS_MAX)).is_some());
        assert!(Parameterized::parse(&value(FIELD_PARAMETERS_MAX + 1)).is_none());
    }

    #[test]
    fn what_is_malformed() {
        for text in [
            "",
            ";",
            " ; a=b",
            "a; b",
            "a; b=",
            "a; =c",
            "a; b =c",
            "a; b= c",
            "a; b=c d",
            "a; b=\"c",
            "a; b=\"c\\\"",
            "a; b=\"c\"d",
            "a; b=\"c\" d=e",
            "a; b=c; B=d",
            "a; b=\u{e4}",
            "a; b\u{e4}=c",
            "a; b=c, d=e",
        ] {
            assert_eq!(Parameterized::parse(text), None, "{text}");
        }
    }

    #[test]
    fn there_is_one() {
        let mut headers = Headers::new();
        assert_eq!(Parameterized::of(&headers, "a"), Ok(None));
        headers.append("A", "b; c=d").unwrap();
        let found = Parameterized::of(&headers, "a").unwrap().unwrap();
        assert_eq!(found.get("C"), Some("d"));
        headers.append("a", "b; c=d").unwrap();
        assert_eq!(Parameterized::of(&headers, "a"), Err(Malformed));
    }
}
