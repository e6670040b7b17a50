//! The file handler, against real sockets and a real directory.

use std::fs;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use roundtrip::Request;
use roundtrip::Router;
use roundtrip::files;
use roundtrip::files::Content;
use tempfile::TempDir;

#[allow(dead_code, reason = "each test uses its part")]
#[path = "../examples/refuse/filter.rs"]
mod filter;
#[path = "server_files/listings.rs"]
mod listings;
#[path = "server_files/names.rs"]
mod names;
#[path = "server_files/refused.rs"]
mod refused;
#[path = "server_files/state.rs"]
mod state;

mod server_support;

use server_support::Answer;
use server_support::Serving;
use server_support::get;
use server_support::request;

/// When the files of the tests were changed: `Sun, 06 Nov 1994 08:49:37 GMT`, and half a second.
const CHANGED: Duration = Duration::from_millis(784_111_777_500);
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn set_time(path: &Path, since_1970: Duration) {
    let file = File::open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + since_1970)
        .unwrap();
}

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
    fs::write(path("eleven.txt"), "0123456789a").unwrap();
    set_time(&path("eleven.txt"), CHANGED);
    fs::write(path(".env"), "secret").unwrap();
    fs::create_dir(path(".git")).unwrap();
    fs::write(path(".git/config"), "secret").unwrap();
    fs::create_dir(path(".well-known")).unwrap();
    fs::write(path(".well-known/token"), "found").unwrap();
    fs::create_dir(path("coded")).unwrap();
    symlink("hello.txt", path("within")).unwrap();
    symlink(outside.path().join("secret"), path("out")).unwrap();
    symlink(outside.path(), path("outdir")).unwrap();
    symlink("../../../../../../../etc/passwd", path("up")).unwrap();
    symlink("loop", path("loop")).unwrap();
    let content = |request: &Request| {
        let modified = SystemTime::UNIX_EPOCH + CHANGED;
        files::serve_content(request, "a.csv", modified, "0123456789a")
    };
    let router = Router::new()
        .get("/{path...}", files::serve(inside.path()))
        .get("/mounted/{id}/{rest...}", files::serve(inside.path()))
        .post("/any/", files::serve(inside.path()))
        .get("/unlisted/", files::serve(inside.path()).listing(false))
        .get("/missing/", files::serve("/nonexistent/directory"))
        .get("/dots/", files::serve(inside.path()).dot_files(true))
        .get(
            "/linked/",
            files::serve(inside.path()).follow_symlinks(true),
        )
        .get(
            "/coded/",
            files::serve(inside.path().join("coded"))
                .precompressed(true)
                .cache_control("no-cache"),
        )
        .get(
            "/by-path/",
            files::serve(inside.path()).cache_control_by(|path| {
                let is_hashed = path.starts_with("list/");
                is_hashed.then_some("public, max-age=31536000, immutable")
            }),
        )
        .get("/one/", files::file(path("within")))
        .get("/none", files::file(path("nowhere")))
        .get("/dir", files::file(path("sub")))
        .get("/content", content)
        .post("/content", content)
        .get("/weak", |request: &Request| {
            let content = Content::bytes("a.txt", "0123456789a").weak_etag("A");
            content.cache_control("no-cache").respond(request)
        })
        .get("/tagged", |request: &Request| {
            Content::bytes("a.txt", "0123456789a")
                .etag("A")
                .respond(request)
        })
        .get("/opened", {
            let path = path("eleven.txt");
            move |request: &Request| {
                let file = File::open(&path).unwrap();
                Content::file("x.html", file).unwrap().respond(request)
            }
        });
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
    assert!(!root.text().contains(".env") && !root.text().contains(".well-known"));
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
        "/sub\\..\\..\\secret",
        "/..%c0%afsecret",
        "/%2e%2e%5c%2e%2e%5csecret",
        "/.%2e/.%2e/secret",
        "/outdir%2fsecret",
        "/linked/%2e%2e%2fsecret",
        "/linked/..%5csecret",
        "/.env",
        "/.git/config",
        "/%2egit/config",
        "/.git/",
        "/.git",
        "/list/../.env",
    ] {
        let mut answer = site.get(path);
        if answer.status == 307 {
            // Cleaned by the router.
            answer = site.get(answer.field("location").unwrap());
        }
        assert!(
            [400, 403, 404].contains(&answer.status),
            "{path}: {answer:?}"
        );
        assert!(!answer.text().contains("secret"), "{path}");
        assert!(!answer.text().contains("root:"), "{path}");
    }
    // Dots that stay inside are only a detour.
    for path in ["/sub/../hello.txt", "/../../hello.txt"] {
        let answer = site.get(path);
        assert_eq!(answer.field("location"), Some("/hello.txt"), "{path}");
    }
    // Coded, they are names, of which there are none: routes did not take them for a way up.
    assert_eq!(site.get("/sub/%2e%2e/hello.txt").status, 404);
}

