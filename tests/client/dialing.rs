//! How connections are made, on the real kernel. What time decides is in `tests/dialing`.

use std::io::BufReader;
use std::io::Write;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::client::Client;
use roundtrip::client::dial::DialTarget;
use roundtrip::error::ErrorKind;
use roundtrip::net::Socket;
use roundtrip::runtime;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::read_request;
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
        .no_proxy()
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
            .no_proxy()
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

/// `(address, interface)` of what this machine has on its links, as the kernel lists it.
fn link_local_addresses() -> Vec<(Ipv6Addr, String)> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let bits = u128::from_str_radix(fields[0], 16).unwrap();
        (Ipv6Addr::from_bits(bits), fields[5].to_owned())
    };
    let addresses = table.lines().map(parse);
    addresses
        .filter(|(address, _)| address.is_unicast_link_local())
        .collect()
}

/// A zone says which link an address is on. It is not sent, and is a part of what is pooled by.
#[test]
fn zones_choose_the_link() {
    let peer = Peer::start_on("[::]:0", |connection, socket| {
        let mut reader = BufReader::new(&socket);
        let mut index = 0;
        while let Some(seen) = read_request(&mut reader, connection, index) {
            let answer = match seen.line.contains("/away") {
                true => format!(
                    "HTTP/1.1 302 Found\r\nLocation: http://{}/here\r\nContent-Length: 0\r\n\r\n",
                    seen.fields["host"].replace("localhost", "127.0.0.1"),
                )
                .into(),
                false => ok(seen.fields["host"].clone()),
            };
            (&socket).write_all(&answer).unwrap();
            index += 1;
        }
    });
    let port = peer.address().port();
    let on_lo = (Ipv6Addr::LOCALHOST, "lo".to_owned());
    run(async {
        let client = Client::builder().no_proxy().build();
        let get = async |url: String| client.get(url).send().await?.text().await;
        for (address, interface) in link_local_addresses().into_iter().chain([on_lo]) {
            let before = peer.accepted();
            let host = format!("[{address}]:{port}");
            for zone in [format!("%25{interface}"), format!("%{interface}")] {
                let at = format!("http://[{address}{zone}]:{port}");
                assert_eq!(get(format!("{at}/a")).await?, host);
                assert_eq!(get(format!("{at}/away")).await?, host);
                let based = Client::builder()
                    .no_proxy()
                    .base_url(format!("{at}/b/"))?
                    .build();
                assert_eq!(based.get("c").send().await?.text().await?, host);
            }
            assert_eq!(peer.accepted(), before + 3, "one for each client");
            let error = get(format!("http://[{address}%25no-such-link]:{port}/")).await;
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains("no network interface no-such-link"),
                "{error}"
            );
        }
        // Elsewhere the zone counts for nothing.
        let error = get(format!("http://127.0.0.1%25lo:{port}/"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        // Nor do guards and connectors lose it.
        let client = Client::builder()
            .no_proxy()
            .connector(async |target: &DialTarget<'_>| {
                let text = format!("{} {:?}", target.host(), target.zone());
                Err(Error::new(ErrorKind::Connect, text))
            })
            .build();
        let error = client
            .get("http://[fe80::1%25eth0]/")
            .send()
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("[fe80::1] Some(\"eth0\")"),
            "{error}"
        );
        Ok(())
    });
}

#[test]
fn connections_come_from_the_local_address() {
    let peer = Peer::start(|_, mut socket| {
        let from = socket.peer_addr().unwrap().ip().to_string();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0);
        socket.write_all(&ok(from)).unwrap();
    });
    run(async {
        let from = "127.0.0.2".parse().unwrap();
        let client = Client::builder().local_address(from).build();
        let text = client.get(peer.url("/")).send().await?.text().await?;
        assert_eq!(text, "127.0.0.2");
        Ok(())
    });
}

#[test]
fn unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut index = 0;
        while let Some(seen) = read_request(&mut reader, 0, index) {
            let answer = format!("{} {}", seen.fields["host"], seen.line);
            socket.write_all(&ok(answer)).unwrap();
            index += 1;
        }
        index
    });
    run(async {
        let client = Client::new();
        for _ in 0..2 {
            let request = client.get("http://docker/info").unix_socket(&path);
            let text = request.send().await?.text().await?;
            assert_eq!(text, "docker GET /info HTTP/1.1");
        }
        Ok(())
    });
    assert_eq!(answering.join().unwrap(), 2);
}

#[test]
fn a_connector_gives_any_socket() {
    let client = Client::builder()
        .connector(async |target: &DialTarget<'_>| {
            let host = target.host().to_owned();
            let (ours, mut theirs) = UnixStream::pair()?;
            std::thread::spawn(move || {
                let mut reader = BufReader::new(theirs.try_clone().unwrap());
                read_request(&mut reader, 0, 0);
                theirs.write_all(&ok(host)).unwrap();
            });
            Ok(Socket::from_owned(OwnedFd::from(ours)))
        })
        .build();
    run(async {
        let response = client.get("http://nowhere.example/").send().await?;
        assert_eq!(response.text().await?, "nowhere.example");
        Ok(())
    });
}
