//! Files are called by bytes, which need not be text: all that is listed is found under its link.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use roundtrip::Router;
use roundtrip::files;

use super::server_support::Serving;
use super::server_support::get;
use super::server_support::request;

const NAMES: [&[u8]; 6] = [
    b"\xff",
    b"\xfe",
    b"%FF",
    b"\xef\xbf\xbd",
    b"caf\xe9.html",
    b"\xc3\xa4.txt",
];

fn beneath(directory: &Path, name: &[u8]) -> std::path::PathBuf {
    directory.join(OsStr::from_bytes(name))
}

/// A directory with a file of each name, and the same in a directory whose name is no text either. A
/// file holds its name.
fn serve() -> (tempfile::TempDir, Serving) {
    let directory = tempfile::tempdir().unwrap();
    let below = beneath(directory.path(), b"d\xfd");
    fs::create_dir(&below).unwrap();
    for name in NAMES {
        fs::write(beneath(directory.path(), name), name).unwrap();
        fs::write(beneath(&below, name), name).unwrap();
    }
    fs::write(beneath(&below, b"caf\xe9.html.gz"), "gz").unwrap();
    let files = files::serve(directory.path());
    let coded = files.clone().precompressed(true);
    let by_path = files.clone().cache_control_by(|path| {
        let is_html = path.ends_with(".html");
        is_html.then_some("no-cache")
    });
    let router = Router::new()
        .get("/", files.clone())
        .get("/at/{id}/{rest...}", files)
        .get("/coded/", coded)
        .get("/by-path/", by_path)
        .get("/one", files::file(beneath(directory.path(), b"\xfe")));
    (directory, Serving::start(router))
}

#[test]
fn what_is_listed_is_found() {
    let (_directory, serving) = serve();
    let mut peer = serving.peer();
    for place in ["/", "/d%FD/", "/at/%FF/", "/at/%25FF/d%FD/"] {
        let json = request(&format!("GET {place}"), &["Accept: application/json"], "");
        let listed = peer.send(json).answer();
        let links = listed.text().split("\"href\":\"./").skip(1);
        let links: Vec<&str> = links.map(|rest| rest.split('"').next().unwrap()).collect();
        let mut found: Vec<Vec<u8>> = Vec::new();
        for link in links.into_iter().filter(|link| !link.ends_with(['/', 'z'])) {
            // A second time from what is remembered.
            for _ in 0..2 {
                let answer = peer.send(get(&format!("{place}{link}"))).answer();
                assert_eq!(answer.status, 200, "{place}{link}");
                found.push(answer.body);
            }
        }
        found.sort();
        let mut expected: Vec<&[u8]> = NAMES.iter().chain(&NAMES).copied().collect();
        expected.sort();
        assert_eq!(found, expected, "{place}");
        let page = peer.send(get(place)).answer();
        assert!(page.text().contains("href=\"./caf%E9.html\""), "{place}");
    }
}

#[test]
fn what_is_told_of_them() {
    let (_directory, serving) = serve();
    let mut peer = serving.peer();
    let mut ask = |path: &str, fields: &[&str]| {
        peer.send(request(&format!("GET {path}"), fields, ""))
            .answer()
    };
    assert_eq!(ask("/one", &[]).body, b"\xfe");
    assert_eq!(ask("/%FC", &[]).status, 404);
    assert_eq!(ask("/d%FD", &[]).field("location"), Some("./d%FD/"));
    let page = ask("/caf%E9.html", &[]);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let coded = ask("/coded/d%FD/caf%E9.html", &["Accept-Encoding: gzip"]);
    assert_eq!(
        (coded.text(), coded.field("content-encoding")),
        ("gz", Some("gzip"))
    );
    assert_eq!(
        ask("/by-path/caf%E9.html", &[]).field("cache-control"),
        Some("no-cache")
    );
    assert_eq!(ask("/by-path/%FF", &[]).field("cache-control"), None);
}