/// What guards a part of the tree has a say in all of it, however a path is written.
#[test]
fn no_way_around_a_guard() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("private")).unwrap();
    fs::create_dir_all(tree.path().join("public")).unwrap();
    fs::write(tree.path().join("private/page"), "secret").unwrap();
    fs::write(tree.path().join("public/page"), "shown").unwrap();
    let private = Router::new()
        .before(|_: &mut Request| Some(http::StatusCode::UNAUTHORIZED))
        .get("/", files::serve(tree.path().join("private")));
    let router = Router::new()
        .get("/", files::serve(tree.path()))
        .nest("/private", private);
    let serving = Serving::start(router);
    let ask = |path: &str| serving.ask(&get(path));
    assert_eq!(ask("/public/page").text(), "shown");
    for path in [
        "/private/page",
        "/%70rivate/page",
        "//private/page",
        "/./private/page",
        "/%2e/private/page",
        "/%2E/private/page",
        "/public/../private/page",
        "/public/%2e%2e/private/page",
        "/public/.%2e/private/page",
        "/x/%2E./private/page",
        "/%2e%2e/private/page",
        "/private%2fpage",
        "/private%2Fpage",
        "/public/..%2fprivate/page",
        "/public%2f..%2fprivate%2fpage",
        "/private/%2e/page",
        "/private%5cpage",
        "/private;/page",
        "/private%00/page",
        "/Private/page",
    ] {
        let mut answer = ask(path);
        if answer.status == 307 {
            answer = ask(answer.field("location").unwrap());
        }
        assert!(
            [400, 401, 404].contains(&answer.status),
            "{path}: {answer:?}"
        );
        assert!(!answer.text().contains("secret"), "{path}");
    }
}

#[test]
fn what_is_allowed_is_found() {
    let site = site();
    for (path, text) in [
        ("/.well-known/token", "found"),
        ("/dots/.env", "secret"),
        ("/dots/.git/config", "secret"),
        ("/linked/out", "secret"),
        ("/linked/outdir/secret", "secret"),
        ("/linked/within", "0123456789"),
    ] {
        let answer = site.get(path);
        assert_eq!((answer.status, answer.text()), (200, text), "{path}");
    }
    let listed = site.get("/dots/");
    assert!(listed.text().contains(".env"));
    assert!(!listed.text().contains("outdir"));
    assert!(site.get("/linked/").text().contains("outdir/"));
}

