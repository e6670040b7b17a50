//! Redirects, followed and not.

use std::io::BufReader;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::client::Client;
use roundtrip::client::RedirectAction;
use roundtrip::client::ReferrerPolicy;
use roundtrip::client::RequestBuilder;
use roundtrip::error::ErrorKind;
use roundtrip::http::body::Body;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::read_request;
use crate::peer::run;

fn moved(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nover")
        .into_bytes()
}

/// `/status/rest` redirects to `/rest`; anything else is shown.
fn redirecting() -> Peer {
    Peer::answering(|seen| {
        let path = seen.line.split(' ').nth(1).unwrap();
        let first = path[1..].split('/').next().unwrap();
        match first.parse::<u16>() {
            Ok(status) => moved(status, &path[1 + first.len()..]),
            Err(_) => ok(format!(
                "{} {:?} {:?}",
                seen.line,
                String::from_utf8_lossy(&seen.body),
                seen.fields.get("content-type"),
            )),
        }
    })
}

#[test]
fn methods_and_bodies() {
    let peer = redirecting();
    run(async {
        let client = Client::new();
        let cases = [
            ("/302/a", "GET /a HTTP/1.1 \"\" None"),
            ("/303/302/b", "GET /b HTTP/1.1 \"\" None"),
            ("/307/c", "POST /c HTTP/1.1 \"text\" Some(\"text/plain\")"),
            (
                "/308/307/d",
                "POST /d HTTP/1.1 \"text\" Some(\"text/plain\")",
            ),
            ("/307/303/e", "GET /e HTTP/1.1 \"\" None"),
        ];
        for (path, expected) in cases {
            let request = client
                .post(peer.url(path))
                .header("Content-Type", "text/plain");
            let response = request.body("text").send().await?;
            let last = path.rsplit('/').next().unwrap();
            assert_eq!(response.url().unwrap().path(), format!("/{last}"));
            assert_eq!(response.text().await?, expected, "{path}");
        }
        Ok(())
    });
    assert_eq!(peer.accepted(), 1);
}

/// 301 and 302 make a GET of a POST, and of nothing else.
#[test]
fn other_methods_stay() {
    let peer = redirecting();
    run(async {
        let client = Client::new();
        for (method, path, expected) in [
            (
                "DELETE",
                "/302/a",
                "DELETE /a HTTP/1.1 \"text\" Some(\"text/plain\")",
            ),
            (
                "PUT",
                "/301/302/b",
                "PUT /b HTTP/1.1 \"text\" Some(\"text/plain\")",
            ),
            (
                "PATCH",
                "/301/c",
                "PATCH /c HTTP/1.1 \"text\" Some(\"text/plain\")",
            ),
            (
                "QUERY",
                "/302/d",
                "QUERY /d HTTP/1.1 \"text\" Some(\"text/plain\")",
            ),
            ("PUT", "/303/e", "GET /e HTTP/1.1 \"\" None"),
            ("POST", "/301/f", "GET /f HTTP/1.1 \"\" None"),
        ] {
            let request = client.request(method.parse().unwrap(), peer.url(path));
            let request = request.header("Content-Type", "text/plain").body("text");
            assert_eq!(request.send().await?.text().await?, expected, "{path}");
        }
        // What cannot be sent again is not: the redirect is the answer.
        let body = Body::produce(async |sender| sender.send("once".into()).await);
        let response = client.put(peer.url("/302/a")).body(body).send().await?;
        assert_eq!(response.status_code(), 302);
        Ok(())
    });
}

#[test]
fn what_another_origin_is_told() {
    let other = Peer::answering(|seen| ok(format!("{:?}", seen.fields.get("referer"))));
    let target = other.url("/");
    let first = Peer::answering(move |_| moved(302, &target));
    run(async {
        let url = first.url("/path?token=secret");
        for (policy, expected) in [
            (None, format!("Some({:?})", first.url("/"))),
            (Some(ReferrerPolicy::SameOrigin), "None".into()),
            (
                Some(ReferrerPolicy::NoReferrerWhenDowngrade),
                format!("Some({url:?})"),
            ),
        ] {
            let mut builder = Client::builder();
            if let Some(policy) = policy {
                builder = builder.referrer_policy(policy);
            }
            let response = builder.build().get(&url).send().await?;
            assert_eq!(response.text().await?, expected, "{policy:?}");
        }
        Ok(())
    });
}

