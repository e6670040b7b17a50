//! How a request is held while it is put together.
//!
//! ```text
//!   RequestBuilder<C> ─► C::Draft ─┬─ Request   of clients whose requests stay on their thread
//!                                  └─ parts     of those whose requests change it
//! ```

use crate::client::blocking;
use crate::client::local::Caller;
use crate::error::Error;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::request::Request;

/// A client of this crate, as far as a [`RequestBuilder`](crate::client::RequestBuilder) has to know
/// it.
pub trait Builds {
    /// What its requests are until they are sent.
    type Draft: Draft<Body = Self::Body>;
    /// What their bodies are made from.
    type Body;
}

/// A request that is put together.
pub trait Draft: Sized {
    /// What its body is made from.
    type Body;

    /// From a request, whose body is empty.
    fn of(request: Request) -> Self;

    /// Changes it.
    fn change<E: Into<Error>>(
        &mut self,
        change: impl FnOnce(&mut Request) -> Result<(), E>,
    ) -> Result<()>;

    /// Sets the body.
    fn set_body(&mut self, body: Self::Body);

    /// A second one, where the body can be sent a second time.
    fn try_clone(&self) -> Option<Self>;

    /// The request, of the calling thread.
    fn into_request(self) -> Request;
}

impl Builds for Caller {
    type Draft = Request;
    type Body = Body;
}

impl Builds for blocking::Client {
    type Draft = Request;
    type Body = Body;
}

impl Draft for Request {
    type Body = Body;

    fn of(request: Request) -> Request {
        request
    }

    fn change<E: Into<Error>>(
        &mut self,
        change: impl FnOnce(&mut Request) -> Result<(), E>,
    ) -> Result<()> {
        change(self).map_err(E::into)
    }

    fn set_body(&mut self, body: Body) {
        Request::set_body(self, body);
    }

    fn try_clone(&self) -> Option<Request> {
        Request::try_clone(self)
    }

    fn into_request(self) -> Request {
        self
    }
}
