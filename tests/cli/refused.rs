//! io_uring refused and diagnosed, and what else a system may lack.

use std::io::BufRead as _;
use std::io::BufReader;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use roundtrip::runtime;
use roundtrip::runtime::Engine;

use crate::assert_one_line;
use crate::filter::Answer;
use crate::filter::BPF_LOAD_WORD;
use crate::filter::BPF_RETURN;
use crate::filter::filtered;
use crate::filter::install;
use crate::filter::refuse_io_uring;
use crate::filter::step;
use crate::folder;
use crate::process;
use crate::process::Server;

/// The binary, where the environment chooses no engine.
fn roundtrip() -> Command {
    let mut command = process::roundtrip();
    command.env_remove("ROUNDTRIP_ENGINE");
    command
}

/// A directory served by several workers.
fn serve(folder: &Path) -> Command {
    let mut command = roundtrip();
    command
        .args([
            "serve",
            "--quiet",
            "--addr",
            "127.0.0.1:0",
            "--workers",
            "3",
        ])
        .arg(folder)
        .stderr(Stdio::piped());
    command
}

fn docker(command: &mut Command) -> &mut Command {
    refuse_io_uring(command, Answer::Errno(libc::EPERM))
}

/// Fetches a file and a directory; ends the server, and returns what that said on standard error.
fn said_by(mut server: Server) -> String {
    for path in ["/a.txt", "/"] {
        let got = process::text(docker(roundtrip().args(["get", &server.url(path)])));
        assert!(got.contains("a.txt") || got == "the letter a\n", "{got}");
    }
    let stderr = server.stderr();
    assert!(server.end("TERM").success());
    std::io::read_to_string(stderr).expect("text")
}

#[test]
fn refused_by_seccomp() {
    let folder = folder();
    for (errno, name) in [(libc::EPERM, "EPERM"), (libc::ENOSYS, "ENOSYS")] {
        let mut command = serve(folder.path());
        refuse_io_uring(&mut command, Answer::Errno(errno));
        let said = said_by(Server::start(&mut command));
        assert_eq!(said.lines().count(), 1, "{said}");
        for word in [
            name,
            "epoll",
            "seccomp",
            "io_uring_setup",
            "ROUNDTRIP_ENGINE",
        ] {
            assert!(said.contains(word), "`{word}` is missing: {said}");
        }
    }
    // Who has chosen is told nothing.
    let chosen: [fn(&mut Command) -> &mut Command; 2] = [
        |command| command.args(["--engine", "epoll"]),
        |command| command.env("ROUNDTRIP_ENGINE", "epoll"),
    ];
    for choose in chosen {
        let mut command = serve(folder.path());
        assert_eq!(said_by(Server::start(docker(choose(&mut command)))), "");
    }
}

#[test]
fn refused_and_asked_for() {
    let folder = folder();
    let words = ["io_uring", "EPERM", "seccomp", "io_uring_setup"];
    let mut command = serve(folder.path());
    let output = process::run(docker(command.args(["--engine", "io_uring"])));
    assert_one_line(&output, &words);
    let mut command = roundtrip();
    command.args(["get", "http://127.0.0.1:1/"]);
    let output = process::run(docker(command.env("ROUNDTRIP_ENGINE", "io_uring")));
    assert_one_line(&output, &words);
    // The command line goes first.
    let server = Server::serve(folder.path());
    let mut command = roundtrip();
    command.args(["get", "--engine", "epoll", &server.url("/a.txt")]);
    process::output(docker(command.env("ROUNDTRIP_ENGINE", "io_uring")));
}

/// Some filters end a process that makes one of the three calls: epoll makes none.
#[test]
fn killed_by_seccomp() {
    let folder = folder();
    let mut command = serve(folder.path());
    command.env("ROUNDTRIP_ENGINE", "epoll");
    assert_eq!(
        said_by(Server::start(refuse_io_uring(&mut command, Answer::Kill))),
        ""
    );
    let mut doctor = roundtrip();
    let doctor = doctor.args(["doctor", "--engine", "epoll"]);
    let said = process::text(refuse_io_uring(doctor, Answer::Kill));
    assert!(said.contains("not tried"), "{said}");
    // The filter is there.
    let killed = process::run(refuse_io_uring(roundtrip().arg("doctor"), Answer::Kill));
    assert_eq!(killed.status.signal(), Some(libc::SIGSYS));
}

