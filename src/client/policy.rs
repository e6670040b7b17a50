//! Who decides about redirects beside the rules: a function of the user.
//!
//! ```text
//!   3xx with a Location ─► policy ─┬─ Follow ─► redirects_max ─► the next request
//!                                  ├─ Stop ───► the 3xx itself, its body unread
//!                                  └─ Fail ───► an error
//! ```

use std::fmt;
use std::sync::Arc;

use ::http::Method;
use ::http::StatusCode;
use url::Url;

use crate::client::redirect::Redirect;
use crate::error::Error;
use crate::http::response::Hop;
use crate::http::response::reading::redacted;

/// A redirect that is about to be followed. Its URLs may hold passwords; what `Debug` shows does not.
pub struct RedirectAttempt<'a> {
    pub(super) status: StatusCode,
    pub(super) from: &'a Url,
    pub(super) redirect: &'a Redirect,
    pub(super) history: &'a [Hop],
}

/// What to do with a redirect.
#[derive(Debug)]
pub enum RedirectAction {
    /// Goes on, unless there were too many (`redirects_max`).
    Follow,
    /// Returns the redirect as the response, with its body unread.
    Stop,
    /// Gives up with this error; the URL that answered is added where the error has none.
    Fail(Error),
}

impl RedirectAttempt<'_> {
    /// What was answered: 301, 302, 303, 307 or 308.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Which URL answered.
    pub fn from(&self) -> &Url {
        self.from
    }

    /// Where it leads.
    pub fn to(&self) -> &Url {
        &self.redirect.url
    }

    /// The method of the request that would follow.
    pub fn method(&self) -> &Method {
        &self.redirect.method
    }

    /// True when the body, if there is one, would be sent again: for 307 and 308, and for 301 and 302
    /// unless the method is POST.
    pub fn keeps_body(&self) -> bool {
        self.redirect.keeps_body
    }

    /// True when it leads to another scheme, host or port: credentials stay behind then.
    pub fn leaves_origin(&self) -> bool {
        self.redirect.leaves
    }

    /// How many redirects were followed before this one.
    pub fn count(&self) -> usize {
        self.history.len()
    }

    /// The redirects that were followed before this one, in order.
    pub fn history(&self) -> &[Hop] {
        self.history
    }
}

impl fmt::Debug for RedirectAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedirectAttempt")
            .field("status", &self.status)
            .field("from", &redacted(self.from))
            .field("to", &redacted(self.to()))
            .field("method", self.method())
            .field("history", &self.history)
            .finish()
    }
}

/// What a followed redirect says of where it comes from, in `Referer`: the names are those of the W3C's
/// Referrer Policy. None of them tells a user name, a password or a fragment, or anything from https
/// to http; a `Referer` of the caller's own is sent as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReferrerPolicy {
    /// Nothing.
    NoReferrer,
    /// The URL, to the same origin alone.
    SameOrigin,
    /// The URL to the same origin, its scheme, host and port to others: what browsers do, and the
    /// default.
    #[default]
    StrictOriginWhenCrossOrigin,
    /// The URL, whoever asks: what net/http does.
    NoReferrerWhenDowngrade,
}

/// The function of the user.
#[derive(Clone)]
pub(super) struct RedirectPolicy(Arc<Decide>);

type Decide = dyn Fn(&RedirectAttempt<'_>) -> RedirectAction + Send + Sync;

impl RedirectPolicy {
    pub(super) fn new(
        decide: impl Fn(&RedirectAttempt<'_>) -> RedirectAction + Send + Sync + 'static,
    ) -> RedirectPolicy {
        RedirectPolicy(Arc::new(decide))
    }

    pub(super) fn decide(&self, attempt: &RedirectAttempt<'_>) -> RedirectAction {
        (self.0)(attempt)
    }
}

impl fmt::Debug for RedirectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedirectPolicy")
    }
}