#[test]
fn single_files() {
    let site = site();
    for path in ["/one/", "/one/x/y", "/one/.hidden"] {
        let answer = site.get(path);
        assert_eq!(
            (answer.status, answer.text()),
            (200, "0123456789"),
            "{path}"
        );
    }
    assert_eq!(site.get("/none").status, 404);
    assert_eq!(site.get("/dir").status, 404);
    let answer = site.get_with("/one/", &["Range: bytes=1-2"]);
    assert_eq!((answer.status, answer.text()), (206, "12"));
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

/// Content that is at hand, a file, and an opened one: the same answers (net/http's table).
#[test]
fn eleven_bytes() {
    let site = site();
    let many: Vec<String> = (0..201).map(|_| "0-0".to_owned()).collect();
    let many = format!("bytes={}", many.join(","));
    let table: &[(&str, u16, &str, Option<&str>)] = &[
        ("bytes=0-4", 206, "01234", Some("bytes 0-4/11")),
        ("bytes=2-", 206, "23456789a", Some("bytes 2-10/11")),
        ("bytes=-5", 206, "6789a", Some("bytes 6-10/11")),
        ("bytes=5-1000", 206, "56789a", Some("bytes 5-10/11")),
        ("bytes=0-,1-,2-,3-,4-", 200, "0123456789a", None),
        ("bytes=0-4,2-3", 200, "0123456789a", None),
        (&many, 200, "0123456789a", None),
        (
            "bytes=11-",
            416,
            "Range Not Satisfiable",
            Some("bytes */11"),
        ),
        (
            "bytes=11-,20-30",
            416,
            "Range Not Satisfiable",
            Some("bytes */11"),
        ),
        (
            "bytes=5-4",
            416,
            "Range Not Satisfiable",
            Some("bytes */11"),
        ),
        (
            "bytes=--6",
            416,
            "Range Not Satisfiable",
            Some("bytes */11"),
        ),
        ("bytes=1-2,99-", 206, "12", Some("bytes 1-2/11")),
    ];
    for path in ["/eleven.txt", "/content", "/opened", "/tagged"] {
        for (range, status, body, content_range) in table {
            let answer = site.get_with(path, &[&format!("Range: {range}")]);
            assert_eq!((answer.status, answer.text()), (*status, *body), "{range}");
            assert_eq!(answer.field("content-range"), *content_range, "{range}");
        }
        // A range is for GET alone, and HEAD says what the whole is.
        let mut peer = site.serving.peer();
        let head = request(&format!("HEAD {path}"), &["Range: bytes=0-4"], "");
        let answer = peer.send(head).answer_to_head();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("content-length"), Some("11"));
    }
    let answer = site.get_with("/empty.txt", &["Range: bytes=0-4"]);
    assert_eq!((answer.status, answer.text()), (200, ""));
}

#[test]
fn several_parts() {
    let site = site();
    for (path, content_type) in [
        ("/eleven.txt", "text/plain; charset=utf-8"),
        ("/content", "text/csv; charset=utf-8"),
    ] {
        let answer = site.get_with(path, &["Range: bytes=1-2   ,  4-5, 7-8 , ,,"]);
        assert_eq!(answer.status, 206);
        let own_type = answer.field("content-type").unwrap();
        let boundary = own_type
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        assert_eq!(boundary.len(), 32);
        let mut expected = String::new();
        for (range, text) in [("1-2", "12"), ("4-5", "45"), ("7-8", "78")] {
            expected += &format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\
                 Content-Range: bytes {range}/11\r\n\r\n{text}"
            );
        }
        expected += &format!("\r\n--{boundary}--\r\n");
        assert_eq!(answer.text(), &expected[2..]);
        // The length was told before.
        let length = answer.field("content-length").unwrap();
        assert_eq!(length, answer.body.len().to_string());
        assert_eq!(answer.field("content-range"), None);
        let again = site.get_with(path, &["Range: bytes=1-2,4-5"]);
        assert!(!again.text().contains(boundary));
    }
    // Parts of a large file, the last first.
    let answer = site.get_with("/big.bin", &["Range: bytes=2000000-,0-999999"]);
    let sevens = answer.body.iter().filter(|byte| **byte == 7).count();
    assert_eq!((answer.status, sevens), (206, 2_000_000));
}

