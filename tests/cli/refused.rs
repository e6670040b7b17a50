//! io_uring refused and diagnosed, and what else a system may lack.

use std::io::BufRead as _;
use std::io::BufReader;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::process::Stdio;

use crate::assert_one_line;
use crate::folder;
use crate::process;
use crate::process::Server;
use crate::process::roundtrip;

#[test]
fn refused_by_seccomp() {
    let folder = folder();
    let mut serve = roundtrip();
    serve
        .args(["serve", "--addr", "127.0.0.1:0"])
        .arg(folder.path());
    let output = process::run(without_io_uring(&mut serve));
    assert_one_line(&output, &["io_uring", "EPERM", "seccomp", "io_uring_setup"]);

    let mut get = roundtrip();
    get.args(["get", "http://127.0.0.1:1/"]);
    let output = process::run(without_io_uring(&mut get));
    assert_one_line(&output, &["io_uring", "EPERM", "seccomp"]);

    let mut doctor = roundtrip();
    let output = process::run(without_io_uring(doctor.arg("doctor")));
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("EPERM") && said.contains("io_uring_setup"),
        "{said}"
    );
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
    assert_one_line(&output, &["ENOMEM", "RLIMIT_MEMLOCK", "of 64 workers"]);
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
}

#[test]
fn a_system_without_ipv6_is_served_by_ipv4() {
    let folder = folder();
    let mut command = roundtrip();
    command
        .args(["serve", "--workers", "1", "--addr", ":0"])
        .arg(folder.path());
    let server = Server::start(without_ipv6(&mut command));
    let port = server.address.strip_prefix("0.0.0.0:").expect("by IPv4");
    let head = process::text(roundtrip().args(["get", "-I", &format!("127.0.0.1:{port}")]));
    assert!(head.contains(" 200 "), "{head}");
}

#[test]
fn doctor() {
    let said = process::text(roundtrip().arg("doctor"));
    for word in [
        "kernel",
        "seccomp",
        "memlock",
        "io_uring",
        "works",
        "multishot",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
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

/// The child gets EPERM for the three calls, as under Docker's default profile.
fn without_io_uring(command: &mut Command) -> &mut Command {
    // The calls have the numbers 425 to 427 on every architecture but alpha; the number is the
    // first word of the filter's input.
    let filter = [
        step(BPF_LOAD_WORD, 0, 0, 0),
        step(BPF_JUMP_GREATER_OR_EQUAL, 0, 1, 425),
        step(BPF_JUMP_GREATER_OR_EQUAL, 0, 1, 428),
        step(BPF_RETURN, 0, 0, ALLOW),
        step(BPF_RETURN, 0, 0, ERRNO | libc::EPERM as u32),
    ];
    filtered(command, filter)
}

/// The child gets EAFNOSUPPORT for sockets of IPv6, as of a kernel that was started without it.
fn without_ipv6(command: &mut Command) -> &mut Command {
    // The family is the first word of the arguments, which begin at 16.
    let filter = [
        step(BPF_LOAD_WORD, 0, 0, 0),
        step(BPF_JUMP_EQUAL, 0, 2, libc::SYS_socket as u32),
        step(BPF_LOAD_WORD, 0, 0, 16),
        step(BPF_JUMP_EQUAL, 1, 0, libc::AF_INET6 as u32),
        step(BPF_RETURN, 0, 0, ALLOW),
        step(BPF_RETURN, 0, 0, ERRNO | libc::EAFNOSUPPORT as u32),
    ];
    filtered(command, filter)
}

const BPF_LOAD_WORD: u16 = 0x20;
const BPF_JUMP_EQUAL: u16 = 0x15;
const BPF_JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const BPF_RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// With a filter of system calls in the child.
fn filtered<const N: usize>(command: &mut Command, filter: [libc::sock_filter; N]) -> &mut Command {
    let set = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: prctl(2) reads `program` and the filter during the call only, and is
        // async-signal-safe.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                )
        };
        match done {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: `set` makes system calls only.
    unsafe { command.pre_exec(set) }
}
