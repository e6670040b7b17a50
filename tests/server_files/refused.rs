//! All of these tests where calls that newer kernels have are refused.

use std::process::Command;

use super::filter::Answer;
use super::filter::BPF_LOAD_WORD;
use super::filter::BPF_RETURN;
use super::filter::filtered;
use super::filter::step;

const BPF_JUMP_EQUAL: u16 = 0x15;

/// As by Docker before 20.10, or Linux before 5.6: openat2(2); and preadv2(2), which says what is in
/// memory.
#[test]
fn the_same_with_calls_refused() {
    let program = std::env::current_exe().unwrap();
    let mut tests = Command::new(program);
    tests.args(["--skip", "the_same_with_calls_refused"]);
    let filter = [
        step(BPF_LOAD_WORD, 0, 0, 0),
        step(BPF_JUMP_EQUAL, 2, 0, libc::SYS_openat2 as u32),
        step(BPF_JUMP_EQUAL, 1, 0, libc::SYS_preadv2 as u32),
        step(BPF_RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        Answer::Errno(libc::EPERM).step(),
    ];
    let output = filtered(&mut tests, filter).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("names::what_is_listed_is_found ... ok"),
        "{said}"
    );
}