/// RFC 9110 §13.2.2: which condition counts when there are several.
#[test]
fn conditions_in_order() {
    let site = site();
    let ask = |path: &str, fields: &[&str]| site.get_with(path, fields).status;
    let table: &[(&str, &[&str], u16)] = &[
        ("/content", &[&format!("If-Modified-Since: {SAME}")], 304),
        ("/content", &[&format!("If-Modified-Since: {AFTER}")], 304),
        ("/content", &[&format!("If-Modified-Since: {BEFORE}")], 200),
        (
            "/content",
            &[&format!("If-Unmodified-Since: {BEFORE}")],
            412,
        ),
        ("/content", &[&format!("If-Unmodified-Since: {SAME}")], 200),
        (
            "/content",
            &[
                "If-None-Match: \"x\"",
                &format!("If-Modified-Since: {SAME}"),
            ],
            200,
        ),
        (
            "/content",
            &["Range: bytes=0-1", &format!("If-Range: {SAME}")],
            206,
        ),
        (
            "/content",
            &["Range: bytes=0-1", &format!("If-Range: {BEFORE}")],
            200,
        ),
        (
            "/content",
            &["Range: bytes=0-1", &format!("If-Range: {AFTER}")],
            200,
        ),
        (
            "/content",
            &["Range: bytes=99-", &format!("If-Modified-Since: {SAME}")],
            304,
        ),
        (
            "/content",
            &["Range: bytes=99-", &format!("If-Range: {BEFORE}")],
            200,
        ),
        ("/weak", &["If-None-Match: \"baz\", W/\"A\""], 304),
        ("/weak", &["If-None-Match: \"A\""], 304),
        ("/weak", &["If-None-Match: ,"], 200),
        ("/weak", &["If-Match: W/\"A\""], 412),
        ("/weak", &["If-Match: *"], 200),
        ("/weak", &["Range: bytes=0-1", "If-Range: W/\"A\""], 200),
        ("/tagged", &["Range: bytes=0-1", "If-Range: \"A\""], 206),
        ("/tagged", &["Range: bytes=0-1", "If-Range: W/\"A\""], 200),
        ("/tagged", &["Range: bytes=0-1", "If-Range: \"B\""], 200),
        (
            "/tagged",
            &["If-Match: \"A\"", &format!("If-Unmodified-Since: {BEFORE}")],
            200,
        ),
        ("/tagged", &["If-Match: \"B\"", "If-None-Match: \"A\""], 412),
        ("/tagged", &["If-Match: \"A\"", "If-None-Match: \"A\""], 304),
        // Without a time no condition on one counts.
        ("/tagged", &[&format!("If-Modified-Since: {AFTER}")], 200),
    ];
    for (path, fields, status) in table {
        assert_eq!(ask(path, fields), *status, "{path} {fields:?}");
    }
    let answer = site.get("/content");
    assert_eq!(answer.field("last-modified"), Some(SAME));
    assert_eq!(
        site.serving.ask(&request("POST /content", &[], "")).status,
        405
    );
}

#[test]
fn not_modified_says_what_a_cache_needs() {
    let site = site();
    let answer = site.get_with("/weak", &["If-None-Match: \"A\""]);
    assert_eq!(answer.status, 304);
    assert_eq!(answer.field("etag"), Some("W/\"A\""));
    assert_eq!(answer.field("cache-control"), Some("no-cache"));
    for absent in [
        "content-type",
        "content-length",
        "last-modified",
        "accept-ranges",
    ] {
        assert_eq!(answer.field(absent), None, "{absent}");
    }
    let answer = site.get_with("/content", &[&format!("If-Modified-Since: {SAME}")]);
    assert_eq!(answer.field("last-modified"), Some(SAME));
}

#[test]
fn times_that_say_nothing() {
    let site = site();
    let path = site._inside.path().join("epoch.txt");
    let mut count = 0;
    let mut ask = |since: Duration| {
        count += 1;
        fs::write(&path, "x").unwrap();
        set_time(&path, since);
        // Not a path that was asked for before.
        let own = format!("epoch-{count}.txt");
        fs::rename(&path, path.with_file_name(&own)).unwrap();
        site.get(&format!("/{own}"))
    };
    // Archives and images write them for "none".
    for seconds in [0, 1, 315_532_800] {
        let answer = ask(Duration::from_secs(seconds));
        assert_eq!(answer.field("last-modified"), None, "{seconds}");
        let again = ask(Duration::from_secs(seconds));
        assert_ne!(answer.field("etag"), again.field("etag"), "{seconds}");
    }
    assert!(
        ask(Duration::from_secs(315_619_200))
            .field("last-modified")
            .is_some()
    );
    // RFC 9110 §8.8.2.1: never later than Date.
    let answer = ask(Duration::from_secs(7_000_000_000));
    assert_eq!((answer.status, answer.field("last-modified")), (200, None));
    assert!(answer.field("etag").is_some());
}