#[test]
fn a_body_that_cannot_be_sent_again() {
    let peer = redirecting();
    run(async {
        let client = Client::new();
        let stream = || {
            let (mut sender, body) = Body::incoming(None);
            sender.push("once".into());
            sender.finish(None);
            body
        };
        let response = client
            .post(peer.url("/307/a"))
            .body(stream())
            .send()
            .await?;
        assert_eq!(response.status_code(), 307);
        assert_eq!(response.text().await?, "over");
        let response = client
            .post(peer.url("/303/a"))
            .body(stream())
            .send()
            .await?;
        assert_eq!(response.text().await?, "GET /a HTTP/1.1 \"\" None");
        Ok(())
    });
}

#[test]
fn the_limit() {
    let peer = redirecting();
    run(async {
        // Ten requests, as in net/http.
        let nine = "/302".repeat(9) + "/x";
        let client = Client::new();
        assert_eq!(client.get(peer.url(&nine)).send().await?.status_code(), 200);
        let ten = format!("/302{nine}");
        let url = peer.url(&ten).replace("http://", "http://me:secret@");
        let error = client.get(url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains("redirects_max"), "{error}");
        let last = peer.url("/302/x").replace("http://", "http://me:***@");
        assert_eq!(error.url(), Some(&last[..]));
        let off = Client::builder().redirects_max(0).build();
        let response = off.get(peer.url(&ten)).send().await?;
        assert_eq!(response.status_code(), 302);
        assert!(response.history().is_empty());
        assert_eq!(response.text().await?, "over");
        // One request has its own.
        let response = off.get(peer.url(&ten)).redirects_max(10).send().await?;
        assert_eq!(response.history().len(), 10);
        let one = client.get(peer.url(&nine)).redirects_max(1).send().await;
        assert!(
            one.unwrap_err()
                .to_string()
                .contains("more than 1 redirects")
        );
        let none = client.get(peer.url(&nine)).redirects_max(0).build()?;
        assert_eq!(client.send(none).await?.status_code(), 302);
        Ok(())
    });
}

#[test]
fn a_body_that_was_dropped_stays_dropped() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen_lines = Arc::clone(&lines);
    let peer = Peer::answering(move |seen| {
        let path = seen.line.split(' ').nth(1).unwrap();
        let mut lines = seen_lines.lock().unwrap();
        lines.push(format!(
            "{} {}",
            seen.line.split(' ').next().unwrap(),
            seen.body.len()
        ));
        match path.strip_prefix('/').unwrap().split_once('/') {
            Some((status, rest)) => moved(status.parse().unwrap(), &format!("/{rest}")),
            None => ok(""),
        }
    });
    run(async {
        let request = Client::new().post(peer.url("/307/303/308/302/x"));
        request.body("text").send().await?;
        Ok(())
    });
    let lines = lines.lock().unwrap();
    assert_eq!(lines[..], ["POST 4", "POST 4", "GET 0", "GET 0", "GET 0"]);
}

#[test]
fn the_history() {
    let peer = redirecting();
    run(async {
        let client = Client::new();
        let response = client.get(peer.url("/rest")).send().await?;
        assert!(response.history().is_empty());
        let url = peer
            .url("/301/307/x")
            .replace("http://", "http://me:secret@");
        let response = client.get(url).send().await?;
        let shown: Vec<_> = response
            .history()
            .iter()
            .map(|hop| (hop.status().as_u16(), hop.url().path()))
            .collect();
        assert_eq!(shown, [(301, "/301/307/x"), (307, "/307/x")]);
        assert!(!format!("{:?}", response.history()).contains("secret"));
        assert_eq!(response.url().unwrap().path(), "/x");
        Ok(())
    });
    let client = roundtrip::blocking::Client::new();
    let response = client.get(peer.url("/308/x")).send().unwrap();
    assert_eq!(response.history()[0].status(), 308);
}

