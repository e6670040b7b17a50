//! Files without a name, writing to them, and copies that keep one. These calls may block: they run
//! on the blocking pool.

use std::ffi::CString;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::limits::FILE_READ_BYTES;
#[cfg(feature = "simulation")]
use crate::ring::sim::calls;

/// A new file in `directory`, for reading and writing by this user alone. It has no name (open(2),
/// O_TMPFILE, since 3.11), or loses it at once where the file system has no such files: nobody finds
/// it, and it is gone when it is closed, however the process ends.
pub fn temporary_file(directory: &Path) -> io::Result<File> {
    simulated!(calls::temporary_file());
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_EXCL;
    match nix::fcntl::open(directory, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(fd) => Ok(File::from(fd)),
        // The file system, or the kernel, knows no such files.
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL) => {
            unlinked_file(directory)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// A file under a random name, which is taken away at once.
fn unlinked_file(directory: &Path) -> io::Result<File> {
    let path = directory.join("roundtrip-XXXXXX");
    let template = CString::new(path.as_os_str().as_bytes())?;
    let template = template.into_raw();
    // SAFETY: `template` came from `into_raw` one line above: it ends in NUL, is ours alone, and
    // mkostemp(3) writes to its six last bytes, which are there, and no further.
    let fd = unsafe { libc::mkostemp(template, libc::O_CLOEXEC) };
    let result = Errno::result(fd);
    // SAFETY: `template` is the pointer that `into_raw` gave, taken back once; its length is the same.
    let path = unsafe { CString::from_raw(template) };
    // SAFETY: the call succeeded, so the descriptor is open, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(result?) };
    fs::remove_file(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())))?;
    Ok(File::from(fd))
}

/// Writes all bytes at `offset`.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    simulated!(calls::write_failure());
    file.write_all_at(bytes, offset)
}

/// Makes a file at `path`, where there must be none, of a range of another one. What was written of
/// it is removed when it fails.
pub fn copy_to_new(source: &File, range: Range<u64>, path: &Path) -> io::Result<()> {
    make_new(path, |target| {
        let mut buffer = vec![0; FILE_READ_BYTES];
        let mut offset = range.start;
        while offset < range.end {
            let wanted = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
            let part = &mut buffer[..wanted.min(FILE_READ_BYTES)];
            source.read_exact_at(part, offset)?;
            target.write_all_at(part, offset - range.start)?;
            offset += part.len() as u64;
        }
        Ok(())
    })
}

/// Makes a file at `path`, where there must be none, with this content. What was written of it is
/// removed when it fails.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_new(path, |target| target.write_all_at(bytes, 0))
}

fn make_new(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    simulated!(calls::new_file_failure());
    let target = OpenOptions::new().write(true).create_new(true).open(path)?;
    let filled = fill(&target);
    if filled.is_err() {
        // What made it fail is told; that the rest could not be removed would hide it.
        let _ = fs::remove_file(path);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_empty(directory: &Path) -> bool {
        fs::read_dir(directory).unwrap().next().is_none()
    }

    #[test]
    fn both_ways_leave_no_name() {
        let directory = tempfile::tempdir().unwrap();
        type Make = fn(&Path) -> io::Result<File>;
        for make in [temporary_file as Make, unlinked_file] {
            let file = make(directory.path()).unwrap();
            assert!(is_empty(directory.path()));
            write_all_at(&file, b"world", 6).unwrap();
            write_all_at(&file, b"hello ", 0).unwrap();
            let mut found = [0; 11];
            file.read_exact_at(&mut found, 0).unwrap();
            assert_eq!(&found, b"hello world");
            let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
            assert_eq!(mode & 0o777, 0o600);
            assert!(make(&directory.path().join("none")).is_err());
        }
        assert!(is_empty(directory.path()));
    }

    #[test]
    fn a_copy_is_whole_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = temporary_file(directory.path()).unwrap();
        let content: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        write_all_at(&file, &content, 0).unwrap();
        let path = directory.path().join("copy");
        copy_to_new(&file, 7..290_000, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), content[7..290_000]);
        let error = copy_to_new(&file, 0..1, &path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap().len(), 290_000 - 7);
        let path = directory.path().join("short");
        assert!(copy_to_new(&file, 0..300_001, &path).is_err());
        assert!(!path.exists());
        write_new(&path, b"abc").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert!(write_new(&path, b"abc").is_err());
    }
}
