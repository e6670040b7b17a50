//! Names to addresses, for the dials of a client.
//!
//! ```text
//!   host:port ─┬─ an address as text, a name of this machine ───────┐
//!              ├─ set by hand (resolve_to) ─────────────────────────┤
//!              └─ cache ─┬─ known ──────────────────────────────────┤
//!                        ├─ looked up by another dial: its answer ──┤
//!                        └─ look up: the client's resolver, or      ┴─► addresses to try
//!                           getaddrinfo(3) on a thread
//! ```
//! All cores of a client share what is known, and many dials to one name make one look-up. A look-up
//! belongs to nobody: it goes on when the request that caused it is given up. One that has no thread
//! yet is not begun once nobody waits for it. Failures are not kept.

mod cache;

use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::client::resolve::cache::Ages;
use crate::client::resolve::cache::Answer;
use crate::client::resolve::cache::Asked;
use crate::client::resolve::cache::Cache;
use crate::client::resolve::cache::Ended;
use crate::client::resolve::cache::Lookup;
use crate::client::resolve::cache::Name;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::limits::DNS_CACHE_AGE;
use crate::limits::LOOKUP_TIMEOUT;
use crate::net;
use crate::runtime;
use crate::runtime::Core;

/// Finds the addresses of hosts: for service discovery, DNS over other transports, tests. A closure
/// `async |host: &str, port: u16| -> Result<Vec<SocketAddr>>` is one.
///
/// It is called on the core that dials, for names that are not known to the client
/// ([`dns_cache_age`](crate::client::ClientBuilder::dns_cache_age)), once for all dials that want
/// the same name at the same time, and has 30 s. Its addresses are tried in its order, the families
/// in turn; they may have another port than the one that was asked for.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`: a name in lower case, never an address, nor `localhost` or a name below
    /// it. None are an error.
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = Result<Vec<SocketAddr>>>;
}

impl<F> Resolver for F
where
    F: AsyncFn(&str, u16) -> Result<Vec<SocketAddr>> + Send + Sync + 'static,
{
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        self(host, port).await
    }
}

type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>>> + 'a>>;

trait ErasedResolver: Send + Sync {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

impl<R: Resolver> ErasedResolver for R {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(Resolver::resolve(self, host, port))
    }
}

/// How a client finds addresses, and what it has found.
#[derive(Clone)]
pub(super) struct Names {
    resolver: Option<Arc<dyn ErasedResolver>>,
    overrides: Vec<Override>,
    ages: Ages,
    cache: Arc<Cache>,
}

/// Addresses that were set by hand.
#[derive(Clone, Debug)]
struct Override {
    host: Box<str>,
    /// `None` for every port.
    port: Option<u16>,
    addresses: Vec<SocketAddr>,
}

/// The look-up that a dial waits for.
#[derive(Default)]
pub(super) struct Awaited(RefCell<Option<Arc<Lookup>>>);

impl Awaited {
    /// What did not happen while it was waited for.
    pub(super) fn missed(&self) -> &'static str {
        let lookup = self.0.borrow();
        match lookup.as_ref().is_none_or(|lookup| lookup.has_begun()) {
            true => "the name was not found",
            false => "other look-ups took all threads: the turn of this name did not come",
        }
    }
}

/// Addresses to try, in order.
pub(super) struct Found {
    pub(super) addresses: Vec<SocketAddr>,
    /// What they come from, if they were looked up.
    answer: Option<Arc<Answer>>,
}

impl Found {
    /// None of the addresses could be connected to.
    pub(super) fn doubt(&self) {
        if let Some(answer) = &self.answer {
            answer.doubt();
        }
    }
}

impl Default for Names {
    fn default() -> Names {
        Names {
            resolver: None,
            overrides: Vec::new(),
            ages: Ages {
                fresh: DNS_CACHE_AGE,
                stale: Duration::ZERO,
            },
            cache: Arc::default(),
        }
    }
}

impl Names {
    pub(super) fn set_resolver(&mut self, resolver: impl Resolver) {
        self.resolver = Some(Arc::new(resolver));
    }

    pub(super) fn set_fresh_age(&mut self, age: Duration) {
        self.ages.fresh = age;
    }

    pub(super) fn set_stale_age(&mut self, age: Duration) {
        self.ages.stale = age;
    }

    /// Sets the addresses of a host; those that have port 0 get the one that is asked for.
    ///
    /// # Errors
    ///
    /// The host is none, or there is no address.
    pub(super) fn set_addresses(
        &mut self,
        host: &str,
        port: Option<u16>,
        addresses: Vec<SocketAddr>,
    ) -> Result<()> {
        let invalid = |text| Error::new(ErrorKind::Invalid, text);
        // As it stands in URLs: lower case, other alphabets in ASCII.
        let host = url::Host::parse(host).map_err(|error| {
            invalid(format!("{host:?} is no host of a URL (resolve_to)")).because(error)
        })?;
        let host: Box<str> = host.to_string().into();
        if addresses.is_empty() {
            return Err(invalid(format!("no address for {host} (resolve_to)")));
        }
        let is_same = |set: &Override| set.host == host && set.port == port;
        self.overrides.retain(|set| !is_same(set));
        self.overrides.push(Override {
            host,
            port,
            addresses,
        });
        Ok(())
    }