#[test]
fn the_users_policy() {
    let peer = redirecting();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let client = Client::builder()
        .redirects_max(3)
        .redirect_policy(move |attempt| {
            let path = attempt.to().path();
            let status = attempt.status().as_u16();
            let shown = (attempt.count(), status, attempt.method().to_string());
            noted.lock().unwrap().push(shown);
            assert_eq!(attempt.history().len(), attempt.count());
            match path.rsplit('/').next() {
                Some("stop") if attempt.count() == 1 => RedirectAction::Stop,
                Some("fail") => RedirectAction::Fail(Error::new(ErrorKind::Invalid, "not there")),
                _ => RedirectAction::Follow,
            }
        })
        .build();
    run(async {
        let post = |path: &str| client.post(peer.url(path)).body("text");
        let response = post("/307/303/302/stop").send().await?;
        assert_eq!(response.status_code(), 303);
        assert_eq!(response.url().unwrap().path(), "/303/302/stop");
        assert_eq!(response.history().len(), 1);
        assert_eq!(response.text().await?, "over");
        let expected = [(0, 307, "POST".into()), (1, 303, "GET".into())];
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), expected);
        let url = peer
            .url("/302/fail")
            .replace("http://", "http://me:secret@");
        let error = client.get(url).send().await.unwrap_err();
        assert_eq!(error.text(), "not there");
        let at = peer.url("/302/fail").replace("http://", "http://me:***@");
        assert_eq!(error.url(), Some(&at[..]));
        // The limit holds as well, and where nothing is followed nobody is asked.
        let error = client.get(peer.url("/302/302/302/302/x")).send().await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Limit);
        seen.lock().unwrap().clear();
        let response = client
            .get(peer.url("/302/fail"))
            .redirects_max(0)
            .send()
            .await?;
        assert_eq!(response.status_code(), 302);
        assert!(seen.lock().unwrap().is_empty());
        Ok(())
    });
}

#[test]
fn the_connection_of_a_redirect_is_used_again() {
    // The body of the redirect comes a while after its head.
    let peer = Peer::start(|number, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut index = 0;
        while let Some(seen) = read_request(&mut reader, number, index) {
            index += 1;
            let answer = match seen.line.as_str() {
                "GET /late HTTP/1.1" => moved(302, "/x"),
                "GET /chunks HTTP/1.1" => b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\
                    Transfer-Encoding: chunked\r\n\r\n4\r\nover\r\n0\r\n\r\n"
                    .to_vec(),
                _ => ok("here"),
            };
            let head = answer
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .unwrap()
                + 4;
            socket.write_all(&answer[..head]).unwrap();
            std::thread::sleep(Duration::from_millis(5));
            socket.write_all(&answer[head..]).unwrap();
        }
    });
    run(async {
        let client = Client::new();
        for path in ["/late", "/chunks", "/late"] {
            let response = client.get(peer.url(path)).send().await?;
            assert_eq!(response.text().await?, "here");
        }
        Ok(())
    });
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn a_redirect_whose_body_does_not_end() {
    let peer = Peer::answering(|seen| match seen.line.as_str() {
        "GET /never HTTP/1.1" => {
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 5\r\n\r\nover".to_vec()
        }
        "GET /long HTTP/1.1" => {
            let body = "x".repeat(100_000);
            let length = body.len();
            format!("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: {length}\r\n\r\n{body}")
                .into_bytes()
        }
        _ => ok("here"),
    });
    run(async {
        let client = Client::new();
        for path in ["/never", "/long"] {
            let response = client.get(peer.url(path)).send().await?;
            assert_eq!(response.text().await?, "here");
        }
        Ok(())
    });
    assert!(peer.accepted() >= 2, "nobody waits for the rest");
}

