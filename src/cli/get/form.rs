//! `-F`: fields and files of a form, as `multipart/form-data`.
//!
//! ```text
//!   NAME=VALUE │ NAME=@FILE[;type=TYPE][;filename=NAME] │ NAME=<FILE   (the content, as a field)
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use roundtrip::Headers;
use roundtrip::client::multipart::Form;
use roundtrip::client::multipart::Part;
use roundtrip::http::media_type;

use crate::cli::Failure;
use crate::cli::get::invalid;
use crate::cli::get::plan::Source;
use crate::cli::get::plan::read;
use crate::cli::get::split_once;

/// One `-F`, with its file opened.
pub struct Field {
    name: Vec<u8>,
    content: Source,
    file_name: Option<Vec<u8>>,
    media_type: Option<Vec<u8>>,
}

impl Field {
    /// Reads the argument.
    pub fn new(text: &OsStr) -> Result<Field, Failure> {
        let shown = text.display();
        let (name, value) = split_once(text.as_bytes(), b'=')
            .ok_or_else(|| invalid(format!("-F: `{shown}` is not NAME=VALUE")))?;
        let (value, media_type, file_name) = options(value);
        let mut media_type = media_type.map(<[u8]>::to_vec);
        let (content, file_name) = match value {
            [b'@', path @ ..] => {
                let path = OsStr::from_bytes(path);
                let own = Path::new(path).file_name().map(OsStr::as_bytes);
                let file_name = file_name.or(own).unwrap_or(b"-");
                // By the name that is sent, as the receiver might guess it.
                let guess = || media_type::of_path(Path::new(OsStr::from_bytes(file_name)));
                media_type.get_or_insert_with(|| guess().as_bytes().to_vec());
                (Source::open(path)?, Some(file_name))
            }
            [b'<', path @ ..] => (Source::Bytes(read(OsStr::from_bytes(path))?), file_name),
            _ => (Source::Bytes(value.to_vec()), file_name),
        };
        if let Some(value) = &media_type
            && Headers::from_pairs([("Content-Type", value)]).is_err()
        {
            return Err(invalid(format!(
                "-F: `{shown}`: the type holds a control character"
            )));
        }
        Ok(Field {
            name: name.to_vec(),
            content,
            file_name: file_name.map(<[u8]>::to_vec),
            media_type,
        })
    }

    /// Puts it into a form.
    pub fn add_to(&self, form: Form) -> Form {
        let mut part = Part::new(self.content.body());
        if let Some(name) = &self.file_name {
            part = part.file_name(name);
        }
        if let Some(media_type) = &self.media_type {
            part = part.header("Content-Type", media_type);
        }
        form.part(&self.name, part)
    }
}

/// The value, and the type and file name that stand behind it.
fn options(value: &[u8]) -> (&[u8], Option<&[u8]>, Option<&[u8]>) {
    let (mut media_type, mut file_name) = (None, None);
    let mut rest = value;
    // Only what is known is no part of the value.
    while let Some(at) = rest.iter().rposition(|byte| *byte == b';') {
        match split_once(&rest[at + 1..], b'=') {
            Some((b"type", value)) => media_type = Some(value),
            Some((b"filename", value)) => file_name = Some(value),
            _ => break,
        }
        rest = &rest[..at];
    }
    (rest, media_type, file_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_value() {
        let cases = [
            ("v", ("v", None, None)),
            ("@f;type=a/b", ("@f", Some("a/b"), None)),
            ("@f;filename=x;type=a/b", ("@f", Some("a/b"), Some("x"))),
            ("a;b=c", ("a;b=c", None, None)),
            ("", ("", None, None)),
        ];
        for (text, (value, media_type, file_name)) in cases {
            let option = |text: Option<&'static str>| text.map(str::as_bytes);
            let expected = (value.as_bytes(), option(media_type), option(file_name));
            assert_eq!(options(text.as_bytes()), expected, "{text}");
        }
        for text in ["no", "a=@/no/such/file"] {
            assert!(Field::new(OsStr::new(text)).is_err(), "{text}");
        }
    }
}