    /// The same settings, with nothing known yet.
    pub(super) fn separate(&mut self) {
        self.cache = Arc::default();
    }

    /// The addresses of a host, if they are known.
    pub(super) fn find(&self, core: &Core, host: &str, port: u16) -> Option<Found> {
        let unasked = |addresses: &[SocketAddr]| Found {
            addresses: net::interleave(addresses),
            answer: None,
        };
        if let Some(addresses) = self.find_override(host, port) {
            return Some(unasked(&addresses));
        }
        if let Some(addresses) = net::known(host, port) {
            return Some(unasked(&addresses));
        }
        let name = Name {
            host: host.into(),
            port,
        };
        let answer = self.cache.find(&name, core.now(), self.ages.fresh)?;
        Some(self.found(answer))
    }

    /// The addresses of a host that is not known: looks it up, or joins who does.
    ///
    /// # Errors
    ///
    /// Those of the resolver; it took too long, or panicked; [`ErrorKind::Limit`] where it was not asked.
    pub(super) async fn look_up(
        &self,
        core: &Core,
        host: &str,
        port: u16,
        awaited: &Awaited,
    ) -> Result<Found> {
        let name = Name {
            host: host.into(),
            port,
        };
        loop {
            let now = core.now();
            let lookup = match self.cache.ask(&name, now, self.ages.fresh) {
                Asked::Known(answer) => return Ok(self.found(answer)),
                Asked::Pending(lookup) => lookup,
                Asked::Begun(lookup) => {
                    self.begin(&name, &lookup);
                    lookup
                }
            };
            awaited.0.replace(Some(Arc::clone(&lookup)));
            let patience = lookup.patience_ends(now) - now;
            match runtime::timeout(patience, lookup.wait()).await {
                Ok(Ended::Found(answer)) => return Ok(self.found(answer)),
                Ok(Ended::Failed(error)) => return Err(copy(error)),
                Ok(Ended::Abandoned) | Err(_) => {}
            }
        }
    }

    fn begin(&self, name: &Name, lookup: &Arc<Lookup>) {
        let leader = Leader {
            cache: Arc::clone(&self.cache),
            name: name.clone(),
            lookup: Arc::clone(lookup),
            ages: self.ages,
        };
        match &self.resolver {
            None => {
                let leader = Arc::new(leader);
                let theirs = Arc::clone(&leader);
                let done = move |result| theirs.finish(result);
                match net::look_up(&name.host, name.port, done) {
                    Ok(ticket) => lookup.queue(ticket),
                    Err(error) => leader.finish(Err(error)),
                }
            }
            Some(resolver) => {
                let (resolver, name) = (Arc::clone(resolver), name.clone());
                let resolving = runtime::spawn(async move {
                    let resolving = resolver.resolve(&name.host, name.port);
                    runtime::timeout(LOOKUP_TIMEOUT, resolving).await
                });
                runtime::spawn(async move {
                    match resolving.await {
                        Ok(Ok(found)) => leader.finish(checked(found, &leader.name)),
                        // Nobody waits for so long.
                        Ok(Err(_)) => {}
                        Err(panicked) => leader.finish(Err(panicked.in_phase(Phase::Resolve))),
                    }
                });
            }
        }
    }

    fn found(&self, answer: Arc<Answer>) -> Found {
        let mut addresses = answer.addresses.to_vec();
        if self.resolver.is_none() {
            rotate(&mut addresses, answer.next_turn());
        }
        Found {
            addresses: net::interleave(&addresses),
            answer: Some(answer),
        }
    }

    fn find_override(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let of_host = || self.overrides.iter().filter(|set| *set.host == *host);
        let found = of_host()
            .find(|set| set.port == Some(port))
            .or_else(|| of_host().find(|set| set.port.is_none()))?;
        let with_port = |address: &SocketAddr| match address.port() {
            0 => SocketAddr::new(address.ip(), port),
            _ => *address,
        };
        Some(found.addresses.iter().map(with_port).collect())
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("has_resolver", &self.resolver.is_some())
            .field("overrides", &self.overrides)
            .field("ages", &self.ages)
            .finish_non_exhaustive()
    }
}

/// Who looks a name up for all. Dropped without a result, others begin again.
struct Leader {
    cache: Arc<Cache>,
    name: Name,
    lookup: Arc<Lookup>,
    ages: Ages,
}