#[test]
fn what_goes_along() {
    let peer = Peer::answering(|seen| match seen.line.as_str() {
        "GET /relative HTTP/1.1" => moved(302, "/shown"),
        "GET /absolute HTTP/1.1" => moved(302, &format!("http://{}/shown", seen.fields["x-self"])),
        _ => {
            let field = |name: &str| seen.fields.get(name).cloned().unwrap_or_default();
            ok(format!("{} | {}", field("host"), field("referer")))
        }
    });
    run(async {
        let client = Client::new();
        let own = peer.url("")["http://".len()..].to_owned();
        let get = |path: &str| client.get(peer.url(path)).header("X-Self", &own);
        let text = async |request: RequestBuilder| request.send().await?.text().await;
        let from = |path: &str| peer.url(path);
        assert_eq!(
            text(get("/relative")).await?,
            format!("{own} | {}", from("/relative"))
        );
        let named = get("/relative").header("Host", "a.test");
        assert_eq!(
            text(named).await?,
            format!("a.test | {}", from("/relative"))
        );
        let named = get("/absolute").header("Host", "a.test");
        assert_eq!(text(named).await?, format!("{own} | {}", from("/absolute")));
        let own_referer = get("/relative").header("Referer", "http://mine.test/");
        assert_eq!(
            text(own_referer).await?,
            format!("{own} | http://mine.test/")
        );
        Ok(())
    });
}

#[test]
fn credentials_do_not_leave_their_origin() {
    let other = Peer::answering(|seen| ok(format!("{:?}", seen.fields.get("authorization"))));
    let target = other.url("/");
    let first = Peer::answering(move |seen| match seen.line.as_str() {
        "GET /away HTTP/1.1" => moved(302, &target),
        "GET /here HTTP/1.1" => moved(302, "/shown"),
        _ => ok(format!("{:?}", seen.fields.get("authorization"))),
    });
    run(async {
        let client = Client::new();
        let away = client.get(first.url("/away")).bearer_auth("t");
        assert_eq!(away.send().await?.text().await?, "None");
        let here = client.get(first.url("/here")).bearer_auth("t");
        assert_eq!(here.send().await?.text().await?, "Some(\"Bearer t\")");
        Ok(())
    });
}

#[test]
fn credentials_that_stayed_behind_do_not_come_back() {
    let own = Arc::new(Mutex::new(String::new()));
    let back = Arc::clone(&own);
    let other = Peer::answering(move |_| moved(302, &back.lock().unwrap()));
    let away = other.url("/");
    let first = Peer::answering(move |seen| match seen.line.as_str() {
        "GET /away HTTP/1.1" => moved(302, &away),
        _ => ok(format!("{:?}", seen.fields.get("authorization"))),
    });
    run(async {
        let client = Client::new();
        *own.lock().unwrap() = first.url("/x");
        let shown = client
            .get(first.url("/away"))
            .bearer_auth("t")
            .send()
            .await?;
        assert_eq!(shown.history().len(), 2);
        assert_eq!(shown.text().await?, "None");
        // Unless the redirect itself says who to be.
        *own.lock().unwrap() = first.url("/x").replace("http://", "http://u:p@");
        let shown = client
            .get(first.url("/away"))
            .bearer_auth("t")
            .send()
            .await?;
        assert_eq!(shown.text().await?, "Some(\"Basic dTpw\")");
        Ok(())
    });
}

#[test]
fn answers_that_lead_nowhere() {
    let peer = Peer::answering(|seen| match seen.line.as_str() {
        "GET /none HTTP/1.1" => b"HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere".to_vec(),
        "GET /mail HTTP/1.1" => moved(302, "mailto:a@b.test"),
        _ => moved(302, "http://[broken"),
    });
    run(async {
        let client = Client::new();
        let response = client.get(peer.url("/none")).send().await?;
        assert_eq!(response.text().await?, "here");
        let error = client.get(peer.url("/broken")).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let error = client.get(peer.url("/mail")).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(error.url(), Some(&peer.url("/mail")[..]));
        Ok(())
    });
}
