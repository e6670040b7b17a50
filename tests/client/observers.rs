//! What a client tells of its work.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use roundtrip::Client;
use roundtrip::client::observe::Event;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::run;
use crate::peer::until;

/// The events as words.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn observe(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let told = self.clone();
        move |event| {
            let word = match event {
                Event::Wanted { .. } => "wanted".to_owned(),
                Event::Queued { .. } => "queued".to_owned(),
                Event::Got {
                    is_reused,
                    connection,
                    ..
                } => {
                    format!("got {connection} reused {is_reused}")
                }
                Event::Sent { .. } => "sent".to_owned(),
                Event::ContinueAwaited { .. } => "awaits".to_owned(),
                Event::Informational { status, .. } => format!("{}", status.as_u16()),
                Event::Head { status, .. } => format!("head {}", status.as_u16()),
                Event::Finished { is_sent: true, .. } => "finished".to_owned(),
                Event::Finished { .. } => "finished early".to_owned(),
                Event::Rested { .. } => "rested".to_owned(),
                Event::Retrying => "retrying".to_owned(),
                Event::Failed { .. } => "failed".to_owned(),
                Event::Closed { reason, .. } => format!("closed: {reason}"),
                // Of dials, which have tests of their own.
                _ => return,
            };
            told.0.lock().unwrap().push(word);
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[test]
fn a_request_from_its_wish_to_its_end() {
    let peer = Peer::answering(|seen| match seen.index {
        0 => ok("one"),
        _ => b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let told = Told::default();
    run(async {
        let client = Client::builder().observer(told.observe()).build();
        client.get(peer.url("/")).send().await?.text().await?;
        let expected = [
            "wanted",
            "got 1 reused false",
            "sent",
            "head 200",
            "finished",
            "rested",
        ];
        assert_eq!(told.take(), expected);
        client.get(peer.url("/")).send().await?.text().await?;
        until("it has closed", || told.0.lock().unwrap().len() == 6).await;
        let expected = [
            "wanted",
            "got 1 reused true",
            "sent",
            "head 200",
            "finished",
            "closed: the peer asked to close",
        ];
        assert_eq!(told.take(), expected);
        Ok(())
    });
}

#[test]
fn heads_as_they_stand_on_the_wire() {
    let early: &[u8] = b"HTTP/1.1 103 \xfcber  \r\nlink:  <a>\t\r\n\r\n";
    let last: &[u8] = b"HTTP/1.0 299 as they SAY\r\nx-Odd:1\r\nContent-Length: 1\r\n\r\n";
    let peer = Peer::answering(move |_| [early, last, b"x"].concat());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heads);
    run(async {
        let request = Client::new().get(peer.url("/")).header("x-Mine", "1");
        let observed = request.observer(move |event| {
            if let Event::RequestHead { bytes } | Event::ResponseHead { bytes } = event {
                told.lock().unwrap().push(bytes.to_vec());
            }
        });
        observed.send().await?.text().await?;
        Ok(())
    });
    let heads = heads.lock().unwrap();
    assert!(heads[0].starts_with(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:"));
    assert!(heads[0].ends_with(b"\r\n\r\n"));
    assert!(
        str::from_utf8(&heads[0])
            .unwrap()
            .contains("\r\nx-Mine: 1\r\n")
    );
    assert_eq!(heads[1..], [early, last]);
}

#[test]
fn a_request_that_was_answered_before_it_was_read() {
    let answer = b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n";
    let body = vec![7; 16 << 20];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        stream.write_all(answer).unwrap();
        stream
    });
    let sent = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&sent);
    run(async {
        let request = Client::new().post(&url).body(body);
        let observed = request.observer(move |event| {
            if let Event::Finished { is_sent, .. } = event {
                told.lock().unwrap().push(*is_sent);
            }
        });
        observed.send().await?.text().await?;
        Ok(())
    });
    assert_eq!(*sent.lock().unwrap(), [false]);
    drop(peer.join().unwrap());
}

#[test]
fn one_request_alone_and_what_it_waits_for() {
    let peer = Peer::answering(|_| ok("x"));
    let told = Told::default();
    run(async {
        let client = Client::builder().per_host_max(1).build();
        let first = client.get(peer.url("/")).send();
        let second = client.get(peer.url("/")).observer(told.observe()).send();
        let second = roundtrip::runtime::spawn(second);
        first.await?.text().await?;
        second.await??.text().await?;
        let expected = [
            "wanted",
            "queued",
            "got 1 reused true",
            "sent",
            "head 200",
            "finished",
        ];
        assert_eq!(told.take(), expected);
        Ok(())
    });
}

#[test]
fn what_fails_is_told() {
    let peer = Peer::start(|_, socket| drop(socket));
    let told = Told::default();
    run(async {
        let client = Client::builder().observer(told.observe()).build();
        client.get(peer.url("/")).send().await.unwrap_err();
        let told = told.take();
        assert_eq!(
            told.iter().filter(|word| *word == "failed").count(),
            1,
            "{told:?}"
        );
        assert!(
            told.iter().any(|word| word.starts_with("closed: ")),
            "{told:?}"
        );
        Ok(())
    });
}

#[test]
fn the_last_request_of_a_connection_says_so() {
    let peer = Peer::answering(|seen| {
        let is_last = seen.index == 1;
        let connection = seen.fields.get("connection").map(String::as_str);
        assert_eq!(connection, is_last.then_some("close"));
        ok("x")
    });
    run(async {
        let client = Client::builder().requests_per_connection_max(2).build();
        for _ in 0..4 {
            client.get(peer.url("/")).send().await?.text().await?;
        }
        assert_eq!(client.stats().unwrap().pool.connected_total, 2);
        Ok(())
    });
    let peer = Peer::answering(|seen| {
        assert_eq!(seen.fields["connection"], "close");
        ok("x")
    });
    run(async {
        let client = Client::builder().keep_alive(false).build();
        for _ in 0..2 {
            client.get(peer.url("/")).send().await?.text().await?;
        }
        assert_eq!(client.stats().unwrap().pool.connected_total, 2);
        Ok(())
    });
}
