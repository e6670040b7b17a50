//! What files are when they are asked for: replaced, changed, without a size, or no files at all.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use roundtrip::Request;
use roundtrip::Router;
use roundtrip::files;
use roundtrip::files::Content;

use super::server_support::Answer;
use super::server_support::Serving;
use super::server_support::get;
use super::server_support::request;

/// More than what is kept in memory.
const LARGE: usize = 100_000;

fn serve(directory: &Path) -> Serving {
    let files = files::serve(directory).precompressed(true);
    Serving::start(Router::new().get("/", files))
}

/// Paths beneath a directory that this process has open.
fn open_beneath(directory: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let links = open.filter_map(|one| fs::read_link(one.ok()?.path()).ok());
    links.filter(|link| link.starts_with(directory)).count()
}

/// Waits for something that is about to happen.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn put(path: &Path, content: &[u8]) {
    let next = path.with_extension("next");
    fs::write(&next, content).unwrap();
    fs::rename(next, path).unwrap();
}

/// The same length and the same time: only the inode differs.
#[test]
fn a_file_that_was_replaced_is_seen_at_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path());
    let mut peer = serving.peer();
    let mut ask = |path: &str| peer.send(get(path)).answer();
    let time = std::time::SystemTime::now() - Duration::from_secs(1_000);
    for length in [10, LARGE] {
        let path = folder.path().join(format!("{length}.bin"));
        for round in 0..20u8 {
            put(&path, &vec![round; length]);
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
            let answer = ask(&format!("/{length}.bin"));
            assert!(answer.body == vec![round; length], "{length} {round}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(ask(&format!("/{length}.bin")).status, 404);
        fs::create_dir(&path).unwrap();
        assert_eq!(ask(&format!("/{length}.bin")).status, 301);
    }
}

/// What was guessed beside what is asked for, and was not there, may come too.
#[test]
fn what_is_put_beside_a_file_is_seen_at_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let serving = serve(folder.path());
    let mut peer = serving.peer();
    let mut ask = |path: &str| {
        let head = format!("GET {path}");
        peer.send(request(&head, &["Accept-Encoding: gzip"], ""))
            .answer()
    };
    for _ in 0..3 {
        fs::write(path("a.css"), "plain").unwrap();
        assert_eq!(ask("/a.css").text(), "plain");
        put(&path("a.css.gz"), b"coded");
        assert_eq!(ask("/a.css").text(), "coded");
        fs::remove_file(path("a.css.gz")).unwrap();
        assert_eq!(ask("/a.css").text(), "plain");
        assert!(ask("/").text().contains("Index of"));
        put(&path("index.html"), b"the page");
        assert_eq!(ask("/").text(), "the page");
        fs::remove_file(path("index.html")).unwrap();
    }
}

/// Many requests in one piece are answered in one turn, with one look.
#[test]
fn what_one_turn_answers_is_of_that_turn() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path());
    let mut peer = serving.peer();
    for round in 0..20u8 {
        put(&folder.path().join("a.bin"), &[round; 10]);
        peer.send(get("/a.bin").repeat(10));
        for _ in 0..10 {
            assert_eq!(peer.answer().body, [round; 10]);
        }
    }
}

#[test]
fn what_nobody_asks_for_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.bin"), vec![1; LARGE]).unwrap();
    let serving = serve(folder.path());
    let mut peer = serving.peer();
    assert_eq!(open_beneath(folder.path()), 0);
    for _ in 0..2 {
        assert_eq!(peer.send(get("/a.bin")).answer().body.len(), LARGE);
        assert!(open_beneath(folder.path()) > 0);
        // The connection rests.
        eventually("files stay open", || open_beneath(folder.path()) == 0);
    }
}

