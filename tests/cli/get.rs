//! `roundtrip get`.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::thread::JoinHandle;

use crate::assert_one_line;
use crate::folder;
use crate::process;
use crate::process::roundtrip;

#[test]
fn gets_several_in_order_through_one_connection() {
    let body = |text: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    };
    let peer = Peer::answering(&[&body("one\n"), &body("two\n"), &body("three\n")]);
    let (a, b, c) = (peer.url("/1"), peer.url("/2"), peer.url("/3"));
    assert_eq!(
        process::text(roundtrip().args(["get", &a, &b, &c])),
        "one\ntwo\nthree\n"
    );
    let seen = peer.requests();
    assert!(seen[0].starts_with("GET /1 HTTP/1.1\r\n"), "{seen:?}");
    assert!(seen[2].starts_with("GET /3 HTTP/1.1\r\n"), "{seen:?}");
}

#[test]
fn failures_have_a_line() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("its address");
    drop(closed);
    let output = process::run(roundtrip().args(["get", &format!("http://{address}/")]));
    assert_one_line(&output, &["refused"]);
    let output = process::run(roundtrip().args(["get", "http://name.invalid/"]));
    assert_one_line(&output, &["name.invalid"]);
    let output = process::run(roundtrip().args(["get", "ftp://127.0.0.1/"]));
    assert_one_line(&output, &["ftp"]);
}

#[test]
fn a_body_that_ends_early_is_a_failure() {
    let peer = Peer::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"]);
    let output = process::run(roundtrip().args(["get", &peer.url("/")]));
    assert!(!output.status.success());
    assert_eq!(output.stdout, b"half");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}

#[test]
fn heads_methods_fields_and_data() {
    let peer = Peer::answering(&["HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 7\r\n\r\n"]);
    let said = process::text(roundtrip().args(["get", "-I", &peer.url("/")]));
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    assert!(said.to_ascii_lowercase().contains("x-one: 1\r\n"), "{said}");
    assert!(peer.requests()[0].starts_with("HEAD / HTTP/1.1\r\n"));

    let peer = Peer::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let said = process::text(roundtrip().args([
        "get",
        "-i",
        "-X",
        "PUT",
        "-H",
        "X-Two: 2",
        "-H",
        "Accept:",
        "-d",
        "a=1",
        "-d",
        "b=2",
        &peer.url("/put"),
    ]));
    assert!(
        said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\nok"),
        "{said}"
    );
    let seen = peer.requests()[0].to_ascii_lowercase();
    assert!(seen.starts_with("put /put http/1.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nx-two: 2\r\n"), "{seen}");
    assert!(!seen.contains("\r\naccept:"), "{seen}");
    assert!(seen.contains("\r\ncontent-length: 7\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\na=1&b=2"), "{seen}");
}

#[test]
fn binary_data_and_output_files() {
    let folder = folder();
    let data = folder.path().join("data");
    let saved = folder.path().join("saved");
    fs::write(&data, "line\nline\r\n\0end").expect("a file");
    let peer = Peer::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsaved"]);
    let output = process::run(
        roundtrip()
            .args([
                "get",
                "--data-binary",
                &format!("@{}", data.display()),
                "-o",
            ])
            .arg(&saved)
            .arg(peer.url("/")),
    );
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
    assert_eq!(fs::read_to_string(&saved).expect("the file"), "saved");
    let seen = &peer.requests()[0];
    assert!(seen.starts_with("POST / HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nline\nline\r\n\0end"), "{seen:?}");

    let peer = Peer::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsaved"]);
    let output = process::run(roundtrip().args(["get", "-o", "/no/such/file", &peer.url("/")]));
    assert_one_line(&output, &["/no/such/file"]);
}

