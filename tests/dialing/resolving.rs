//! What is looked up, how often, and what is done with the answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Result;
use roundtrip::client::ClientBuilder;
use roundtrip::client::RequestOptions;
use roundtrip::client::Resolver;
use roundtrip::client::dial::ConnectTarget;
use roundtrip::client::observe::Event;
use roundtrip::client::observe::Observer;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::runtime;
use roundtrip::runtime::sleep;
use roundtrip::runtime::spawn;
use roundtrip::simulation::Reach;

use crate::OURS;
use crate::Site;
use crate::address;
use crate::exact;
use crate::ip;
use crate::milliseconds;
use crate::with;

const URL: &str = "http://a.example/";

/// Counts look-ups, and answers each after a while.
#[derive(Clone)]
struct Counting {
    count: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    takes: Duration,
    answers: Arc<dyn Fn(usize) -> Result<Vec<SocketAddr>> + Send + Sync>,
}

impl Counting {
    fn new(
        takes: Duration,
        answers: impl Fn(usize) -> Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Counting {
        Counting {
            count: Arc::default(),
            running: Arc::default(),
            takes,
            answers: Arc::new(answers),
        }
    }

    fn to(text: &'static str) -> Counting {
        Counting::new(milliseconds(50), move |_| Ok(vec![address(text)]))
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

/// Counts one until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Running {
        count.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Resolver for Counting {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        assert_eq!((host, port), ("a.example", 80));
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let _running = Running::new(&self.running);
        sleep(self.takes).await;
        (self.answers)(number)
    }
}

/// Every request dials.
fn dialing(resolver: &Counting) -> ClientBuilder {
    Client::builder()
        .resolver(resolver.clone())
        .idle_per_host_max(0)
}

async fn get(client: &Client) -> Result<String> {
    client.get(URL).send().await?.text().await
}

/// A request of which somebody hears.
async fn observed(client: &Client, url: &str, observer: &Observer) -> Result<String> {
    let mut request = client.get(url).build()?;
    let options = RequestOptions::default().observer(observer.clone());
    options.put_into(&mut request);
    client.send(request).await?.text().await
}

/// As many requests at the same time.
async fn get_many(client: &Client, count: usize) -> Vec<Result<String>> {
    let request = |client: Client| async move { get(&client).await };
    let begun: Vec<_> = (0..count).map(|_| spawn(request(client.clone()))).collect();
    let mut results = Vec::new();
    for handle in begun {
        results.push(handle.await.unwrap());
    }
    results
}

#[test]
fn many_dials_make_one_look_up() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::to(OURS[0]);
        for cache_age in [Duration::from_secs(30), Duration::ZERO] {
            let client = dialing(&resolver).dns_cache_age(cache_age).build();
            let before = resolver.count();
            for result in get_many(&client, 20).await {
                assert_eq!(result.unwrap(), OURS[0]);
            }
            assert_eq!(resolver.count() - before, 1);
        }
        assert_eq!(site.accepted(), 40);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn an_answer_counts_for_as_long_as_was_said() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::to(OURS[0]);
        let client = dialing(&resolver).build();
        // The look-up begins at 0 s; by default its answer counts for 30 s.
        let began = roundtrip::simulation::now();
        for (seconds, look_ups) in [(0, 1), (1, 1), (29, 1), (30, 2), (59, 2), (61, 3)] {
            runtime::sleep_until(began + Duration::from_secs(seconds)).await;
            get(&client).await.unwrap();
            assert_eq!(resolver.count(), look_ups, "after {seconds} s");
        }
        let never = dialing(&resolver).dns_cache_age(Duration::ZERO).build();
        for _ in 0..3 {
            get(&never).await.unwrap();
        }
        assert_eq!(resolver.count(), 6);
        // A client of its own knows nothing of the others.
        get(&dialing(&resolver).build()).await.unwrap();
        assert_eq!(resolver.count(), 7);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn clients_of_one_builder_know_nothing_of_each_other() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::to(OURS[0]);
        let builder = dialing(&resolver);
        get(&builder.clone().build()).await.unwrap();
        get(&builder.build()).await.unwrap();
        assert_eq!(resolver.count(), 2);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn who_began_a_look_up_may_go() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::to(OURS[0]);
        let client = dialing(&resolver).build();
        let impatient = client.get(URL).timeout(milliseconds(10)).send().await;
        assert!(impatient.unwrap_err().is_timeout());
        assert_eq!(get(&client).await.unwrap(), OURS[0]);
        assert_eq!(resolver.count(), 1);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn a_failure_is_told_to_all_and_not_kept() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::new(milliseconds(50), |number| match number {
            0 => Err(Error::new(ErrorKind::Resolve, "not now").because("a reason")),
            1 => Ok(Vec::new()),
            2 => panic!("on purpose"),
            _ => Ok(vec![address(OURS[0])]),
        });
        let client = dialing(&resolver).build();
        let expected = [
            (ErrorKind::Resolve, "not now: a reason"),
            (
                ErrorKind::Resolve,
                "the resolver has no address for a.example",
            ),
            (ErrorKind::Canceled, "the task panicked: on purpose"),
        ];
        for (round, (kind, words)) in expected.into_iter().enumerate() {
            for result in get_many(&client, 5).await {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), kind, "{error}");
                assert_eq!(error.phase(), Some(Phase::Resolve));
                assert_eq!(error.url(), Some(URL));
                assert!(format!("{error:#}").contains(words), "{error}");
            }
            assert_eq!(resolver.count(), round + 1);
        }
        assert_eq!(get(&client).await.unwrap(), OURS[0]);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn a_resolver_that_hangs_has_its_time() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::new(Duration::from_secs(1_000), |_| Ok(Vec::new()));
        let client = dialing(&resolver)
            .connect_timeout(Duration::from_secs(12))
            .build();
        let error = get(&client).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.phase(), Some(Phase::Resolve));
        assert!(
            error.to_string().contains("12s (connect_timeout)"),
            "{error}"
        );
        // Every five seconds it tried again.
        assert_eq!(resolver.count(), 3);
        // Those that nobody waits for end as well.
        assert_eq!(resolver.running(), 3);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(resolver.running(), 0);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn an_answer_that_comes_after_patience_ended_is_good_for_all() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::new(milliseconds(5_100), |_| Ok(vec![address(OURS[0])]));
        let client = dialing(&resolver).build();
        let began = roundtrip::simulation::now();
        for result in get_many(&client, 5).await {
            assert_eq!(result.unwrap(), OURS[0]);
        }
        assert_eq!(resolver.count(), 2);
        let took = roundtrip::simulation::now() - began;
        assert!(took < milliseconds(5_200), "{took:?}");
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn a_dial_that_failed_looks_up_again() {
    let report = exact().run(async {
        let site = Site::at(OURS[1]);
        let resolver = Counting::new(Duration::ZERO, |number| {
            Ok(vec![address(OURS[usize::from(number > 0)])])
        });
        let client = dialing(&resolver).build();
        let error = get(&client).await.unwrap_err();
        assert!(format!("{error:#}").contains("refused"), "{error}");
        for _ in 0..3 {
            assert_eq!(get(&client).await.unwrap(), OURS[1]);
        }
        assert_eq!(resolver.count(), 2);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn stale_addresses_serve_where_that_was_asked_for() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::new(Duration::ZERO, |number| match number {
            0 => Ok(vec![address(OURS[0])]),
            _ => Err(Error::new(ErrorKind::Resolve, "the resolver is down")),
        });
        let client = dialing(&resolver)
            .dns_stale_age(Duration::from_secs(60))
            .build();
        get(&client).await.unwrap();
        sleep(Duration::from_secs(80)).await;
        get(&client).await.unwrap();
        assert_eq!(resolver.count(), 2);
        sleep(Duration::from_secs(80)).await;
        let error = get(&client).await.unwrap_err();
        assert!(error.to_string().contains("down"), "{error}");
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn dials_spread_over_the_addresses_of_a_name() {
    let simulation = OURS
        .iter()
        .fold(exact(), |all, text| all.host("a.example", ip(text)));
    let report = simulation.run(async {
        let sites = OURS.map(Site::at);
        let client = Client::builder().idle_per_host_max(0).build();
        for _ in 0..9 {
            get(&client).await.unwrap();
        }
        for site in &sites {
            assert_eq!(site.accepted(), 3);
        }
        for site in sites {
            site.end().await;
        }
    });
    report.unwrap();
}

#[test]
fn a_closure_is_a_resolver_and_its_order_stays() {
    let report = with(exact(), &[(OURS[0], Reach::Unreachable)]).run(async {
        let site = Site::at(OURS[1]);
        let client = Client::builder()
            .resolver(async |_host: &str, port: u16| {
                Ok(OURS.map(|text| SocketAddr::new(ip(text), port)).to_vec())
            })
            .idle_per_host_max(0)
            .build();
        for _ in 0..4 {
            assert_eq!(get(&client).await.unwrap(), OURS[1]);
        }
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn addresses_set_by_hand_are_not_looked_up() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let resolver = Counting::to(OURS[2]);
        let client = dialing(&resolver)
            .resolve_to("A.example", None, [SocketAddr::new(ip(OURS[1]), 0)])
            .unwrap()
            .resolve_to("a.example", Some(80), [address(OURS[0])])
            .unwrap()
            .build();
        assert_eq!(get(&client).await.unwrap(), OURS[0]);
        let error = client.get("http://a.example:81/").send().await.unwrap_err();
        assert!(error.to_string().contains("10.0.0.2:81"), "{error}");
        assert_eq!(resolver.count(), 0);
        site.end().await;
    });
    report.unwrap();
}

/// Names of this machine are nobody else's to say (RFC 6761 §6.3).
#[test]
fn localhost_is_not_looked_up() {
    let report = exact().run(async {
        let site = Site::at("127.0.0.1");
        let resolver = Counting::to(OURS[2]);
        let client = dialing(&resolver).no_proxy().build();
        for host in ["localhost", "LOCALHOST.", "app.localhost", "a.b.localhost."] {
            let response = client.get(format!("http://{host}/")).send().await.unwrap();
            let peer = response.peer_addr().unwrap();
            assert_eq!(peer, address("127.0.0.1"), "{host}");
        }
        assert_eq!(resolver.count(), 0);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn look_ups_are_told() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&lines);
        let observer = Observer::new(move |event| {
            let line = match event {
                Event::Resolving { host } => format!("resolving {host}"),
                Event::Resolved {
                    addresses, time, ..
                } => format!("resolved {addresses:?} {time:?}"),
                Event::Connecting { address } => format!("connecting {address}"),
                Event::Connected { address, time } => format!("connected {address} {time:?}"),
                Event::ConnectFailed { address, .. } => format!("failed {address}"),
                _ => return,
            };
            theirs.lock().unwrap().push(line);
        });
        let resolver = Counting::new(milliseconds(50), |_| {
            Ok(vec![address(OURS[1]), address(OURS[0])])
        });
        let client = dialing(&resolver).build();
        for _ in 0..2 {
            observed(&client, URL, &observer).await.unwrap();
        }
        let connecting = [
            "connecting 10.0.0.2:80",
            "failed 10.0.0.2:80",
            "connecting 10.0.0.1:80",
            "connected 10.0.0.1:80 0ns",
        ];
        let mut expected = vec![
            "resolving a.example",
            "resolved [10.0.0.2:80, 10.0.0.1:80] 50ms",
        ];
        expected.extend(connecting);
        expected.push("resolved [10.0.0.2:80, 10.0.0.1:80] 0ns");
        expected.extend(connecting);
        assert_eq!(*lines.lock().unwrap(), expected);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn a_panic_in_a_dial_ends_the_request() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let is_first = std::sync::atomic::AtomicBool::new(true);
        let client = Client::builder()
            .per_host_max(1)
            .on_connect(move |_: &ConnectTarget<'_>| {
                let is_first = is_first.swap(false, Ordering::SeqCst);
                assert!(!is_first, "on purpose");
                Ok(())
            })
            .build();
        // Who merely looks on harms nobody.
        let observer = Observer::new(|event| {
            if let Event::Connecting { .. } = event {
                panic!("on purpose");
            }
        });
        let url = format!("http://{}/", OURS[0]);
        let first = observed(&client, &url, &observer);
        // It waits for the place of the first, and gets it.
        let (other, theirs) = (client.clone(), url.clone());
        let second = spawn(async move { other.get(theirs).send().await?.text().await });
        let error = first.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled, "{error}");
        assert_eq!(error.phase(), Some(Phase::Connect));
        assert_eq!(second.await.unwrap().unwrap(), OURS[0]);
        client.close_idle();
        let third = observed(&client, &url, &observer);
        assert_eq!(third.await.unwrap(), OURS[0]);
        site.end().await;
    });
    report.unwrap();
}
