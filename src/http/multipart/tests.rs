//! Each form whole, byte by byte and cut in two at every place: one answer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use ::http::StatusCode;
use bytes::Bytes;
use futures_core::Stream;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::multipart::Event;
use crate::http::multipart::InvalidMultipart;
use crate::http::multipart::Multipart;
use crate::http::multipart::MultipartLimits;
use crate::http::multipart::Parser;
use crate::http::multipart::PartHead;
use crate::http::request::Request;
use crate::limits::HEADER_COUNT_MAX;
use crate::limits::MULTIPART_HEAD_BYTES_MAX;
use crate::limits::MULTIPART_PADDING_BYTES_MAX;

/// Name, file name and data of a part.
type Found = (String, Option<String>, Vec<u8>);

fn read(
    boundary: &str,
    limits: MultipartLimits,
    pieces: &[&[u8]],
) -> Result<Vec<Found>, InvalidMultipart> {
    let mut parser = Parser::new(boundary, limits)?;
    let mut parts: Vec<Found> = Vec::new();
    let (mut is_in_part, mut has_ended) = (false, false);
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(event) = parser.next(&mut input)? {
            assert!(!has_ended, "{event:?} behind the end");
            match event {
                Event::Part(head) => {
                    assert!(!is_in_part);
                    is_in_part = true;
                    parts.push((head.name, head.file_name, Vec::new()));
                }
                Event::Data(data) => {
                    assert!(is_in_part && !data.is_empty());
                    parts.last_mut().unwrap().2.extend_from_slice(&data);
                }
                Event::PartEnd => {
                    assert!(is_in_part);
                    is_in_part = false;
                }
                Event::End => {
                    assert!(!is_in_part);
                    has_ended = true;
                }
            }
        }
        assert!(input.is_empty(), "bytes are left");
    }
    parser.finish()?;
    assert!(has_ended);
    Ok(parts)
}

fn one_answer(
    boundary: &str,
    limits: MultipartLimits,
    form: &[u8],
) -> Result<Vec<Found>, InvalidMultipart> {
    let whole = read(boundary, limits, &[form]);
    let shown = form.escape_ascii();
    let bytes: Vec<&[u8]> = form.chunks(1).collect();
    assert_eq!(read(boundary, limits, &bytes), whole, "{shown}");
    for at in 0..form.len() {
        let (head, tail) = form.split_at(at);
        let found = read(boundary, limits, &[head, tail]);
        assert_eq!(found, whole, "{shown} at {at}");
    }
    whole
}

/// With the boundary `b` and the usual limits.
fn check(form: &[u8]) -> Result<Vec<Found>, InvalidMultipart> {
    one_answer("b", MultipartLimits::default(), form)
}

fn fields(parts: &[(&str, &str)]) -> Vec<Found> {
    parts
        .iter()
        .map(|(name, value)| ((*name).to_owned(), None, value.as_bytes().to_vec()))
        .collect()
}

/// A head with the name `n`.
const N: &str = "Content-Disposition: form-data; name=n\r\n\r\n";

#[test]
fn forms() {
    let table: [(String, &[(&str, &str)]); 18] = [
        ("--b--".into(), &[]),
        ("\r\n--b--\r\n".into(), &[]),
        (format!("--b\r\n{N}v\r\n--b--\r\n"), &[("n", "v")]),
        (format!("\r\n--b\r\n{N}v\r\n--b--"), &[("n", "v")]),
        (format!("--b \t \r\n{N}v\r\n--b-- \t\r\n"), &[("n", "v")]),
        (
            format!("--b\r\n{N}v\r\n--b\r\n{N}w\r\n--b--"),
            &[("n", "v"), ("n", "w")],
        ),
        // Empty, with and without a line end of its own.
        (format!("--b\r\n{N}\r\n--b--"), &[("n", "")]),
        (format!("--b\r\n{N}--b--"), &[("n", "")]),
        (
            format!("--b\r\n{N}--b\r\n{N}\r\n--b--"),
            &[("n", ""), ("n", "")],
        ),
        // What begins like a delimiter.
        (
            format!("--b\r\n{N}\r\r\n-\r\n--\r\n--c\r\n--b--"),
            &[("n", "\r\r\n-\r\n--\r\n--c")],
        ),
        (format!("--b\r\n{N}-\r\n--b--"), &[("n", "-")]),
        (format!("--b\r\n{N}--\r\n--b--"), &[("n", "--")]),
        (format!("--b\r\n{N}--c\r\n--b--"), &[("n", "--c")]),
        (format!("--b\r\n{N}\r\n\r\n--b--"), &[("n", "\r\n")]),
        (format!("--b\r\n{N}\r\n\r\n\r\n--b--"), &[("n", "\r\n\r\n")]),
        (format!("--b\r\n{N}x--b\r\n--b--"), &[("n", "x--b")]),
        (format!("--b\r\n{N}x\n--b\r\n--b--"), &[("n", "x\n--b")]),
        (format!("--b\r\n{N}x\r--b\r\n--b--"), &[("n", "x\r--b")]),
    ];
    for (form, expected) in table {
        let found = check(form.as_bytes());
        assert_eq!(found, Ok(fields(expected)), "{form:?}");
    }
}