#[test]
fn an_engine_that_is_none() {
    let words = ["\"uring\"", "auto", "io_uring", "epoll"];
    let mut command = roundtrip();
    command.args(["get", "http://127.0.0.1:1/"]);
    let by_variable = process::run(command.env("ROUNDTRIP_ENGINE", "uring"));
    assert_one_line(&by_variable, &[&words[..], &["ROUNDTRIP_ENGINE"]].concat());
    let by_option = process::run(command.args(["--engine", "uring"]));
    assert_one_line(&by_option, &[&words[..], &["--engine"]].concat());
    assert_eq!(by_option.status.code(), Some(2));
}

#[test]
fn get_tells_its_engine_to_who_asks() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let url = server.url("/a.txt");
    let quiet = process::run(docker(roundtrip().args(["get", &url])));
    assert_eq!(quiet.stderr, b"");
    let verbose = process::run(docker(roundtrip().args(["get", "-v", &url])));
    let said = String::from_utf8_lossy(&verbose.stderr).into_owned();
    assert!(
        said.starts_with("* on epoll: cannot set up io_uring"),
        "{said}"
    );
    let chosen = process::run(roundtrip().args(["get", "-v", "--engine", "epoll", &url]));
    let said = String::from_utf8_lossy(&chosen.stderr).into_owned();
    assert!(said.starts_with("* on epoll: set in code\n"), "{said}");
}

/// Locked memory that does not suffice for all workers: smaller rings, and then an error that says
/// how many would fit.
#[test]
fn refused_locked_memory() {
    const LIMIT_KIB: usize = 256;
    let folder = folder();
    let binary = folder.path().join("roundtrip");
    std::fs::copy(env!("CARGO_BIN_EXE_roundtrip"), &binary).expect("a copy");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).expect("our folder");
    let serve = |workers: usize| {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("ulimit -l {LIMIT_KIB} && exec \"$0\" \"$@\""))
            .arg(&binary)
            .args(["serve", "--quiet", "--addr", "127.0.0.1:0", "--workers"])
            .arg(workers.to_string())
            .arg(folder.path());
        if nix::unistd::geteuid().is_root() {
            // Root is not charged; and others of this test's user would be charged with us.
            let user = 1_000_000 + std::process::id();
            command.uid(user).gid(user);
        }
        command
    };
    let mut command = serve(64);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("UTF-8");
    if !line.is_empty() {
        // Between 5.12 and 6.13 kernels charge no rings.
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        return;
    }
    let output = child.wait_with_output().expect("it ends");
    let words = [
        "ENOMEM",
        "RLIMIT_MEMLOCK",
        "of 64 workers",
        "--engine epoll",
    ];
    assert_one_line(&output, &words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, fitting) = said.split_once("of 64 workers ").expect("seen above");
    let (fitting, _) = fitting.split_once(" fit").expect("a number");
    let fitting: usize = fitting.parse().expect("a number");
    assert!((2..64).contains(&fitting), "{said}");
    // As many as it says, also right after others that have left the rings to be cleaned up; and
    // one worker, whose ring no probe has taken the room of.
    for workers in [fitting, fitting, 1] {
        Server::start(&mut serve(workers)).end("TERM");
    }
    // Or all of them on the engine that the error names.
    let mut command = serve(64);
    Server::start(command.env("ROUNDTRIP_ENGINE", "epoll")).end("TERM");
}

#[test]
fn no_descriptor_is_left() {
    let folder = folder();
    for engine in ["auto", "epoll"] {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg("ulimit -n 24 && exec \"$0\" \"$@\"")
            .arg(env!("CARGO_BIN_EXE_roundtrip"))
            .args([
                "serve",
                "--quiet",
                "--addr",
                "127.0.0.1:0",
                "--workers",
                "9",
            ])
            .args(["--engine", engine])
            .arg(folder.path());
        let words = ["EMFILE", "RLIMIT_NOFILE", "of 24", "of 9 workers"];
        assert_one_line(&process::run(&mut command), &words);
    }
}

