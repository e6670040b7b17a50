//! curl.

use std::process::Command;

use crate::interop::files;
use crate::process;
use crate::process::Server;

fn curl(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20"]);
    command.args(arguments);
    command
}

#[test]
fn get_and_head() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    let body = process::text(&mut curl(&[&server.url("/a.txt")]));
    assert_eq!(body, "the letter a\n");
    let index = process::text(&mut curl(&[&server.url("/")]));
    assert!(index.contains("<title>index</title>"));
    let listing = process::text(&mut curl(&[&server.url("/listed/")]));
    assert!(listing.contains("one%20two.txt"), "{listing}");
    let spaced = process::text(&mut curl(&[&server.url("/listed/one%20two.txt")]));
    assert_eq!(spaced, "12");

    let head = process::text(&mut curl(&["--head", &server.url("/a.txt")]));
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-length: 13\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: text/plain"), "{head}");
    assert!(head.contains("\r\nlast-modified: "), "{head}");
    assert!(head.contains("\r\netag: "), "{head}");
    assert!(head.contains("\r\ndate: "), "{head}");
}

#[test]
fn statuses() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    let status = |arguments: &[&str]| {
        let mut command = curl(&["--output", "/dev/null", "--write-out", "%{http_code}"]);
        process::text(command.args(arguments))
    };
    assert_eq!(status(&[&server.url("/missing")]), "404");
    let above = server.url("/../etc/passwd");
    assert_eq!(status(&["--path-as-is", &above]), "307");
    assert_eq!(status(&["--path-as-is", "--location", &above]), "404");
    assert_eq!(
        status(&["--path-as-is", &server.url("/%2e%2e/etc/passwd")]),
        "404"
    );
    assert_eq!(
        status(&["--request", "DELETE", &server.url("/a.txt")]),
        "405"
    );
    assert_eq!(
        status(&["--request-target", "no-slash", &server.url("/")]),
        "400"
    );
}

#[test]
fn not_modified() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    let url = server.url("/a.txt");
    let tag = folder.path().join("etag");
    let tag = tag.to_str().expect("UTF-8");
    process::output(&mut curl(&["--etag-save", tag, &url]));
    let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let again = process::text(curl(&["--etag-compare", tag, &url]).args(status));
    assert_eq!(again, "304");
    let saved = folder.path().join("a.txt");
    let saved = saved.to_str().expect("UTF-8");
    let since = process::text(curl(&["--time-cond", saved, &url]).args(status));
    assert_eq!(since, "304");
}

#[test]
fn ranges() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    let numbers = files::numbers();
    let url = server.url("/numbers.bin");
    for (range, expected) in [
        ("0-0", &numbers[..1]),
        ("10-99", &numbers[10..100]),
        ("99990-", &numbers[99_990..]),
        ("-7", &numbers[99_993..]),
    ] {
        let body = process::output(&mut curl(&["--fail", "--range", range, &url]));
        assert_eq!(body, expected, "{range}");
    }
    let part = folder.path().join("part");
    std::fs::write(&part, &numbers[..40_000]).expect("a file");
    let part_name = part.to_str().expect("UTF-8");
    process::output(&mut curl(&[
        "--fail",
        "--continue-at",
        "-",
        "--output",
        part_name,
        &url,
    ]));
    assert_eq!(std::fs::read(&part).expect("the file"), numbers);
}

#[test]
fn http_1_0() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    let url = server.url("/numbers.bin");
    let body = process::output(&mut curl(&["--http1.0", &url]));
    assert_eq!(body, files::numbers());
    let kept = process::output(&mut curl(&[
        "--http1.0",
        "--header",
        "Connection: keep-alive",
        &url,
        &url,
    ]));
    assert_eq!(kept.len(), 200_000);
}

#[test]
fn one_connection_for_many_requests() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    let url = server.url("/a.txt");
    let said = process::text(&mut curl(&[
        "--write-out",
        "%{num_connects} ",
        "--output",
        "/dev/null",
        "--output",
        "/dev/null",
        "--output",
        "/dev/null",
        &url,
        &url,
        &url,
    ]));
    assert_eq!(said, "1 0 0 ");
}

#[test]
fn uploads() {
    let server = Server::echo();
    let folder = files::folder();
    let path = folder.path().join("numbers.bin");
    let data = format!("@{}", path.display());
    let url = server.url("/echo");
    let expected = files::numbers();
    let counted = process::output(&mut curl(&["--data-binary", &data, &url]));
    assert_eq!(counted, expected);
    let chunked = [
        "--header",
        "Transfer-Encoding: chunked",
        "--data-binary",
        &data,
        &url,
    ];
    assert_eq!(process::output(&mut curl(&chunked)), expected);
    let expecting = [
        "--header",
        "Expect: 100-continue",
        "--data-binary",
        &data,
        &url,
    ];
    let mut command = curl(&expecting);
    let output = process::run(command.arg("--verbose"));
    assert!(output.status.success());
    assert_eq!(output.stdout, expected);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("HTTP/1.1 100 Continue"), "{said}");
    let empty = process::output(&mut curl(&["--data-binary", "", &url]));
    assert!(empty.is_empty());
}

/// curl and a jar read each other's files.
#[cfg(feature = "cookies")]
#[test]
fn files_of_cookies() {
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpListener;

    use roundtrip::client::jar::Jar;

    // Shows the request, and sets cookies of all kinds.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let fields = "Set-Cookie: here=1; Max-Age=600; Path=/a\r\n\
                          Set-Cookie: below=\"2 3\"; Max-Age=600; Domain=shop.example; Path=/\r\n\
                          Set-Cookie: hidden=3; HttpOnly; Path=/\r\n\
                          Set-Cookie: empty=; Path=/";
            let length = head.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            socket.write_all(answer.as_bytes()).unwrap();
            socket.write_all(&head).unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
    let resolve = format!("www.shop.example:{}:127.0.0.1", address.port());
    let address = format!("http://www.shop.example:{}/a/b", address.port());
    let ask = |option: &str, file: &std::path::Path| {
        let arguments = [
            "--resolve",
            &resolve,
            option,
            file.to_str().unwrap(),
            &address,
        ];
        process::text(&mut curl(&arguments))
    };
    ask("--cookie-jar", &theirs);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let jar = Jar::new();
    let loaded = jar
        .load(std::fs::File::open(&theirs).unwrap(), now)
        .unwrap();
    assert_eq!(
        loaded.added,
        4,
        "{}",
        std::fs::read_to_string(&theirs).unwrap()
    );
    let url = url::Url::parse(&address).unwrap();
    let line = String::from_utf8(jar.get(&url, now).unwrap()).unwrap();
    let mut pairs: Vec<&str> = line.split("; ").collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["below=\"2 3\"", "empty=", "here=1", "hidden=3"]);
    let hidden = jar
        .cookies(now)
        .into_iter()
        .find(|cookie| cookie.is_http_only);
    assert_eq!(hidden.unwrap().name, b"hidden");
    jar.save_all(std::fs::File::create(&ours).unwrap(), now)
        .unwrap();
    let shown = ask("--cookie", &ours);
    let sent = shown.lines().find_map(|line| line.strip_prefix("Cookie: "));
    let mut pairs: Vec<&str> = sent.expect("a field").split("; ").collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["below=\"2 3\"", "empty=", "here=1", "hidden=3"]);
}
