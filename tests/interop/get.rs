//! `roundtrip get` beside curl: the same command lines end with the same code, and write the same.
//!
//! Not in the tables is what differs on purpose. What curl 7.88 reads leniently we refuse (8), input
//! that cannot be read is an error before anything is sent (26), as is a trace or a cookie jar that
//! cannot be written (23); one failure of several URLs is enough; a body that was not sent whole is
//! an error (55).

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Command;
use std::process::Output;
use std::thread;

use crate::process;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
const GONE: &str = "HTTP/1.1 404 Not  There\r\nx-odd:1 \r\nContent-Length: 3\r\n\r\nno\n";

const EARLY: &str = "HTTP/1.1 103 Early  Hints\r\nlink:a\r\n\r\n\
    HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nok\n";
const TRAILED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
    3\r\nok\n\r\n0\r\nx-sum:  1\r\n\r\n";

/// Answers the head of every request with these bytes and closes. Lives as long as the test's process.
fn peer(answer: &'static str) -> String {
    serve(move |mut stream| {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|len| len == 1) {
            head.push(byte[0]);
        }
        let _ = stream.write_all(answer.as_bytes());
    })
}

fn serve(each: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("its address"));
    thread::spawn(move || listener.incoming().flatten().for_each(each));
    url
}

/// Runs both through a shell, where `$URL` is the URL, and what is not asked for is not shown.
fn both(line: &str, url: &str) -> [Output; 2] {
    let get = process::roundtrip();
    let get = get.get_program().to_str().expect("UTF-8");
    [format!("{get} get -s"), "curl -s --max-time 20".to_owned()].map(|program| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{program} {line}")]);
        process::run(shell.env("URL", url).env_remove("http_proxy"))
    })
}

fn check(line: &str, url: &str, code: i32) {
    let [ours, curls] = both(line, url);
    let codes = [ours.status.code(), curls.status.code()];
    assert_eq!(codes, [Some(code); 2], "{line}: {ours:?} {curls:?}");
    let [ours, curls] = [ours.stdout, curls.stdout].map(|out| out.escape_ascii().to_string());
    assert_eq!(ours, curls, "{line}");
}

#[test]
fn answers() {
    let table: &[(&str, &str, i32)] = &[
        (OK, "$URL", 0),
        (OK, "-i $URL", 0),
        (OK, "-w '%{http_code} %{exitcode}' $URL", 0),
        (OK, "-fsSL $URL", 0),
        (OK, "-I $URL", 0),
        (EARLY, "-i $URL", 0),
        (EARLY, "-I $URL", 0),
        (
            EARLY,
            "-w '%{size_header} %{num_redirects} %{size_download}' $URL",
            0,
        ),
        (TRAILED, "-w '%{size_header} %{size_download}' $URL", 0),
        (GONE, "$URL", 0),
        (GONE, "-i $URL", 0),
        (GONE, "-fsSL $URL", 22),
        (GONE, "-f -i $URL", 22),
        (GONE, "-f -w '%{http_code} %{exitcode}' $URL", 22),
        (GONE, "$URL $URL", 0),
        (GONE, "-f $URL $URL", 22),
        ("", "$URL", 52),
        ("", "-w '%{http_code} %{exitcode}' $URL", 52),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "$URL", 8),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "$URL", 8),
        ("HTTP/1.1 200", "$URL", 52),
        ("HTTP/1.1 100 x\r\n\r\n", "$URL", 52),
        ("HTTP/1.1 204 x\r\n\r\n", "$URL", 0),
        ("HTTP/1.1 204 x\r\n\r\n", "-o /dev/full $URL", 0),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "$URL",
            18,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
            "$URL",
            18,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
            "$URL",
            56,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
            "--compressed $URL",
            61,
        ),
        (
            "HTTP/1.1 302 Over There\r\nlocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "-i $URL",
            0,
        ),
        (
            "HTTP/1.1 302 Over There\r\nlocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "-iL $URL",
            47,
        ),
        (
            "HTTP/1.1 302 x\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
            "-L $URL",
            3,
        ),
        (
            "HTTP/1.1 302 x\r\nLocation: nonsense://x/\r\nContent-Length: 0\r\n\r\n",
            "-L $URL",
            1,
        ),
    ];
    for (answer, line, code) in table {
        check(line, &peer(answer), *code);
    }
}

#[test]
fn what_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let vacant = format!("http://{}/", listener.local_addr().expect("its address"));
    drop(listener);
    let silent = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let url = peer(OK);
    let table: &[(&str, &str, i32)] = &[
        (&vacant, "$URL", 7),
        (&vacant, "-w '%{http_code} %{exitcode}' $URL", 7),
        (&vacant, "$URL $URL", 7),
        (&silent, "-m 0.2 $URL", 28),
        ("http://no-such-host.invalid/", "$URL", 6),
        ("http://[", "$URL", 3),
        ("nonsense://a/", "$URL", 1),
        (&url, "-x http://no-such-host.invalid:1 $URL", 5),
        (&url, "$URL >/dev/full", 23),
        (&url, "$URL >/dev/null", 0),
        (&url, "$URL >&-", 23),
        (&url, "-o /dev/full $URL", 23),
        (&url, "-o /no/such/directory/a $URL", 23),
        (&url, "-T /no/such/file $URL", 26),
        (&url, "-o . $URL", 23),
        (&url, "-o '' $URL", 2),
        (&vacant, "-Z $URL $URL", 7),
        (&url, "/", 3),
        (&url, "http://", 3),
        (&url, "http://a:99999/", 3),
        (&url, "--connect-timeout soon $URL", 2),
        (&url, "-F nothing $URL", 2),
        (&url, "", 2),
        (&url, "-F a=@/no/such/file $URL", 26),
        (&url, "--no-such-option $URL", 2),
        (&url, "-m soon $URL", 2),
    ];
    for (url, line, code) in table {
        check(line, url, *code);
    }
}
