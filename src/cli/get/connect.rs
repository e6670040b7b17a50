//! Which way a connection takes: proxies, a Unix socket, addresses that are given.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use roundtrip::client::ClientBuilder;
use roundtrip::client::proxy::Proxy;

use crate::cli::Failure;
use crate::cli::get::invalid;
use crate::cli::seconds;

/// How connections are made.
#[derive(Args)]
pub struct Way {
    /// Go by this proxy: `http://`, `socks5://` or `socks5h://`, with `USER:PASSWORD@` if need be.
    /// Without it, by those of the environment (HTTP_PROXY, ALL_PROXY); with an empty one, by none.
    #[arg(short = 'x', long = "proxy", value_name = "URL")]
    proxy: Option<String>,
    /// Not by the proxy for these hosts, names, addresses or networks, separated by commas; `*`: for
    /// none at all.
    #[arg(long = "noproxy", value_name = "LIST")]
    no_proxy: Option<String>,
    /// Ask the proxy for a tunnel (CONNECT) for `http` URLs too.
    #[arg(short = 'p', long = "proxytunnel")]
    tunnel: bool,
    /// Connect to this Unix socket, whatever the URL's host.
    #[arg(long = "unix-socket", value_name = "PATH")]
    unix_socket: Option<PathBuf>,
    /// Use these addresses instead of looking the name up: `HOST:PORT:ADDRESS[,ADDRESS]`.
    #[arg(long = "resolve", value_name = "HOST:PORT:ADDRESS")]
    resolve: Vec<String>,
    /// Give up connecting after so many seconds.
    #[arg(
        long = "connect-timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true,
        value_parser = seconds
    )]
    connect_timeout: Option<Duration>,
}

impl Way {
    /// Tells the client.
    pub fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, Failure> {
        builder = match self.proxy.as_deref() {
            Some("") => builder.no_proxy(),
            Some(url) => {
                let refused = |error| invalid(format!("-x: {error:#}"));
                let mut proxy = Proxy::all(url).map_err(refused)?;
                if let Some(list) = &self.no_proxy {
                    proxy = proxy.no_proxy(list);
                }
                builder.proxy(if self.tunnel { proxy.tunnel() } else { proxy })
            }
            None if self.no_proxy.as_deref() == Some("*") => builder.no_proxy(),
            None if self.no_proxy.is_some() || self.tunnel => {
                return Err(invalid("--noproxy and -p go with a proxy: -x"));
            }
            None => builder,
        };
        if let Some(path) = &self.unix_socket {
            if path
                .metadata()
                .is_ok_and(|found| !found.file_type().is_socket())
            {
                let path = path.display();
                return Err(invalid(format!("--unix-socket: {path} is no socket")));
            }
            builder = builder.unix_socket(path);
        }
        for text in &self.resolve {
            let (host, port, addresses) = resolved(text).ok_or_else(|| {
                invalid(format!(
                    "--resolve: `{text}` is not HOST:PORT:ADDRESS[,ADDRESS]"
                ))
            })?;
            builder = builder
                .resolve_to(host, Some(port), addresses)
                .map_err(|error| invalid(format!("--resolve: {error:#}")))?;
        }
        // As in curl, none is the usual one.
        if let Some(timeout) = self.connect_timeout.filter(|timeout| !timeout.is_zero()) {
            builder = builder.connect_timeout(timeout);
        }
        Ok(builder)
    }
}

/// Host, port and addresses; of an address, IPv6 may stand in brackets.
fn resolved(text: &str) -> Option<(&str, u16, Vec<SocketAddr>)> {
    let host_end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':')?,
    };
    let (host, rest) = text.split_at(host_end);
    let (port, list) = rest.strip_prefix(':')?.split_once(':')?;
    let port = port.parse().ok()?;
    let address = |text: &str| -> Option<SocketAddr> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
        Some(SocketAddr::new(ip, port))
    };
    let addresses: Option<Vec<_>> = list.split(',').map(address).collect();
    Some((host, port, addresses?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resolve_takes() {
        let read = |text| {
            let (host, port, addresses) = resolved(text)?;
            let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            Some(format!("{host} {port} {}", list.join(" ")))
        };
        let cases = [
            ("a.example:80:127.0.0.1", Some("a.example 80 127.0.0.1:80")),
            ("a:1:127.0.0.1,[::1]", Some("a 1 127.0.0.1:1 [::1]:1")),
            ("a:1:::1", Some("a 1 [::1]:1")),
            ("[::2]:1:::1", Some("[::2] 1 [::1]:1")),
            ("a:1", None),
            ("a:x:127.0.0.1", None),
            ("a:1:b.example", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