fn refuses(form: &str, error: InvalidMultipart) {
    assert_eq!(check(form.as_bytes()), Err(error), "{form:?}");
    assert_eq!(Error::from(error).answer(), Some(StatusCode::BAD_REQUEST));
}

#[test]
fn what_is_no_form() {
    use InvalidMultipart::Delimiter;
    use InvalidMultipart::Epilogue;
    use InvalidMultipart::Incomplete;
    use InvalidMultipart::Preamble;
    let blanks = " ".repeat(MULTIPART_PADDING_BYTES_MAX + 1);
    for (form, error) in [
        (String::new(), Incomplete),
        ("--b".into(), Incomplete),
        ("--b\r\n".into(), Incomplete),
        ("--b-".into(), Incomplete),
        (format!("--b\r\n{N}"), Incomplete),
        (format!("--b\r\n{N}v"), Incomplete),
        (format!("--b\r\n{N}v\r\n--b"), Incomplete),
        (format!("--b\r\n{N}v\r\n--b\r\n"), Incomplete),
        ("x--b--".into(), Preamble),
        ("x\r\n--b--".into(), Preamble),
        ("\r\n\r\n--b--".into(), Preamble),
        ("\n--b--".into(), Preamble),
        ("-b--".into(), Preamble),
        ("--c--".into(), Preamble),
        ("--B--".into(), Preamble),
        ("--bb--".into(), Delimiter),
        ("--b\n".into(), Delimiter),
        ("--b\rx".into(), Delimiter),
        ("--b x".into(), Delimiter),
        ("--b -".into(), Delimiter),
        ("--b-x".into(), Delimiter),
        (format!("--b{blanks}\r\n{N}"), Delimiter),
        (format!("--b\r\n{N}v\r\n--bc\r\n--b--"), Delimiter),
        ("--b--x".into(), Epilogue),
        ("--b--\r\nx".into(), Epilogue),
        ("--b----b--".into(), Epilogue),
        (format!("--b--\r\n--b\r\n{N}v\r\n--b--"), Epilogue),
        (format!("--b--{blanks}"), Epilogue),
    ] {
        refuses(&form, error);
    }
}

#[test]
fn heads_that_are_refused() {
    use InvalidMultipart::Disposition;
    for (form, error) in [
        ("--b\r\n\r\nv\r\n--b--".to_owned(), Disposition),
        ("--b\r\nA: b\r\n\r\nv".into(), Disposition),
        (
            "--b\r\nContent-Disposition: form-data\r\n\r\nv".into(),
            Disposition,
        ),
        (
            "--b\r\nContent-Disposition: form-data; name\r\n\r\n".into(),
            Disposition,
        ),
        (
            "--b\r\nContent-Disposition: file; name=n\r\n\r\nv".into(),
            Disposition,
        ),
        (
            "--b\r\nContent-Disposition: form-data; name=n; name=m\r\n\r\n".into(),
            Disposition,
        ),
        (
            format!("--b\r\nContent-Disposition: form-data; name=m\r\n{N}v"),
            Disposition,
        ),
        (
            format!("--b\r\nContent-Transfer-Encoding: base64\r\n{N}v"),
            InvalidMultipart::TransferEncoding,
        ),
    ] {
        refuses(&form, error);
    }
    // A name must be text.
    let latin1 = b"--b\r\nContent-Disposition: form-data; name=\"\xe4\"\r\n\r\nv";
    assert_eq!(check(latin1), Err(Disposition));
    for head in [
        "A",
        "A : b",
        " A: b",
        "A: b\nB: c",
        "A: b\r\n c",
        "A: \0",
        "A: b\rc",
    ] {
        let form = format!("--b\r\n{head}\r\n{N}v\r\n--b--");
        let found = check(form.as_bytes());
        assert!(
            matches!(found, Err(InvalidMultipart::Head(_))),
            "{head:?}: {found:?}"
        );
    }
}

