//! All of these tests where calls that newer kernels have are refused.

use std::process::Command;

use super::filter::Answer;
use super::filter::BPF_LOAD_WORD;
use super::filter::BPF_RETURN;
use super::filter::filtered;
use super::filter::step;

const BPF_JUMP_EQUAL: u16 = 0x15;
const BPF_JUMP_GREATER_OR_EQUAL: u16 = 0x35;

/// The first call of Linux 5.2: those behind it are openat2(2), clone3(2), epoll_pwait2(2) and more. The
/// numbers are the same on every architecture but alpha.
const SYS_OPEN_TREE: u32 = 428;

/// As on Linux 5.1, and there is no preadv2(2) either, which says what is in memory.
#[test]
fn the_same_with_calls_refused() {
    let program = std::env::current_exe().unwrap();
    let mut tests = Command::new(program);
    tests.args(["--skip", "the_same_with_calls_refused"]);
    let filter = [
        step(BPF_LOAD_WORD, 0, 0, 0),
        step(BPF_JUMP_GREATER_OR_EQUAL, 2, 0, SYS_OPEN_TREE),
        step(BPF_JUMP_EQUAL, 1, 0, libc::SYS_preadv2 as u32),
        step(BPF_RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        Answer::Errno(libc::ENOSYS).step(),
    ];
    let output = filtered(&mut tests, filter).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("names::what_is_listed_is_found ... ok"),
        "{said}"
    );
}
