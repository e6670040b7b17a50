//! Which way a connection takes when it does not go straight to the host of its URL.
//!
//! ```text
//!   URL ─► host and port ──────────────► TCP to that host
//!            ├─ Via::Unix(path) ────────► a Unix socket, whatever the host
//!            ├─ Via::Link(zone) ────────► TCP to that address, on one of this machine's links
//!            ├─ Via::Forward(proxy) ────► TCP to the proxy, which every request tells its host
//!            └─ Via::Tunnel(proxy) ─────► TCP to the proxy, and through it to that host
//! ```
//! It is a part of what connections are pooled by: one that was made for one way serves no other.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::client::pool::OriginRef;
use crate::client::proxy::Hop;

pub use crate::client::zone::Zone;

/// A way that is not the straight one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// The socket at this path; the URL's host is what the request names.
    Unix(Arc<Path>),
    /// Straight, on this link: where the host is an IPv6 address, the URL of a request named its zone
    /// (`http://[fe80::1%25eth0]/`). Other hosts of its redirects are reached as ever.
    Link(Zone),
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
        Some(Via::Unix(_) | Via::Link(_) | Via::Tunnel(_)) | None => origin,
    }
}

/// The way of a request to this host, of its own one and that of its client. A link is of no use for
/// names, and no way for who goes to a socket whatever the host.
pub(super) fn choose<'a>(
    own: Option<&'a Via>,
    default: Option<&'a Via>,
    host: Option<&str>,
) -> Option<&'a Via> {
    let is_ipv6 = || host.is_some_and(|host| host.starts_with('['));
    match own {
        Some(Via::Link(_)) if default.is_some() || !is_ipv6() => default,
        Some(via) => Some(via),
        None => default,
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Via::Unix(path) => write!(f, "unix:{}", path.display()),
            Via::Link(zone) => write!(f, "link {zone}"),
            Via::Forward(hop) => write!(f, "proxy {hop}"),
            Via::Tunnel(hop) => write!(f, "tunnel of {hop}"),
        }
    }
}
