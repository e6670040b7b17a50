//! Standard output as commands use it: every error is told.
//!
//! The handles of the standard library take what a closed descriptor cannot, and say that it was
//! written; so these are descriptors of their own, without a buffer.

use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;

use crate::cli::standard;

/// Standard output.
pub struct Console {
    /// `None` where it was closed.
    file: Option<File>,
}

impl Console {
    /// Standard output.
    pub fn stdout() -> Console {
        let file = match standard::output_was_closed() {
            true => None,
            false => io::stdout().as_fd().try_clone_to_owned().ok(),
        };
        Console {
            file: file.map(File::from),
        }
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

    /// Closes it, which is when some file systems tell that they could not keep what was written.
    pub fn close(mut self) -> io::Result<()> {
        self.file.take().map_or(Ok(()), close)
    }
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
