//! A filter of system calls (seccomp(2)) for a program that is started. The tests use it too.
#![allow(unsafe_code, reason = "set between fork(2) and execve(2)")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What happens to a call that is filtered.
#[derive(Clone, Copy)]
pub enum Answer {
    /// It fails with this number.
    Errno(i32),
    /// It ends the process, by SIGSYS.
    Kill,
}

impl Answer {
    /// The instruction that gives it.
    pub fn step(self) -> libc::sock_filter {
        match self {
            Answer::Errno(errno) => step(BPF_RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
            Answer::Kill => step(BPF_RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        }
    }
}

/// The program cannot use io_uring, as under Docker's default profile.
pub fn refuse_io_uring(command: &mut Command, answer: Answer) -> &mut Command {
    // The calls have the numbers 425 to 427 on every architecture but alpha; the number is the
    // first word of the filter's input.
    let filter = [
        step(BPF_LOAD_WORD, 0, 0, 0),
        step(BPF_JUMP_GREATER_OR_EQUAL, 0, 1, 425),
        step(BPF_JUMP_GREATER_OR_EQUAL, 0, 1, 428),
        step(BPF_RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        answer.step(),
    ];
    filtered(command, filter)
}

pub const BPF_LOAD_WORD: u16 = 0x20;
const BPF_JUMP_GREATER_OR_EQUAL: u16 = 0x35;
pub const BPF_RETURN: u16 = 0x06;

/// One instruction: `jt` and `jf` are how many to skip where a comparison with `k` holds or not.
pub fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// The program begins with this filter, which it and its children keep.
pub fn filtered<const N: usize>(
    command: &mut Command,
    filter: [libc::sock_filter; N],
) -> &mut Command {
    // SAFETY: system calls only.
    unsafe { command.pre_exec(move || install(&filter)) }
}

/// The calling thread, and what it starts from here on, keeps this filter. Makes system calls only.
pub fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: prctl(2) reads `program` and the filter during the call only.
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
        _ => Err(io::Error::last_os_error()),
    }
}
