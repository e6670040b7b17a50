//! The standard streams as commands use them: every error is told, and a terminal gets no control
//! characters of others.
//!
//! ```text
//!   bytes of a server ──► a terminal? ── yes ──► Filter: ESC becomes ^[ ──► descriptor
//!                              └──── no, or as they are ───────────────────────►┘
//! ```
//! The handles of the standard library take what a closed descriptor cannot, and say that it was
//! written; so these are descriptors of their own, without a buffer.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;

use crate::cli::standard;

/// Standard output or standard error.
pub struct Console {
    /// `None` where it was closed.
    file: Option<File>,
    /// Present exactly when it is a terminal.
    filter: Option<RefCell<Filter>>,
}

impl Console {
    /// Standard output.
    pub fn stdout() -> Console {
        Console::new(io::stdout(), standard::output_was_closed())
    }

    /// Standard error.
    pub fn stderr() -> Console {
        Console::new(io::stderr(), false)
    }

    fn new(stream: impl AsFd + IsTerminal, was_closed: bool) -> Console {
        let file = match was_closed {
            true => None,
            false => stream.as_fd().try_clone_to_owned().ok(),
        };
        Console {
            file: file.map(File::from),
            filter: stream.is_terminal().then(RefCell::default),
        }
    }

    /// True when people read it as it comes.
    pub fn is_terminal(&self) -> bool {
        self.filter.is_some()
    }

    /// Writes bytes as they are, and waits for room also where the descriptor does not block.
    pub fn write_as_is(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut file = self.file.as_ref().ok_or_else(not_open)?;
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => await_room(file)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes bytes that others made. On a terminal what they end with may wait for
    /// [`Console::end`].
    pub fn show(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.filter {
            None => self.write_as_is(bytes),
            Some(filter) => {
                let mut shown = Vec::with_capacity(bytes.len());
                filter.borrow_mut().push(bytes, &mut shown);
                self.write_as_is(&shown)
            }
        }
    }

    /// What was shown is complete.
    pub fn end(&self) -> io::Result<()> {
        let Some(filter) = &self.filter else {
            return Ok(());
        };
        let mut shown = Vec::new();
        filter.take().release(&mut shown);
        self.write_as_is(&shown)
    }

    /// Closes it, which is when some file systems tell that they could not keep what was written.
    pub fn close(mut self) -> io::Result<()> {
        self.file.take().map_or(Ok(()), close)
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.show(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard input, as a descriptor of its own.
pub fn stdin() -> io::Result<File> {
    if standard::input_was_closed() {
        return Err(not_open());
    }
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// The error of a descriptor that was closed.
pub fn not_open() -> io::Error {
    Errno::EBADF.into()
}

/// Waits until a descriptor that does not block takes more, or says why not.
fn await_room(file: &File) -> io::Result<()> {
    let room = PollFd::new(file.as_fd(), PollFlags::POLLOUT);
    match poll(&mut [room], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Closes a file that was written. Network file systems and quotas may fail only here, and a drop
/// tells nobody.
pub fn close(file: File) -> io::Result<()> {
    Ok(nix::unistd::close(file)?)
}

/// Writes control characters as text: what a server sends must not move the cursor, change colours
/// or answer questions of the terminal. Line ends and tabs remain.
#[derive(Default)]
struct Filter {
    /// A byte whose meaning the next one decides: CR, or the first of a two-byte control character.
    held: Option<u8>,
    /// Bytes that are to follow of a character.
    following: u8,
}

/// The first byte of U+0080 to U+00BF in UTF-8; terminals obey U+0080 to U+009F.
const CONTROLS_LEAD: u8 = 0xc2;

impl Filter {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            match (self.held.take(), byte) {
                (Some(b'\r'), b'\n') => out.extend_from_slice(b"\r\n"),
                (Some(CONTROLS_LEAD), 0x80..=0x9f) => escape(byte, out),
                (Some(CONTROLS_LEAD), 0xa0..=0xbf) => out.extend([CONTROLS_LEAD, byte]),
                (held, byte) => {
                    if let Some(held) = held {
                        escape(held, out);
                    }
                    self.push_one(byte, out);
                }
            }
        }
    }

    fn push_one(&mut self, byte: u8, out: &mut Vec<u8>) {
        let is_following = self.following > 0 && matches!(byte, 0x80..=0xbf);
        self.following = match byte {
            _ if is_following => self.following - 1,
            0xc3..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf4 => 3,
            _ => 0,
        };
        match byte {
            b'\r' | CONTROLS_LEAD => self.held = Some(byte),
            b'\n' | b'\t' | 0x20..=0x7e | 0xa0..=0xbf | 0xc3..=0xf4 => out.push(byte),
            _ if is_following => out.push(byte),
            _ => escape(byte, out),
        }
    }

    /// The end: nothing follows what is held.
    fn release(&mut self, out: &mut Vec<u8>) {
        if let Some(held) = self.held.take() {
            escape(held, out);
        }
    }
}

/// A byte as cat(1) with `-v` and others write it: `^[` for ESC, `<9B>` for what is no ASCII.
fn escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        0x00..=0x1f | 0x7f => out.extend([b'^', byte ^ 0x40]),
        _ => out.extend(format!("<{byte:02X}>").into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"a\tb\nc\r\nd", b"a\tb\nc\r\nd"),
            (b"\x1b[31mred\x07\x7f\0", b"^[[31mred^G^?^@"),
            (b"over\rwritten\r", b"over^Mwritten^M"),
            (b"\r\r\n", b"^M\r\n"),
            ("grün € 𝄞 \u{a0}«".as_bytes(), "grün € 𝄞 \u{a0}«".as_bytes()),
            ("\u{9b}31m".as_bytes(), b"<9B>31m"),
            (b"\x9b31m", b"<9B>31m"),
            (b"\xc3\x9b \xe2\x80\x9b", b"\xc3\x9b \xe2\x80\x9b"),
            (b"\xc3a\x9b", b"\xc3a<9B>"),
            (b"\xc0\x9b\xff", b"<C0><9B><FF>"),
            (b"\xc2\x1b\xc2", b"<C2>^[<C2>"),
        ];
        for (input, expected) in table {
            for piece in [1, 2, 3, 64] {
                let (mut filter, mut shown) = (Filter::default(), Vec::new());
                input
                    .chunks(piece)
                    .for_each(|piece| filter.push(piece, &mut shown));
                filter.release(&mut shown);
                assert_eq!(shown, *expected, "{}", input.escape_ascii());
            }
        }
    }
}
