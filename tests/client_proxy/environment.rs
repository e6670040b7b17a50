//! The environment of the process itself, which only another process can have: this test starts
//! itself again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use roundtrip::blocking;
use roundtrip::client::Client;
use roundtrip::error::ErrorKind;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::run;

/// Which part the process plays; set for those that are started.
const PART: &str = "ROUNDTRIP_PROXY_TEST_PART";

/// Runs `test` of this file in a process with these variables.
fn start(test: &str, part: &str, vars: &[(&str, impl AsRef<OsStr>)]) {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args(["--exact", &format!("environment::{test}"), "--nocapture"]);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        command.env_remove(name);
    }
    let output = command
        .env_remove("REQUEST_METHOD")
        .envs(vars.iter().map(|(name, value)| (name, value)))
        .env(PART, part)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn counts_by_default() {
    if let Ok(part) = std::env::var(PART) {
        return act(&part);
    }
    let proxy = Peer::answering(|seen| ok(format!("proxied {}", seen.line)));
    let url = proxy.url("");
    start("counts_by_default", "proxied", &[("HTTP_PROXY", &url)]);
    start("counts_by_default", "proxied", &[("all_proxy", &url)]);
    let cgi = [("HTTP_PROXY", &*url), ("REQUEST_METHOD", "GET")];
    start("counts_by_default", "cgi", &cgi);
    assert_eq!(proxy.accepted(), 4);
}

/// A password is bytes, and need not be UTF-8.
#[test]
fn values_are_bytes() {
    if let Ok(part) = std::env::var(PART) {
        return act(&part);
    }
    let proxy = Peer::answering(|seen| ok(&seen.fields["proxy-authorization"]));
    let url = proxy.url("").replace("//", "//u:@");
    let (before, behind) = url.split_at("http://u:".len());
    let value = [before.as_bytes(), b"\xff", behind.as_bytes()].concat();
    let value = OsStr::from_bytes(&value);
    start("values_are_bytes", "bytes", &[("HTTP_PROXY", value)]);
    assert_eq!(proxy.accepted(), 1);
}

fn act(part: &str) {
    let url = "http://a.example/x";
    match part {
        "proxied" => {
            let answer = "proxied GET http://a.example/x HTTP/1.1";
            let text = run(async { Client::new().get(url).send().await?.text().await });
            assert_eq!(text, answer);
            let text = blocking::get(url).and_then(|response| response.text());
            assert_eq!(text.unwrap(), answer);
            // It is off on request, and this machine goes by none.
            let direct = Peer::answering(|seen| ok(&seen.line));
            let text = run(async {
                Client::new()
                    .get(direct.url("/"))
                    .send()
                    .await?
                    .text()
                    .await
            });
            assert_eq!(text, "GET / HTTP/1.1");
            simulated();
        }
        "bytes" => {
            let text = run(async { Client::new().get(url).send().await?.text().await });
            assert_eq!(text, "Basic dTr/");
        }
        "cgi" => {
            let error = run(async { Ok(Client::new().get(url).send().await.unwrap_err()) });
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("REQUEST_METHOD"), "{error}");
        }
        other => panic!("no part {other}"),
    }
}

/// On a simulated kernel the environment of the machine does not count.
#[cfg(feature = "simulation")]
fn simulated() {
    use roundtrip::error::Phase;
    use roundtrip::simulation::Simulation;

    let report = Simulation::new(1).run(async {
        let error = Client::new().get("http://a.example/").send().await;
        assert_eq!(error.unwrap_err().phase(), Some(Phase::Resolve));
        Ok::<_, roundtrip::Error>(())
    });
    report.unwrap().unwrap();
}

#[cfg(not(feature = "simulation"))]
fn simulated() {}
