//! What connections are pooled by: scheme, host and port (RFC 9110 §4.3.1), and the way there.
//!
//! ```text
//!   OriginRef<'_> ── borrowed, for look-ups ──┐
//!                                             ├──► hashed and compared alike
//!   Origin ───────── owned, kept by the pool ─┘
//! ```

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::rc::Rc;

use crate::client::route::Via;

/// An origin whose host is borrowed: looking one up allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginRef<'a> {
    /// True for `https`.
    pub secure: bool,
    /// Lower-case name or address, IPv6 in brackets, as in a parsed URL.
    pub host: &'a str,
    /// The port, also where it is the scheme's own.
    pub port: u16,
    /// The way there, where it is not the straight one.
    pub via: Option<&'a Via>,
}

/// An origin that owns its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    secure: bool,
    host: Box<str>,
    port: u16,
    via: Option<Via>,
}

impl OriginRef<'_> {
    /// A copy that owns its host.
    pub fn to_origin(self) -> Origin {
        Origin {
            secure: self.secure,
            host: self.host.into(),
            port: self.port,
            via: self.via.cloned(),
        }
    }
}

impl Origin {
    /// The same, borrowed.
    pub fn borrowed(&self) -> OriginRef<'_> {
        OriginRef {
            secure: self.secure,
            host: &self.host,
            port: self.port,
            via: self.via.as_ref(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)?;
        match &self.via {
            Some(via) => write!(f, " by {via}"),
            None => Ok(()),
        }
    }
}

/// The key of the pool's table. Shared, since the host entry needs it too, to leave the table.
#[derive(Clone, Debug)]
pub struct OriginKey(pub Rc<Origin>);

/// What owned and borrowed origins have in common. `HashMap` looks up by `&dyn Named`, since a
/// reference to a value made on the spot cannot be lent by `Borrow`.
pub trait Named {
    /// The origin, borrowed.
    fn named(&self) -> OriginRef<'_>;
}

impl Named for OriginKey {
    fn named(&self) -> OriginRef<'_> {
        self.0.borrowed()
    }
}

impl Named for OriginRef<'_> {
    fn named(&self) -> OriginRef<'_> {
        *self
    }
}

impl<'a> Borrow<dyn Named + 'a> for OriginKey {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.named() == other.named()
    }
}

impl Eq for dyn Named + '_ {}

impl Hash for dyn Named + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.named().hash(state);
    }
}

impl PartialEq for OriginKey {
    fn eq(&self, other: &Self) -> bool {
        self.named() == other.named()
    }
}

impl Eq for OriginKey {}

impl Hash for OriginKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.named().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn scheme_host_port_and_way_all_count() {
        let origin = OriginRef {
            secure: false,
            host: "a.example",
            port: 80,
            via: None,
        };
        let mut table = HashMap::new();
        table.insert(OriginKey(Rc::new(origin.to_origin())), 1);
        let find = |origin: OriginRef<'_>| table.get(&origin as &dyn Named).copied();
        assert_eq!(find(origin), Some(1));
        assert_eq!(find(OriginRef { port: 81, ..origin }), None);
        assert_eq!(
            find(OriginRef {
                secure: true,
                ..origin
            }),
            None
        );
        assert_eq!(
            find(OriginRef {
                host: "b.example",
                ..origin
            }),
            None
        );
        let via = Via::Unix(std::path::Path::new("/run/x.sock").into());
        let by_socket = OriginRef {
            via: Some(&via),
            ..origin
        };
        assert_eq!(find(by_socket), None);
        assert_eq!(by_socket.to_origin().borrowed(), by_socket);
        assert_eq!(origin.to_origin().to_string(), "http://a.example:80");
        assert_eq!(
            by_socket.to_origin().to_string(),
            "http://a.example:80 by unix:/run/x.sock"
        );
    }
}
