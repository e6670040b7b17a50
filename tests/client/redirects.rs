//! Redirects, followed and not.

use roundtrip::client::Client;
use roundtrip::error::ErrorKind;
use roundtrip::http::body::Body;

use crate::peer::Peer;
use crate::peer::ok;
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
        let ten = "/302".repeat(10) + "/x";
        let client = Client::new();
        assert_eq!(client.get(peer.url(&ten)).send().await?.status_code(), 200);
        let error = client
            .get(peer.url(&format!("/302{ten}")))
            .send()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains("redirects_max"), "{error}");
        let off = Client::builder().redirects_max(0).build();
        let response = off.get(peer.url(&ten)).send().await?;
        assert_eq!(response.status_code(), 302);
        assert_eq!(response.text().await?, "over");
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
fn answers_that_lead_nowhere() {
    let peer = Peer::answering(|seen| match seen.line.as_str() {
        "GET /none HTTP/1.1" => b"HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere".to_vec(),
        _ => moved(302, "http://[broken"),
    });
    run(async {
        let client = Client::new();
        let response = client.get(peer.url("/none")).send().await?;
        assert_eq!(response.text().await?, "here");
        let error = client.get(peer.url("/broken")).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        Ok(())
    });
}