#[test]
fn uploads_a_file_and_standard_input() {
    let folder = folder();
    let name = folder.path().join("a.txt");
    let peer = Peer::answering(&["HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"]);
    let output = process::run(
        roundtrip()
            .args(["get", "-T"])
            .arg(&name)
            .arg(peer.url("/up/")),
    );
    assert!(output.status.success(), "{output:?}");
    let seen = &peer.requests()[0];
    assert!(seen.starts_with("PUT /up/a.txt HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nthe letter a\n"), "{seen}");
    assert!(
        !seen.to_ascii_lowercase().contains("content-type"),
        "{seen}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("its address"));
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            let mut buffer = [0; 1024];
            let len = stream.read(&mut buffer).expect("a request");
            assert!(len > 0, "the request ends early");
            seen.extend_from_slice(&buffer[..len]);
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("the answer");
        String::from_utf8(seen).expect("UTF-8")
    });
    let mut child = roundtrip()
        .args(["get", "-T", "-", &url])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"piped").expect("some input");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    let seen = thread.join().expect("the peer");
    assert!(seen.starts_with("PUT / HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("5\r\npiped\r\n0\r\n\r\n"), "{seen}");
}

#[test]
fn writes_out_what_curl_would() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
    let there = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nthere";
    let peer = Peer::answering(&[moved, there]);
    let format = "|%{http_code} %{num_redirects} %{num_connects} %{size_download} %{content_type} \
                  %{url_effective} %{remote_ip} %{method} %{http_version}\\n";
    let said = process::text(roundtrip().args(["get", "-L", "-w", format, &peer.url("/")]));
    let url = peer.url("/there");
    assert_eq!(
        said,
        format!("there|200 1 1 5 a/b {url} 127.0.0.1 GET 1.1\n")
    );
    peer.requests();

    // A failure has its line too.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("its address");
    drop(closed);
    let url = format!("http://{address}/");
    let output = process::run(roundtrip().args(["get", "-w", "%{http_code} %{exitcode}", &url]));
    assert!(!output.status.success());
    assert_eq!(output.stdout, b"000 7");
    let output = process::run(roundtrip().args(["get", "-w", "%{nonsense}", &url]));
    assert_one_line(&output, &["nonsense", "time_total"]);
}

#[test]
fn traces_what_happens() {
    let peer = Peer::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let url = peer.url("/");
    let output = process::run(roundtrip().args(["get", "--trace", "%", &url]));
    assert_eq!(output.stdout, b"ok");
    let said = String::from_utf8_lossy(&output.stderr);
    let mut rest = &said[..];
    for step in [
        "is wanted",
        "connected to 127.0.0.1",
        "is new",
        "written",
        "head 200",
        "complete",
    ] {
        let at = rest
            .find(step)
            .unwrap_or_else(|| panic!("`{step}` is missing: {said}"));
        rest = &rest[at..];
    }
    assert!(said.lines().all(|line| line.starts_with("[0] ")), "{said}");
    peer.requests();
}

