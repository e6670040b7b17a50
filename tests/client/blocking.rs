//! The client of threads without a runtime.

use std::io::Read;
use std::time::Duration;

use roundtrip::client::blocking;
use roundtrip::error::ErrorKind;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::pattern;
use crate::peer::run;

#[test]
fn gets_text() {
    let peer = Peer::answering(|seen| ok(format!("{}", seen.index)));
    for index in 0..3 {
        let text = blocking::get(peer.url("/")).unwrap().text().unwrap();
        assert_eq!(text, index.to_string());
    }
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn reads_like_a_file() {
    let body = pattern(3_000_000);
    let sent = body.clone();
    let peer = Peer::answering(move |_| ok(&sent));
    let client = blocking::Client::new();
    let mut response = client.get(peer.url("/")).send().unwrap();
    assert_eq!(response.status_code(), 200);
    let mut first = [0; 10];
    response.read_exact(&mut first).unwrap();
    assert_eq!(first, body[..10]);
    let mut rest = Vec::new();
    response.read_to_end(&mut rest).unwrap();
    assert!(rest == body[10..]);

    let mut response = client.get(peer.url("/")).send().unwrap();
    response.read_exact(&mut first).unwrap();
    drop(response);
    assert_eq!(
        client
            .post(peer.url("/"))
            .body("x")
            .send()
            .unwrap()
            .status_code(),
        200
    );
}

#[test]
fn what_was_read_is_not_lost() {
    let peer = Peer::answering(|_| ok("hello"));
    let mut response = blocking::get(peer.url("/")).unwrap();
    let mut first = [0; 2];
    response.read_exact(&mut first).unwrap();
    assert_eq!(response.text().unwrap(), "llo");
}

#[test]
fn a_server_that_closed_meanwhile_is_noticed() {
    let peer = Peer::start(|_, mut socket| {
        use std::io::Write;
        let mut request = [0; 1024];
        let _ = socket.read(&mut request).unwrap();
        socket.write_all(&ok("once")).unwrap();
    });
    let client = blocking::Client::new();
    for count in 1..4 {
        // A POST would not be repeated: the connection must not be handed out.
        let response = client.post(peer.url("/")).body("x").send().unwrap();
        assert_eq!(response.text().unwrap(), "once");
        assert_eq!(peer.accepted(), count);
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn threads_share_a_client_and_end() {
    let peer = Peer::answering(|seen| ok(&seen.body));
    let client = blocking::Client::new();
    let threads: Vec<_> = (0..4)
        .map(|number: u32| {
            let (client, url) = (client.clone(), peer.url("/"));
            std::thread::spawn(move || {
                for _ in 0..5 {
                    let request = client.post(&url).body(number.to_string());
                    assert_eq!(request.send().unwrap().text().unwrap(), number.to_string());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(peer.accepted(), 4);
    for _ in 0..500 {
        if peer.ended() == 4 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the connections of ended threads stay open");
}

#[test]
fn errors_come_at_once() {
    let error = blocking::get("http://127.0.0.1:1/").unwrap_err();
    assert!(error.is_connect(), "{error}");
    let error = blocking::get("nonsense").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let silent = Peer::start(|_, mut socket| {
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let request = blocking::Client::new().get(silent.url("/"));
    let error = request
        .timeout(Duration::from_millis(50))
        .send()
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    run(async {
        let error = blocking::get("http://127.0.0.1:1/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("roundtrip::Client"), "{error}");
        Ok(())
    });
}

#[test]
fn clients_go_from_thread_to_thread() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<roundtrip::Client>();
    shared::<blocking::Client>();
}