#[test]
fn cache_control_by_path() {
    let site = site();
    let field = |path: &str| site.get(path).field("cache-control").map(str::to_owned);
    let hashed = Some("public, max-age=31536000, immutable".to_owned());
    assert_eq!(field("/by-path/list/b.txt"), hashed);
    assert_eq!(field("/by-path/hello.txt"), None);
    assert_eq!(field("/by-path/list/nowhere"), None);
    assert_eq!(field("/by-path/list/"), None);
    assert_eq!(field("/hello.txt"), None);
    // A refusal is not for caches.
    let answer = site.get_with("/by-path/list/b.txt", &["If-Match: \"x\""]);
    assert_eq!((answer.status, answer.field("cache-control")), (412, None));
}

#[test]
fn coded_siblings() {
    let site = site();
    let folder = site._inside.path().join("coded");
    for (name, text) in [
        ("style.css", "body{color:red}"),
        ("style.css.br", "br: short"),
        ("style.css.gz", "gz: as short"),
        ("style.css.zst", "zst"),
        ("old.css", "body"),
        ("old.css.gz", "stale"),
        ("plain.css", "plain"),
        ("index.html", "<p>index"),
        ("index.html.gz", "gz"),
    ] {
        fs::write(folder.join(name), text).unwrap();
        set_time(&folder.join(name), CHANGED);
    }
    set_time(&folder.join("old.css.gz"), CHANGED - Duration::from_secs(1));
    let table = [
        ("style.css", "gzip, br, zstd", "zst", Some("zstd")),
        ("style.css", "gzip, br", "br: short", Some("br")),
        ("style.css", "gzip", "gz: as short", Some("gzip")),
        ("style.css", "x-gzip", "gz: as short", Some("gzip")),
        (
            "style.css",
            "br;q=0.5, gzip;q=0.8",
            "gz: as short",
            Some("gzip"),
        ),
        ("style.css", "br;q=0, *", "zst", Some("zstd")),
        ("style.css", "identity, gzip;q=0.5", "body{color:red}", None),
        (
            "style.css",
            "identity;q=0.5, gzip",
            "gz: as short",
            Some("gzip"),
        ),
        ("style.css", "gzip;q=0.5", "gz: as short", Some("gzip")),
        ("style.css", "", "body{color:red}", None),
        ("style.css", "deflate", "body{color:red}", None),
        ("style.css", "*;q=0", "body{color:red}", None),
        ("old.css", "gzip", "body", None),
        ("plain.css", "gzip, br", "plain", None),
        ("", "gzip", "gz", Some("gzip")),
    ];
    let mut tags = Vec::new();
    for (name, accepted, text, coding) in table {
        let field = format!("Accept-Encoding: {accepted}");
        let answer = site.get_with(&format!("/coded/{name}"), &[&field]);
        assert_eq!(
            (answer.status, answer.text()),
            (200, text),
            "{name} {accepted}"
        );
        assert_eq!(
            answer.field("content-encoding"),
            coding,
            "{name} {accepted}"
        );
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"));
        assert_eq!(answer.field("cache-control"), Some("no-cache"));
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        let content_type = answer.field("content-type").unwrap();
        let expected = if name.is_empty() {
            "text/html"
        } else {
            "text/css"
        };
        assert_eq!(content_type, format!("{expected}; charset=utf-8"));
        tags.push((text, answer.field("etag").unwrap().to_owned()));
    }
    for (text, tag) in &tags {
        for (other_text, other) in &tags {
            assert_eq!(text == other_text, tag == other, "{text} {other_text}");
        }
    }
    // The tag of one form is no tag of another, and ranges are of the form that is chosen.
    let gzip = site.get_with("/coded/style.css", &["Accept-Encoding: gzip"]);
    let tag = format!("If-None-Match: {}", gzip.field("etag").unwrap());
    let ask = |coding: &str, field: &str| {
        let accepted = format!("Accept-Encoding: {coding}");
        site.get_with("/coded/style.css", &[&accepted, field])
    };
    assert_eq!(ask("gzip", &tag).status, 304);
    assert_eq!(ask("gzip", &tag).field("vary"), Some("Accept-Encoding"));
    assert_eq!(ask("br", &tag).status, 200);
    let part = ask("gzip", "Range: bytes=0-1");
    assert_eq!((part.status, part.text()), (206, "gz"));
    assert_eq!(part.field("content-range"), Some("bytes 0-1/12"));
    // Under its own name it is what it is.
    let own = site.get("/coded/style.css.gz");
    assert_eq!(own.field("content-type"), Some("application/gzip"));
    assert_eq!(own.field("content-encoding"), None);
    assert_eq!(site.get("/hello.txt").field("vary"), None);
}

