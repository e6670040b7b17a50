//! How connections are made, on the real kernel. What time decides is in `tests/dialing`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roundtrip::client::Client;
use roundtrip::runtime;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::run;
use crate::peer::until;

#[test]
fn cores_share_what_is_looked_up() {
    let peer = Peer::answering(|_| ok("hello"));
    let address = peer.address();
    let (count, may_end) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (theirs, waits_for) = (Arc::clone(&count), Arc::clone(&may_end));
    let client = Client::builder()
        .resolver(async move |_host: &str, _port: u16| {
            theirs.fetch_add(1, Ordering::SeqCst);
            until("the other cores have asked", || {
                waits_for.load(Ordering::SeqCst)
            })
            .await;
            Ok(vec![address])
        })
        .build();
    let ask = |client: Client| {
        move || {
            run(async {
                let response = client.get("http://site.example/").send().await?;
                response.text().await
            })
        }
    };
    let mut threads = vec![std::thread::spawn(ask(client.clone()))];
    run(async {
        until("a look-up began", || count.load(Ordering::SeqCst) == 1).await;
        threads.extend((0..3).map(|_| std::thread::spawn(ask(client.clone()))));
        // Whoever comes later than this finds the answer: the count is the same.
        runtime::sleep(Duration::from_millis(50)).await;
        may_end.store(true, Ordering::SeqCst);
        Ok(())
    });
    for thread in threads {
        assert_eq!(thread.join().unwrap(), "hello");
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(peer.accepted(), 4);
}

#[test]
fn names_of_the_system_and_names_set_by_hand() {
    let peer = Peer::answering(|seen| ok(seen.fields["host"].clone()));
    let port = peer.address().port();
    run(async {
        // ::1 refuses where it comes first.
        let url = format!("http://localhost:{port}/");
        let text = Client::new().get(&url).send().await?.text().await?;
        assert_eq!(text, format!("localhost:{port}"));
        let client = Client::builder()
            .resolve_to("www.example.com", Some(80), [peer.address()])?
            .build();
        let response = client.get("http://www.example.com/").send().await?;
        assert_eq!(response.text().await?, "www.example.com");
        Ok(())
    });
    let addresses: [SocketAddr; 1] = [peer.address()];
    let error = Client::builder().resolve_to("not a host", None, addresses);
    assert!(error.unwrap_err().to_string().contains("resolve_to"));
}
