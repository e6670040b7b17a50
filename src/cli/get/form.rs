//! `-F`: fields and files of a form, as `multipart/form-data`.
//!
//! ```text
//!   NAME=VALUE │ NAME=@FILE[;type=TYPE][;filename=NAME] │ NAME=<FILE   (the content, as a field)
//! ```

use std::path::Path;

use roundtrip::Headers;
use roundtrip::client::multipart::Form;
use roundtrip::client::multipart::Part;
use roundtrip::http::media_type;

use crate::cli::Failure;
use crate::cli::get::invalid;
use crate::cli::get::plan::Source;
use crate::cli::get::plan::read;

/// One `-F`, with its file opened.
pub struct Field {
    name: String,
    content: Source,
    file_name: Option<String>,
    media_type: Option<String>,
}

impl Field {
    /// Reads the argument.
    pub fn new(text: &str) -> Result<Field, Failure> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| invalid(format!("-F: `{text}` is not NAME=VALUE")))?;
        let (value, media_type, file_name) = options(value);
        let mut media_type = media_type.map(str::to_owned);
        let (content, file_name) = match (value.strip_prefix('@'), value.strip_prefix('<')) {
            (Some(path), _) => {
                let own = Path::new(path).file_name().and_then(|name| name.to_str());
                let file_name = file_name.or(own).unwrap_or("-");
                // By the name that is sent, as the receiver might guess it.
                let guess = || media_type::of_path(Path::new(file_name)).into_owned();
                media_type.get_or_insert_with(guess);
                (Source::open(path)?, Some(file_name))
            }
            (None, Some(path)) => (Source::Bytes(read(path)?), file_name),
            (None, None) => (Source::Bytes(value.as_bytes().to_vec()), file_name),
        };
        if let Some(value) = &media_type
            && Headers::from_pairs([("Content-Type", value)]).is_err()
        {
            return Err(invalid(format!(
                "-F: `{text}`: the type holds a control character"
            )));
        }
        Ok(Field {
            name: name.to_owned(),
            content,
            file_name: file_name.map(str::to_owned),
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
            part = part.media_type(media_type);
        }
        form.part(&self.name, part)
    }
}

/// The value, and the type and file name that stand behind it.
fn options(value: &str) -> (&str, Option<&str>, Option<&str>) {
    let (mut media_type, mut file_name) = (None, None);
    let mut rest = value;
    // Only what is known is no part of the value.
    while let Some((before, option)) = rest.rsplit_once(';') {
        match option.split_once('=') {
            Some(("type", value)) => media_type = Some(value),
            Some(("filename", value)) => file_name = Some(value),
            _ => break,
        }
        rest = before;
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
        for (value, expected) in cases {
            assert_eq!(options(value), expected, "{value}");
        }
        assert!(Field::new("no").is_err());
        assert!(Field::new("a=@/no/such/file").is_err());
    }
}
