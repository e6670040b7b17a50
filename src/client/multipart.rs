//! Forms with files, as they are sent: `multipart/form-data` (RFC 7578).
//!
//! ```text
//!   Form ─ text(name, value) ─────────┐
//!        ─ part(name, Part::new(…)) ──┼─ boundary ─► bytes, file ranges   length known, sent again
//!        ─ part(name, Part::open(…)) ─┘         └──► a stream             where a part is one
//! ```
//!
//! Files are read while they are sent. What a server makes of it is [`crate::http::multipart`].

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::BytesMut;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::fs;
use crate::http::body;
use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::headers::InvalidHeader;
use crate::http::incoming::Sender;
use crate::http::media_type;
use crate::limits::COPY_BYTES_MAX;
use crate::limits::FILE_READ_BYTES;

/// A form to be sent, for [`RequestBuilder::multipart`](crate::client::RequestBuilder::multipart).
///
/// ```no_run
/// use roundtrip::client::multipart::Form;
/// use roundtrip::client::multipart::Part;
///
/// # async fn example(client: roundtrip::Client) -> roundtrip::Result<()> {
/// let form = Form::new()
///     .text("title", "On the sea")
///     .part("photo", Part::open("sea.jpeg").await?)
///     .part("notes", Part::new("grey, cold").file_name("notes.txt").media_type("text/plain"));
/// client.post("http://127.0.0.1:8080/photos").multipart(form).send().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Form {
    parts: Vec<(Vec<u8>, Part)>,
}

/// One field or file of a [`Form`].
pub struct Part {
    body: Body,
    file_name: Option<Vec<u8>>,
    headers: Headers,
    /// What a builder refused; told when the form is sent.
    invalid: Option<InvalidHeader>,
}

impl Form {
    /// Without parts.
    pub fn new() -> Form {
        Form::default()
    }

    /// With one more field, as a text field of a page.
    #[must_use]
    pub fn text(self, name: impl AsRef<[u8]>, value: impl Into<String>) -> Form {
        self.part(name, Part::new(value.into()))
    }

    /// With one more field or file. Several of one name are several values. Names are bytes: text that
    /// is given is sent in UTF-8.
    #[must_use]
    pub fn part(mut self, name: impl AsRef<[u8]>, part: Part) -> Form {
        self.parts.push((name.as_ref().to_vec(), part));
        self
    }

    /// The form as a body, between lines of this boundary, which no content may hold.
    pub(super) fn into_body(self, boundary: &str) -> Result<Body> {
        let mut pieces = Pieces::default();
        let mut separator = "--";
        for (name, part) in self.parts {
            pieces.push_text(separator);
            pieces.push_text(boundary);
            pieces.push_text("\r\n");
            pieces.push_fields(&part.fields(&name)?);
            pieces.push_text("\r\n");
            pieces.push(part.body);
            separator = "\r\n--";
        }
        pieces.push_text(separator);
        pieces.push_text(boundary);
        pieces.push_text("--\r\n");
        Ok(pieces.into_body())
    }
}

impl Part {
    /// With this content: text, bytes, a file range, a stream. With a stream the form cannot be sent
    /// a second time, and has a length only where the stream [says](Body::with_length) its own.
    pub fn new(body: impl Into<Body>) -> Part {
        Part {
            body: body.into(),
            file_name: None,
            headers: Headers::new(),
            invalid: None,
        }
    }

