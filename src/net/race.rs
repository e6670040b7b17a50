//! Attempts to connect, side by side, as one future (RFC 8305).
//!
//! ```text
//!   waiting: v6 v4 v6 v4 …  ─── begin ──► running ──► the first that connects
//!                  ▲                        │ failed: the next begins at once
//!                  └── 250 ms since the last began, or nothing runs
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::limits::CONNECT_ADDRESSES_MAX;
use crate::limits::CONNECT_ATTEMPT_DELAY;
use crate::net::connect::Attempts;
use crate::net::connect::ConnectOptions;
use crate::net::connect::Connected;
use crate::net::connect::connect_one;
use crate::net::connect::owned;
use crate::reactor::sys::Address;
use crate::reactor::sys::Socket;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::Sleep;
use crate::runtime::sleep_until;

type Connecting = Pin<Box<dyn Future<Output = Result<Rc<Socket>, Error>>>>;

/// The future of [`race`](crate::net::race). Dropped, every attempt is cancelled.
pub(super) struct Race<'a, A> {
    core: Rc<Core>,
    options: ConnectOptions,
    attempts: &'a A,
    /// Addresses that were given.
    given_count: usize,
    waiting: VecDeque<SocketAddr>,
    running: Vec<Attempt>,
    /// When the next attempt may begin beside those that run.
    next: Instant,
    /// Addresses that were tried, and those of them that failed, in order.
    tried_count: usize,
    failures: Vec<Error>,
    /// Why the first of the addresses that may not be tried may not.
    refusal: Option<Error>,
    sleep: Option<(Instant, Pin<Box<Sleep>>)>,
}

struct Attempt {
    address: SocketAddr,
    began: Instant,
    connecting: Connecting,
}

impl<'a, A: Attempts> Race<'a, A> {
    pub(super) fn new(
        core: &Rc<Core>,
        addresses: &[SocketAddr],
        options: ConnectOptions,
        attempts: &'a A,
    ) -> Race<'a, A> {
        let usable = addresses.iter().copied();
        let usable: Vec<SocketAddr> = usable.filter(|one| options.reaches(one)).collect();
        Race {
            core: Rc::clone(core),
            options,
            attempts,
            given_count: addresses.len(),
            waiting: interleave(&usable).into(),
            running: Vec::new(),
            next: core.now(),
            tried_count: 0,
            failures: Vec::new(),
            refusal: None,
            sleep: None,
        }
    }

    /// Begins with the next address that may be tried; false when there is none.
    fn begin(&mut self) -> bool {
        let address = loop {
            let Some(address) = self.waiting.pop_front() else {
                return false;
            };
            match self.attempts.begin(address) {
                Ok(()) => break address,
                Err(refusal) => {
                    self.refusal.get_or_insert(refusal);
                }
            }
        };
        self.tried_count += 1;
        self.next = self.core.now() + CONNECT_ATTEMPT_DELAY;
        let core = Rc::clone(&self.core);
        let source = self.options.source;
        let connecting = async move { connect_one(&core, &Address::Tcp(address), source).await };
        self.running.push(Attempt {
            address,
            began: self.core.now(),
            connecting: Box::pin(connecting),
        });
        true
    }

    /// Polls every attempt: a connection, or whether any has failed.
    fn poll_running(&mut self, context: &mut Context<'_>) -> Result<Connected, bool> {
        let mut has_failed = false;
        let mut index = 0;
        while let Some(attempt) = self.running.get_mut(index) {
            let Poll::Ready(outcome) = attempt.connecting.as_mut().poll(context) else {
                index += 1;
                continue;
            };
            let Attempt { address, began, .. } = self.running.remove(index);
            match outcome.and_then(owned) {
                Ok(socket) => {
                    self.attempts.connected(address, self.core.now() - began);
                    return Ok(Connected { socket, address });
                }
                Err(error) => {
                    has_failed = true;
                    self.attempts.failed(address, &error);
                    self.failures.push(error);
                }
            }
        }
        Err(has_failed)
    }

    /// Waits for the deadline, or until the next attempt may begin; false when that has come.
    fn poll_sleep(&mut self, context: &mut Context<'_>) -> bool {
        let until = match self.waiting.is_empty() {
            true => self.options.deadline,
            false => self.next.min(self.options.deadline),
        };
        let sleep = match &mut self.sleep {
            Some((at, sleep)) if *at == until => sleep,
            other => &mut other.insert((until, Box::pin(sleep_until(until)))).1,
        };
        sleep.as_mut().poll(context).is_pending()
    }

    /// The deadline has come.
    fn time_out(&mut self) -> Error {
        let within = self.options.timeout;
        let late: Vec<Attempt> = self.running.drain(..).collect();
        for Attempt { address, .. } in &late {
            self.attempts.failed(*address, &silent(*address, within));
        }
        match &late[..] {
            [] => too_late(within),
            [only] if self.tried_count == 1 => silent(only.address, within),
            [first, ..] => {
                let error = timeout(format!(
                    "no connection within {within:?} (connect_timeout): of {} tried, {} did not \
                     answer, the first of them {}",
                    self.tried(),
                    late.len(),
                    first.address,
                ));
                match self.failures.drain(..).next() {
                    Some(failure) => error.because(failure),
                    None => error,
                }
            }
        }
    }

    /// Nothing runs any more, and nothing waits.
    fn fail(&mut self) -> Error {
        let connect = |text| Error::new(ErrorKind::Connect, text).in_phase(Phase::Connect);
        let mut failures = std::mem::take(&mut self.failures);
        let Some(last) = failures.pop() else {
            return match (self.refusal.take(), self.options.source) {
                (Some(refusal), _) => refused(refusal),
                (None, Some(source)) if self.given_count > 0 => connect(format!(
                    "no address of the host can be reached from {source} (local_address): all of \
                     them are of the other family"
                )),
                (None, _) => connect("there is no address to connect to".into()),
            };
        };
        match failures.first() {
            None => last,
            Some(first) => {
                let tried = self.tried();
                connect(format!(
                    "none of {tried} took the connection (the first: {first:#})"
                ))
                .because(last)
            }
        }
    }

    /// How many addresses were tried, in words.
    fn tried(&self) -> String {
        if self.tried_count < self.given_count {
            format!("{} of {} addresses", self.tried_count, self.given_count)
        } else {
            format!("{} addresses", self.tried_count)
        }
    }
}

