//! Clients with a jar.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;

use roundtrip::Client;
use roundtrip::blocking;
use roundtrip::client::jar::Jar;
use url::Url;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::run;

/// Seconds since 1970, and long before any end in these tests.
const THEN: u64 = 1_000_000_000;

fn answer(status: &str, fields: &[&str]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n");
    for field in fields {
        text += field;
        text += "\r\n";
    }
    text += "\r\n";
    text.into_bytes()
}

/// Shows the cookies that come, except where a path sets some.
fn peer() -> Peer {
    Peer::answering(|seen| {
        let path = seen.line.split(' ').nth(1).unwrap();
        match path {
            "/login" => answer(
                "302 Found",
                &[
                    "Location: /home",
                    "Set-Cookie: sid=7; Path=/",
                    "Set-Cookie: lang=de; Path=/home",
                ],
            ),
            "/logout" => answer(
                "303 See Other",
                &["Location: /home", "Set-Cookie: sid=; Path=/; Max-Age=0"],
            ),
            "/anew" => answer(
                "307 Moved",
                &["Location: /home", "Set-Cookie: own=jar; Path=/"],
            ),
            "/refused" => answer("403 Forbidden", &["Set-Cookie: try=1; Path=/"]),
            "/hints" => {
                let mut bytes =
                    b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: early=1; Path=/\r\n\r\n".to_vec();
                bytes.extend(answer("200 OK", &["Set-Cookie: final=1; Path=/"]));
                bytes
            }
            "/site" => answer("200 OK", &["Set-Cookie: site=1; Domain=shop.test; Path=/"]),
            _ => match path.strip_prefix("/to/") {
                Some(to) => answer("302 Found", &[&format!("Location: http://{to}")]),
                None => ok(seen.fields.get("cookie").map_or("none", |line| line)),
            },
        }
    })
}

#[test]
fn a_session_with_redirects() {
    let peer = peer();
    run(async {
        let jar = Jar::new();
        let client = Client::builder().cookies(jar.clone()).build();
        let home = client.get(peer.url("/login")).send().await?;
        assert_eq!(home.url().unwrap().path(), "/home");
        assert_eq!(home.text().await?, "lang=de; sid=7");
        let shown = client.get(peer.url("/other")).send().await?.text().await?;
        assert_eq!(shown, "sid=7");
        let home = client.get(peer.url("/logout")).send().await?.text().await?;
        assert_eq!(home, "lang=de");
        let refused = client.get(peer.url("/refused")).send().await?;
        assert_eq!(refused.status_code(), 403);
        let hints = client.get(peer.url("/hints")).send().await?;
        assert_eq!(hints.status_code(), 200);
        let shown = client.post(peer.url("/x")).send().await?.text().await?;
        assert_eq!(shown, "try=1; final=1");
        // Others have no jar, or the same.
        let bare = Client::new().get(peer.url("/x")).send().await?;
        assert_eq!(bare.text().await?, "none");
        let friend = Client::builder().cookies(jar.clone()).build();
        let shown = friend.get(peer.url("/x")).send().await?.text().await?;
        assert_eq!(shown, "try=1; final=1");
        jar.clear();
        let shown = client.get(peer.url("/x")).send().await?.text().await?;
        assert_eq!(shown, "none");
        Ok(())
    });
}

#[test]
fn the_callers_cookies_and_the_jars() {
    let (peer, other) = (peer(), peer());
    let jar = Jar::new();
    let host = Url::parse(&peer.url("/")).unwrap();
    jar.set(&host, ["kept=1; Path=/"], THEN);
    run(async {
        let client = Client::builder().cookies(jar.clone()).build();
        let get = async |url: String| {
            let request = client.get(url).header("Cookie", "own=1; two=2");
            request.send().await?.text().await
        };
        assert_eq!(get(peer.url("/x")).await?, "own=1; two=2; kept=1");
        let back = format!("/to/{}", &peer.url("/x")["http://".len()..]);
        assert_eq!(get(peer.url(&back)).await?, "own=1; two=2; kept=1");
        // What a redirect sets is the jar's.
        assert_eq!(get(peer.url("/anew")).await?, "two=2; kept=1; own=jar");
        // The caller's are for the origin that was asked; a jar knows no ports.
        let away = format!("/to/{}", &other.url("/x")["http://".len()..]);
        assert_eq!(get(peer.url(&away)).await?, "kept=1; own=jar");
        let there_and_back = format!("{}{back}", away.trim_end_matches("/x"));
        assert_eq!(get(peer.url(&there_and_back)).await?, "kept=1; own=jar");
        Ok(())
    });
}

#[test]
fn the_host_field_counts() {
    let peer = peer();
    run(async {
        let jar = Jar::new();
        let client = Client::builder().cookies(jar.clone()).build();
        let get = async |path: &str, host: &str| {
            let request = client.get(peer.url(path)).header("Host", host);
            request.send().await?.text().await
        };
        assert_eq!(get("/site", "www.shop.test").await?, "");
        assert_eq!(jar.cookies(THEN)[0].domain, "shop.test");
        assert_eq!(get("/x", "api.shop.test:81").await?, "site=1");
        assert_eq!(get("/x", "other.test").await?, "none");
        let plain = client.get(peer.url("/x")).send().await?.text().await?;
        assert_eq!(plain, "none");
        Ok(())
    });
}

/// Latin-1 comes back as it was set.
#[test]
fn a_cookie_need_not_be_text() {
    let peer = Peer::start(|_, socket| {
        let mut reader = BufReader::new(&socket);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).unwrap() == 0 {
                return;
            }
        }
        let fields = b"HTTP/1.1 200 OK\r\nSet-Cookie: name=caf\xe9\r\nConnection: close\r\n\r\n";
        (&socket).write_all(&[&fields[..], &head].concat()).unwrap();
    });
    run(async {
        let client = Client::builder().cookies(Jar::new()).build();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let head = client.get(peer.url("/")).send().await?.bytes().await?;
            let mut lines = head.split(|byte| *byte == b'\n');
            seen.push(lines.any(|line| line == b"Cookie: name=caf\xe9\r"));
        }
        assert_eq!(seen, [false, true]);
        Ok(())
    });
}

#[test]
fn without_a_runtime_on_any_thread() {
    let peer = peer();
    let jar = Jar::new();
    let client = blocking::Client::builder().cookies(jar.clone()).build();
    assert_eq!(
        client.get(peer.url("/login")).send().unwrap().status_code(),
        200
    );
    let (client, url) = (client.clone(), peer.url("/x"));
    let other = std::thread::spawn(move || client.get(url).send().unwrap().text().unwrap());
    assert_eq!(other.join().unwrap(), "sid=7");
    let mut bytes = Vec::new();
    jar.save_all(&mut bytes, THEN).unwrap();
    let loaded = Jar::new();
    assert_eq!(loaded.load(&bytes[..], THEN).unwrap().added, 2);
    let again = blocking::Client::builder().cookies(loaded).build();
    let home = again.get(peer.url("/home")).send().unwrap().text().unwrap();
    assert_eq!(home, "lang=de; sid=7");
}
