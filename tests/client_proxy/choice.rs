//! Which proxy a request goes by: of the client, of the request, of a function, of variables.

use std::sync::Arc;
use std::sync::Mutex;

use roundtrip::Result;
use roundtrip::client::Client;
use roundtrip::client::RequestOptions;
use roundtrip::client::RoundTrip;
use roundtrip::client::Transport;
use roundtrip::client::TransportOptions;
use roundtrip::client::observe::Event;
use roundtrip::client::proxy::Proxies;
use roundtrip::client::proxy::Proxy;
use roundtrip::client::proxy::ProxyUrl;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;

use crate::little::Little;
use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::run;

/// A proxy that answers everything with its name.
fn named(name: &'static str) -> Peer {
    Peer::answering(move |seen| ok(format!("{name} {}", seen.line.split(' ').nth(1).unwrap())))
}

async fn text(client: &Client, url: &str) -> Result<String> {
    client.get(url).send().await?.text().await
}

#[test]
fn the_first_that_matches_serves() {
    let (one, two) = (named("one"), named("two"));
    let direct = named("direct");
    run(async {
        let client = Client::builder()
            .proxy(Proxy::https(two.url(""))?)
            .proxy(Proxy::http(one.url(""))?.no_proxy(".b.example, 127.0.0.1"))
            .proxy(Proxy::all(two.url(""))?.no_proxy("127.0.0.0/8"))
            .build();
        let urls = ["http://a.example/", "http://b.example/"];
        for url in urls {
            assert_eq!(text(&client, url).await?, format!("one {url}"));
        }
        let url = "http://c.b.example/";
        assert_eq!(text(&client, url).await?, format!("two {url}"));
        assert_eq!(text(&client, &direct.url("/x")).await?, "direct /x");
        Ok(())
    });
}

#[test]
fn a_request_has_its_own() {
    let (one, two) = (named("one"), named("two"));
    let direct = named("direct");
    run(async {
        let client = Client::builder().proxy(Proxy::all(one.url(""))?).build();
        // A proxy that is set also serves this machine: only that of the environment does not.
        let url = direct.url("/x");
        assert_eq!(text(&client, &url).await?, format!("one {url}"));
        let response = client.get(&url).no_proxy().send().await?;
        assert_eq!(response.text().await?, "direct /x");
        let other = Proxy::all(two.url(""))?;
        let response = client.get(&url).proxy(other.clone()).send().await?;
        assert_eq!(response.text().await?, format!("two {url}"));
        // One that is none for the URL is none at all.
        let response = client.get(&url).proxy(other.no_proxy("*")).send().await?;
        assert_eq!(response.text().await?, "direct /x");
        // Also where the request is sent by another way than the builder.
        let request = client.get(&url).no_proxy().build()?;
        assert_eq!(client.round_trip(request).await?.text().await?, "direct /x");
        Ok(())
    });
}

#[test]
fn a_function_is_asked_once_for_each_request_and_redirect() {
    let origin = Peer::answering(|seen| {
        if seen.line.contains("/first") {
            b"HTTP/1.1 302 x\r\nLocation: http://b.example/second\r\nContent-Length: 0\r\n\r\n"
                .to_vec()
        } else {
            ok(&seen.line)
        }
    });
    let url = ProxyUrl::parse(&origin.url("")).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    run(async {
        let notes = Arc::clone(&asked);
        let custom = Proxy::custom(move |to| {
            notes.lock().unwrap().push(to.to_string());
            to.path().starts_with('/').then(|| url.clone())
        });
        let client = Client::builder()
            .proxy(custom.no_proxy("never.example"))
            .build();
        let answer = text(&client, "http://a.example/first").await?;
        assert_eq!(answer, "GET http://b.example/second HTTP/1.1");
        Ok(())
    });
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked, ["http://a.example/first", "http://b.example/second"]);
}

#[test]
fn variables_as_of_the_environment() {
    let (one, two) = (named("one"), named("two"));
    let direct = named("direct");
    run(async {
        let vars = [
            ("http_proxy", one.url("").replace("http://", "")),
            ("HTTPS_PROXY", two.url("")),
            ("no_proxy", "intern.example".into()),
        ];
        let client = Client::builder().proxies(Proxies::from_vars(vars)).build();
        let url = "http://a.example/";
        assert_eq!(text(&client, url).await?, format!("one {url}"));
        // This machine itself goes by none.
        assert_eq!(text(&client, &direct.url("/x")).await?, "direct /x");
        let broken = Proxies::from_vars([("HTTP_PROXY", "ftp://me:hush@proxy")]);
        let client = Client::builder().proxies(broken.clone()).build();
        let error = text(&client, url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.phase(), Some(Phase::Proxy));
        assert!(
            error.to_string().starts_with("http://a.example/: "),
            "{error}"
        );
        assert!(!error.to_string().contains("hush"));
        assert_eq!(text(&client, &direct.url("/x")).await?, "direct /x");
        // What is set replaces the environment.
        let client = Client::builder()
            .proxies(broken)
            .proxy(Proxy::http(two.url(""))?);
        assert_eq!(text(&client.build(), url).await?, format!("two {url}"));
        assert!(Proxies::from_vars([("PATH", "x"), ("NO_PROXY", "*")]).is_none());
        Ok(())
    });
}

#[test]
fn a_transport_has_none_unless_it_is_told() {
    let one = named("one");
    run(async {
        assert!(TransportOptions::default().proxies.is_none());
        let options = TransportOptions {
            proxies: Proxy::all(one.url(""))?.into(),
            ..TransportOptions::default()
        };
        let transport = Transport::new(options)?;
        let request = Client::new().get("http://a.example/").build()?;
        let response = transport.round_trip(request).await?;
        assert_eq!(response.text().await?, "one http://a.example/");
        Ok(())
    });
}

#[test]
fn observers_hear_of_proxies() {
    let one = named("one");
    let authority = one.url("").replace("http://", "");
    let tunnel = Little::before(authority.parse().unwrap());
    let events = Arc::new(Mutex::new(Vec::new()));
    let (one_url, tunnel_url) = (one.url(""), tunnel.peer.url(""));
    run(async {
        let notes = Arc::clone(&events);
        let observe = move |event: &Event<'_>| {
            let note = match event {
                Event::Wanted { origin } => format!("wanted {}", origin.to_origin()),
                Event::Tunneled { proxy, .. } => format!("tunneled {proxy}"),
                Event::Failed { error } => format!("failed {:?}", error.phase()),
                _ => return,
            };
            notes.lock().unwrap().push(note);
        };
        let client = Client::builder().observer(observe).no_proxy().build();
        let by = |proxies: Proxies| {
            let request = client.get("http://a.example/").build();
            request.map(|mut request| {
                RequestOptions::default()
                    .proxies(proxies)
                    .put_into(&mut request);
                request
            })
        };
        let forward = Proxy::http(&one_url)?;
        client.send(by(forward.into())?).await?.text().await?;
        let tunnel = Proxy::http(&tunnel_url)?.tunnel();
        client.send(by(tunnel.into())?).await?.text().await?;
        let broken = Proxies::from_vars([("HTTP_PROXY", "x://")]);
        client.send(by(broken)?).await.unwrap_err();
        Ok(())
    });
    let events = events.lock().unwrap().clone();
    assert_eq!(
        events,
        [
            format!("wanted http://a.example:80 by proxy {one_url}"),
            format!("wanted http://a.example:80 by tunnel of {tunnel_url}"),
            format!("tunneled {tunnel_url}"),
            "failed Some(Proxy)".into(),
        ]
    );
}
