//! What handlers read of requests: queries, forms, uploads, cookies, credentials, addresses; against
//! real sockets.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use roundtrip::Body;
use roundtrip::IntoResponse;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::http::authentication::basic_challenge;
use roundtrip::http::authentication::is_same;
use roundtrip::http::cookie::Cookie;
use roundtrip::http::cookie::SameSite;
use roundtrip::http::query::decode;
use roundtrip::http::request::Received;
use roundtrip::runtime;
use roundtrip::server::form::FormOptions;

mod server_support;

use server_support::Serving;
use server_support::get;
use server_support::request;

// ---- queries and forms -----------------------------------------------------------------------

fn search(request: &Request) -> Result<String> {
    let query = request.query_pairs()?;
    let page = query.get_as::<u32>("page")?.unwrap_or(1);
    let tags: Vec<_> = query.get_all("tag").collect();
    Ok(format!("page {page}, {}", tags.join("+")))
}

async fn sign_up(mut request: Request) -> Result<String> {
    let form = request.form_within(100).await?;
    let from = request.query_value("from")?.unwrap_or_default();
    let name = form.get("name").unwrap_or_default();
    Ok(format!("{name} from {from}"))
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

fn form(target: &str, fields: &[&str], body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    let mut all = vec![&length[..]];
    all.extend(fields);
    request(&format!("POST {target}"), &all, body)
}

#[test]
fn queries() {
    let router = Router::new()
        .get("/search", search)
        .get("/later", async |r: Request| search(&r));
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    for path in ["/search", "/later"] {
        let mut ask = |query: &str| {
            let answer = peer.send(get(&format!("{path}{query}"))).answer();
            (answer.status, answer.text().to_owned())
        };
        assert_eq!(ask(""), (200, "page 1, ".to_owned()));
        let tags = ask("?tag=a&page=%32&tag=b+c%26");
        assert_eq!(tags, (200, "page 2, a+b c&".to_owned()));
        for wrong in ["?a;b", "?a=%4", "?a=%ff", "?page=zwei"] {
            let (status, text) = ask(wrong);
            assert_eq!(status, 400, "{wrong}");
            assert!(!text.contains("zwei") && !text.contains(wrong), "{text}");
        }
        let many = "a&".repeat(8_000);
        assert_eq!(ask(&format!("?{many}page=3")).0, 200);
        let (status, text) = ask(&format!("?{}", "&a".repeat(8_000)));
        assert_eq!(status, 200, "{text}");
    }
}

#[test]
fn more_pairs_than_the_bound() {
    let router = Router::new().get("/search", search);
    let serving = Serving::with(Server::new(router), |server| {
        server.target_bytes_max(60_000)
    });
    let query = "a&".repeat(10_001);
    let answer = serving.ask(&get(&format!("/search?{query}")));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("10000"), "{}", answer.text());
}