impl Leader {
    fn finish(&self, result: Result<Vec<SocketAddr>>) {
        let (name, lookup) = (&self.name, &self.lookup);
        self.cache.finish(name, lookup, result, self.ages);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.cache.abandon(&self.name, &self.lookup);
    }
}

/// What a custom resolver came to.
fn checked(found: Result<Vec<SocketAddr>>, name: &Name) -> Result<Vec<SocketAddr>> {
    let addresses = found.map_err(|error| error.in_phase(Phase::Resolve))?;
    if addresses.is_empty() {
        let text = format!("the resolver has no address for {}", name.host);
        return Err(Error::new(ErrorKind::Resolve, text).in_phase(Phase::Resolve));
    }
    Ok(addresses)
}

/// Another first address within each family for each dial, so that dials spread over all of them.
/// Which family comes first stays as it is.
fn rotate(addresses: &mut [SocketAddr], turn: usize) {
    let Some(is_ipv4) = addresses.first().map(SocketAddr::is_ipv4) else {
        return;
    };
    addresses.sort_by_key(|address| address.is_ipv4() != is_ipv4);
    let split = addresses.partition_point(|address| address.is_ipv4() == is_ipv4);
    let (first, second) = addresses.split_at_mut(split);
    for family in [first, second] {
        if !family.is_empty() {
            family.rotate_left(turn % family.len());
        }
    }
}

/// An error for each of those who waited.
fn copy(error: Arc<Error>) -> Error {
    let copy = Error::new(error.kind(), error.text().to_owned());
    let copy = copy.in_phase(error.phase().unwrap_or(Phase::Resolve));
    let copy = match error.answer() {
        Some(status) => copy.answered(status),
        None => copy,
    };
    match error.source() {
        Some(_) => copy.because(Cause(error)),
        None => copy,
    }
}

/// The source of an error that several have.
#[derive(Debug)]
struct Cause(Arc<Error>);

impl Cause {
    fn inner(&self) -> &(dyn StdError + 'static) {
        self.0.source().expect("it was looked at before")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner().source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn dials_take_turns_within_each_family() {
        let given = [
            "[2::1]:1",
            "10.0.0.1:1",
            "[2::2]:1",
            "10.0.0.2:1",
            "10.0.0.3:1",
        ];
        let cases: [(usize, [&str; 5]); 3] = [
            (
                0,
                [
                    "[2::1]:1",
                    "[2::2]:1",
                    "10.0.0.1:1",
                    "10.0.0.2:1",
                    "10.0.0.3:1",
                ],
            ),
            (
                1,
                [
                    "[2::2]:1",
                    "[2::1]:1",
                    "10.0.0.2:1",
                    "10.0.0.3:1",
                    "10.0.0.1:1",
                ],
            ),
            (
                5,
                [
                    "[2::2]:1",
                    "[2::1]:1",
                    "10.0.0.3:1",
                    "10.0.0.1:1",
                    "10.0.0.2:1",
                ],
            ),
        ];
        for (turn, expected) in cases {
            let mut rotated = addresses(&given);
            rotate(&mut rotated, turn);
            assert_eq!(rotated, addresses(&expected), "{turn}");
        }
        rotate(&mut [], 3);
    }

    #[test]
    fn addresses_set_by_hand() {
        let mut names = Names::default();
        let mut set =
            |host: &str, port, texts: &[&str]| names.set_addresses(host, port, addresses(texts));
        set("A.Example", None, &["10.0.0.1:0"]).unwrap();
        set("a.example", Some(81), &["10.0.0.2:8081", "10.0.0.3:0"]).unwrap();
        set("a.example", None, &["10.0.0.9:0"]).unwrap();
        set("bücher.example", None, &["10.0.0.4:9"]).unwrap();
        set("10.1.1.1", None, &["10.0.0.5:0"]).unwrap();
        let error = set("no host", None, &["10.0.0.1:0"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(set("b.example", None, &[]).is_err());
        let cases: [(&str, u16, Option<&[&str]>); 6] = [
            ("a.example", 80, Some(&["10.0.0.9:80"])),
            ("a.example", 81, Some(&["10.0.0.2:8081", "10.0.0.3:81"])),
            ("xn--bcher-kva.example", 80, Some(&["10.0.0.4:9"])),
            ("10.1.1.1", 80, Some(&["10.0.0.5:80"])),
            ("b.example", 80, None),
            ("sub.a.example", 80, None),
        ];
        for (host, port, expected) in cases {
            assert_eq!(
                names.find_override(host, port),
                expected.map(addresses),
                "{host}"
            );
        }
    }

    #[test]
    fn each_of_many_has_the_whole_error() {
        let io = std::io::Error::other("the cause");
        let error = Error::new(ErrorKind::Resolve, "no address").because(io);
        let copied = copy(Arc::new(error));
        assert_eq!(format!("{copied:#}"), "no address: the cause");
        assert_eq!(copied.phase(), Some(Phase::Resolve));
    }
}
