//! Requests that are sent again: a policy, above what the transport does on its own.
//!
//! ```text
//!   request ─► next ─► worth another attempt? ── no ──────────────────────────► the caller
//!                ▲          │ yes
//!                │          ├─ attempts left? body replayable? time left? budget? ── no ──► ″
//!                │          ▼
//!                └─ wait: Retry-After, and a random part of first · 2ⁿ
//! ```
//! The transport itself repeats a request only where a reused connection was lost before it could
//! answer, at once and without a count; this one is for servers that fail.

mod backoff;
mod budget;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use ::http::StatusCode;
use url::Url;

use crate::client::middleware::retry::backoff::Backoff;
use crate::client::middleware::retry::budget::Budget;
use crate::client::options::RequestOptions;
use crate::client::round_trip::Next;
use crate::client::round_trip::RoundTrip;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::date;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::response::reading::redacted;
use crate::limits::RETRY_AFTER_MAX;
use crate::limits::RETRY_ATTEMPTS_MAX;
use crate::limits::RETRY_BUDGET_PER_SECOND;
use crate::limits::RETRY_BUDGET_PERCENT;
use crate::limits::RETRY_DELAY_FIRST;
use crate::limits::RETRY_DELAY_MAX;
use crate::runtime;
use crate::runtime::Core;
use crate::runtime::Instant;

type Decide = dyn Fn(&Attempt<'_>) -> bool + Send + Sync;

/// When a request is sent again. All bounds hold per core.
///
/// Worth another attempt are, of idempotent requests, what [`Attempt::is_retryable`] says: 429, 502,
/// 503, 504, no connection, a connection that was lost, a time-out. A request is idempotent by its
/// method (RFC 9110 §9.2.2), or by an `Idempotency-Key`; one that found no connection was not sent,
/// and may be any. Its body has to be replayable. When no attempt is left, or no time, or no budget,
/// the caller gets the last response or error as it is.
///
/// ```
/// use std::time::Duration;
///
/// use roundtrip::Client;
/// use roundtrip::client::middleware::RetryPolicy;
///
/// let policy = RetryPolicy::new()
///     .attempts_max(5)
///     .delays(Duration::from_millis(50), Duration::from_secs(2))
///     .decide(|attempt| attempt.is_retryable() && attempt.method != "DELETE");
/// let client = Client::builder().retry(policy).build();
/// # let _ = client;
/// ```
#[derive(Clone)]
#[must_use = "a policy is for ClientBuilder::retry"]
pub struct RetryPolicy {
    attempts_max: u32,
    delay_first: Duration,
    delay_max: Duration,
    retry_after_max: Duration,
    budget_percent: u32,
    budget_per_second: u32,
    decide: Option<Arc<Decide>>,
}

/// An attempt that ended, for who decides about another.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// 1 for the first.
    pub number: u32,
    /// The request's method.
    pub method: &'a Method,
    /// Where it went.
    pub url: Option<&'a Url>,
    /// True when sending the request twice means the same as once.
    pub is_idempotent: bool,
    /// How it ended.
    pub outcome: Result<&'a Response, &'a Error>,
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("number", &self.number)
            .field("method", &self.method)
            .field("url", &self.url.map(redacted))
            .field("is_idempotent", &self.is_idempotent)
            .field("outcome", &self.outcome)
            .finish()
    }
}

impl Attempt<'_> {
    /// What the policy thinks on its own.
    pub fn is_retryable(&self) -> bool {
        match self.outcome {
            Ok(response) => self.is_idempotent && is_passing(response.status_code()),
            Err(error) => is_passing_error(error) && (self.is_idempotent || is_unsent(error)),
        }
    }
}

/// Statuses that say that it may be otherwise a moment later.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn is_passing_error(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Resolve | ErrorKind::Connect | ErrorKind::Closed | ErrorKind::Timeout
    )
}

/// True when there was no connection that could have carried the request.
fn is_unsent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Resolve | ErrorKind::Connect)
        || matches!(
            error.phase(),
            Some(Phase::Resolve | Phase::Connect | Phase::Pool)
        )
}

impl RetryPolicy {
    /// Up to 3 attempts; waits of up to 100 ms, doubled each time, to 10 s at most; a `Retry-After`
    /// of up to 30 s; retries of at most 20 % of all requests, and one per second.
    pub fn new() -> RetryPolicy {
        RetryPolicy {
            attempts_max: RETRY_ATTEMPTS_MAX,
            delay_first: RETRY_DELAY_FIRST,
            delay_max: RETRY_DELAY_MAX,
            retry_after_max: RETRY_AFTER_MAX,
            budget_percent: RETRY_BUDGET_PERCENT,
            budget_per_second: RETRY_BUDGET_PER_SECOND,
            decide: None,
        }
    }

    /// Attempts of one request, with the first; 3 by default. 1 sends nothing again.
    pub fn attempts_max(mut self, count: u32) -> RetryPolicy {
        self.attempts_max = count;
        self
    }

    /// The longest wait before the second attempt, doubled before each further one up to `max`; 100
    /// ms and 10 s by default. Each wait is a random part of that, from nothing to all ("full
    /// jitter"), so that clients that failed together do not come back together.
    pub fn delays(mut self, first: Duration, max: Duration) -> RetryPolicy {
        self.delay_first = first;
        self.delay_max = max;
        self
    }