#[test]
fn forms() {
    let serving = Serving::start(Router::new().post("/sign-up", sign_up));
    let mut peer = serving.peer();
    let target = "/sign-up?from=mars&name=query";
    for _ in 0..2 {
        let answer = peer
            .send(form(target, &[FORM], "name=J%C3%B6rg+M&x="))
            .answer();
        assert_eq!(answer.text(), "J\u{f6}rg M from mars");
    }
    let chunked = request(
        &format!("POST {target}"),
        &[FORM, "Transfer-Encoding: chunked"],
        "4\r\nname\r\n2\r\n=a\r\n0\r\n\r\n",
    );
    assert_eq!(peer.send(chunked).answer().text(), "a from mars");
    let mut status = |fields: &[&str], body: &str| {
        let answer = peer.send(form(target, fields, body)).answer();
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(status(&[], "name=a").0, 415);
    assert_eq!(status(&["Content-Type: text/plain"], "name=a").0, 415);
    assert_eq!(status(&[FORM], "name=a;b").0, 400);
    let (code, text) = status(&[FORM], &"a".repeat(101));
    assert_eq!(code, 413);
    assert!(text.contains("100 bytes"), "{text}");
}

/// Refused as text, and readable as bytes.
#[test]
fn a_form_in_another_charset() {
    let read = async |mut request: Request| {
        let body = request.text().await?;
        let mut text = String::new();
        for (name, value) in decode(&body)? {
            text += &format!("{}={} ", name.escape_ascii(), value.escape_ascii());
        }
        Ok::<_, roundtrip::Error>(text)
    };
    let router = Router::new().post("/sign-up", sign_up).post("/read", read);
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let mut ask = |target: &str, body: &str| {
        let answer = peer.send(form(target, &[FORM], body)).answer();
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(ask("/sign-up", "name=J%F6rg").0, 400);
    let read = ask("/read", "name=J%F6rg+M&%FF=&%25FF=a%3Db");
    assert_eq!(read, (200, "name=J\\xf6rg M \\xff= %FF=a=b ".to_owned()));
    assert_eq!(ask("/read", "a=%4").0, 400);
}

#[test]
fn a_chunked_form_that_is_too_long() {
    let serving = Serving::start(Router::new().post("/sign-up", sign_up));
    let body = format!("65\r\n{}\r\n0\r\n\r\n", "a".repeat(101));
    let chunked = request(
        "POST /sign-up",
        &[FORM, "Transfer-Encoding: chunked"],
        &body,
    );
    assert_eq!(serving.ask(&chunked).status, 413);
}

// ---- uploads ---------------------------------------------------------------------------------

const MULTIPART: &str = "Content-Type: multipart/form-data; boundary=----b";

fn part(head: &str, content: &str) -> String {
    format!("------b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

/// Lists what a form holds, part by part.
async fn list(mut request: Request) -> Result<String> {
    let mut multipart = request.multipart()?;
    let mut text = String::new();
    while let Some(mut part) = multipart.next_part().await? {
        text += part.name();
        if let Some(name) = part.file_name() {
            text += &format!(" ({name})");
        }
        let mut bytes = 0;
        while let Some(chunk) = part.chunk().await? {
            bytes += chunk.len();
        }
        text += &format!(" {bytes}\n");
    }
    Ok(text)
}

#[test]
fn uploads_are_streams() {
    let serving = Serving::start(Router::new().post("/list", list));
    let mut peer = serving.peer();
    let small = part("name=a", "x") + &part("name=f; filename=\"d/g\"", "12345") + "------b--\r\n";
    let text = form("/list", &[MULTIPART], &small);
    assert_eq!(peer.send(&text).answer().text(), "a 1\nf (g) 5\n");
    // Byte by byte, and chunk by chunk.
    for byte in text.as_bytes() {
        peer.send([*byte]);
    }
    assert_eq!(peer.answer().text(), "a 1\nf (g) 5\n");
    let mut chunked = request("POST /list", &[MULTIPART, "Transfer-Encoding: chunked"], "");
    for byte in small.bytes() {
        chunked += &format!("1\r\n{}\r\n", char::from(byte));
    }
    peer.send(chunked + "0\r\n\r\n");
    assert_eq!(peer.answer().text(), "a 1\nf (g) 5\n");
    // Bytes that look like the boundary, in an upload of some size.
    let large = "\r\n------a\r\n-----b\r\n--".repeat(100_000);
    let body = part("name=l; filename=x", &large) + "------b--";
    let answer = peer.send(form("/list", &[MULTIPART], &body)).answer();
    assert_eq!(answer.text(), format!("l (x) {}\n", large.len()));
    let cut = &body[..body.len() - 2];
    let answer = serving.ask(&form("/list", &[MULTIPART], cut));
    assert_eq!(
        (answer.status, answer.text()),
        (400, "Bad Request: the form has no end\n")
    );
    let answer = serving.ask(&form("/list", &[FORM], &body));
    assert_eq!(answer.status, 415);
}

/// A slow reader of an upload stops its sender: no more is received than sockets and one chunk hold.
#[test]
fn an_upload_waits_for_its_reader() {
    let goes_on = Arc::new(AtomicBool::new(false));
    let signal = Arc::clone(&goes_on);
    let slow = async move |mut request: Request| -> Result<String> {
        let mut multipart = request.multipart()?;
        let mut part = multipart.next_part().await?.expect("a part");
        let mut bytes = part.chunk().await?.map_or(0, |chunk| chunk.len());
        while !signal.load(Ordering::Relaxed) {
            runtime::sleep(Duration::from_millis(5)).await;
        }
        while let Some(chunk) = part.chunk().await? {
            bytes += chunk.len();
        }
        Ok(bytes.to_string())
    };
    let serving = Serving::start(Router::new().post("/slow", slow));
    let total = 256 << 20;
    let head = "------b\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n";
    let end = "\r\n------b--\r\n";
    let length = format!("Content-Length: {}", head.len() + total + end.len());
    let mut peer = serving.peer();
    peer.send(request("POST /slow", &[&length, MULTIPART], head));
    let timeout = Some(Duration::from_millis(300));
    peer.stream.set_write_timeout(timeout).unwrap();
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while let Ok(bytes) = peer.stream.write(&piece) {
        sent += bytes;
        assert!(sent < 64 << 20, "nobody reads, and {sent} bytes are gone");
    }
    goes_on.store(true, Ordering::Relaxed);
    peer.stream.set_write_timeout(None).unwrap();
    while sent < total {
        let bytes = peer.stream.write(&piece[..piece.len().min(total - sent)]);
        sent += bytes.unwrap();
    }
    assert_eq!(peer.send(end).answer().text(), total.to_string());
}

/// Sends the first file back, or what is in its place.
fn collect(options: FormOptions, saved: &Path) -> Router {
    let saved = saved.to_owned();
    Router::new().post("/collect", async move |mut request: Request| {
        let form = request.multipart_form(options.clone()).await?;
        let Some(file) = form.file("file") else {
            let fields: Vec<_> = form.fields().map(|(n, v)| format!("{n}={v}")).collect();
            return Ok::<_, roundtrip::Error>(fields.join("&").into_response());
        };
        if let Some(name) = form.get("save") {
            file.save(saved.join(name)).await?;
        }
        let all = file.bytes(10 << 20).await?;
        let tail = file.read_at(file.len() - 1, 10).await?;
        assert_eq!(tail[..], all[all.len() - 1..]);
        let response = Response::new()
            .header("Name", file.file_name())
            .header("Type", file.content_type().unwrap_or("none"))
            .header("Disk", file.is_on_disk().to_string());
        Ok(response.body(file.body()))
    })
}

/// Files without a name in this directory that this process has open.
fn unnamed_files(directory: &Path) -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| path.starts_with(directory))
        .count()
}

#[test]
fn collected_forms_keep_large_files_on_disk() {
    let (spill, saved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = FormOptions::default()
        .memory_bytes_max(100)
        .fields_bytes_max(200)
        .bytes_max(5 << 20)
        .directory(spill.path());
    let serving = Serving::start(collect(options, saved.path()));
    let mut peer = serving.peer();
    let mut ask = |parts: &str| {
        let body = format!("{parts}------b--\r\n");
        peer.send(form("/collect", &[MULTIPART], &body)).answer()
    };
    let large: String = (0..1_000_000u32)
        .map(|n| char::from(b'a' + (n % 23) as u8))
        .collect();
    for (content, on_disk) in [
        ("x".repeat(100), "false"),
        ("x".repeat(101), "true"),
        (large, "true"),
    ] {
        let file = part("name=file; filename=f\r\nContent-Type: a/b", &content);
        let other = part("name=other; filename=g", &"-".repeat(70_000));
        let save = part("name=save", on_disk);
        let answer = ask(&(file.clone() + &other + &save));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.field("disk"), Some(on_disk));
        assert_eq!(
            (answer.field("name"), answer.field("type")),
            (Some("f"), Some("a/b"))
        );
        assert!(answer.text() == content, "{} bytes", answer.body.len());
        let copy = saved.path().join(on_disk);
        assert!(std::fs::read(&copy).unwrap() == content.as_bytes());
        // What exists stays as it is.
        assert_eq!(ask(&(file + &save)).status, 500);
        std::fs::remove_file(copy).unwrap();
    }
    let empty = part("name=file; filename=\"\"", "") + &part("name=a", "1") + &part("name=a", "2");
    assert_eq!(ask(&empty).text(), "a=1&a=2");
    let field = part("name=a", &"x".repeat(200));
    let answer = ask(&field);
    assert_eq!(answer.status, 413);
    assert!(
        answer
            .text()
            .contains("200 bytes; FormOptions::fields_bytes_max")
    );
    assert!(std::fs::read_dir(spill.path()).unwrap().next().is_none());
    assert_eq!(unnamed_files(spill.path()), 0);
}

#[test]
fn names_of_files_are_bytes() {
    let router = Router::new().post("/", async |mut request: Request| {
        let form = request.multipart_form(FormOptions::default()).await?;
        let mut text = String::new();
        for file in form.files("f") {
            let bytes = file.file_name_bytes().escape_ascii();
            text += &format!("{} {bytes}\n", file.file_name());
        }
        Ok::<_, roundtrip::Error>(text)
    });
    let mut body = Vec::new();
    for name in [&b"a"[..], b"\xff", b"d/\xfe.txt", b"\xc3\xa4", b"%FF"] {
        let head = b"------b\r\nContent-Disposition: form-data; name=f; filename=\"";
        body.extend_from_slice(&[head, name, b"\"\r\n\r\nx\r\n"].concat());
    }
    body.extend_from_slice(b"------b--\r\n");
    let length = format!("Content-Length: {}", body.len());
    let serving = Serving::start(router);
    let head = request("POST /", &[MULTIPART, &length], "");
    let answer = serving.peer().send(head).send(body).answer();
    let expected = "a a\n\u{fffd} \\xff\n\u{fffd}.txt \\xfe.txt\nä \\xc3\\xa4\n%FF %FF\n";
    assert_eq!(answer.text(), expected);
}

#[test]
fn limits_of_collected_forms() {
    let directory = tempfile::tempdir().unwrap();
    let options = FormOptions::default()
        .bytes_max(1_000)
        .parts_max(2)
        .memory_bytes_max(0)
        .directory(directory.path());
    let serving = Serving::start(collect(options.clone(), directory.path()));
    let ask = |parts: &str| {
        let body = format!("{parts}------b--\r\n");
        serving.ask(&form("/collect", &[MULTIPART], &body))
    };
    let answer = ask(&part("name=file; filename=f", &"x".repeat(1_000)));
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("1000 bytes"), "{}", answer.text());
    // The announced length is enough: nothing is asked for.
    let expect = ["Content-Length: 1001", "Expect: 100-continue", MULTIPART];
    let answer = serving.ask(&request("POST /collect", &expect, ""));
    assert_eq!(answer.status, 413);
    let answer = ask(&part("name=a", "x").repeat(3));
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("2 parts"), "{}", answer.text());
    assert_eq!(unnamed_files(directory.path()), 0);
    let missing = options.directory(directory.path().join("missing"));
    let serving = Serving::start(collect(missing, directory.path()));
    let body = part("name=file; filename=f", "x") + "------b--\r\n";
    let answer = serving.ask(&form("/collect", &[MULTIPART], &body));
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("missing"));
}

