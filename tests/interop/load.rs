//! Load generators: wrk, ab, h2load in HTTP/1.1 mode. Not for speed: for errors.

use std::process::Command;

use crate::interop::files;
use crate::process;
use crate::process::Server;

#[test]
fn wrk() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    for path in ["/a.txt", "/numbers.bin"] {
        let said = process::text(
            Command::new("wrk")
                .args(["--threads", "1", "--connections", "64", "--duration", "2s"])
                .arg(server.url(path)),
        );
        assert!(!said.contains("errors"), "{said}");
        assert!(!said.contains("Non-2xx"), "{said}");
        assert!(said.contains("requests in"), "{said}");
    }
}

#[test]
fn wrk_closing() {
    let server = Server::echo();
    let said = process::text(
        Command::new("wrk")
            .args(["--threads", "1", "--connections", "32", "--duration", "1s"])
            .args(["--header", "Connection: close"])
            .arg(server.url("/")),
    );
    assert!(!said.contains("errors"), "{said}");
    assert!(!said.contains("Non-2xx"), "{said}");
}

#[test]
fn ab() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    // -k: kept open, in HTTP/1.0; without it every request has its own connection.
    for kept in [&["-k"][..], &[]] {
        let said = process::text(
            Command::new("ab")
                .args(["-q", "-n", "2000", "-c", "16"])
                .args(kept)
                .arg(server.url("/a.txt")),
        );
        let line = |name: &str| said.lines().find(|line| line.starts_with(name));
        assert!(
            line("Failed requests:").is_some_and(|line| line.ends_with(" 0")),
            "{said}"
        );
        assert!(
            line("Complete requests:").is_some_and(|line| line.ends_with(" 2000")),
            "{said}"
        );
        assert!(line("Non-2xx").is_none(), "{said}");
        if !kept.is_empty() {
            assert!(
                line("Keep-Alive requests:").is_some_and(|line| line.ends_with(" 2000")),
                "{said}"
            );
        }
    }
}

#[test]
fn ab_posting() {
    let server = Server::echo();
    let folder = files::folder();
    let said = process::text(
        Command::new("ab")
            .args([
                "-q",
                "-k",
                "-n",
                "500",
                "-c",
                "8",
                "-T",
                "application/octet-stream",
                "-p",
            ])
            .arg(folder.path().join("numbers.bin"))
            .arg(server.url("/echo")),
    );
    let failed = said
        .lines()
        .find(|line| line.starts_with("Failed requests:"));
    assert!(failed.is_some_and(|line| line.ends_with(" 0")), "{said}");
}

#[test]
fn h2load() {
    let folder = files::folder();
    let server = Server::serve(folder.path());
    for pipelined in ["1", "8"] {
        let said = process::text(
            Command::new("h2load")
                .args(["--h1", "-n", "5000", "-c", "16", "-m", pipelined])
                .arg(server.url("/a.txt")),
        );
        assert!(
            said.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"),
            "{said}"
        );
        assert!(said.contains("5000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{said}");
    }
}
