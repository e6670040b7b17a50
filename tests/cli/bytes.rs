//! Arguments and names of files are bytes: what is not UTF-8 is sent, written and read as it is.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;

use crate::assert_one_line;
use crate::cli::exit::read_head;
use crate::cli::exit::serve;
use crate::folder;
use crate::process;
use crate::process::Server;
use crate::process::roundtrip;

/// Answers with what was sent, and with fields that are not UTF-8.
fn echo() -> String {
    serve(|mut stream| {
        let mut request = read_head(&mut stream);
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|text| text.split("\r\n").next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).expect("a body");
        request.append(&mut body);
        let length = request.len();
        let fields = b"Set-Cookie: a=1\r\nContent-Type: a/\xff\r\nConnection: close\r\n".as_slice();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n");
        let _ = stream.write_all(&[head.as_bytes(), fields, b"\r\n", &request].concat());
    })
}

fn os(parts: &[&[u8]]) -> OsString {
    OsString::from_vec(parts.concat())
}

#[test]
fn what_is_sent() {
    let (folder, url) = (folder(), echo());
    let place = folder.path().as_os_str().as_bytes();
    for name in [&b"n\xff.png"[..], b"a?b#c %.txt"] {
        fs::write(folder.path().join(OsStr::from_bytes(name)), b"<\xfe>").expect("a file");
    }
    let file = |before: &[u8]| os(&[before, place, b"/n\xff.png"]);
    let table: &[(&str, OsString, &[u8])] = &[
        ("-H", os(&[b"x-a: \xff"]), b"\r\nx-a: \xff\r\n"),
        ("-b", os(&[b"a=\xff"]), b"\r\nCookie: a=\xff\r\n"),
        (
            "-u",
            os(&[b"\xff:\xfe"]),
            b"\r\nAuthorization: Basic /zr+\r\n",
        ),
        ("-d", os(&[b"\xfe=\xff"]), b"\r\n\r\n\xfe=\xff"),
        ("-d", file(b"@"), b"\r\n\r\n<\xfe>"),
        ("--data-binary", os(&[b"\xfe\xff"]), b"\r\n\r\n\xfe\xff"),
        ("--data-binary", file(b"@"), b"\r\n\r\n<\xfe>"),
        (
            "-F",
            os(&[b"n\xfe=v\xff"]),
            b"; name=\"n\xfe\"\r\n\r\nv\xff\r\n",
        ),
        (
            "-F",
            file(b"f=@"),
            b"; filename=\"n\xff.png\"\r\nContent-Type: image/png\r\n\r\n<\xfe>\r\n",
        ),
        ("-F", file(b"f=<"), b"; name=\"f\"\r\n\r\n<\xfe>\r\n"),
        ("-T", file(b""), b"PUT /n%FF.png HTTP/1.1\r\n"),
        (
            "-T",
            os(&[place, b"/a?b#c %.txt"]),
            b"PUT /a%3Fb%23c%20%25.txt HTTP/1.1\r\n",
        ),
        ("-w", os(&[b"\xff%{content_type}"]), b"\r\n\r\n\xffa/\xff"),
        ("-w", file(b"@"), b"\r\n\r\n<\xfe>"),
    ];
    for (option, value, expected) in table {
        let sent = process::output(roundtrip().args(["get", option]).arg(value).arg(&url));
        let is_there = sent.windows(expected.len()).any(|part| part == *expected);
        assert!(is_there, "{option} {value:?}: {}", sent.escape_ascii());
    }
    let url = os(&[url.as_bytes(), "ü".as_bytes(), b"\xff?\xfe=%\xc3"]);
    let sent = process::text(roundtrip().arg("get").arg(url));
    assert!(sent.starts_with("GET /%C3%BC%FF?%FE=%%C3 HTTP"), "{sent}");
}

#[test]
fn what_is_written() {
    let (folder, url) = (folder(), echo());
    for option in ["-o", "-c", "--trace"] {
        let name = folder.path().join(OsStr::from_bytes(b"new\xff"));
        process::output(roundtrip().args(["get", option]).arg(&name).arg(&url));
        assert!(fs::metadata(&name).expect("a file").len() > 0, "{option}");
        fs::remove_file(name).expect("a file");
    }
    let host = os(&[b"http://\xff/"]);
    let output = process::run(roundtrip().arg("get").arg(host));
    assert_one_line(&output, &["`http://\u{fffd}/`"]);
    assert_eq!(output.status.code(), Some(3));
    let missing = OsStr::from_bytes(b"/no/such/\xff");
    let output = process::run(roundtrip().args(["get", &url, "-T"]).arg(missing));
    assert_one_line(&output, &["/no/such/\u{fffd}: No such file"]);
    assert_eq!(output.status.code(), Some(26));
}

#[test]
fn what_is_served() {
    let folder = folder();
    let inside = folder.path().join(OsStr::from_bytes(b"d\xff"));
    fs::create_dir(&inside).expect("a folder");
    fs::write(inside.join(OsStr::from_bytes(b"f\xfe")), "content").expect("a file");
    let address = [
        b"unix:".as_slice(),
        inside.as_os_str().as_bytes(),
        b"/s\xfd",
    ];
    let mut command = roundtrip();
    command.args(["serve", "--workers", "1", "--addr"]);
    let _server = Server::start(command.arg(os(&address)).arg(&inside));
    let mut stream =
        UnixStream::connect(inside.join(OsStr::from_bytes(b"s\xfd"))).expect("a socket");
    let request = b"GET /f%FE HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("\r\n\r\ncontent"), "{answer}");
    drop(stream);
    let mut command = roundtrip();
    command
        .args(["get", "--unix-socket"])
        .arg(inside.join(OsStr::from_bytes(b"s\xfd")));
    assert_eq!(process::text(command.arg("http://a/f%FE")), "content");
}