// ---- cookies and credentials -----------------------------------------------------------------

#[test]
fn cookies_there_and_back() {
    let router = Router::new()
        .get("/set", |_: &Request| {
            let session = Cookie::new("session", "4f 1c").path("/").http_only();
            Response::new()
                .cookie(session.same_site(SameSite::Lax))
                .cookie(Cookie::removal("old").path("/"))
        })
        .get("/bad", |_: &Request| {
            Response::new().cookie(Cookie::new("a", "1; Domain=b"))
        })
        .get("/get", |r: &Request| {
            r.cookie("session").unwrap_or("none").to_owned()
        });
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let answer = peer.send(get("/set")).answer();
    let lines: Vec<_> = answer
        .head
        .lines()
        .filter(|l| l.starts_with("Set-Cookie"))
        .collect();
    assert_eq!(
        lines,
        [
            "Set-Cookie: session=\"4f 1c\"; Path=/; HttpOnly; SameSite=Lax",
            "Set-Cookie: old=; Path=/; Max-Age=0",
        ]
    );
    let fields = ["Cookie: a=1; session=\"4f 1c\"", "Cookie: session=2"];
    let answer = peer.send(request("GET /get", &fields, "")).answer();
    assert_eq!(answer.text(), "4f 1c");
    assert_eq!(peer.send(get("/get")).answer().text(), "none");
    let answer = peer.send(get("/bad")).answer();
    assert_eq!((answer.status, answer.field("set-cookie")), (500, None));
}

