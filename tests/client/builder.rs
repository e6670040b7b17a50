//! What the builders put into requests, as it arrives.

use std::time::Duration;

use roundtrip::Body;
use roundtrip::Error;
use roundtrip::blocking;
use roundtrip::client::Client;
use roundtrip::client::multipart::Form;
use roundtrip::client::multipart::Part;
use roundtrip::client::observe::Event;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::http::multipart::Multipart;
use roundtrip::http::multipart::MultipartLimits;
use roundtrip::limits;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::run;

/// Answers with the request line, the named field, and the body.
fn showing(field: &'static str) -> Peer {
    Peer::answering(move |seen| {
        let value = seen.fields.get(field).map_or("none", String::as_str);
        let body = String::from_utf8_lossy(&seen.body);
        ok(format!("{}\n{value}\n{body}", seen.line))
    })
}

#[test]
fn queries_and_forms_arrive() {
    let peer = showing("content-type");
    run(async {
        let client = Client::new();
        let request = client.post(peer.url("/a?b#c")).query([("d", "e f")]);
        let text = request.form([("g", "1&2")]).send().await?.text().await?;
        let form = "POST /a?b&d=e+f HTTP/1.1\napplication/x-www-form-urlencoded\ng=1%262";
        assert_eq!(text, form);
        Ok(())
    });
}

#[test]
fn requests_of_the_http_crate_are_sent() {
    let peer = showing("x-a");
    run(async {
        let client = Client::new();
        let request = http::Request::put(peer.url("/a"))
            .header("x-a", "b")
            .body("text");
        let response = client.send(request.unwrap()).await?;
        assert_eq!(response.text().await?, "PUT /a HTTP/1.1\nb\ntext");
        let request = http::Request::get("/a").body(()).unwrap();
        let error = client.send(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let built = client.get(peer.url("/c")).build()?;
        let text = client.send(built).await?.text().await?;
        assert_eq!(text, "GET /c HTTP/1.1\nnone\n");
        Ok(())
    });
}

#[test]
fn relative_urls_go_to_the_base() {
    let peer = showing("host");
    run(async {
        let client = Client::builder().base_url(peer.url("/api/"))?.build();
        let text = client.get("users?page=2").send().await?.text().await?;
        assert!(text.starts_with("GET /api/users?page=2 "), "{text}");
        let error = Client::new().get("users").send().await.unwrap_err();
        assert!(error.to_string().contains("base_url"), "{error}");
        Ok(())
    });
}

#[test]
fn defaults_fill_what_is_missing() {
    let peer = showing("accept");
    run(async {
        let client = Client::builder()
            .default_headers([("Accept", "a/b"), ("User-Agent", "mine")])?
            .build();
        let response = client.get(peer.url("/")).send().await?;
        assert_eq!(response.text().await?, "GET / HTTP/1.1\na/b\n");
        let own = client.get(peer.url("/")).header("accept", "c/d");
        let text = own.send().await?.text().await?;
        assert_eq!(text, "GET / HTTP/1.1\nc/d\n");
        Ok(())
    });
}

#[test]
fn a_client_says_how_much_is_collected() {
    let peer = Peer::answering(|_| ok("[1,2]"));
    let url = peer.url("/");
    let limited = || Client::builder().no_proxy().collect_bytes_max(4);
    let large = "x".repeat(limits::BODY_COLLECT_BYTES_MAX + 1);
    let large = Peer::answering(move |_| ok(&large));
    let check = |outcome: Result<(), Error>| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.text().contains("longer than 4 bytes"), "{error}");
        assert!(error.text().contains("collect_bytes_max"), "{error}");
    };
    run(async {
        let client = limited().build();
        let get = async || client.get(&url).send().await;
        check(get().await?.text().await.map(drop));
        check(get().await?.bytes().await.map(drop));
        assert_eq!(get().await?.text_within(5).await?, "[1,2]");
        #[cfg(feature = "json")]
        check(get().await?.json::<Vec<u8>>().await.map(drop));
        // Another thread has the same limit, and a larger one is one as well.
        let spawned = limited().spawned()?;
        check(spawned.get(&url).send().await?.text().await.map(drop));
        check(spawned.get(&url).send().await?.bytes().await.map(drop));
        let client = Client::builder()
            .no_proxy()
            .collect_bytes_max(usize::MAX)
            .build();
        let text = client.get(large.url("/")).send().await?.text().await?;
        assert_eq!(text.len(), limits::BODY_COLLECT_BYTES_MAX + 1);
        Ok(())
    });
    let client = blocking::Client::from(limited().build());
    check(client.get(&url).send().unwrap().text().map(drop));
}