impl<A: Attempts> Future for Race<'_, A> {
    type Output = Result<Connected, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let race = &mut *self;
        loop {
            let has_failed = match race.poll_running(context) {
                Ok(connected) => return Poll::Ready(Ok(connected)),
                Err(has_failed) => has_failed,
            };
            let now = race.core.now();
            if now >= race.options.deadline && !(race.running.is_empty() && race.waiting.is_empty())
            {
                return Poll::Ready(Err(race.time_out()));
            }
            let may_begin = has_failed || race.running.is_empty() || now >= race.next;
            if may_begin && race.begin() {
                continue;
            }
            if race.running.is_empty() {
                return Poll::Ready(Err(race.fail()));
            }
            if race.poll_sleep(context) {
                return Poll::Pending;
            }
        }
    }
}

/// What a race of one address comes to, without a race's lists.
pub(super) async fn run_alone(
    core: &Rc<Core>,
    address: SocketAddr,
    options: ConnectOptions,
    attempts: &impl Attempts,
) -> Result<Connected, Error> {
    if core.now() >= options.deadline {
        return Err(too_late(options.timeout));
    }
    attempts.begin(address).map_err(refused)?;
    let began = core.now();
    let target = Address::Tcp(address);
    let mut connecting = pin!(connect_one(core, &target, options.source));
    let mut sleep = pin!(sleep_until(options.deadline));
    let outcome = poll_fn(|context| match connecting.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(outcome.and_then(owned)),
        Poll::Pending => {
            let slept = sleep.as_mut().poll(context);
            slept.map(|()| Err(silent(address, options.timeout)))
        }
    });
    match outcome.await {
        Ok(socket) => {
            attempts.connected(address, core.now() - began);
            Ok(Connected { socket, address })
        }
        Err(error) => {
            attempts.failed(address, &error);
            Err(error)
        }
    }
}

fn timeout(text: String) -> Error {
    Error::new(ErrorKind::Timeout, text).in_phase(Phase::Connect)
}

/// The address did not answer until the deadline.
fn silent(address: SocketAddr, within: Duration) -> Error {
    timeout(format!(
        "{address} did not answer within {within:?} (connect_timeout)"
    ))
}

/// The deadline came before an attempt.
fn too_late(within: Duration) -> Error {
    timeout(format!(
        "no time was left to connect within {within:?} (connect_timeout)"
    ))
}

/// Why the only address that may be tried may not.
fn refused(refusal: Error) -> Error {
    match refusal.phase() {
        Some(_) => refusal,
        None => refusal.in_phase(Phase::Connect),
    }
}

/// The addresses in the order in which they are tried: families in turn, the first one's first
/// (RFC 8305 §4, First Address Family Count 1), each in its own order.
pub(crate) fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let of = |is_ipv4| {
        let addresses = addresses.iter().copied();
        addresses.filter(move |address| address.is_ipv4() == is_ipv4)
    };
    let (mut first, mut second) = (of(is_ipv4), of(!is_ipv4));
    let mut ordered = Vec::new();
    while ordered.len() < CONNECT_ADDRESSES_MAX {
        let before = ordered.len();
        ordered.extend(first.next().into_iter().chain(second.next()));
        if ordered.len() == before {
            break;
        }
    }
    ordered.truncate(CONNECT_ADDRESSES_MAX);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(addresses: &[&str]) -> Vec<String> {
        let parse = |text: &&str| SocketAddr::new(text.parse().unwrap(), 1);
        let addresses: Vec<SocketAddr> = addresses.iter().map(parse).collect();
        let ordered = interleave(&addresses);
        ordered
            .iter()
            .map(|address| address.ip().to_string())
            .collect()
    }

    #[test]
    fn families_take_turns() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (&["10.0.0.1", "10.0.0.2"], &["10.0.0.1", "10.0.0.2"]),
            (
                &["2::1", "2::2", "2::3", "10.0.0.1", "10.0.0.2"],
                &["2::1", "10.0.0.1", "2::2", "10.0.0.2", "2::3"],
            ),
            (
                &["10.0.0.1", "10.0.0.2", "2::1"],
                &["10.0.0.1", "2::1", "10.0.0.2"],
            ),
            (&["2::1", "10.0.0.1"], &["2::1", "10.0.0.1"]),
        ];
        for (given, expected) in cases {
            assert_eq!(ordered(given), expected);
        }
    }

    #[test]
    fn both_families_are_among_the_few_that_are_tried() {
        let mut many = vec!["2::1"; CONNECT_ADDRESSES_MAX];
        many.extend(["10.0.0.1"; 3]);
        let ordered = ordered(&many);
        assert_eq!(ordered.len(), CONNECT_ADDRESSES_MAX);
        assert_eq!(ordered.iter().filter(|text| *text == "10.0.0.1").count(), 3);
    }
}
