//! The file handler, against real sockets and a real directory.

use std::fs;
use std::os::unix::fs::symlink;

use roundtrip::Router;
use roundtrip::files;
use tempfile::TempDir;

mod server_support;

use server_support::Answer;
use server_support::Serving;
use server_support::get;
use server_support::request;

struct Site {
    serving: Serving,
    _inside: TempDir,
    _outside: TempDir,
}

fn site() -> Site {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let inside = tempfile::tempdir().unwrap();
    let path = |name: &str| inside.path().join(name);
    fs::write(path("hello.txt"), "0123456789").unwrap();
    fs::write(path("empty.txt"), "").unwrap();
    fs::write(path("with space & <b>.html"), "<p>").unwrap();
    fs::write(path("100%.txt"), "percent").unwrap();
    fs::write(path("big.bin"), vec![7; 3_000_000]).unwrap();
    fs::create_dir(path("sub")).unwrap();
    fs::write(path("sub/index.html"), "<h1>index</h1>").unwrap();
    fs::create_dir(path("list")).unwrap();
    fs::write(path("list/b.txt"), "b").unwrap();
    fs::create_dir(path("list/a")).unwrap();
    symlink("hello.txt", path("within")).unwrap();
    symlink(outside.path().join("secret"), path("out")).unwrap();
    symlink(outside.path(), path("outdir")).unwrap();
    symlink("../../../../../../../etc/passwd", path("up")).unwrap();
    symlink("loop", path("loop")).unwrap();
    let router = Router::new()
        .get("/{path...}", files::serve(inside.path()))
        .get("/mounted/{id}/{rest...}", files::serve(inside.path()))
        .any("/any/", files::serve(inside.path()))
        .get("/unlisted/", files::serve(inside.path()).listing(false))
        .get("/missing/", files::serve("/nonexistent/directory"));
    Site {
        serving: Serving::start(router),
        _inside: inside,
        _outside: outside,
    }
}

impl Site {
    fn get(&self, path: &str) -> Answer {
        self.serving.ask(&get(path))
    }

    fn get_with(&self, path: &str, fields: &[&str]) -> Answer {
        self.serving
            .ask(&request(&format!("GET {path}"), fields, ""))
    }
}

#[test]
fn files_as_they_are() {
    let site = site();
    let answer = site.get("/hello.txt");
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
    assert_eq!(
        answer.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    assert!(answer.field("last-modified").unwrap().ends_with(" GMT"));
    assert!(answer.field("etag").unwrap().starts_with('"'));
    assert_eq!(site.get("/empty.txt").body, b"");
    assert_eq!(site.get("/100%25.txt").text(), "percent");
    assert_eq!(site.get("/with%20space%20&%20%3Cb%3E.html").text(), "<p>");
    assert_eq!(site.get("/within").text(), "0123456789");
    assert_eq!(site.get("/mounted/x/hello.txt").text(), "0123456789");
    assert_eq!(site.get("/mounted/x/sub/").text(), "<h1>index</h1>");
    let big = site.get("/big.bin");
    assert!(big.body == vec![7; 3_000_000]);
    assert_eq!(big.field("content-type"), Some("application/octet-stream"));
}

#[test]
fn heads() {
    let site = site();
    for (path, length) in [
        ("/hello.txt", "10"),
        ("/empty.txt", "0"),
        ("/big.bin", "3000000"),
    ] {
        let mut peer = site.serving.peer();
        let answer = peer
            .send(request(&format!("HEAD {path}"), &[], ""))
            .answer_to_head();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("content-length"), Some(length), "{path}");
        assert_eq!(peer.send(get("/hello.txt")).answer().text(), "0123456789");
    }
    let answer = site.serving.ask(&request("POST /any/hello.txt", &[], ""));
    assert_eq!(
        (answer.status, answer.field("allow")),
        (405, Some("GET, HEAD"))
    );
}

