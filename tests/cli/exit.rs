//! `roundtrip get`: success means that everything went where it was to go, and other codes are curl's.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::assert_one_line;
use crate::folder;
use crate::process;
use crate::process::roundtrip;

/// Answers the head of every request with these bytes and closes. Lives as long as the test's process.
pub fn peer(answer: impl AsRef<[u8]> + Send + 'static) -> String {
    serve(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(answer.as_ref());
    })
}

/// Serves each connection in turn; the URL.
pub fn serve(each: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("its address"));
    thread::spawn(move || listener.incoming().flatten().for_each(each));
    url
}

/// Answers when it has read a request to the end of its chunks.
fn reader(answer: String) -> String {
    serve(move |mut stream| {
        let (mut seen, mut piece) = (Vec::new(), [0; 4_096]);
        while !seen.ends_with(b"0\r\n\r\n")
            && let Ok(len @ 1..) = stream.read(&mut piece)
        {
            seen.extend_from_slice(&piece[..len]);
        }
        let _ = stream.write_all(answer.as_bytes());
    })
}

pub fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|len| len == 1) {
        head.push(byte[0]);
    }
    head
}

fn get(arguments: &[&str]) -> Output {
    process::run(roundtrip().arg("get").args(arguments))
}

/// Through a shell, for what it redirects.
fn shell(line: &str, url: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_roundtrip");
    let output = Command::new("sh").args(["-c", line, program, url]).output();
    output.expect("a shell")
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn codes_are_curls() {
    let table: &[(&str, &[&str], i32)] = &[
        ("", &[], 52),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", &[], 18),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
            &[],
            18,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
            &[],
            56,
        ),
        ("nonsense\r\n\r\n", &[], 8),
        (
            "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            &[],
            8,
        ),
        (
            "HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            &["-L"],
            47,
        ),
        (
            "HTTP/1.1 302 x\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
            &["-L"],
            3,
        ),
        (
            "HTTP/1.1 302 x\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n",
            &["-L"],
            1,
        ),
        (
            "HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            &[],
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
            &["--compressed"],
            61,
        ),
        ("HTTP/1.1 404 x\r\nContent-Length: 3\r\n\r\nno\n", &[], 0),
        (
            "HTTP/1.1 404 x\r\nContent-Length: 3\r\n\r\nno\n",
            &["-f"],
            22,
        ),
        (
            "HTTP/1.1 399 x\r\nContent-Length: 3\r\n\r\nno\n",
            &["-f"],
            0,
        ),
    ];
    for (answer, options, code) in table {
        let url = peer(answer.as_bytes());
        let output = get(&[*options, &[&url]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{answer:?}: {said}");
        assert_eq!(said.lines().count(), usize::from(*code != 0), "{said}");
    }
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}/", listener.local_addr().expect("its address"))
    };
    let table: &[(&[&str], i32)] = &[
        (&["http://["], 3),
        (&["ftp://127.0.0.1/"], 1),
        (&["http://name.invalid/"], 6),
        (&["-x", "http://name.invalid:1", "http://a.example/"], 5),
        (&[&closed], 7),
        (&["-x", &closed, "http://a.example/"], 7),
        (&["-T", "/no/such/file", &closed], 26),
        (&["-d", "@/no/such/file", &closed], 26),
        (&["-F", "a=@/no/such/file", &closed], 26),
    ];
    for (arguments, code) in table {
        let output = get(arguments);
        assert_one_line(&output, &[]);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}");
    }
    let help = process::text(roundtrip().args(["get", "--help"]));
    assert!(
        help.contains("23  cannot write") && help.contains("52  no answer"),
        "{help}"
    );
}

#[test]
fn as_it_is_typed_most() {
    let found = peer(ok("found\n"));
    let gone = peer("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\ngone\n");
    assert_eq!(
        process::text(roundtrip().args(["get", "-fsSL", &found])),
        "found\n"
    );
    let twice = [
        "-s", "-s", "-m", "0", "-m", "9", "-H", "a: 1", "-H", "b: 2", &found,
    ];
    assert_eq!(get(&twice).stdout, b"found\n");
    let output = get(&["-fsSL", &gone]);
    assert_one_line(&output, &["404"]);
    let output = get(&["-fsL", &gone]);
    assert!(!output.status.success() && output.stderr.is_empty() && output.stdout.is_empty());
    // With -f there is no file of a body that nobody wants.
    let folder = folder();
    let name = folder.path().join("page");
    let name = name.to_str().expect("UTF-8");
    assert_eq!(get(&["-f", "-o", name, &gone]).status.code(), Some(22));
    assert!(!fs::exists(name).expect("a folder"));
}