    /// A whole file, as [`Body::open`], with its name and the media type that this shows.
    ///
    /// # Errors
    ///
    /// Those of [`fs::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Part> {
        let path = path.as_ref();
        let part = Part::new(Body::open(path).await?);
        let part = part.media_type(&media_type::of_path(path));
        let name = path.file_name().unwrap_or_default();
        Ok(part.file_name(name.as_bytes()))
    }

    /// With this name of a file, which makes it one for who receives it. Text is sent in UTF-8.
    #[must_use]
    pub fn file_name(mut self, name: impl AsRef<[u8]>) -> Part {
        self.file_name = Some(name.as_ref().to_vec());
        self
    }

    /// With this `Content-Type`. Without it a part is text (RFC 7578 §4.4).
    #[must_use]
    pub fn media_type(self, value: &str) -> Part {
        self.header("Content-Type", value)
    }

    /// With this header field, instead of one of the same name. `Content-Disposition` is written
    /// from the names.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Part {
        if let Err(invalid) = self.headers.insert(name, value) {
            self.invalid = Some(invalid);
        }
        self
    }

    /// The fields of the part's head.
    fn fields(&self, name: &[u8]) -> Result<Headers> {
        if let Some(invalid) = self.invalid {
            return Err(invalid.into());
        }
        let mut disposition = b"form-data; name=\"".to_vec();
        escape(name, &mut disposition);
        if let Some(file_name) = &self.file_name {
            disposition.extend_from_slice(b"\"; filename=\"");
            escape(file_name, &mut disposition);
        }
        disposition.push(b'"');
        let mut fields = Headers::new();
        let named = fields.append("Content-Disposition", disposition);
        named.map_err(|_| {
            Error::new(
                ErrorKind::Invalid,
                "a name or file name of a form holds a control character",
            )
        })?;
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("content-disposition") {
                fields.append(name, value)?;
            }
        }
        Ok(fields)
    }
}

/// Writes a name as browsers do (WHATWG HTML, multipart/form-data encoding algorithm): what would end
/// it is percent-coded, and nothing else, a percent sign included. Beyond that a backslash is coded
/// that a reader of quoted strings (RFC 9110 §5.6.4) would take with what follows: another one, or
/// the end. Browsers leave it, and such a reader then finds other parameters than were written.
fn escape(name: &[u8], out: &mut Vec<u8>) {
    let mut bytes = name.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if matches!(bytes.peek(), None | Some(b'\\')) => out.extend_from_slice(b"%5C"),
            b'"' => out.extend_from_slice(b"%22"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'\n' => out.extend_from_slice(b"%0A"),
            other => out.push(*other),
        }
    }
}

/// A form as it grows: what is short is copied together.
#[derive(Default)]
struct Pieces {
    done: Vec<Piece>,
    text: BytesMut,
}

enum Piece {
    Known(body::Part),
    Stream(Body),
}

impl Pieces {
    fn push_text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn push_fields(&mut self, fields: &Headers) {
        for (name, value) in fields {
            self.push_text(name);
            self.push_text(": ");
            self.text.extend_from_slice(value);
            self.push_text("\r\n");
        }
    }

    fn push(&mut self, body: Body) {
        match body.into_content() {
            Ok(mut content) => {
                while let Some(part) = content.pop() {
                    self.push_known(part);
                }
            }
            Err(body) => {
                self.flush();
                self.done.push(Piece::Stream(body));
            }
        }
    }

    fn push_known(&mut self, part: body::Part) {
        match part {
            body::Part::Bytes(bytes) if bytes.len() <= COPY_BYTES_MAX => {
                self.text.extend_from_slice(&bytes);
            }
            part => {
                self.flush();
                self.done.push(Piece::Known(part));
            }
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            let text = self.text.split().freeze();
            self.done.push(Piece::Known(body::Part::Bytes(text)));
        }
    }

    fn into_body(mut self) -> Body {
        if self.done.is_empty() {
            return self.text.freeze().into();
        }
        self.flush();
        let is_known = |piece: &Piece| matches!(piece, Piece::Known(_));
        if self.done.iter().all(is_known) {
            return Body::parts(self.done.into_iter().filter_map(|piece| match piece {
                Piece::Known(part) => Some(part),
                Piece::Stream(_) => None,
            }));
        }
        let length = self.done.iter().map(Piece::length).sum::<Option<u64>>();
        let body = Body::produce(async move |sender| {
            for piece in self.done {
                piece.produce(sender).await?;
            }
            Ok(())
        });
        match length {
            Some(length) => body.with_length(length),
            None => body,
        }
    }
}

impl Piece {
    /// Bytes, where that is known.
    fn length(&self) -> Option<u64> {
        match self {
            Piece::Known(part) => Some(part.length()),
            Piece::Stream(body) => body.length(),
        }
    }

    /// Sends it chunk by chunk.
    async fn produce(self, sender: &mut Sender) -> Result<()> {
        match self {
            Piece::Known(body::Part::Bytes(bytes)) => sender.send(bytes).await,
            Piece::Known(body::Part::File { file, range }) => {
                let mut offset = range.start;
                while offset < range.end {
                    let bytes = (range.end - offset).min(FILE_READ_BYTES as u64) as usize;
                    let chunk = fs::read_at(&file, offset, bytes).await?;
                    if chunk.is_empty() {
                        return Err(shrunk());
                    }
                    offset += chunk.len() as u64;
                    sender.send(chunk.into()).await?;
                }
                Ok(())
            }
            Piece::Stream(mut body) => {
                while let Some(chunk) = body.chunk().await {
                    sender.send(chunk?).await?;
                }
                Ok(())
            }
        }
    }
}

