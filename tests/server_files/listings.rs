//! Directories that are listed: as pages and as JSON, whole or cut.

use std::fs;
use std::fs::File;
use std::time::Duration;

use roundtrip::Router;
use roundtrip::files;

use super::server_support::Serving;
use super::server_support::get;
use super::server_support::request;
use super::set_time;
use super::site;
use super::state::eventually;

#[test]
fn forms_and_conditions() {
    let site = site();
    let html = site.get("/list/");
    assert!(html.field("content-security-policy").is_some());
    assert_eq!(html.field("vary"), Some("Accept"));
    let tag = html.field("etag").unwrap().to_owned();
    let is_unchanged = || {
        let again = site.get_with("/list/", &[&format!("If-None-Match: {tag}")]);
        again.status == 304
    };
    assert!(is_unchanged());
    fs::write(site._inside.path().join("list/b.txt"), "longer").unwrap();
    eventually("the size is still the old one", || !is_unchanged());
    let json = site.get_with("/list/", &["Accept: application/json"]);
    assert_eq!(json.field("content-type"), Some("application/json"));
    let text = json.text();
    assert!(text.contains("{\"name\":\"a\",\"href\":\"./a/\",\"type\":\"directory\""));
    assert!(
        text.contains("\"type\":\"file\",\"size\":6,\"modified\":\"20"),
        "{text}"
    );
    for (accepted, is_json) in [
        ("text/html,application/xhtml+xml,*/*;q=0.8", false),
        ("*/*", false),
        ("application/json, text/html;q=0.9", true),
    ] {
        let answer = site.get_with("/list/", &[&format!("Accept: {accepted}")]);
        let content_type = answer.field("content-type").unwrap();
        assert_eq!(content_type == "application/json", is_json, "{accepted}");
    }
}

/// One page serves all paths that lead to the directory, and each has its own heading.
#[test]
fn a_name_that_came_or_went_is_seen_at_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let files = files::serve(folder.path());
    let router = Router::new()
        .get("/", files.clone())
        .get("/{id}/at/", files);
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let path = folder.path().join("sub/new.txt");
    let mut changes = 0;
    for round in 0..20 {
        for is_there in [true, false] {
            match is_there {
                true => drop(File::create(&path).unwrap()),
                false => fs::remove_file(&path).unwrap(),
            }
            // Two changes within a tick of the file system's clock look the same.
            changes += 1;
            set_time(&folder.path().join("sub"), Duration::from_secs(changes));
            for heading in ["/sub/", "/1/at/sub/", "/2/at/sub/"] {
                let answer = peer.send(get(heading)).answer();
                let html = answer.text();
                assert_eq!(html.contains("new.txt"), is_there, "{round}: {html}");
                assert!(html.contains(&format!("<h1>Index of {heading}</h1>")));
                assert!(html.ends_with("</html>\n"));
            }
        }
    }
}

/// Neither does it make a page, nor does it say anything that only a page tells.
#[test]
fn head_says_what_get_says_but_for_the_page() {
    let site = site();
    let mut peer = site.serving.peer();
    for accepted in ["*/*", "application/json"] {
        let accept = format!("Accept: {accepted}");
        let head = peer
            .send(request("HEAD /list/", &[&accept], ""))
            .answer_to_head();
        let answer = peer.send(request("GET /list/", &[&accept], "")).answer();
        assert_eq!(head.status, 200);
        for name in [
            "content-type",
            "vary",
            "content-security-policy",
            "x-content-type-options",
        ] {
            assert_eq!(head.field(name), answer.field(name), "{name}");
        }
        for name in ["content-length", "etag"] {
            assert!(answer.field(name).is_some(), "{name}");
            assert_eq!(head.field(name), None, "{name}");
        }
    }
}

#[test]
fn what_is_cut_off_is_said() {
    const NAMES_MAX: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(Router::new().get("/", files::serve(folder.path())));
    let html = || serving.ask(&get("/")).text().to_owned();
    let json = || {
        let answer = serving.ask(&request("GET /", &["Accept: application/json"], ""));
        answer.text().to_owned()
    };
    let put = |name: String| drop(File::create(folder.path().join(name)).unwrap());
    (0..NAMES_MAX).for_each(|index| put(format!("{index}.txt")));
    assert_eq!(html().matches("<tr>").count(), 1 + NAMES_MAX);
    assert_eq!(json().matches("{\"name\":").count(), NAMES_MAX);
    assert!(!json().contains("truncated") && !html().contains("that were read"));
    put("one more".to_owned());
    let (html, json) = (html(), json());
    assert_eq!(html.matches("<tr>").count(), 1 + 1 + NAMES_MAX);
    assert!(html.contains("these are of the first 10000 that were read"));
    assert_eq!(json.matches("{\"name\":").count(), NAMES_MAX);
    assert!(json.ends_with(",\n{\"type\":\"truncated\",\"read\":10000}\n]\n"));
}