#[test]
fn credentials_among_the_defaults_stay_with_their_origin() {
    let there = Peer::answering(|seen| {
        let has = |name: &str| seen.fields.contains_key(name);
        assert_eq!((has("authorization"), has("x-b")), (false, true));
        assert_eq!(seen.fields["user-agent"], "mine");
        ok("there")
    });
    let elsewhere = there.url("/");
    let here = Peer::answering(move |seen| {
        assert_eq!(seen.fields["authorization"], "secret");
        let location = match seen.line.split(' ').nth(1) {
            Some("/first") => "/second",
            _ => &elsewhere,
        };
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    });
    run(async {
        let client = Client::builder()
            .default_headers([("Authorization", "secret"), ("X-B", "1")])?
            .default_headers([("User-Agent", "mine")])?
            .build();
        let response = client.get(here.url("/first")).send().await?;
        assert_eq!(response.text().await?, "there");
        Ok(())
    });
}

#[test]
fn a_request_may_have_times_and_an_observer_of_its_own() {
    let peer = Peer::start(|_, mut socket| {
        use std::io::Read;
        use std::io::Write;
        let mut request = [0; 1024];
        let len = socket.read(&mut request).unwrap();
        if request[..len].starts_with(b"GET /body") {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
            socket.write_all(head).unwrap();
        }
        let _ = socket.read(&mut request);
    });
    run(async {
        let soon = Duration::from_millis(50);
        let client = Client::new();
        let request = client.get(peer.url("/head")).response_head_timeout(soon);
        let error = request.send().await.unwrap_err();
        assert!(error.text().contains("response_head_timeout"), "{error}");
        assert_eq!(error.phase(), Some(Phase::ResponseHead));

        let (sender, told) = std::sync::mpsc::channel();
        let observe = move |event: &Event<'_>| {
            if let Event::Connected { address, .. } = event {
                sender.send(*address).unwrap();
            }
        };
        let request = client.get(peer.url("/body")).body_timeout(soon);
        let response = request.observer(observe).send().await?;
        let error = response.text().await.unwrap_err();
        assert!(error.text().contains("body_timeout"), "{error}");
        let address = told.try_recv().expect("the observer is told");
        assert!(peer.url("/").contains(&address.to_string()));
        Ok(())
    });
}

/// Redirects once, and then answers with the boundary's length and the body.
fn uploads() -> Peer {
    Peer::answering(|seen| {
        if seen.line.starts_with("POST /first ") {
            let head = "HTTP/1.1 307 Again\r\nLocation: /second\r\nContent-Length: 0\r\n\r\n";
            return head.into();
        }
        let content_type = &seen.fields["content-type"];
        let boundary = content_type.split_once("multipart/form-data; boundary=");
        assert_eq!(boundary.unwrap().1.len(), 32);
        let has_length = seen.fields.contains_key("content-length");
        assert_eq!(has_length, seen.line.starts_with("POST /second "));
        ok(&seen.body)
    })
}

#[test]
fn a_form_with_files_is_sent_and_sent_again() {
    let peer = uploads();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a b.json");
    std::fs::write(&path, "{}").unwrap();
    run(async {
        let client = Client::new();
        let form = Form::new()
            .text("title", "On the sea")
            .part("file", Part::open(&path).await?);
        let request = client.post(peer.url("/first")).multipart(form);
        let body = request.send().await?.bytes().await?;
        let line = body.split(|byte| *byte == b'\r').next().unwrap();
        let boundary = String::from_utf8_lossy(&line[2..]).into_owned();
        let limits = MultipartLimits::default();
        let mut read = Multipart::new(body.into(), &boundary, limits)?;
        let part = read.next_part().await?.unwrap();
        assert_eq!((part.name(), part.file_name()), ("title", None));
        assert_eq!(part.text(100).await?, "On the sea");
        let part = read.next_part().await?.unwrap();
        assert_eq!(part.file_name(), Some("a b.json"));
        assert_eq!(part.content_type(), Some("application/json"));
        assert_eq!(part.text(100).await?, "{}");
        assert!(read.next_part().await?.is_none());

        let stream = Body::produce(async |sender| sender.send("streamed".into()).await);
        let form = Form::new().part("a", Part::new(stream));
        let request = client.post(peer.url("/other")).multipart(form);
        assert!(
            request
                .send()
                .await?
                .text()
                .await?
                .contains("streamed\r\n--")
        );

        let body = Body::open(&path).await?;
        let response = client.post(showing("content-length").url("/")).body(body);
        let text = response.send().await?.text().await?;
        assert_eq!(text, "POST / HTTP/1.1\n2\n{}");
        Ok(())
    });
}
