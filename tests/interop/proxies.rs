//! Our client by way of other people's proxies, each started for its test, on loopback, as whoever
//! runs the test.
//!
//! ```text
//!   Client ─┬─ GET http://…  ──► Squid, Tinyproxy ─┐
//!           ├─ CONNECT       ──► Squid, Tinyproxy ─┼──► roundtrip serve
//!           └─ SOCKS5        ──► MicroSocks ───────┘
//! ```

use std::fs;
use std::fs::File;
use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::process::Stdio;

use roundtrip::Client;
use roundtrip::Result;
use roundtrip::client::proxy::Proxy;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use tempfile::TempDir;

use crate::interop::files;
use crate::interop::restart::Running;
use crate::interop::restart::free_ports;
use crate::interop::restart::wait_for;
use crate::process;
use crate::process::Server;

/// A proxy that knows `me` with the password `hush` and nobody else.
struct Started {
    /// Ends with this; its files go after it.
    process: Running,
    folder: TempDir,
    port: u16,
}

impl Started {
    fn new(configure: impl FnOnce(&TempDir, u16) -> Command) -> Started {
        let folder = TempDir::new().expect("a folder");
        // A proxy that gives up its rights writes its log here all the same.
        let everybody = Permissions::from_mode(0o777);
        fs::set_permissions(folder.path(), everybody).expect("a folder of ours");
        let [port, ..] = free_ports();
        let mut command = configure(&folder, port);
        let log = File::create(folder.path().join("output.log")).expect("a log");
        let outputs = (log.try_clone().expect("a log"), log);
        command
            .stdin(Stdio::null())
            .stdout(outputs.0)
            .stderr(outputs.1);
        let process = Running(command.spawn().expect("the proxy is installed"));
        wait_for("the proxy listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Started {
            process,
            folder,
            port,
        }
    }

    fn url(&self, scheme: &str, credentials: &str) -> String {
        format!("{scheme}://{credentials}127.0.0.1:{}", self.port)
    }
}

impl Drop for Started {
    /// In an orderly way: Squid removes its shared memory then.
    fn drop(&mut self) {
        let id = self.process.0.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.process.0.wait();
    }
}

const KNOWN: &str = "me:hush@";
const WRONG: &str = "me:wrong@";

fn squid() -> Started {
    Started::new(|folder, port| {
        let path = |name: &str| folder.path().join(name);
        let mut htpasswd = Command::new("htpasswd");
        htpasswd.arg("-bcm").arg(path("users"));
        process::output(htpasswd.args(["me", "hush"]));
        let configuration = format!(
            "http_port 127.0.0.1:{port}\n\
             pid_filename none\n\
             cache_log {0}/cache.log\n\
             access_log stdio:{0}/access.log\n\
             coredump_dir {0}\n\
             cache deny all\n\
             visible_hostname proxy.example\n\
             shutdown_lifetime 0 seconds\n\
             auth_param basic program /usr/lib/squid/basic_ncsa_auth {0}/users\n\
             acl known proxy_auth REQUIRED\n\
             http_access allow known\n\
             http_access deny all\n",
            folder.path().display()
        );
        fs::write(path("squid.conf"), configuration).expect("a file");
        let mut command = Command::new("/usr/sbin/squid");
        // The name is that of its shared memory.
        command.args(["-N", "-n", &format!("roundtrip{port}")]);
        command.arg("-f").arg(path("squid.conf"));
        command
    })
}

fn tinyproxy() -> Started {
    Started::new(|folder, port| {
        let configuration = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 20\nMaxClients 20\nBasicAuth me hush\n\
             LogFile \"{}/tinyproxy.log\"\n",
            folder.path().display()
        );
        let file = folder.path().join("tinyproxy.conf");
        fs::write(&file, configuration).expect("a file");
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(file);
        command
    })
}

fn microsocks() -> Started {
    Started::new(|_, port| {
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        command.args(["-u", "me", "-P", "hush"]);
        command
    })
}

fn client(proxy: Proxy) -> Client {
    Client::builder().proxy(proxy).build()
}

/// Fetches files of both origins, one after the other; how many connections that took.
async fn fetch_all(client: &Client, origins: &[Server; 2]) -> Result<u64> {
    for _ in 0..3 {
        for origin in origins {
            let response = client.get(origin.url("/a.txt")).send().await?;
            let response = response.error_for_status()?;
            assert_eq!(response.text().await?, "the letter a\n");
            let response = client.get(origin.url("/numbers.bin")).send().await?;
            assert!(response.bytes().await? == files::numbers());
        }
    }
    Ok(client.stats().expect("it was used").pool.connected_total)
}

fn through_an_http_proxy(proxy: &Started, keeps_connections: bool) {
    let folder = files::folder();
    let origins = [(); 2].map(|()| Server::serve(folder.path()));
    let done = roundtrip::block_on(async {
        let url = proxy.url("http", KNOWN);
        let count = fetch_all(&client(Proxy::http(&url)?), &origins).await?;
        assert_eq!(count, if keeps_connections { 1 } else { 12 });
        // A tunnel is kept by both ends of it.
        let count = fetch_all(&client(Proxy::http(&url)?.tunnel()), &origins).await?;
        assert_eq!(count, 2);
        for credentials in ["", WRONG] {
            let refused = Proxy::http(proxy.url("http", credentials))?;
            let response = client(refused.clone()).get(origins[0].url("/a.txt"));
            let status = response.send().await?.status_code();
            assert!([401, 407].contains(&status.as_u16()), "{status}");
            let tunnel = client(refused.tunnel()).get(origins[0].url("/a.txt"));
            let error = tunnel.send().await.unwrap_err();
            assert_eq!(error.phase(), Some(Phase::Proxy));
            assert!(format!("{error:#}").contains(status.as_str()), "{error}");
        }
        Ok::<_, roundtrip::Error>(())
    });
    done.unwrap_or_else(|error| panic!("{error}; see {}", proxy.folder.path().display()));
}

#[test]
fn through_squid() {
    through_an_http_proxy(&squid(), true);
}

#[test]
fn through_tinyproxy() {
    through_an_http_proxy(&tinyproxy(), false);
}

#[test]
fn through_microsocks() {
    let folder = files::folder();
    let origins = [(); 2].map(|()| Server::serve(folder.path()));
    let proxy = microsocks();
    let done = roundtrip::block_on(async {
        for scheme in ["socks5", "socks5h"] {
            let known = client(Proxy::all(proxy.url(scheme, KNOWN))?);
            assert_eq!(fetch_all(&known, &origins).await?, 2);
            // A name that the proxy, or this machine, looks up.
            let by_name = origins[0].url("/a.txt").replace("127.0.0.1", "localhost");
            let text = known.get(by_name).send().await?.text().await?;
            assert_eq!(text, "the letter a\n");
            let [nobody, ..] = free_ports();
            let error = known
                .get(format!("http://127.0.0.1:{nobody}/"))
                .send()
                .await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connect);
            assert!(format!("{error:#}").contains("refused"), "{error}");
            for (credentials, text) in [("", "wants credentials"), (WRONG, "refused")] {
                let refused = client(Proxy::all(proxy.url(scheme, credentials))?);
                let sent = refused.get(origins[0].url("/a.txt")).send().await;
                let error = sent.unwrap_err();
                assert!(format!("{error:#}").contains(text), "{error}");
            }
        }
        Ok::<_, roundtrip::Error>(())
    });
    done.unwrap();
}