#[test]
fn all_are_tried_and_the_last_failure_counts() {
    let (found, empty) = (peer(ok("found\n")), peer(""));
    let gone = peer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    for parallel in [&[][..], &["-Z"]] {
        let run = |urls: &[&str]| get(&[parallel, &["-f"], urls].concat());
        let output = run(&[&empty, &gone, &found]);
        assert_eq!(output.stdout, b"found\n");
        assert_eq!(output.status.code(), Some(22));
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 2);
        assert_eq!(run(&[&gone, &found, &empty]).status.code(), Some(52));
        assert_eq!(run(&[&found, &found]).status.code(), Some(0));
    }
}

#[test]
fn what_went_nowhere_is_a_failure() {
    let url = peer(ok("body"));
    let (vacant, whole) = (peer(ok("")), reader(ok("")));
    let moved = reader("HTTP/1.1 307 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".into());
    let closed = "standard output: Bad file descriptor";
    let table: &[(&str, &str, i32, &str)] = &[
        (r#""$0" get "$1" >&-"#, &url, 23, closed),
        (r#""$0" get "$1" 1</dev/null"#, &url, 23, closed),
        (r#""$0" get "$1" >/dev/full"#, &url, 23, "No space left"),
        (
            r#""$0" get -o /dev/full "$1""#,
            &url,
            23,
            "/dev/full: No space left",
        ),
        (
            r#""$0" get -i "$1" >/dev/full"#,
            &vacant,
            23,
            "No space left",
        ),
        (
            r#""$0" get -w x "$1" >/dev/full"#,
            &vacant,
            23,
            "No space left",
        ),
        (r#""$0" get -w x "$1" >&-"#, &vacant, 23, closed),
        (
            r#""$0" get --trace /dev/full "$1" >/dev/null"#,
            &url,
            23,
            "--trace /dev/full",
        ),
        (
            r#""$0" get -c /dev/full "$1" >/dev/null"#,
            &url,
            23,
            "-c: /dev/full",
        ),
        (r#""$0" get -c - "$1" >/dev/full"#, &vacant, 23, "-c: -"),
        (r#""$0" get -T - "$1" <&-"#, &whole, 26, "standard input"),
        (r#""$0" get -T - "$1" </"#, &whole, 26, "standard input"),
        (
            r#""$0" get -T - "$1" 0>/dev/null"#,
            &whole,
            26,
            "standard input",
        ),
        (r#""$0" get -d @- "$1" <&-"#, &url, 26, "cannot read -"),
        (
            r#"echo a | "$0" get -L -T - "$1""#,
            &moved,
            65,
            "cannot be read again",
        ),
        (r#"echo a | "$0" get -T - "$1""#, &moved, 0, ""),
        // On purpose, or nothing was to be written.
        (r#""$0" get "$1" >/dev/null"#, &url, 0, ""),
        (r#""$0" get "$1" 1<>/dev/null"#, &url, 0, ""),
        (r#""$0" get -o /dev/null "$1""#, &url, 0, ""),
        (r#""$0" get "$1" >&-"#, &vacant, 0, ""),
        (r#""$0" get "$1" 2>&-"#, &url, 0, ""),
        (r#""$0" get -v "$1" 2>/dev/full"#, &url, 0, ""),
    ];
    for (line, url, code, word) in table {
        let output = shell(line, url);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{line}: {said}");
        assert!(said.contains(word), "{line}: {said}");
        assert!(*code == 0 || said.lines().count() == 1, "{line}: {said}");
    }
}

#[test]
fn a_request_that_is_not_read_is_a_failure() {
    let folder = folder();
    let large = folder.path().join("large");
    fs::write(&large, vec![b'a'; 16 << 20]).expect("a file");
    let large = large.to_str().expect("UTF-8");
    let answers: &[(&str, &[&str], i32)] = &[
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            &[],
            55,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[], 55),
        ("HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n", &[], 55),
        (
            "HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n",
            &["-f"],
            22,
        ),
    ];
    for (answer, options, code) in answers {
        let (done, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let url = serve(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
            // Open, and unread, until it has been said.
            let _ = wait.lock().expect("one connection").recv();
        });
        let output = get(&[*options, &["-T", large, &url]].concat());
        drop(done);
        assert_one_line(&output, &["answered"]);
        assert_eq!(output.status.code(), Some(*code), "{answer}");
    }
}

#[test]
fn files_are_what_they_hold() {
    // It says that it has no byte.
    let content = fs::read("/proc/version").expect("a kernel");
    let table = [
        (vec!["-T", "/proc/version"], ""),
        (vec!["--data-binary", "@/proc/version"], ""),
        (vec!["-F", "file=@/proc/version"], "filename=\"version\""),
    ];
    for (options, word) in table {
        let (seen, sent) = mpsc::channel();
        let expected = content.clone();
        let url = serve(move |mut stream| {
            let mut text = Vec::new();
            let mut piece = [0; 4_096];
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .expect("a socket");
            while !text
                .windows(expected.len())
                .any(|window| window == expected)
            {
                let len = stream.read(&mut piece).expect("the file's content");
                assert!(len > 0, "the request ended without it");
                text.extend_from_slice(&piece[..len]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            let _ = seen.send(String::from_utf8_lossy(&text).into_owned());
        });
        let output = get(&[&options[..], &[&url]].concat());
        assert!(output.status.success(), "{output:?}");
        let sent = sent.recv().expect("the request");
        assert!(sent.contains(word), "{sent}");
        assert!(sent.contains(&*String::from_utf8_lossy(&content)), "{sent}");
    }
}

#[test]
fn values_that_cannot_work_are_refused() {
    let table: &[(&[&str], &str)] = &[
        (&["-o", ""], "-o"),
        (&["-o", "/dev/null", "-o", "/dev/null"], "-o"),
        (&["-m", "-1"], "--max-time"),
        (&["-m", "1e300"], "--max-time"),
        (&["-m", "1e18"], "--max-time"),
        (&["-m", "nan"], "--max-time"),
        (&["-m", "soon"], "--max-time"),
        (&["--connect-timeout", "-1"], "--connect-timeout"),
        (&["--retry", "-1"], "--retry"),
        (&["-Z", "--parallel-max", "0"], "--parallel-max"),
        (&["-Z", "--parallel-max", "-5"], "--parallel-max"),
        (&["-H", "no colon"], "-H"),
        (&["-H", "a: b\r\nc: d"], "-H"),
        (&["-H", "a b: c"], "-H"),
        (&["-b", "a=1\r\nX: 1"], "-b"),
        (&["-X", "a b"], "-X"),
        (&["-X", "CONNECT"], "-X"),
        (&["-u", "nobody"], "-u"),
        (&["-w", "%{nonsense}"], "-w"),
        (&["-F", "nothing"], "-F"),
        (&["-F", "a=b;type=a\nb"], "-F"),
        (&["-x", "ftp://a"], "-x"),
        (&["--noproxy", "a"], "--noproxy"),
        (&["--resolve", "nonsense"], "--resolve"),
        (&["--unix-socket", "/etc/passwd"], "--unix-socket"),
        (&["-T", "-", "http://127.0.0.1:1/"], "-T"),
        (&["--no-such-option"], "--no-such-option"),
    ];
    for (options, word) in table {
        let output = get(&[*options, &["http://127.0.0.1:1/"]].concat());
        assert_one_line(&output, &[word]);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}

/// Sends so many bytes, and says how many had gone when for a while no more were taken.
fn flood(length: usize, blocked: mpsc::Sender<usize>) -> String {
    serve(move |mut stream| {
        read_head(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("a head");
        stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .expect("a socket");
        let mut sent = 0;
        while let Ok(len) = stream.write(&vec![b's'; (1 << 20).min(length - sent)])
            && len > 0
        {
            sent += len;
        }
        let _ = blocked.send(sent);
        stream.set_write_timeout(None).expect("a socket");
        let _ = stream.write_all(&vec![b's'; length - sent]);
    })
}

#[test]
fn an_output_that_does_not_block_gets_every_byte() {
    const LENGTH: usize = 64 << 20;
    let (blocked, is_blocked) = mpsc::channel();
    let url = flood(LENGTH, blocked);
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    theirs.set_nonblocking(true).expect("a socket");
    let mut command = roundtrip();
    command
        .args(["get", &url])
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::piped());
    let child = command.spawn().expect("it starts");
    // Its end is the child's alone.
    command.stdout(Stdio::null());
    let sent = is_blocked.recv().expect("the peer");
    assert!(sent < LENGTH, "nothing held it up");
    let received = std::io::copy(&mut ours, &mut std::io::sink()).expect("the body");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(received, LENGTH as u64);
}

#[test]
fn side_by_side_into_one_output() {
    const LENGTH: usize = 64 << 20;
    let (blocked, is_blocked) = mpsc::channel();
    let is_blocked = std::sync::Mutex::new(is_blocked);
    // The first answers when the second can send no more: so little is kept of what has no turn.
    let first = serve(move |mut stream| {
        read_head(&mut stream);
        let sent: usize = is_blocked.lock().expect("one").recv().expect("the second");
        assert!(sent < LENGTH / 2, "{sent} bytes were taken");
        let _ = stream.write_all(ok("first").as_bytes());
    });
    let second = flood(LENGTH, blocked);
    let third = peer(ok("third"));
    let mut command = roundtrip();
    command.args(["get", "-Z", "-w", "|%{urlnum}|", &first, &second, &third]);
    let written = process::output(&mut command);
    let is_begun = written.starts_with(b"first|0|ssss");
    let is_ended = written.ends_with(b"ssss|1|third|2|");
    assert!(is_begun && is_ended, "{}", written[..16].escape_ascii());
    assert_eq!(written.len(), LENGTH + "first|0||1|third|2|".len());
}

#[test]
fn places_that_cannot_be_written_are_found_first() {
    let table: &[(&[&str], &str)] = &[
        (&["-o", "/no/such/file"], "-o /no/such/file: No such file"),
        (&["-o", "/tmp"], "-o /tmp: is a directory"),
        (
            &["-o", "/etc/passwd/x"],
            "-o /etc/passwd/x: not a directory",
        ),
        (&["-c", "/no/such/file"], "-c /no/such/file: No such file"),
        (
            &["--trace", "/no/such/file"],
            "--trace /no/such/file: No such",
        ),
    ];
    for (options, word) in table {
        // Nobody listens there: it would be 7.
        let output = get(&[*options, &["http://127.0.0.1:1/"]].concat());
        assert_one_line(&output, &[word]);
        assert_eq!(output.status.code(), Some(23), "{options:?}");
    }
}

#[test]
fn side_by_side_into_one_file() {
    let folder = folder();
    let name = folder.path().join("out");
    let name = name.to_str().expect("UTF-8");
    let (asked, is_asked) = mpsc::channel();
    let is_asked = std::sync::Mutex::new(is_asked);
    let first = serve(move |mut stream| {
        read_head(&mut stream);
        is_asked.lock().expect("one").recv().expect("the second");
        let _ = stream.write_all(ok(&"first".repeat(100_000)).as_bytes());
    });
    let second = serve(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(ok("second").as_bytes());
        let _ = asked.send(());
    });
    let output = get(&["-Z", "-o", name, "-o", name, &first, &second]);
    assert!(output.status.success(), "{output:?}");
    // As one after the other would leave it.
    assert_eq!(fs::read_to_string(name).expect("the file"), "second");
}

#[test]
fn heads_as_they_were_sent() {
    let moved = "HTTP/1.1 302 Over There\r\nlocation: /there\r\nContent-Length: 0\r\n\r\n";
    let there = "HTTP/1.0 299 as they SAY\r\nx-Odd:1  \r\nContent-Length: 2\r\n\r\n";
    let url = serve(move |mut stream| {
        let mut answer = |bytes: &str| {
            read_head(&mut stream);
            let _ = stream.write_all(bytes.as_bytes());
        };
        answer(moved);
        answer(&format!("{there}ok"));
    });
    assert_eq!(process::text(roundtrip().args(["get", "-i", &url])), moved);
    assert_eq!(process::text(roundtrip().args(["get", "-I", &url])), moved);
    let output = get(&["-iL", "-w", "%{size_header}", &url]);
    let lengths = moved.len() + there.len();
    let expected = format!("{moved}{there}ok{lengths}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    let output = get(&["-vL", "-u", "me:hush", "-H", "x-Mine:  1", &url]);
    let said = String::from_utf8_lossy(&output.stderr).replace("\r\n", "\n");
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    for lines in [
        "> GET / HTTP/1.1\n",
        &format!("> Host: {host}\n"),
        "> x-Mine: 1\n",
        "> Authorization: ***\n",
        "< HTTP/1.1 302 Over There\n< location: /there\n",
        "> GET /there HTTP/1.1\n",
        "< HTTP/1.0 299 as they SAY\n< x-Odd:1  \n< Content-Length: 2\n< \n",
    ] {
        assert!(said.contains(lines), "{lines:?} is missing: {said}");
    }
    assert!(
        !said.contains("hush") && !said.contains("bWU6aHVzaA"),
        "{said}"
    );
}

#[test]
fn a_terminal_gets_no_control_characters() {
    let hostile = peer(concat!(
        "HTTP/1.1 200 \u{1b}]0;x\u{7}\r\nX-A: \u{9b}31m\r\nContent-Length: 10\r\n\r\n",
        "\u{1b}[31mred\r\n"
    ));
    let plain = peer(concat!(
        "HTTP/1.1 200 \u{9b}5m\r\nX-A: \u{9b}31m\r\nContent-Length: 10\r\n\r\n",
        "\u{1b}[31mred\r\n"
    ));
    let binary = peer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\u{1b}\0\n");
    let table: &[(&[&str], &str, i32)] = &[
        (&["-i", &plain], "HTTP/1.1 200 <9B>5m\r\n", 0),
        (&["-v", &plain], "< X-A: <9B>31m\r\n", 0),
        (&[&plain], "^[[31mred\r\n", 0),
        (&["-w", "%header", &plain], "^[[31mred\r\n", 0),
        (&[&hostile], "malformed", 8),
        (&[&binary], "-o FILE", 23),
        // Who says so gets what came.
        (&["-o", "-", &plain], "\u{1b}[31mred\r\n", 0),
    ];
    for (arguments, expected, code) in table {
        let (shown, status) = terminal::run(roundtrip().arg("get").args(*arguments));
        let shown = shown.replace("\r\r\n", "\r\n");
        assert!(shown.contains(expected), "{arguments:?}: {shown:?}");
        assert_eq!(status.code(), Some(*code), "{arguments:?}: {shown:?}");
        let is_obeyed = |character: char| character.is_control() && !"\r\n".contains(character);
        assert!(
            *code == 0 && arguments[0] == "-o" || !shown.contains(is_obeyed),
            "{shown:?}"
        );
    }
    // What is no terminal gets the bytes.
    assert_eq!(get(&[&plain]).stdout, b"\x1b[31mred\r\n");
}

/// A terminal that a program writes to.
mod terminal {
    use std::fs::File;
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd as _;
    use std::os::fd::FromRawFd as _;
    use std::process::ExitStatus;

    use super::*;

    /// Runs a program on a terminal of its own (pts(4)): what is shown there, and how it ended.
    pub fn run(command: &mut Command) -> (String, ExitStatus) {
        let mut options = OpenOptions::new();
        let master = options
            .read(true)
            .write(true)
            .open("/dev/ptmx")
            .expect("a terminal");
        let slave = slave(&master);
        command.stdin(Stdio::null());
        command
            .stdout(slave.try_clone().expect("a descriptor"))
            .stderr(slave);
        let mut child = command.spawn().expect("it starts");
        // Their copies of the terminal's side: with the child's the last one goes.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let reader = thread::spawn(move || {
            let (mut shown, mut piece) = (Vec::new(), [0; 4_096]);
            let mut master = master;
            // EIO is the end.
            while let Ok(len @ 1..) = master.read(&mut piece) {
                shown.extend_from_slice(&piece[..len]);
            }
            String::from_utf8_lossy(&shown).into_owned()
        });
        let status = child.wait().expect("it ends");
        (reader.join().expect("what is shown"), status)
    }

    fn slave(master: &File) -> File {
        let mut locked = 0;
        let flags = libc::O_RDWR | libc::O_NOCTTY;
        // SAFETY: TIOCSPTLCK reads an int during the call; TIOCGPTPEER takes flags and returns a new
        // descriptor, which nobody else owns.
        unsafe {
            let unlocked = libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw mut locked);
            assert_eq!(unlocked, 0);
            let slave = libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags);
            assert!(slave >= 0, "{}", std::io::Error::last_os_error());
            File::from_raw_fd(slave)
        }
    }
}