#[test]
fn credentials() {
    let router = Router::new()
        .get("/basic", |r: &Request| match r.basic_auth() {
            Some(basic) if basic.verify("Aladdin", "open sesame") => basic.user.into_response(),
            _ => Response::new()
                .status(StatusCode::UNAUTHORIZED)
                .header("WWW-Authenticate", basic_challenge("cave")),
        })
        .get("/bearer", |r: &Request| {
            let token = r.bearer_token().unwrap_or_default();
            is_same(token.as_bytes(), b"mF_9.B5f-4.1JqM").to_string()
        });
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let mut ask = |path: &str, value: &str| {
        let field = format!("Authorization: {value}");
        peer.send(request(&format!("GET {path}"), &[&field], ""))
            .answer()
    };
    let answer = ask("/basic", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!((answer.status, answer.text()), (200, "Aladdin"));
    let answer = ask("/basic", "Basic QWxhZGRpbjpjbG9zZQ==");
    assert_eq!(answer.status, 401);
    let challenge = answer.field("www-authenticate");
    assert_eq!(challenge, Some("Basic realm=\"cave\", charset=\"UTF-8\""));
    assert_eq!(ask("/bearer", "Bearer mF_9.B5f-4.1JqM").text(), "true");
    assert_eq!(ask("/bearer", "Bearer mF_9.B5f-4.1JqN").text(), "false");
}

// ---- connections -----------------------------------------------------------------------------

#[test]
fn both_addresses_in_both_forms_of_handler() {
    let show = |r: &Request| format!("{:?} {:?}", r.peer_addr(), r.local_addr());
    let router = Router::new()
        .get("/now", move |r: &Request| show(r))
        .get("/later", async move |r: Request| show(&r));
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let theirs = peer.stream.local_addr().ok();
    let expected = format!("{theirs:?} {:?}", Some(serving.address));
    for path in ["/now", "/later", "/now"] {
        assert_eq!(peer.send(get(path)).answer().text(), expected);
    }
}

#[test]
fn a_request_that_outlives_its_connection_knows_no_other() {
    thread_local! {
        static KEPT: RefCell<Vec<Request>> = const { RefCell::new(Vec::new()) };
    }
    let keep = |request: &mut Request| {
        if request.path() == "/keep" {
            let blank = Request::for_target("GET", "/keep").unwrap();
            KEPT.with_borrow_mut(|kept| kept.push(std::mem::replace(request, blank)));
        }
        None::<Response>
    };
    let kept = |_: &Request| {
        KEPT.with_borrow(|kept| {
            let addresses = kept.iter().map(|r| format!("{:?}", r.peer_addr()));
            addresses.collect::<Vec<_>>().join(" ")
        })
    };
    let router = Router::new()
        .get("/keep", |_: &Request| ())
        .get("/kept", kept)
        .before(keep);
    let serving = Serving::start(router);
    let mut first = serving.peer();
    let own = format!("{:?}", first.stream.local_addr().ok());
    first.send(get("/keep")).answer();
    assert_eq!(first.send(get("/kept")).answer().text(), own);
    drop(first);
    serving.wait_until(|s| s.connections_open == 0);
    // The lowest free descriptor is the one that was just closed.
    let mut second = serving.peer();
    assert_eq!(second.send(get("/kept")).answer().text(), own);
}

#[test]
fn nothing_attached_reaches_the_next_request() {
    let router = Router::new()
        .get("/attach", async |mut r: Request| {
            let before = r.extensions_mut().insert(Arc::new(5u8)).is_some();
            r.push_param("left", "over");
            before.to_string()
        })
        .get("/look", |r: &Request| {
            format!("{} {}", r.extensions().len(), r.params().count())
        });
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    for _ in 0..3 {
        assert_eq!(peer.send(get("/attach")).answer().text(), "false");
        assert_eq!(peer.send(get("/look")).answer().text(), "0 0");
    }
}

#[test]
fn requests_of_the_http_crate_and_back() {
    let router = Router::new().post("/{id}", async |request: Request| {
        let theirs = http::Request::<Body>::try_from(request)?;
        let received = theirs.extensions().get::<Received>().cloned();
        let (parts, body) = theirs.into_parts();
        let ours = Request::try_from(http::Request::from_parts(parts, body))?;
        let received = received.expect("a server's request");
        assert_eq!(ours.peer_addr(), received.peer_addr);
        assert_eq!(ours.local_addr(), received.local_addr);
        assert!(ours.peer_addr().is_some());
        let line = format!("{} {} {}: ", ours.method(), ours.target(), ours.param("id"));
        let text = ours.into_body().text().await?;
        Ok::<_, roundtrip::Error>(line + &text)
    });
    let serving = Serving::start(router);
    let answer = serving.ask(&form("/7?a=%20", &[], "body"));
    assert_eq!(answer.text(), "POST /7?a=%20 7: body");
}

/// Collected forms on the simulated kernel: whatever fails, and whoever gives up, a form is whole or
/// an error, and no file stays open (the simulation looks at its end).
#[cfg(feature = "simulation")]
mod simulated {
    use roundtrip::Client;
    use roundtrip::Error;
    use roundtrip::simulation::Fault;
    use roundtrip::simulation::Faults;
    use roundtrip::simulation::Simulation;

    use super::*;

    async fn measure(mut request: Request) -> Result<String> {
        let options = FormOptions::default().memory_bytes_max(2_000);
        let form = request.multipart_form(options).await?;
        let mut text = String::new();
        for file in form.all_files() {
            let bytes = file.bytes(1 << 20).await?;
            let sum = bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            text += &format!("{} {sum} {}\n", bytes.len(), file.is_on_disk());
        }
        Ok(text)
    }

    /// A form with some files, and what is expected of it.
    fn upload(seed: u64) -> (String, String) {
        let (mut body, mut expected) = (String::new(), String::new());
        let mut left = 2_000;
        for index in 0..3 {
            let len =
                ((seed * 31 + index * 17) * 7_919 % 200_000) as usize >> (3 * (seed + index) % 9);
            let byte = b'a' + ((seed + index) % 26) as u8;
            let content = char::from(byte).to_string().repeat(len);
            body += &part("name=f; filename=x", &content);
            let is_on_disk = len > left;
            left -= if is_on_disk { 0 } else { len };
            let sum = len as u64 * u64::from(byte);
            expected += &format!("{len} {sum} {is_on_disk}\n");
        }
        (body + "------b--\r\n", expected)
    }

    async fn scenario(seed: u64, is_harmless: bool) -> Result<usize> {
        let router = Router::new().post("/measure", measure);
        let server = Server::new(router).bind("127.0.0.1:80")?;
        let handle = server.handle();
        let serving = runtime::spawn(server.run_here());
        let client = Client::new();
        let mut whole = 0;
        for round in 0..3 {
            let (body, expected) = upload(seed * 3 + round);
            let (name, content_type) = MULTIPART.split_once(": ").unwrap();
            let mut ask = client
                .post("http://127.0.0.1/measure")
                .header(name, content_type)
                .body(body);
            let gives_up = seed.is_multiple_of(3);
            if gives_up {
                ask = ask.timeout(Duration::from_micros(50 * (seed + round)));
            }
            let answer = async { ask.send().await?.error_for_status()?.text().await };
            match answer.await {
                Ok(text) => {
                    assert_eq!(text, expected);
                    whole += 1;
                }
                Err(error) => assert!(gives_up || !is_harmless, "{error}"),
            }
        }
        drop(client);
        handle.shutdown();
        serving.await??;
        Ok::<_, Error>(whole)
    }

    #[test]
    fn uploads_under_every_fault() {
        let (mut whole, mut failed) = (0, 0);
        for seed in 0..90 {
            let mut faults = match seed % 2 {
                0 => Faults::all(),
                _ => Faults::none().with(Fault::FileFailed, 0.2),
            };
            faults = faults.with(Fault::DescriptorsExhausted, 0.0);
            if seed % 5 == 1 {
                faults = Faults::none().with(Fault::SlowJob, 0.5);
            }
            let is_harmless = faults.is_harmless();
            let report = Simulation::new(seed)
                .faults(faults)
                .run(scenario(seed, is_harmless));
            let fired = report.fired().of(Fault::FileFailed);
            failed += fired;
            whole += report.unwrap().unwrap();
        }
        assert!(whole > 100, "{whole}");
        assert!(failed > 20, "{failed}");
    }
}
