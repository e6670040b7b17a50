//! `roundtrip serve`.

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::assert_one_line;
use crate::folder;
use crate::process;
use crate::process::Server;
use crate::process::roundtrip;
use crate::request;

#[test]
fn serves_logs_and_ends() {
    let folder = folder();
    let mut child = roundtrip()
        .args(["serve", "--addr", "127.0.0.1:0", "--workers", "1"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = move || lines.next().expect("a line").expect("UTF-8");
    let said = line();
    let address = said
        .strip_prefix("listening on http://")
        .expect("the address")
        .to_owned();
    let answer = request(
        &address,
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nthe letter a\n"), "{answer}");
    let log = line();
    assert!(log.contains("GET /a.txt"), "{log}");
    assert!(log.contains("200"), "{log}");
    let done = Command::new("kill").arg(child.id().to_string()).status();
    assert!(done.expect("kill(1)").success());
    assert!(child.wait().expect("it ends").success());
}

/// `serve` at a Unix socket, whose address is known without standard output, with a shell around it.
fn serve_at_socket(folder: &Path, shell: &str, stdout: Stdio) -> Process {
    let child = Command::new("sh")
        .args(["-c", shell, env!("CARGO_BIN_EXE_roundtrip"), "serve"])
        .args(["--workers", "1", "--addr"])
        .arg(format!("unix:{}", folder.join("socket").display()))
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    Process(child)
}

/// Killed when it is dropped.
struct Process(Child);

impl Process {
    /// What it has said on standard error, but for the engine where io_uring is refused.
    fn end(mut self) -> String {
        let done = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(done.expect("kill(1)").success());
        assert!(self.0.wait().expect("it ends").success());
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut said).expect("UTF-8");
        match said.split_once('\n') {
            Some((engine, rest)) if engine.starts_with("roundtrip: running on ") => rest.to_owned(),
            _ => said,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One request on a connection of its own; waits until somebody listens.
fn request_at_socket(folder: &Path, target: &str) -> String {
    let path = folder.join("socket");
    let started = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(&path) {
            Ok(stream) => break stream,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(20), "{error}"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    answer
}

#[test]
fn the_start_does_not_depend_on_standard_output() {
    let (reader, mut full) = std::io::pipe().expect("a pipe");
    // What a pipe holds (pipe(7)).
    full.write_all(&[b'x'; 65_536]).expect("room");
    let (gone, broken) = std::io::pipe().expect("a pipe");
    drop(gone);
    let cases = [
        ("closed", "exec \"$0\" \"$@\" >&-", Stdio::null(), ""),
        (
            "full disk",
            "exec \"$0\" \"$@\" >/dev/full",
            Stdio::null(),
            "No space left",
        ),
        ("full pipe", "exec \"$0\" \"$@\"", full.into(), ""),
        (
            "broken pipe",
            "exec \"$0\" \"$@\"",
            broken.into(),
            "Broken pipe",
        ),
    ];
    for (name, shell, stdout, says) in cases {
        let folder = folder();
        let process = serve_at_socket(folder.path(), shell, stdout);
        for _ in 0..2 {
            let answer = request_at_socket(folder.path(), "/a.txt");
            assert!(answer.ends_with("the letter a\n"), "{name}: {answer}");
        }
        let said = process.end();
        assert!(said.contains(says), "{name}: {said}");
        assert!(said.lines().count() <= 2, "{name}: {said}");
    }
    drop(reader);
}

#[test]
fn the_limit_of_file_sizes_costs_lines_alone() {
    let folder = folder();
    let log = folder.path().join("log");
    // 1 block is 512 bytes.
    let shell = format!("ulimit -f 2; exec \"$0\" \"$@\" >>'{}'", log.display());
    fs::write(&log, [b'\n'; 1_024]).expect("a file");
    // Full from the start.
    let process = serve_at_socket(folder.path(), &shell, Stdio::null());
    for number in 0..30 {
        let answer = request_at_socket(folder.path(), &format!("/a.txt?{number}"));
        assert!(answer.ends_with("the letter a\n"), "{answer}");
    }
    // Rotated by copying whenever it is full, until the last line is there: each line goes on where
    // it was cut.
    let (mut text, mut rotated) = (String::new(), String::new());
    wait_until(|| {
        let current = fs::read_to_string(&log).expect("the log");
        text = format!("{rotated}{current}");
        if current.len() == 1_024 {
            let file = fs::OpenOptions::new().write(true).open(&log);
            file.and_then(|file| file.set_len(0)).expect("our file");
            rotated.clone_from(&text);
        }
        text.contains("GET /a.txt?29") && text.ends_with('\n')
    });
    let lines = text.lines().filter(|line| line.contains("GET"));
    let numbers = lines.filter_map(|line| {
        let rest = line.strip_suffix("\" complete")?.split_once("?")?.1;
        rest.split(' ').next()?.parse::<u32>().ok()
    });
    assert!(numbers.eq(0..30), "{text}");
    assert!(process.end().contains("File too large"));
}

#[test]
fn an_output_that_does_not_block_gets_every_line() {
    const REQUESTS: usize = 3_000;
    let folder = folder();
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    theirs.set_nonblocking(true).expect("a socket");
    let stdout = Stdio::from(OwnedFd::from(theirs));
    let process = serve_at_socket(folder.path(), "exec \"$0\" \"$@\"", stdout);
    let path = "x".repeat(1_000);
    request_at_socket(folder.path(), "/a.txt");
    let mut stream = UnixStream::connect(folder.path().join("socket")).expect("it listens");
    let heads: String = (0..REQUESTS)
        .map(|number| format!("HEAD /{path}?{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let mut answers = stream.try_clone().expect("a socket");
    let reader = thread::spawn(move || answers.read_to_end(&mut Vec::new()));
    stream.write_all(heads.as_bytes()).expect("the requests");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("a socket");
    reader.join().expect("no panic").expect("the answers");
    // All are answered, and far more lines wait than the socket holds.
    let numbers = BufReader::new(ours)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| {
            let rest = line.split_once('?')?.1;
            rest.split(' ').next()?.parse::<usize>().ok()
        });
    assert!(numbers.take(REQUESTS).eq(0..REQUESTS));
    assert_eq!(process.end(), "");
}

/// Waits for what a process of its own does.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn options_of_files() {
    let folder = folder();
    fs::create_dir(folder.path().join("vacant")).expect("a folder");
    fs::write(folder.path().join(".dot"), "dot").expect("a file");
    fs::write(folder.path().join("a.txt.gz"), "coded").expect("a file");
    let serve = |options: &[&str]| {
        let mut command = roundtrip();
        command.args([
            "serve",
            "--quiet",
            "--addr",
            "127.0.0.1:0",
            "--workers",
            "1",
        ]);
        command.args(options).arg(folder.path());
        Server::start(&mut command)
    };
    let ask = |server: &Server, path: &str| {
        let fields = "Host: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
        request(&server.address, &format!("GET {path} HTTP/1.1\r\n{fields}"))
    };
    let plain = serve(&[]);
    assert!(ask(&plain, "/vacant/").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(ask(&plain, "/.dot").starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(ask(&plain, "/a.txt").ends_with("the letter a\n"));
    let other = serve(&[
        "--no-listing",
        "--dot-files",
        "--precompressed",
        "--cache-control",
        "max-age=60",
    ]);
    assert!(ask(&other, "/vacant/").starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(ask(&other, "/.dot").ends_with("dot"));
    let coded = ask(&other, "/a.txt");
    assert!(coded.ends_with("\r\n\r\ncoded"), "{coded}");
    assert!(
        coded.contains("\r\nCache-Control: max-age=60\r\n"),
        "{coded}"
    );
}

#[test]
fn quiet_means_no_log() {
    let folder = folder();
    let mut child = roundtrip()
        .args([
            "serve",
            "--quiet",
            "--addr",
            "127.0.0.1:0",
            "--workers",
            "1",
        ])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .expect("the address");
    request(
        address,
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(rest, "");
}

#[test]
fn port_in_use() {
    let folder = folder();
    let serve = |address: &str| {
        let mut command = roundtrip();
        command
            .args(["serve", "--workers", "1", "--addr", address])
            .arg(folder.path());
        command
    };
    // By somebody else, and by our own second instance, which could share the port.
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("its address").to_string();
    assert_one_line(&process::run(&mut serve(&address)), &[&address, "in use"]);
    let first = Server::start(&mut serve("127.0.0.1:0"));
    assert_one_line(
        &process::run(&mut serve(&first.address)),
        &[&first.address, "in use"],
    );
}

#[test]
fn missing_directory() {
    let output = process::run(roundtrip().args(["serve", "/no/such/directory"]));
    assert_one_line(&output, &["/no/such/directory", "No such file"]);
    let output = process::run(roundtrip().args(["serve", "/etc/passwd"]));
    assert_one_line(&output, &["/etc/passwd", "Not a directory"]);
}

#[test]
fn values_that_cannot_work_are_refused() {
    let folder = folder();
    let file = folder.path().join("a.txt");
    let file = format!("unix:{}", file.display());
    let long = format!("unix:/{}", "a".repeat(107));
    let table: &[(&[&str], &str)] = &[
        (&["--workers", "0"], "1024"),
        (&["--workers", "1025"], "1024"),
        (&["--workers", "-1"], "1024"),
        (&["--workers", "99999999999999999999"], "1024"),
        (&["--cache-control", "a\nb"], "control"),
        (&["--addr", "unix:"], "path"),
        (&["--addr", &file], "no socket"),
        (&["--addr", &long], "107"),
        (&["--addr", "127.0.0.1"], "HOST:PORT"),
        (&["--addr", "127.0.0.1:65536"], "port"),
        (&["--ready", "/"], "hide"),
        (&["--ready", "/{path...}"], "path"),
        (&["--ready", "/a?b"], "path"),
        (&["--ready", "ready"], "path"),
        (&["--ready", ""], "path"),
        (&["--drain-delay", "1e300"], "seconds"),
        (&["--drain-delay", "1e18"], "seconds"),
        (&["--drain-delay", "NaN"], "seconds"),
        (&["--drain-delay", "-1"], "seconds"),
        (&["--unix-mode", "888", "--addr", "unix:/tmp/a"], "660"),
        (&["--unix-mode", "+660", "--addr", "unix:/tmp/a"], "660"),
        (&["--unix-mode", "660"], "unix:"),
    ];
    for (options, word) in table {
        let mut command = roundtrip();
        // Even a value that is taken serves nobody.
        command
            .arg("serve")
            .args(*options)
            .arg("/no/such/directory");
        let output = process::run(&mut command);
        assert_one_line(&output, &[options[0], word]);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}

#[test]
fn no_permission() {
    let folder = folder();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("our folder");
    // Nothing is closed to root: the binary runs as nobody, from where nobody may read it.
    let binary = folder.path().join("roundtrip");
    fs::copy(env!("CARGO_BIN_EXE_roundtrip"), &binary).expect("a copy");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our folder");
    let mut command = Command::new(&binary);
    command
        .args(["serve", "--addr", "127.0.0.1:0"])
        .arg(&closed);
    if fs::read_dir(&closed).is_ok() {
        command.uid(65_534).gid(65_534);
    }
    let output = process::run(&mut command);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("our folder");
    assert_one_line(&output, &["closed", "Permission denied"]);
}

#[test]
fn wrong_address() {
    let output = process::run(roundtrip().args(["serve", "--addr", "127.0.0.1:notaport"]));
    assert_one_line(&output, &["127.0.0.1:notaport"]);
    // An address of the documentation's, not of this machine's.
    let output = process::run(roundtrip().args(["serve", "--addr", "192.0.2.1:0"]));
    assert_one_line(&output, &["192.0.2.1"]);
}

/// The kernel's buffers take some of it; the rest is cut off.
#[test]
fn who_reads_nothing_is_cut_off_in_time() {
    const LENGTH: usize = 64 << 20;
    let folder = folder();
    fs::write(folder.path().join("film"), vec![b'x'; LENGTH]).expect("a file");
    let mut command = roundtrip();
    command
        .args(["serve", "--addr", "127.0.0.1:0", "--write-timeout", "0.5"])
        .arg(folder.path());
    let server = Server::start(&mut command);
    let mut peer = TcpStream::connect(&server.address).expect("it listens");
    peer.write_all(b"GET /film HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("it reads");
    thread::sleep(Duration::from_secs(3));
    let mut received = Vec::new();
    // A reset, or an end that comes too early.
    let _ = peer.read_to_end(&mut received);
    assert!(received.len() < LENGTH, "{}", received.len());
}