#[test]
fn boundaries() {
    let parser = |boundary: &str| Parser::new(boundary, MultipartLimits::default());
    let longest = "x".repeat(70);
    for boundary in [
        "b",
        "0'()+_,-./:=? x",
        "----WebKitFormBoundaryABC",
        "--",
        &longest,
    ] {
        let form = format!("--{boundary}\r\n{N}--\r\n-\r\n--{boundary}--");
        let found = one_answer(boundary, MultipartLimits::default(), form.as_bytes());
        assert_eq!(found, Ok(fields(&[("n", "--\r\n-")])), "{boundary}");
    }
    let long = "x".repeat(71);
    for boundary in [
        "", " ", "b ", "b\"", "b;", "b\r", "\u{e4}", "b\\", "b@", &long,
    ] {
        let error = parser(boundary).unwrap_err();
        assert_eq!(error, InvalidMultipart::Boundary, "{boundary}");
    }
}

fn head(fields: &str) -> PartHead {
    let form = format!("--b\r\n{fields}\r\n\r\n");
    let mut parser = Parser::new("b", MultipartLimits::default()).unwrap();
    match parser.next(&mut Bytes::from(form)) {
        Ok(Some(Event::Part(head))) => head,
        other => panic!("{fields}: {other:?}"),
    }
}

/// The parameters; the name; the file's name as it came, and without directories.
type Names = (
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
);

#[test]
fn names_of_parts() {
    let table: [Names; 11] = [
        ("NAME=\"a b\"", "a b", None),
        ("name=\"\"", "", None),
        ("name=a; filename=\"\"", "a", Some(("", ""))),
        ("name=a; filename=f.txt", "a", Some(("f.txt", "f.txt"))),
        (
            "name=a; filename=\"C:\\d\\f\"",
            "a",
            Some(("C:\\d\\f", "f")),
        ),
        (
            "name=a; filename=\"../../etc/p\"",
            "a",
            Some(("../../etc/p", "p")),
        ),
        ("name=a; filename=\"a/..\"", "a", Some(("a/..", ""))),
        ("name=a; filename=\"x%22\"", "a", Some(("x%22", "x%22"))),
        (
            "name=\"\u{e4}\"; filename=\"\u{e4}\"",
            "\u{e4}",
            Some(("\u{e4}", "\u{e4}")),
        ),
        (
            "name=a; filename=b; filename*=utf-8''c",
            "a",
            Some(("b", "b")),
        ),
        ("name=a; filename*=utf-8''c", "a", None),
    ];
    for (parameters, name, file_name) in table {
        let found = head(&format!("content-disposition: FORM-DATA; {parameters}"));
        assert_eq!(found.name, name, "{parameters}");
        let safe = found.safe_file_name();
        let found = found.file_name.as_deref().zip(safe);
        assert_eq!(found, file_name, "{parameters}");
    }
}

/// What a file is called is bytes; what a control is called is text.
#[test]
fn names_that_are_no_text() {
    let head = |disposition: &[u8]| {
        let form = [
            b"--b\r\nContent-Disposition: form-data; ",
            disposition,
            b"\r\n\r\n",
        ];
        let mut parser = Parser::new("b", MultipartLimits::default()).unwrap();
        match parser.next(&mut Bytes::from(form.concat())) {
            Ok(Some(Event::Part(head))) => Ok(head),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        }
    };
    type Row = (&'static [u8], &'static str, &'static str, &'static [u8]);
    let table: [Row; 4] = [
        (b"name=a; filename=\"\xff\"", "a", "\u{fffd}", b"\xff"),
        (b"name=a; filename=\"\xfe\"", "a", "\u{fffd}", b"\xfe"),
        (
            b"name=\"\xc3\xa4\"; filename=\"\xff/\xc3\xa4\"",
            "ä",
            "ä",
            "ä".as_bytes(),
        ),
        (
            b"name=a; filename=\"d/\xff\\\"\"",
            "a",
            "\u{fffd}\"",
            b"\xff\"",
        ),
    ];
    for (disposition, name, text, bytes) in table {
        let found = head(disposition).unwrap();
        assert_eq!(found.name, name);
        assert_eq!(found.safe_file_name(), Some(text));
        assert_eq!(found.safe_file_name_bytes(), Some(bytes));
    }
    let error = head(b"name=\"\xff\"").unwrap_err();
    assert_eq!(error, InvalidMultipart::Disposition);
}

