//! Which way a connection takes when it does not go straight to the host of its URL.
//!
//! ```text
//!   URL ─► host and port ──────────────► TCP to that host
//!            ├─ Via::Unix(path) ────────► a Unix socket, whatever the host
//!            ├─ Via::Forward(proxy) ────► TCP to the proxy, which every request tells its host
//!            └─ Via::Tunnel(proxy) ─────► TCP to the proxy, and through it to that host
//! ```
//! It is a part of what connections are pooled by: one that was made for one way serves no other.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::client::pool::OriginRef;
use crate::client::proxy::Hop;

/// A way that is not the straight one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// The socket at this path; the URL's host is what the request names.
    Unix(Arc<Path>),
    /// An HTTP proxy that is sent whole URLs (RFC 9112 §3.2.2). Requests to all hosts share its
    /// connections.
    Forward(Hop),
    /// A proxy that makes a tunnel to the URL's host: by CONNECT, or by SOCKS5.
    Tunnel(Hop),
}

/// What connections to an origin are pooled by: those to a proxy that forwards serve all origins.
pub(super) fn pooled_by(origin: OriginRef<'_>) -> OriginRef<'_> {
    match origin.via {
        Some(Via::Forward(hop)) => OriginRef {
            secure: false,
            host: hop.url().host(),
            port: hop.url().port(),
            via: origin.via,
        },
        Some(Via::Unix(_) | Via::Tunnel(_)) | None => origin,
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Via::Unix(path) => write!(f, "unix:{}", path.display()),
            Via::Forward(hop) => write!(f, "proxy {hop}"),
            Via::Tunnel(hop) => write!(f, "tunnel of {hop}"),
        }
    }
}