/// What waits for a disk, or a call that the ring would hand to threads of the kernel, may not be on
/// the way of a file that is in memory.
#[test]
fn no_thread_of_the_kernel_reads() {
    let site = site();
    let inside = site._inside.path();
    for index in 0..20 {
        fs::write(inside.join(format!("medium-{index}.bin")), vec![1; 100_000]).unwrap();
    }
    let mut peers: Vec<_> = (0..8).map(|_| site.serving.peer()).collect();
    for round in 0..20 {
        let medium = format!("/medium-{round}.bin");
        for path in ["/hello.txt", &medium, "/big.bin", "/coded/", "/nowhere"] {
            for peer in &mut peers {
                peer.send(get(path));
            }
            for peer in &mut peers {
                peer.answer();
            }
        }
    }
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let name = fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default();
        assert!(!name.starts_with("iou-wrk"), "{name}");
    }
}

/// The length was told: what is missing must not look like an end.
#[test]
fn a_file_that_shrinks_while_it_is_sent_cuts_the_connection() {
    const LENGTH: u64 = 64 << 20;
    let site = site();
    for cached in [true, false] {
        let path = site._inside.path().join(format!("shrinks-{cached}.bin"));
        let file = File::create(&path).unwrap();
        match cached {
            // Holes are not in memory.
            false => file.set_len(LENGTH).unwrap(),
            true => fs::write(&path, vec![b'x'; LENGTH as usize]).unwrap(),
        }
        let mut peer = site.serving.peer();
        peer.send(get(&format!("/shrinks-{cached}.bin")));
        let mut first = [0];
        std::io::Read::read_exact(&mut peer.stream, &mut first).unwrap();
        file.set_len(1_000).unwrap();
        let rest = peer.rest().len() as u64;
        assert!(rest < LENGTH, "{rest}");
    }
    assert_eq!(site.get("/hello.txt").status, 200);
}

/// A link to a release is turned to the next one: seen within the second that is promised.
#[test]
fn the_directory_itself_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("current");
    for release in ["one", "two"] {
        fs::create_dir(folder.path().join(release)).unwrap();
        fs::write(folder.path().join(release).join("a.txt"), release).unwrap();
    }
    symlink("one", &link).unwrap();
    let serving = Serving::start(Router::new().get("/", files::serve(&link)));
    assert_eq!(serving.ask(&get("/a.txt")).text(), "one");
    symlink("two", folder.path().join("next")).unwrap();
    fs::rename(folder.path().join("next"), &link).unwrap();
    let started = std::time::Instant::now();
    while serving.ask(&get("/a.txt")).text() != "two" {
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    // A gap between two releases is none for those who ask.
    fs::remove_file(&link).unwrap();
    assert_eq!(serving.ask(&get("/a.txt")).text(), "two");
    symlink("one", &link).unwrap();
    while serving.ask(&get("/a.txt")).text() != "one" {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
