//! The HTTP server: routes, handlers, connections, files.
//!
//! ```text
//!   Server ─ run ─► Workers ─► Site (one per core) ─ accept ─► Connection
//!      ▲                                                          │ request
//!    Router ◄─────────────────────────────────────────────────────┘
//!      └─► Handler: Fn(&Request) or AsyncFn(Request) ─► impl IntoResponse ─► Response
//! ```

pub mod access_log;
#[doc(hidden)]
pub mod admission;
mod calendar;
pub mod cross_origin;
mod entry;
pub mod event_stream;
mod exchange;
pub mod files;
pub mod form;
#[doc(hidden)]
pub mod h1;
pub mod handle;
pub mod handler;
pub mod hooks;
pub mod into_response;
#[cfg(feature = "json")]
pub mod json;
mod lifecycle;
mod log_lines;
pub mod middleware;
#[doc = include_str!("net_http.md")]
pub mod net_http {}
pub mod options;
pub mod pattern;
#[cfg(feature = "json")]
pub mod problem;
pub mod proxy_protocol;
mod readiness;
mod record;
pub mod redirect;
pub mod router;
#[doc(hidden)]
pub mod routes;
mod service;
mod site;
pub mod statistics;
pub mod upgrade;
#[doc(hidden)]
pub mod worker;

pub use crate::http::event_stream::Event;
pub use crate::server::event_stream::EventStream;
pub use crate::server::form::FormOptions;
pub use crate::server::handle::ServerHandle;
pub use crate::server::handler::Handler;
pub use crate::server::into_response::Html;
pub use crate::server::into_response::IntoResponse;
#[cfg(feature = "json")]
pub use crate::server::json::Json;
pub use crate::server::middleware::Next;
#[cfg(feature = "json")]
pub use crate::server::problem::Problem;
pub use crate::server::readiness::readiness;
pub use crate::server::redirect::Redirect;
pub use crate::server::router::Router;
pub use crate::server::service::Server;
pub use crate::server::statistics::Statistics;
pub use crate::server::upgrade::Duplex;