/// No descriptor more can be registered with epoll: the start says so, and so does what comes later.
#[test]
fn no_watch_is_left() {
    let words = ["max_user_watches"];
    let mut command = roundtrip();
    command.args(["get", "--engine", "epoll", "http://127.0.0.1:1/"]);
    let output = process::run(filtered(&mut command, without_watches()));
    assert_one_line(
        &output,
        &[&words[..], &["cannot set up epoll: ENOSPC"]].concat(),
    );
    // Nobody answers: what has come already needs no watch.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let later = std::thread::spawn(move || {
        runtime::set_engine(Engine::Epoll)?;
        roundtrip::block_on(async {
            install(&without_watches())?;
            roundtrip::Client::new().get(url).send().await.map(drop)
        })
    });
    let error = later.join().expect("no panic").unwrap_err();
    assert!(format!("{error:#}").contains(words[0]), "{error:#}");
}

#[test]
fn a_system_without_ipv6_is_served_by_ipv4() {
    let folder = folder();
    let mut command = process::roundtrip();
    command
        .args(["serve", "--workers", "1", "--addr", ":0"])
        .arg(folder.path());
    let server = Server::start(without_ipv6(&mut command));
    let port = server.address.strip_prefix("0.0.0.0:").expect("by IPv4");
    let head =
        process::text(process::roundtrip().args(["get", "-I", &format!("127.0.0.1:{port}")]));
    assert!(head.contains(" 200 "), "{head}");
}

#[test]
fn doctor() {
    let everywhere = [
        "kernel",
        "seccomp",
        "memlock",
        "epoll_pwait2",
        "max_user_watches",
    ];
    let works = ["works", "completion queue", "io_uring: it works here"];
    let refused = ["EPERM", "io_uring_setup", "epoll: io_uring is refused"];
    let epoll = ["not tried: epoll is asked for", "epoll: set in code"];
    let here = process::text(roundtrip().arg("doctor"));
    let is_refused = here.contains("cannot set up io_uring: EPERM");
    for (said, words) in [
        (here, if is_refused { refused } else { works }.as_slice()),
        (process::text(docker(roundtrip().arg("doctor"))), &refused),
        (
            process::text(roundtrip().args(["doctor", "--engine", "epoll"])),
            &epoll,
        ),
    ] {
        for word in everywhere.iter().chain(words) {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    let mut asked = roundtrip();
    let output = process::run(docker(asked.args(["doctor", "--engine", "io_uring"])));
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn the_profile_is_in_the_binary() {
    let said = process::text(roundtrip().args(["doctor", "--seccomp-profile"]));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/seccomp.json");
    assert_eq!(said, std::fs::read_to_string(file).expect("the profile"));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    for arguments in [
        &["doctor"][..],
        &["doctor", "--seccomp-profile"],
        &["--help"],
    ] {
        let full = std::fs::File::create("/dev/full").expect("a device");
        let mut command = roundtrip();
        let child = command.args(arguments).stdout(full).stderr(Stdio::piped());
        let output = child.spawn().and_then(|child| child.wait_with_output());
        assert_one_line(&output.expect("it runs"), &["No space left"]);
        // The standard library writes what is said to nobody to /dev/null.
        let program = env!("CARGO_BIN_EXE_roundtrip");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "\"$0\" \"$@\" >&-", program])
            .args(arguments);
        assert_one_line(&process::run(&mut shell), &["Bad file descriptor"]);
    }
}

/// ENOSPC for epoll_ctl(2) that adds.
fn without_watches() -> [libc::sock_filter; 6] {
    // The operation is the second argument, of 8 bytes each.
    [
        step(BPF_LOAD_WORD, 0, 0, 0),
        step(BPF_JUMP_EQUAL, 0, 2, libc::SYS_epoll_ctl as u32),
        step(BPF_LOAD_WORD, 0, 0, 24),
        step(BPF_JUMP_EQUAL, 1, 0, libc::EPOLL_CTL_ADD as u32),
        step(BPF_RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        Answer::Errno(libc::ENOSPC).step(),
    ]
}

/// The child gets EAFNOSUPPORT for sockets of IPv6, as of a kernel that was started without it.
fn without_ipv6(command: &mut Command) -> &mut Command {
    // The family is the first word of the arguments, which begin at 16.
    let filter = [
        step(BPF_LOAD_WORD, 0, 0, 0),
        step(BPF_JUMP_EQUAL, 0, 2, libc::SYS_socket as u32),
        step(BPF_LOAD_WORD, 0, 0, 16),
        step(BPF_JUMP_EQUAL, 1, 0, libc::AF_INET6 as u32),
        step(BPF_RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        Answer::Errno(libc::EAFNOSUPPORT).step(),
    ];
    filtered(command, filter)
}

const BPF_JUMP_EQUAL: u16 = 0x15;