#[test]
fn directories() {
    let site = site();
    let answer = site.get("/sub");
    assert_eq!(
        (answer.status, answer.field("location")),
        (301, Some("./sub/"))
    );
    let answer = site.get("/list?a=b");
    assert_eq!(answer.field("location"), Some("./list/?a=b"));
    assert_eq!(site.get("/sub/").text(), "<h1>index</h1>");
    let answer = site.get("/list/");
    assert_eq!(
        answer.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    let html = answer.text();
    assert!(html.contains("href=\"../\""), "{html}");
    assert!(
        html.find("./a/").unwrap() < html.find("./b.txt").unwrap(),
        "{html}"
    );
    let root = site.get("/");
    assert!(root.text().contains("with space &amp; &lt;b&gt;.html"));
    assert!(!root.text().contains("href=\"../\""));
    // What leads nowhere or out is not listed.
    assert!(!root.text().contains("loop"));
    assert_eq!(site.get("/hello.txt/").status, 404);
    assert_eq!(site.get("/unlisted/list/").status, 404);
    assert_eq!(site.get("/unlisted/hello.txt").status, 200);
    assert_eq!(site.get("/missing/a").status, 404);
}

#[test]
fn nothing_leads_out() {
    let site = site();
    for path in [
        "/out",
        "/outdir/secret",
        "/outdir/",
        "/up",
        "/loop",
        "/../secret",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/..%5csecret",
        "/....//secret",
        "//etc/passwd",
        "/%2Fetc/passwd",
        "/hello.txt%00.html",
        "/%",
        "/%zz",
        "/%FF%FE",
        "/nowhere",
        "/hello.txt/x",
    ] {
        let answer = site.get(path);
        assert!(
            [400, 403, 404].contains(&answer.status),
            "{path}: {answer:?}"
        );
        assert!(!answer.text().contains("secret"), "{path}");
        assert!(!answer.text().contains("root:"), "{path}");
    }
    // Dots that stay inside are only a detour.
    assert_eq!(site.get("/sub/../hello.txt").text(), "0123456789");
    assert_eq!(site.get("/../../hello.txt").text(), "0123456789");
}

#[test]
fn conditions() {
    let site = site();
    let first = site.get("/hello.txt");
    let etag = first.field("etag").unwrap().to_owned();
    let modified = first.field("last-modified").unwrap().to_owned();
    let (old, new) = (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 2095 08:49:37 GMT",
    );
    let table = [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: W/{etag}"), 304),
        (format!("If-None-Match: \"x\", {etag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-Modified-Since: {modified}"), 304),
        (format!("If-Modified-Since: {old}"), 200),
        ("If-Modified-Since: nonsense".to_owned(), 200),
        (format!("If-Match: {etag}"), 200),
        ("If-Match: \"x\"".to_owned(), 412),
        (format!("If-Match: W/{etag}"), 412),
        (format!("If-Unmodified-Since: {old}"), 412),
        (format!("If-Unmodified-Since: {new}"), 200),
    ];
    for (field, status) in table {
        let answer = site.get_with("/hello.txt", &[&field]);
        assert_eq!(answer.status, status, "{field}");
        if status == 304 {
            assert_eq!(answer.field("etag"), Some(etag.as_str()));
            assert_eq!(answer.field("content-length"), None);
        }
    }
}

#[test]
fn ranges() {
    let site = site();
    let etag = site.get("/hello.txt").field("etag").unwrap().to_owned();
    let table = [
        ("bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=2-5", 206, "2345", Some("bytes 2-5/10")),
        ("bytes=5-", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=5-99", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-99", 206, "0123456789", Some("bytes 0-9/10")),
        (
            "bytes=10-",
            416,
            "Range Not Satisfiable",
            Some("bytes */10"),
        ),
        ("bytes=-0", 416, "Range Not Satisfiable", Some("bytes */10")),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("lines=0-1", 200, "0123456789", None),
    ];
    for (range, status, body, content_range) in table {
        let answer = site.get_with("/hello.txt", &[&format!("Range: {range}")]);
        assert_eq!((answer.status, answer.text()), (status, body), "{range}");
        assert_eq!(answer.field("content-range"), content_range, "{range}");
    }
    for (if_range, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
        let fields = [
            "Range: bytes=0-1".to_owned(),
            format!("If-Range: {if_range}"),
        ];
        let answer = site.get_with("/hello.txt", &[&fields[0], &fields[1]]);
        assert_eq!(answer.status, status, "{if_range}");
    }
    let answer = site.get_with("/big.bin", &["Range: bytes=1000000-2999999"]);
    assert_eq!(answer.body.len(), 2_000_000);
}

#[test]
fn a_directory_that_must_be_there() {
    let error = files::Files::open("/nonexistent/directory")
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/directory"), "{error}");
}