/// Nor are they opened: that wakes who waits at the other end, and may do worse with a device.
#[test]
fn pipes_devices_and_sockets_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(path("socket")).unwrap();
    symlink("pipe", path("link")).unwrap();
    symlink("/dev/zero", path("zero")).unwrap();
    fs::write(path("file"), "content").unwrap();
    let is_opened = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (is_opened, pipe) = (Arc::clone(&is_opened), path("pipe"));
        move || {
            let opened = File::options().write(true).open(pipe);
            is_opened.store(true, Ordering::SeqCst);
            drop(opened);
        }
    });
    let router = Router::new()
        .get("/", files::serve(folder.path()))
        .get(
            "/linked/",
            files::serve(folder.path()).follow_symlinks(true),
        )
        .get("/one", files::file(path("pipe")));
    let serving = Serving::start(router);
    for target in [
        "/pipe",
        "/socket",
        "/link",
        "/zero",
        "/linked/zero",
        "/linked/pipe",
        "/linked/link",
        "/one",
        "/pipe/",
    ] {
        assert_eq!(serving.ask(&get(target)).status, 404, "{target}");
    }
    for target in ["/", "/linked/"] {
        let listed = serving.ask(&get(target)).text().to_owned();
        assert!(listed.contains("./file"), "{listed}");
        for name in ["pipe", "socket", "link", "zero"] {
            assert!(!listed.contains(&format!("./{name}")), "{name}: {listed}");
        }
    }
    assert!(
        !is_opened.load(Ordering::SeqCst),
        "somebody opened the pipe"
    );
    drop(File::open(path("pipe")).unwrap());
    writer.join().unwrap();
}

/// A file is what read(2) gives.
#[test]
fn files_whose_size_says_nothing() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.len() < 16 * 1024);
    // `/sys` says 4,096 for a few bytes.
    let small = "kernel/mm/transparent_hugepage/enabled";
    let small = [small, "kernel/uevent_seqnum", "kernel/fscaps"]
        .into_iter()
        .find(|path| Path::new("/sys").join(path).exists())
        .expect("some file of /sys");
    let open = |path: &Path, request: &Request| {
        let file = File::open(path).unwrap();
        Content::file("status", file).unwrap().respond(request)
    };
    let opened = move |request: &Request| open(Path::new("/proc/self/status"), request);
    let small_path = Path::new("/sys").join(small);
    let opened_small = move |request: &Request| open(&small_path, request);
    let router = Router::new()
        .get("/proc/", files::serve("/proc/self"))
        .get("/sys/", files::serve("/sys"))
        .get("/opened", opened)
        .get("/opened-small", opened_small);
    let serving = Serving::start(router);
    let ask = |path: &str, field: &str| serving.ask(&request(&format!("GET {path}"), &[field], ""));
    let small = format!("/sys/{small}");
    let plain = "Accept: */*";
    // Ranges and conditions need something that stays the same.
    for field in [plain, "Range: bytes=0-1", "If-None-Match: \"x\""] {
        let answer = ask("/proc/status", field);
        assert_eq!(answer.status, 200, "{field}");
        assert!(answer.text().starts_with("Name:"), "{field}");
        assert!(answer.text().contains("nonvoluntary_ctxt_switches"));
        let answer = ask(&small, field);
        assert_eq!(answer.text(), fs::read_to_string(&small).unwrap());
        assert!(ask("/opened", field).text().starts_with("Name:"));
        is_without_state(&answer);
        assert_eq!(ask("/opened-small", field).text(), answer.text());
    }
    // More than is read at once.
    let answer = ask("/proc/smaps", plain);
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert!(answer.body.len() > 16 * 1024, "{}", answer.body.len());
    assert!(
        answer
            .text()
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .starts_with("VmFlags")
    );
    is_without_state(&answer);
    let mut peer = serving.peer();
    for path in ["/proc/smaps", "/proc/status", &small, "/opened"] {
        let head = peer
            .send(request(&format!("HEAD {path}"), &[], ""))
            .answer_to_head();
        assert_eq!(head.status, 200, "{path}");
        assert_ne!(head.field("content-length"), Some("0"), "{path}");
    }
    assert_eq!(peer.send(get(&small)).answer().status, 200);
}

fn is_without_state(answer: &Answer) {
    for name in ["etag", "last-modified"] {
        assert_eq!(answer.field(name), None, "{answer:?}");
    }
    assert_eq!(answer.field("accept-ranges"), Some("none"));
}

/// Somebody writes to it while it is read: what was read is sent, and later what it is then.
#[test]
fn a_file_that_grows_is_never_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.txt");
    let mut file = File::create(&path).unwrap();
    let serving = serve(folder.path());
    let is_done = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let is_done = Arc::clone(&is_done);
        move || {
            let mut written = 0;
            while !is_done.load(Ordering::SeqCst) && written < 1_000_000 {
                written += file.write(b"a line of the log\n").unwrap();
            }
        }
    });
    let mut peer = serving.peer();
    let mut before = 0;
    for _ in 0..100 {
        let answer = peer.send(get("/log.txt")).answer();
        assert_eq!(answer.status, 200);
        assert!(answer.body.len() >= before);
        before = answer.body.len();
    }
    is_done.store(true, Ordering::SeqCst);
    writer.join().unwrap();
}