#[test]
fn credentials_are_sent_and_not_shown() {
    let peer = Peer::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let output = process::run(roundtrip().args(["get", "-v", "-u", "me:secret", &peer.url("/")]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Authorization: ***"), "{said}");
    assert!(
        !said.contains("secret") && !said.contains("bWU6c2VjcmV0"),
        "{said}"
    );
    let seen = &peer.requests()[0];
    assert!(
        seen.contains("\r\nAuthorization: Basic bWU6c2VjcmV0\r\n"),
        "{seen}"
    );
}

#[test]
fn forms_with_files() {
    let folder = folder();
    let file = folder.path().join("a.txt");
    let peer = Peer::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let output = process::run(roundtrip().args([
        "get",
        "-F",
        "plain=a;b",
        "-F",
        &format!("file=@{};type=text/x-letter", file.display()),
        "-F",
        &format!("guessed=@{}", file.display()),
        "-F",
        &format!("named=@{};filename=b.png", file.display()),
        &peer.url("/"),
    ]));
    assert!(output.status.success(), "{output:?}");
    let seen = &peer.requests()[0];
    assert!(seen.starts_with("POST / HTTP/1.1\r\n"), "{seen}");
    for part in [
        "multipart/form-data; boundary=",
        "name=\"plain\"",
        "\r\n\r\na;b\r\n",
        "name=\"file\"; filename=\"a.txt\"",
        "Content-Type: text/x-letter",
        "name=\"guessed\"; filename=\"a.txt\"\r\nContent-Type: text/plain; charset=utf-8\r\n",
        "name=\"named\"; filename=\"b.png\"\r\nContent-Type: image/png\r\n",
        "the letter a\n",
    ] {
        assert!(seen.contains(part), "`{part}` is missing: {seen}");
    }
}

#[test]
fn cookies_are_sent_kept_and_written() {
    let folder = folder();
    let file = folder.path().join("cookies");
    let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::answering(&[answer, answer]);
    let urls = [peer.url("/"), peer.url("/")];
    let mut command = roundtrip();
    command
        .args(["get", "-b", "own=2", "-c"])
        .arg(&file)
        .args(urls);
    assert!(process::run(&mut command).status.success());
    let seen = peer.requests();
    assert!(seen[0].contains("\r\nCookie: own=2\r\n"), "{}", seen[0]);
    assert!(
        seen[1].contains("\r\nCookie: own=2; a=1\r\n"),
        "{}",
        seen[1]
    );
    let peer = Peer::answering(&[answer]);
    let text = fs::read_to_string(&file).expect("the cookies");
    assert!(text.contains("127.0.0.1"), "{text}");
    let output = process::run(
        roundtrip()
            .args(["get", "-b"])
            .arg(&file)
            .arg(peer.url("/")),
    );
    assert!(output.status.success(), "{output:?}");
    let seen = &peer.requests()[0];
    assert!(seen.contains("\r\nCookie: a=1\r\n"), "{seen}");
}

#[test]
fn cookie_files_need_not_be_perfect_nor_there() {
    let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n";
    let folder = folder();
    let odd = folder.path().join("odd");
    fs::write(
        &odd,
        "127.0.0.1\tFALSE\t/\tFALSE\t0\tb\t2\n127.0.0.1 FALSE / FALSE 0 secret 3\n",
    )
    .expect("a file");
    let missing = folder.path().join("missing");
    // The arguments, the cookies of the first request and of the second, the warning.
    let cases: [(&[&str], &str, &str, &str); 4] = [
        (&["-b", ""], "", "\r\nCookie: a=1\r\n", ""),
        (
            &["-b", "@missing", "-c", "@missing"],
            "",
            "\r\nCookie: a=1\r\n",
            "",
        ),
        (
            &["-b", "@odd"],
            "\r\nCookie: b=2\r\n",
            "\r\nCookie: b=2; a=1\r\n",
            "odd: line 2 is skipped: it does not have seven fields",
        ),
        (
            &["-s", "-b", "@odd"],
            "\r\nCookie: b=2\r\n",
            "\r\nCookie: b=2; a=1\r\n",
            "",
        ),
    ];
    for (arguments, first, second, warning) in cases {
        let peer = Peer::answering(&[answer, answer]);
        let mut command = roundtrip();
        command.arg("get");
        for argument in arguments {
            match *argument {
                "@missing" => command.arg(&missing),
                "@odd" => command.arg(&odd),
                other => command.arg(other),
            };
        }
        let output = process::run(command.args([peer.url("/"), peer.url("/")]));
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let seen = peer.requests();
        for (seen, expected) in seen.iter().zip([first, second]) {
            let has_cookie = seen.contains("\r\nCookie: ");
            assert_eq!(has_cookie, !expected.is_empty(), "{arguments:?}: {seen}");
            assert!(seen.contains(expected), "{arguments:?}: {seen}");
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.is_empty(), warning.is_empty(), "{arguments:?}: {said}");
        assert!(said.contains(warning), "{arguments:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    assert!(
        fs::read_to_string(&missing)
            .expect("written")
            .contains("\ta\t1")
    );
    // Nobody writes it: a name mistyped.
    fs::remove_file(&missing).expect("it was there");
    let output = process::run(
        roundtrip()
            .args(["get", "-b"])
            .arg(&missing)
            .arg("127.0.0.1:1"),
    );
    assert!(!output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("missing"),
        "{output:?}"
    );
}

#[test]
fn other_ways_to_connect() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // A name that is given.
    let peer = Peer::answering(&[answer]);
    let port = peer.address.rsplit_once(':').expect("a port").1.to_owned();
    let resolve = format!("a.example:{port}:127.0.0.1");
    let url = format!("http://a.example:{port}/");
    assert_eq!(
        process::text(roundtrip().args(["get", "--resolve", &resolve, &url])),
        "ok"
    );
    let seen = &peer.requests()[0];
    assert!(
        seen.contains(&format!("\r\nHost: a.example:{port}\r\n")),
        "{seen}"
    );

    // A proxy.
    let peer = Peer::answering(&[answer]);
    let proxy = format!("http://me:secret@{}", peer.address);
    let said = process::text(roundtrip().args(["get", "-x", &proxy, "a.example/path"]));
    assert_eq!(said, "ok");
    let seen = &peer.requests()[0];
    assert!(
        seen.starts_with("GET http://a.example/path HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(
        seen.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"),
        "{seen}"
    );

    // A Unix socket.
    let folder = folder();
    let path = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut seen = [0; 1024];
        let len = stream.read(&mut seen).expect("a request");
        stream.write_all(answer.as_bytes()).expect("the answer");
        String::from_utf8_lossy(&seen[..len]).into_owned()
    });
    let mut command = roundtrip();
    command
        .args(["get", "--unix-socket"])
        .arg(&path)
        .arg("http://service/");
    assert_eq!(process::text(&mut command), "ok");
    assert!(
        thread
            .join()
            .expect("the peer")
            .contains("\r\nHost: service\r\n")
    );
    let output = process::run(roundtrip().args(["get", "--resolve", "nonsense", "a.example"]));
    assert_one_line(&output, &["--resolve", "HOST:PORT:ADDRESS"]);
}

#[test]
fn tries_again_when_asked() {
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let peer = Peer::answering(&[busy, answer]);
    assert_eq!(
        process::text(roundtrip().args(["get", "--retry", "1", &peer.url("/")])),
        "ok"
    );
    peer.requests();
    let peer = Peer::answering(&[busy]);
    let output = process::run(roundtrip().args(["get", "-f", &peer.url("/")]));
    assert_one_line(&output, &["503"]);
}

#[test]
fn several_at_once() {
    let folder = folder();
    fs::write(folder.path().join("b.txt"), "the letter b\n").expect("a file");
    let server = process::Server::serve(folder.path());
    let mut command = roundtrip();
    command.args(["get", "-Z", "--parallel-max", "3"]);
    let names: Vec<_> = (0..20)
        .map(|index| folder.path().join(format!("out{index}")))
        .collect();
    for name in &names {
        command.arg("-o").arg(name);
    }
    for index in 0..20 {
        command.arg(server.url(if index % 2 == 0 { "/a.txt" } else { "/b.txt" }));
    }
    let output = process::run(&mut command);
    assert!(output.status.success(), "{output:?}");
    for (index, name) in names.iter().enumerate() {
        let letter = if index % 2 == 0 { "a" } else { "b" };
        let read = fs::read_to_string(name).expect("the file");
        assert_eq!(read, format!("the letter {letter}\n"));
    }
}

#[test]
fn redirects_only_when_asked() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::answering(&[moved]);
    assert_eq!(process::text(roundtrip().args(["get", &peer.url("/")])), "");
    peer.requests();
    let peer = Peer::answering(&[moved, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere"]);
    assert_eq!(
        process::text(roundtrip().args(["get", "-L", &peer.url("/")])),
        "there"
    );
    assert!(peer.requests()[1].starts_with("GET /there HTTP/1.1\r\n"));
}

#[test]
fn proxies_of_the_environment_and_refusals() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n";
    let get = |arguments: &[&str], variable: &str| {
        let mut command = roundtrip();
        command
            .arg("get")
            .args(arguments)
            .env("http_proxy", variable);
        for name in ["HTTP_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
            command.env_remove(name);
        }
        process::run(&mut command)
    };
    let url = "http://a.example/x";
    let nobody = "http://me:hush@127.0.0.1:1";
    let peer = Peer::answering(&[answer]);
    assert_eq!(get(&[url], &peer.url("")).stdout, b"hi\n");
    peer.requests();
    let output = get(&["--noproxy", "*", "http://name.invalid/"], nobody);
    assert_one_line(&output, &["name.invalid"]);
    // Refused, without the password.
    let peer = Peer::answering(&["HTTP/1.1 403 x\r\n\r\n"]);
    let proxy = peer.url("").replace("//", "//me:hush@");
    let output = get(&["-p", "-x", &proxy, url], "");
    assert_one_line(
        &output,
        &["made no tunnel to a.example:80", "403 Forbidden"],
    );
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hush"));
    assert!(peer.requests()[0].starts_with("CONNECT a.example:80 HTTP/1.1\r\n"));
    assert_one_line(&get(&["-x", "ftp://me:hush@x", url], ""), &["scheme"]);
}

#[test]
fn time_runs_out() {
    // Accepts by its queue, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("its address"));
    let start = std::time::Instant::now();
    let output = process::run(roundtrip().args(["get", "-m", "0.3", &url]));
    assert_one_line(&output, &["time"]);
    assert!(start.elapsed().as_secs() < 5);
    let silent = process::run(roundtrip().args(["get", "-s", "-m", "0.1", &url]));
    assert!(!silent.status.success() && silent.stderr.is_empty());
}

/// A server of a few scripted answers on one connection, which it then closes.
struct Peer {
    address: String,
    thread: JoinHandle<Vec<String>>,
}

impl Peer {
    fn answering(answers: &[&str]) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let answer = |answer: String| {
                let seen = read_request(&mut stream);
                stream.write_all(answer.as_bytes()).expect("the answer");
                seen
            };
            answers.into_iter().map(answer).collect()
        });
        Peer { address, thread }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(self) -> Vec<String> {
        self.thread.join().expect("the peer")
    }
}

/// A head and the body that its Content-Length announces.
fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a request");
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |length| length.trim().parse().expect("a number"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    text.extend(body);
    String::from_utf8(text).expect("UTF-8")
}
