//! PostgreSQL behind handlers: `examples/database.rs` against Debian's, in a folder of its own.
//!
//! ```text
//!   Client ══ 64 at a time ══► examples/database ══ 8 connections ══► postgres, as an ordinary user
//! ```

use std::fs;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use nix::unistd::User;
use nix::unistd::chown;
use nix::unistd::geteuid;
use roundtrip::Client;
use roundtrip::Result;
use roundtrip::StatusCode;
use roundtrip::runtime::spawn;
use tempfile::TempDir;

use crate::interop::restart::Running;
use crate::interop::restart::free_ports;
use crate::interop::restart::wait_for;
use crate::process;
use crate::process::Server;

const AT_A_TIME: usize = 64;
const ROUNDS: usize = 4;
const PASSWORD: &str = "hush";
/// What Debian's package makes, one folder for each version.
const INSTALLED: &str = "/usr/lib/postgresql";

/// Databases, and who may use them.
struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Cluster {
    fn new() -> Cluster {
        let versions = fs::read_dir(INSTALLED).into_iter().flatten().flatten();
        let programs = versions.map(|version| version.path().join("bin"));
        let programs = programs.filter(|folder| folder.join("postgres").exists());
        let [port, ..] = free_ports();
        let cluster = Cluster {
            folder: TempDir::new().expect("a folder"),
            programs: programs.max().expect("PostgreSQL is installed"),
            port,
        };
        let password = cluster.path("password");
        fs::write(&password, PASSWORD).expect("a file");
        if let Some(user) = ordinary() {
            for path in [cluster.folder.path(), &password] {
                chown(path, Some(user.uid), Some(user.gid)).expect("root may");
            }
        }
        let mut make = cluster.program("initdb");
        make.arg("--pgdata").arg(cluster.path("data"));
        make.arg("--pwfile").arg(password);
        make.args(["--username=me", "--auth=scram-sha-256", "--no-sync"]);
        process::output(make.args(["--encoding=UTF8", "--locale=C"]));
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One of PostgreSQL's programs, as somebody who is not root: it refuses to serve that one.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path());
        if let Some(user) = ordinary() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    fn start(&self) -> Postgres {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.path("data"));
        command.args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-F"]);
        // No socket beside that port.
        command.args(["-k", ""]);
        let log = File::create(self.path("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = command.stderr(log).spawn().expect("it is installed");
        let postgres = Postgres(Running(started));
        wait_for("PostgreSQL answers", || self.ask("SELECT 1").is_some());
        postgres
    }

    /// What psql prints, if it succeeds.
    fn ask(&self, query: &str) -> Option<String> {
        let mut command = self.program("psql");
        command.env("PGPASSWORD", PASSWORD);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "me"]);
        command.args(["-d", "postgres", "-X", "-A", "-t", "-c", query]);
        let output = command.output().expect("it is installed");
        let text = String::from_utf8(output.stdout).expect("text");
        output.status.success().then(|| text.trim().to_owned())
    }
}

/// Who stands in for root.
fn ordinary() -> Option<User> {
    let is_root = geteuid().is_root();
    is_root.then(|| User::from_name("nobody").ok().flatten().expect("there is"))
}

/// A server that is ended in an orderly way: its processes end with it, and its shared memory goes.
struct Postgres(Running);

impl Drop for Postgres {
    fn drop(&mut self) {
        let id = self.0.0.id().to_string();
        let _ = Command::new("kill").args(["-s", "INT", &id]).status();
        let _ = self.0.0.wait();
    }
}

/// Keeps as many notes as at a time, side by side, and reads them back.
async fn keep_and_read(client: &Client, notes: &str, round: usize) -> Result<()> {
    let texts = (0..AT_A_TIME).map(|number| format!("{round}: {number} \u{2615}"));
    let kept = texts.map(|text| {
        let request = client.post(notes).body(text.clone());
        spawn(async move {
            let response = request.send().await?.error_for_status()?;
            Ok::<_, roundtrip::Error>((response.text().await?, text))
        })
    });
    let mut read = Vec::new();
    for kept in kept.collect::<Vec<_>>() {
        let (id, text) = kept.await??;
        let request = client.get(format!("{notes}/{id}"));
        read.push((text, spawn(request.send())));
    }
    for (text, response) in read {
        let response = response.await??.error_for_status()?;
        assert_eq!(response.text().await?, text);
    }
    Ok(())
}

fn status(client: &Client, url: String) -> StatusCode {
    let response = roundtrip::block_on(client.get(url).send());
    response.expect("an answer").status_code()
}

#[test]
fn handlers_ask_a_database_side_by_side() {
    let cluster = Cluster::new();
    let postgres = cluster.start();
    let table = "CREATE TABLE notes (id bigserial PRIMARY KEY, text text NOT NULL)";
    cluster.ask(table).expect("a table");
    let port = cluster.port;
    let config = format!("host=127.0.0.1 port={port} user=me password={PASSWORD} dbname=postgres");
    let mut server =
        Server::start(process::development_example("database").args([&config, "127.0.0.1:0"]));
    let notes = server.url("/notes");
    let client = Client::new();
    let rounds = async {
        for round in 0..ROUNDS {
            keep_and_read(&client, &notes, round).await?;
        }
        Ok::<_, roundtrip::Error>(())
    };
    roundtrip::block_on(rounds).unwrap();
    let count = (ROUNDS * AT_A_TIME).to_string();
    assert_eq!(cluster.ask("SELECT count(*) FROM notes"), Some(count));
    assert_eq!(status(&client, format!("{notes}/0")), StatusCode::NOT_FOUND);
    // One that was restarted is found again; meanwhile there is an answer too.
    let first = || status(&client, format!("{notes}/1"));
    drop(postgres);
    assert_eq!(first(), StatusCode::INTERNAL_SERVER_ERROR);
    let _postgres = cluster.start();
    wait_for("it is found again", || first() == StatusCode::OK);
    server.signal("TERM");
    assert!(server.wait().success());
}
