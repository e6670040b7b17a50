//! `-F`: fields and files of a form, as `multipart/form-data`.
//!
//! ```text
//!   NAME=VALUE │ NAME=@FILE[;type=TYPE][;filename=NAME] │ NAME=<FILE   (the content, as a field)
//! ```

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use roundtrip::Body;
use roundtrip::Result;
use roundtrip::client::multipart::Form;
use roundtrip::client::multipart::Part;

use crate::cli::get::invalid;
use crate::cli::get::plan::read;
use crate::cli::get::unreadable;

/// One `-F`, with its file opened.
pub struct Field {
    name: String,
    content: Content,
    file_name: Option<String>,
    media_type: Option<String>,
}

enum Content {
    Bytes(Vec<u8>),
    File(Arc<File>, u64),
}

impl Field {
    /// Reads the argument.
    pub fn new(text: &str) -> Result<Field> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| invalid(format!("-F: `{text}` is not NAME=VALUE")))?;
        let (value, media_type, file_name) = options(value);
        let (content, file_name) = match (value.strip_prefix('@'), value.strip_prefix('<')) {
            (Some(path), _) => {
                let own = Path::new(path).file_name().and_then(|name| name.to_str());
                let file_name = file_name.or(own).unwrap_or("-");
                (Content::of_file(path)?, Some(file_name.to_owned()))
            }
            (None, Some(path)) => (Content::Bytes(read(path)?), file_name.map(str::to_owned)),
            (None, None) => {
                let bytes = value.as_bytes().to_vec();
                (Content::Bytes(bytes), file_name.map(str::to_owned))
            }
        };
        Ok(Field {
            name: name.to_owned(),
            content,
            file_name,
            media_type: media_type.map(str::to_owned),
        })
    }

    /// Puts it into a form.
    pub fn add_to(&self, form: Form) -> Form {
        let mut part = Part::new(match &self.content {
            Content::Bytes(bytes) => Body::from(bytes.clone()),
            Content::File(file, length) => Body::file(Arc::clone(file), 0..*length),
        });
        if let Some(name) = &self.file_name {
            part = part.file_name(name);
        }
        if let Some(media_type) = &self.media_type {
            part = part.media_type(media_type);
        }
        form.part(&self.name, part)
    }
}

impl Content {
    fn of_file(name: &str) -> Result<Content> {
        if name == "-" {
            return Ok(Content::Bytes(read(name)?));
        }
        let file = File::open(name).map_err(|error| unreadable(name, error))?;
        let metadata = file.metadata().map_err(|error| unreadable(name, error))?;
        match metadata.is_file() {
            true => Ok(Content::File(Arc::new(file), metadata.len())),
            false => Ok(Content::Bytes(read(name)?)),
        }
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