fn shrunk() -> Error {
    Error::new(
        ErrorKind::Io,
        "a file of the form got shorter while it was sent",
    )
    .in_phase(Phase::File)
}

impl fmt::Debug for Form {
    /// The names alone: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter();
        let names = parts.map(|(name, _)| String::from_utf8_lossy(name));
        f.debug_list().entries(names).finish()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file_name = self.file_name.as_deref().map(String::from_utf8_lossy);
        f.debug_struct("Part")
            .field("file_name", &file_name)
            .field("headers", &self.headers)
            .field("body", &self.body)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::ProptestConfig;
    use proptest::prelude::any;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;
    use crate::http::multipart::Multipart;
    use crate::http::multipart::MultipartLimits;
    use crate::runtime::Runtime;

    fn run<T>(future: impl Future<Output = T>) -> T {
        Runtime::small().unwrap().block_on(future).unwrap()
    }

    fn file(content: &[u8]) -> Arc<std::fs::File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Arc::new(file)
    }

    fn text_of(form: Form) -> String {
        run(form.into_body("B").unwrap().text()).unwrap()
    }

    #[test]
    fn as_browsers_write_it() {
        let part = Part::new("<p>")
            .file_name("a \"b\".html")
            .media_type("text/html")
            .header("X-A", "1")
            .header("Content-Disposition", "attachment");
        let form = Form::new().text("n\r\nä%22", "a\nb").part("f", part);
        assert_eq!(
            text_of(form),
            "--B\r\nContent-Disposition: form-data; name=\"n%0D%0Aä%22\"\r\n\r\na\nb\r\n\
             --B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a %22b%22.html\"\r\n\
             Content-Type: text/html\r\nX-A: 1\r\n\r\n<p>\r\n--B--\r\n"
        );
        assert_eq!(text_of(Form::new()), "--B--\r\n");
        let path = text_of(Form::new().text("c:\\a\\\\b\\\"c\\", ""));
        assert!(path.contains("name=\"c:\\a%5C\\b\\%22c%5C\""), "{path}");
        assert!(text_of(Form::new().text("", "")).contains("name=\"\"\r\n\r\n\r\n--B--"));
    }

    type Field = (String, Option<Vec<u8>>, Vec<u8>);

    fn form_of(fields: &[Field]) -> Form {
        let mut form = Form::new();
        for (name, file_name, content) in fields {
            let part = Part::new(content.clone());
            let part = match file_name {
                Some(file_name) => part.file_name(file_name),
                None => part,
            };
            form = form.part(name, part);
        }
        form
    }

    /// What a server makes of a form.
    async fn read_again(body: Body, boundary: &str) -> Result<Vec<Field>> {
        let mut form = Multipart::new(body, boundary, MultipartLimits::default())?;
        let mut fields = Vec::new();
        while let Some(part) = form.next_part().await? {
            let head = part.head();
            let (name, file_name) = (head.name.clone(), head.file_name_bytes.clone());
            fields.push((name, file_name, part.bytes(1 << 20).await?.to_vec()));
        }
        Ok(fields)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(128)
        })]

        #[test]
        fn what_is_written_reads_as_it_was(
            fields in vec((any::<String>(), any::<Option<Vec<u8>>>(), vec(any::<u8>(), 0..300)), 0..6),
        ) {
            let is_bad = |name: &[u8]| {
                let mut bytes = name.iter();
                bytes.any(|byte| byte.is_ascii_control() && !b"\r\n\t".contains(byte))
            };
            let is_bad = |field: &Field| {
                is_bad(field.0.as_bytes()) || field.1.as_deref().is_some_and(is_bad)
            };
            let body = form_of(&fields).into_body("0123456789abcdef");
            prop_assert_eq!(body.is_err(), fields.iter().any(is_bad));
            if let Ok(body) = body {
                let read = run(read_again(body, "0123456789abcdef")).unwrap();
                let escaped = |name: &[u8]| {
                    let mut escaped = Vec::new();
                    escape(name, &mut escaped);
                    escaped
                };
                let sent: Vec<Field> = fields
                    .into_iter()
                    .map(|(name, file, content)| {
                        let name = String::from_utf8(escaped(name.as_bytes())).unwrap();
                        (name, file.as_deref().map(escaped), content)
                    })
                    .collect();
                prop_assert_eq!(read, sent);
            }
        }
    }

    #[test]
    fn what_no_head_can_hold_is_an_error() {
        let form = |part: Part| Form::new().part("a", part).into_body("B");
        assert!(form(Part::new("").media_type("a/b\r\nc")).is_err());
        assert!(form(Part::new("").header("a b", "c")).is_err());
        let error = form(Part::new("").file_name("a\0")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.text().contains("control character"), "{error}");
    }

    #[test]
    fn files_and_bytes_have_a_length_and_are_sent_again() {
        let body = Body::file(file(b"0123456789"), 2..8);
        let form = Form::new()
            .text("a", "b")
            .part("small", Part::new(vec![1; COPY_BYTES_MAX]))
            .part("large", Part::new(vec![2; COPY_BYTES_MAX + 1]))
            .part("file", Part::new(body));
        let body = form.into_body("B").unwrap();
        let again = body.try_clone().expect("it can be sent again");
        let length = body.length().expect("the length is known");
        let Ok(body::Content::Parts(parts)) = again.into_content() else {
            panic!("it is made of parts")
        };
        assert_eq!(parts.iter().map(body::Part::length).sum::<u64>(), length);
        let is_file = |part: &&body::Part| matches!(part, body::Part::File { .. });
        assert_eq!(parts.iter().filter(is_file).count(), 1);
        // Text and the small one, the large one, a head, the file, the end.
        assert_eq!(parts.len(), 5);
        let short = Form::new().text("a", "b").into_body("B").unwrap();
        assert!(short.as_bytes().is_some());
    }

    #[test]
    fn a_stream_among_the_parts() {
        let stream = || {
            Body::produce(async |sender| {
                sender.send("one".into()).await?;
                sender.send("two".into()).await
            })
        };
        let content = vec![7; 2 * FILE_READ_BYTES + 1];
        let large = Body::file(file(&content), 0..content.len() as u64);
        let form = |stream| Form::new().part("s", Part::new(stream)).text("t", "x");
        assert_eq!(form(stream()).into_body("B").unwrap().length(), None);
        let form = form(stream().with_length(6)).part("f", Part::new(large));
        let body = form.into_body("B").unwrap();
        let length = body.length().expect("the stream said how long it is");
        run(async {
            let bytes = body.collect(1 << 20).await?;
            assert_eq!(bytes.len() as u64, length);
            let found = read_again(bytes.into(), "B").await?;
            let expected = [("s", &b"onetwo"[..]), ("t", b"x"), ("f", &content)];
            for ((name, _, value), expected) in found.iter().zip(expected) {
                assert!(name == expected.0 && value == expected.1, "{name}");
            }
            assert_eq!(found.len(), 3);
            Ok::<(), Error>(())
        })
        .unwrap();
    }

    #[test]
    fn a_file_that_got_shorter_is_told() {
        let form = Form::new()
            .part("s", Part::new(Body::produce(async |_| Ok(()))))
            .part("f", Part::new(Body::file(file(b"abc"), 0..4)));
        let error = run(form.into_body("B").unwrap().bytes()).unwrap_err();
        assert!(error.text().contains("shorter"), "{error}");
    }

    #[test]
    fn a_file_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "grey").unwrap();
        let part = run(Part::open(&path)).unwrap();
        let fields = part.fields(b"n").unwrap();
        let disposition = fields.get("content-disposition");
        assert_eq!(
            disposition,
            Some("form-data; name=\"n\"; filename=\"notes.txt\"")
        );
        let content_type = fields.get("content-type");
        assert_eq!(content_type, Some("text/plain; charset=utf-8"));
        assert_eq!(part.body.length(), Some(4));
        assert!(run(Part::open(directory.path())).is_err());
        // It says that it is empty.
        let version = std::fs::read("/proc/version").unwrap();
        let body = run(Part::open("/proc/version")).unwrap().body;
        assert_eq!(body.length(), None);
        assert_eq!(run(body.bytes()).unwrap(), version);
    }
}