#[test]
fn fields_of_parts() {
    let found = head(
        "Content-Transfer-Encoding: Binary\r\nContent-Disposition: form-data; name=a\r\n\
         Content-Type: image/png",
    );
    assert_eq!(found.headers.get("content-type"), Some("image/png"));
    assert_eq!(found.headers.len(), 3);
}

#[test]
fn limits_hold_to_the_one() {
    let usual = MultipartLimits::default();
    let part = format!("--b\r\n{N}v\r\n");
    let three = format!("{}--b--", part.repeat(3));
    let total = three.len() as u64;
    let head_bytes = N.len();
    type Case = (MultipartLimits, MultipartLimits, InvalidMultipart);
    let table: [Case; 3] = [
        (
            MultipartLimits {
                parts_max: 3,
                ..usual
            },
            MultipartLimits {
                parts_max: 2,
                ..usual
            },
            InvalidMultipart::TooManyParts(2),
        ),
        (
            MultipartLimits {
                headers_max: 3,
                ..usual
            },
            MultipartLimits {
                headers_max: 2,
                ..usual
            },
            InvalidMultipart::TooManyHeaders(2),
        ),
        (
            MultipartLimits {
                bytes_max: Some(total),
                ..usual
            },
            MultipartLimits {
                bytes_max: Some(total - 1),
                ..usual
            },
            InvalidMultipart::TooManyBytes(total - 1),
        ),
    ];
    for (enough, short, error) in table {
        assert_eq!(one_answer("b", enough, three.as_bytes()).unwrap().len(), 3);
        let found = read("b", short, &[three.as_bytes()]);
        assert_eq!(found, Err(error));
        let bytes: Vec<&[u8]> = three.as_bytes().chunks(1).collect();
        assert_eq!(read("b", short, &bytes), Err(error));
        let error = Error::from(error);
        assert!(error.is_limit());
        assert_eq!(error.answer(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        assert!(error.to_string().contains("MultipartLimits"), "{error}");
    }
    let enough = MultipartLimits {
        head_bytes_max: head_bytes,
        ..usual
    };
    assert!(read("b", enough, &[three.as_bytes()]).is_ok());
    let short = MultipartLimits {
        head_bytes_max: head_bytes - 1,
        ..usual
    };
    let found = one_answer("b", short, three.as_bytes());
    assert!(found.unwrap_err().is_limit());
    let many = "A: b\r\n".repeat(HEADER_COUNT_MAX);
    let found = check(format!("--b\r\n{many}{N}v\r\n--b--").as_bytes());
    assert!(found.unwrap_err().is_limit());
}

#[test]
fn what_is_kept_is_bounded() {
    let mut parser = Parser::new("b", MultipartLimits::default()).unwrap();
    let mut feed = |bytes: &[u8]| {
        let mut input = Bytes::copy_from_slice(bytes);
        let mut found = Ok(None);
        while !input.is_empty() && found.is_ok() {
            found = parser.next(&mut input);
        }
        (found, parser.held_bytes())
    };
    assert!(feed(b"--b\r\n").0.is_ok());
    let mut result = Ok(None);
    let mut most = 0;
    while result.is_ok() {
        let held;
        (result, held) = feed(b"A: b\r\n");
        most = most.max(held);
    }
    assert!((500..=MULTIPART_HEAD_BYTES_MAX).contains(&most), "{most}");
    // After an error there is that error, whatever comes.
    let again = feed(b"--b--");
    assert_eq!(again.0.unwrap_err(), result.unwrap_err());
}

// ---- as a stream -----------------------------------------------------------------------------

/// Chunks of a body, one at each second poll; counts those that were taken.
struct Slow {
    chunks: VecDeque<Vec<u8>>,
    waits: bool,
    taken: std::rc::Rc<std::cell::Cell<usize>>,
}

impl Stream for Slow {
    type Item = Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waits = !self.waits;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.taken.set(self.taken.get() + 1);
        Poll::Ready(self.chunks.pop_front().map(Ok))
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
    panic!("the future waits for ever");
}

fn request(form: &str) -> Request {
    let request = Request::for_target("POST", "/").unwrap();
    let body = form.to_owned();
    let request = request.with_body(body);
    let content_type = "Multipart/Form-Data; boundary=\"b\"";
    request.with_header("Content-Type", content_type).unwrap()
}

const TWO: &str = "--b\r\nContent-Disposition: form-data; name=n\r\n\r\nvalue\r\n\
    --b\r\nContent-Disposition: form-data; name=f; filename=x.txt\r\nContent-Type: text/a\r\n\r\n\
    0123456789\r\n--b--\r\n";

#[test]
fn parts_one_after_the_other() {
    run(async {
        let mut request = request(TWO);
        let mut multipart = request.multipart().unwrap();
        let part = multipart.next_part().await.unwrap().unwrap();
        assert_eq!((part.name(), part.file_name()), ("n", None));
        assert_eq!(part.content_type(), None);
        assert_eq!(part.text(5).await.unwrap(), "value");
        let mut part = multipart.next_part().await.unwrap().unwrap();
        assert_eq!((part.name(), part.file_name()), ("f", Some("x.txt")));
        assert_eq!(part.content_type(), Some("text/a"));
        assert_eq!(part.chunk().await.unwrap().unwrap(), "0123456789");
        assert_eq!(part.chunk().await.unwrap(), None);
        assert_eq!(part.chunk().await.unwrap(), None);
        assert!(multipart.next_part().await.unwrap().is_none());
        assert!(multipart.next_part().await.unwrap().is_none());
    });
}

#[test]
fn what_is_not_read_is_skipped() {
    run(async {
        let mut request = request(TWO);
        let mut multipart = request.multipart().unwrap();
        let mut names = Vec::new();
        while let Some(part) = multipart.next_part().await.unwrap() {
            names.push(part.name().to_owned());
        }
        assert_eq!(names, ["n", "f"]);
    });
}

#[test]
fn nothing_is_received_ahead() {
    run(async {
        let taken = std::rc::Rc::new(std::cell::Cell::new(0));
        let chunks = TWO.as_bytes().chunks(3).map(<[u8]>::to_vec).collect();
        let slow = Slow {
            chunks,
            waits: false,
            taken: taken.clone(),
        };
        let mut multipart =
            Multipart::new(Body::stream(slow), "b", MultipartLimits::default()).unwrap();
        assert_eq!(taken.get(), 0);
        let mut part = multipart.next_part().await.unwrap().unwrap();
        let head = TWO.find("value").unwrap();
        assert_eq!(taken.get(), head.div_ceil(3));
        let mut value = Vec::new();
        let before = taken.get();
        while let Some(chunk) = part.chunk().await.unwrap() {
            value.extend_from_slice(&chunk);
        }
        assert_eq!(value, b"value");
        assert!(taken.get() <= before + 4);
        let part = multipart.next_part().await.unwrap().unwrap();
        assert_eq!(part.bytes(10).await.unwrap(), "0123456789");
        assert!(multipart.next_part().await.unwrap().is_none());
    });
}

#[test]
fn failures_have_their_status() {
    run(async {
        let mut long = request(TWO);
        let mut multipart = long.multipart().unwrap();
        let part = multipart.next_part().await.unwrap().unwrap();
        let error = part.bytes(4).await.unwrap_err();
        assert_eq!(error.answer(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        assert!(error.to_string().contains("4 bytes"), "{error}");
        let mut cut = request(&TWO[..TWO.len() - 4]);
        let mut multipart = cut.multipart().unwrap();
        assert!(multipart.next_part().await.is_ok());
        assert!(multipart.next_part().await.is_ok());
        for _ in 0..2 {
            let error = multipart.next_part().await.unwrap_err();
            assert_eq!(error.answer(), Some(StatusCode::BAD_REQUEST));
        }
        let few = MultipartLimits {
            parts_max: 1,
            ..MultipartLimits::default()
        };
        let mut multipart = request(TWO).multipart_within(few).unwrap();
        assert!(multipart.next_part().await.is_ok());
        assert!(multipart.next_part().await.unwrap_err().is_limit());
    });
    for (content_type, status) in [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=\"\"", 400),
        ("multipart/form-data; boundary=a; boundary=b", 400),
        ("multipart/mixed; boundary=b", 415),
        ("text/plain", 415),
    ] {
        let mut request = Request::for_target("POST", "/").unwrap().with_body(TWO);
        request
            .headers_mut()
            .append("Content-Type", content_type)
            .unwrap();
        let error = request.multipart().unwrap_err();
        assert_eq!(error.answer().unwrap().as_u16(), status, "{content_type}");
    }
    let mut none = Request::for_target("POST", "/").unwrap().with_body(TWO);
    assert_eq!(none.multipart().unwrap_err().answer().unwrap(), 415);
    let length = TWO.len().to_string();
    let mut twice = request(TWO).with_header("Content-Length", length).unwrap();
    assert!(twice.multipart().is_ok());
    let error = twice.multipart().unwrap_err();
    assert_eq!((error.kind(), error.answer()), (ErrorKind::Invalid, None));
}