    /// The longest `Retry-After` that is waited for, in front of the random wait; 30 s by default. A
    /// response with a longer one goes to the caller.
    pub fn retry_after_max(mut self, wait: Duration) -> RetryPolicy {
        self.retry_after_max = wait;
        self
    }

    /// How many retries there may be: so many per hundred requests, and so many per second; 20 and 1
    /// by default. What is not used is saved for up to 100 of them. Without a budget, a server that
    /// fails under load gets a multiple of that load.
    pub fn budget(mut self, percent: u32, per_second: u32) -> RetryPolicy {
        self.budget_percent = percent;
        self.budget_per_second = per_second;
        self
    }

    /// Asks `decide` instead of [`Attempt::is_retryable`]. Attempts, body, time and budget bound what
    /// it decides.
    pub fn decide(
        mut self,
        decide: impl Fn(&Attempt<'_>) -> bool + Send + Sync + 'static,
    ) -> RetryPolicy {
        self.decide = Some(Arc::new(decide));
        self
    }

    fn is_worth_another(&self, attempt: &Attempt<'_>) -> bool {
        match &self.decide {
            Some(decide) => decide(attempt),
            None => attempt.is_retryable(),
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy::new()
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("attempts_max", &self.attempts_max)
            .field("delay_first", &self.delay_first)
            .field("delay_max", &self.delay_max)
            .field("retry_after_max", &self.retry_after_max)
            .field("budget_percent", &self.budget_percent)
            .field("budget_per_second", &self.budget_per_second)
            .field("has_decide", &self.decide.is_some())
            .finish()
    }
}

/// Middleware that sends requests again, by a policy. [`ClientBuilder::retry`] is the short form.
///
/// [`ClientBuilder::retry`]: crate::client::ClientBuilder::retry
pub fn retry(policy: RetryPolicy) -> impl Fn(Next) -> Retry + Clone + Send + Sync + 'static {
    move |next| Retry {
        next,
        budget: Budget::new(policy.budget_percent, policy.budget_per_second),
        backoff: Backoff::new(policy.delay_first, policy.delay_max),
        policy: policy.clone(),
    }
}

/// What [`retry()`] makes.
#[derive(Debug)]
pub struct Retry {
    next: Next,
    policy: RetryPolicy,
    budget: Budget,
    backoff: Backoff,
}

impl Retry {
    /// How long to wait before another attempt; `None` where there is to be none.
    fn wait(&self, attempt: &Attempt<'_>, core: &Core, deadline: Instant) -> Option<Duration> {
        if !self.policy.is_worth_another(attempt) {
            return None;
        }
        let asked = attempt.outcome.ok();
        let asked = asked.and_then(|response| retry_after(response, core.wall_seconds()));
        let asked = asked.unwrap_or_default();
        if asked > self.policy.retry_after_max {
            return None;
        }
        let delay = self.backoff.delay(attempt.number, core.now());
        // A server may ask for any time.
        let wait = asked.saturating_add(delay);
        let has_time = core.now() + wait < deadline;
        (has_time && self.budget.withdraw(core.now())).then_some(wait)
    }
}

impl RoundTrip for Retry {
    async fn round_trip(&self, mut request: Request) -> Result<Response> {
        let core = Core::try_current()?;
        let mut options = RequestOptions::take_from(&mut request);
        if !options.is_default() {
            // All attempts share the time for everything.
            options.begin(core.now(), None);
            options.clone().put_into(&mut request);
        }
        let deadline = options.total.map_or(Instant::NEVER, |total| total.deadline);
        let is_idempotent = is_idempotent(&request);
        self.budget.deposit(core.now());
        let mut number = 1;
        loop {
            let may_repeat = number < self.policy.attempts_max && request.body().is_replayable();
            let copy = may_repeat.then(|| request.try_clone()).flatten();
            let outcome = self.next.run(request).await;
            let Some(copy) = copy else {
                return outcome;
            };
            let attempt = Attempt {
                number,
                method: copy.method(),
                url: copy.url(),
                is_idempotent,
                outcome: outcome.as_ref(),
            };
            let Some(wait) = self.wait(&attempt, &core, deadline) else {
                return outcome;
            };
            // What is left of its body is read and dropped, so that its connection serves again.
            drop(outcome);
            runtime::sleep(wait).await;
            number += 1;
            request = copy;
        }
    }
}

fn is_idempotent(request: &Request) -> bool {
    let headers = request.headers();
    request.method().is_idempotent()
        || headers.contains("idempotency-key")
        || headers.contains("x-idempotency-key")
}

/// How long the server wants to be left alone (RFC 9110 §10.2.3): seconds, or a date.
fn retry_after(response: &Response, wall_seconds: u64) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = match is_number {
        // Larger than any number is long enough.
        true => value.parse().unwrap_or(u64::MAX),
        false => date::parse(value, wall_seconds)?.saturating_sub(wall_seconds),
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_retry_after() {
        let read =
            |value: &str| retry_after(&Response::new().header("Retry-After", value), 784_111_777);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read(" 1 "), Some(Duration::from_secs(1)));
        assert_eq!(
            read("Sun, 06 Nov 1994 08:49:40 GMT"),
            Some(Duration::from_secs(3))
        );
        assert_eq!(read("Sun, 06 Nov 1994 08:49:30 GMT"), Some(Duration::ZERO));
        assert_eq!(
            read("99999999999999999999"),
            Some(Duration::from_secs(u64::MAX))
        );
        for value in ["", "+1", "1s", "1.5", "tomorrow"] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(retry_after(&Response::new(), 0), None);
    }
}
