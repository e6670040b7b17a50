//! Files beneath a directory: the kernel sees to it that nothing leads out.
//!
//! ```text
//!   Root ─ open_beneath("a/b.txt") ─► blocking pool: openat2(RESOLVE_BENEATH) + fstat ─► (file, metadata)
//!        ─ list("a") ──────────────► blocking pool: readdir + stat ─► entries
//! ```
//!
//! What is too large for memory goes to a [`temporary`] file.
//! Contents are read by whoever sends them (`net`), or with [`read_at`].

pub mod temporary;

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::limits::DIRECTORY_ENTRIES_MAX;
use crate::reactor::Errno;
use crate::reactor::operation::Operation;
use crate::reactor::sys;
use crate::reactor::sys::Directory;
use crate::reactor::sys::File;
use crate::runtime::Core;
use crate::runtime::blocking;
use crate::runtime::operations;

pub use crate::reactor::sys::DirEntry;
pub use crate::reactor::sys::Links;
pub use crate::reactor::sys::Metadata;

/// An open directory. Clones share it.
#[derive(Clone, Debug)]
pub struct Root {
    directory: Arc<Directory>,
    path: Arc<Path>,
}

impl Root {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] naming the path: it does not exist, is no directory, or may not be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Root, Error> {
        let path = path.as_ref();
        let directory = Directory::open(path).map_err(|error| {
            let text = format!("cannot open the directory {}", path.display());
            Error::new(ErrorKind::Io, text)
                .in_phase(Phase::File)
                .because(error)
        })?;
        Ok(Root {
            directory: Arc::new(directory),
            path: Arc::from(path),
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True when both are one directory.
    pub fn is_same(&self, other: &Root) -> bool {
        self.directory.is_same(&other.directory)
    }

    /// True when the path still names the directory that was opened, as far as can be told without
    /// waiting.
    ///
    /// # Errors
    ///
    /// It names nothing; `WouldBlock` where a disk would have to be asked.
    pub fn is_current(&self) -> io::Result<bool> {
        self.directory.is_at(&self.path)
    }

    /// Opens a file or directory beneath this one for reading. Whatever would lead out (`..`, an
    /// absolute path, a symbolic link) is an error of the kernel (openat2(2), RESOLVE_BENEATH).
    ///
    /// # Errors
    ///
    /// Those of openat2(2): `NotFound`, `PermissionDenied`, `CrossesDevices` for a way out; the
    /// blocking pool is full.
    pub async fn open_beneath(&self, relative: &str) -> io::Result<(Arc<File>, Metadata)> {
        self.open_beneath_with(relative, Links::Inside).await
    }

    /// As [`Root::open_beneath`], with symbolic links as `links` says.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`].
    pub async fn open_beneath_with(
        &self,
        relative: &str,
        links: Links,
    ) -> io::Result<(Arc<File>, Metadata)> {
        let directory = Arc::clone(&self.directory);
        let relative = PathBuf::from(relative);
        let (file, metadata) = blocking(move || directory.open_beneath(&relative, links)).await??;
        Ok((Arc::new(file), metadata))
    }

    /// What a path beneath this directory names now, if the kernel has it in memory: without waiting.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`]; `WouldBlock` where a disk would have to be asked.
    pub fn look_beneath(&self, relative: &str, links: Links) -> io::Result<Metadata> {
        self.directory.look_beneath(Path::new(relative), links)
    }

    /// As [`Root::open_beneath_with`], with the content of a file of up to `bytes_max` bytes. Without
    /// it where the file is longer, or changed while it was read.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`].
    pub async fn open_and_read(
        &self,
        relative: &str,
        links: Links,
        bytes_max: usize,
    ) -> io::Result<(Arc<File>, Metadata, Option<Vec<u8>>)> {
        let directory = Arc::clone(&self.directory);
        let relative = PathBuf::from(relative);
        let work = move || directory.open_and_read(&relative, links, bytes_max);
        let (file, metadata, content) = blocking(work).await??;
        Ok((Arc::new(file), metadata, content))
    }

    /// The entries of a directory beneath this one, in no order, at most
    /// [`DIRECTORY_ENTRIES_MAX`]. Links that lead nowhere or out are left out.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`]; `NotADirectory`.
    pub async fn list(&self, relative: &str) -> io::Result<Vec<DirEntry>> {
        self.list_with(relative, Links::Inside).await
    }

    /// As [`Root::list`], with symbolic links as `links` says.
    ///
    /// # Errors
    ///
    /// As for [`Root::list`].
    pub async fn list_with(&self, relative: &str, links: Links) -> io::Result<Vec<DirEntry>> {
        let directory = Arc::clone(&self.directory);
        let relative = PathBuf::from(relative);
        blocking(move || directory.list(&relative, links, DIRECTORY_ENTRIES_MAX)).await?
    }
}

/// Opens a file for reading, by a path that is the program's own: links are followed.
///
/// # Errors
///
/// [`ErrorKind::Io`] naming the path: it does not exist, is no regular file, may not be read; the
/// blocking pool is full.
pub async fn open(path: impl AsRef<Path>) -> Result<(Arc<File>, Metadata), Error> {
    let path = path.as_ref().to_owned();
    let opened = blocking(move || {
        let opened = sys::open_file(&path).and_then(|(file, metadata)| match metadata.is_file {
            true => Ok((Arc::new(file), metadata)),
            false => Err(io::Error::other("it is no regular file")),
        });
        opened.map_err(|error| {
            let text = format!("cannot open the file {}", path.display());
            Error::new(ErrorKind::Io, text)
                .in_phase(Phase::File)
                .because(error)
        })
    });
    opened.await?
}

/// Reads up to `bytes_max` bytes of a file from `offset` on; none are the end. The ring reads, and
/// does not block when the file is cached.
///
/// # Errors
///
/// Those of pread(2), or no core runs on this thread.
pub async fn read_at(file: &Arc<File>, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let core = Core::try_current()?;
    if bytes_max == 0 {
        return Ok(Vec::new());
    }
    let mut buffer = Vec::with_capacity(bytes_max);
    loop {
        let operation = Operation::Read {
            file: Arc::clone(file),
            offset,
            buffer,
        };
        let completion = operations::submit(&core, file.as_raw_fd(), None, operation).await;
        let Some(Operation::Read {
            buffer: returned, ..
        }) = completion.operation
        else {
            panic!("a read gives its buffer back")
        };
        buffer = returned;
        match completion.result {
            Ok(_) => return Ok(buffer),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::runtime::Runtime;

    #[test]
    fn nothing_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir(inside.path().join("sub")).unwrap();
        std::fs::write(inside.path().join("sub/file"), "content").unwrap();
        symlink("sub/file", inside.path().join("within")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("out")).unwrap();
        symlink("nowhere", inside.path().join("dangling")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        Runtime::small()
            .unwrap()
            .block_on(async {
                let (file, metadata) = root.open_beneath("sub/file").await.unwrap();
                assert!(metadata.is_file);
                assert_eq!(metadata.len, 7);
                assert_eq!(read_at(&file, 3, 100).await.unwrap(), b"tent");
                assert_eq!(read_at(&file, 7, 100).await.unwrap(), b"");
                assert!(root.open_beneath("within").await.is_ok());
                // The kernel may say at any time that it would have to wait, as it does to note when a
                // link was read.
                let is_or_waits = |path: &str, links, len| match root.look_beneath(path, links) {
                    Ok(metadata) => metadata.len == len,
                    Err(error) => error.kind() == io::ErrorKind::WouldBlock,
                };
                assert!(is_or_waits("sub/file", Links::Inside, 7));
                let (_, _, content) = root
                    .open_and_read("within", Links::Inside, 7)
                    .await
                    .unwrap();
                assert_eq!(content.as_deref(), Some(&b"content"[..]));
                let (_, _, content) = root
                    .open_and_read("within", Links::Inside, 6)
                    .await
                    .unwrap();
                assert_eq!(content, None);
                assert!(root.look_beneath("out", Links::Inside).is_err());
                assert!(is_or_waits("out", Links::Followed, 6));
                let followed = root.open_beneath_with("out", Links::Followed).await;
                assert_eq!(followed.unwrap().1.len, 6);
                for path in ["../x", "/etc/passwd", "sub/../.."] {
                    assert!(root.look_beneath(path, Links::Followed).is_err(), "{path}");
                    let opened = root.open_beneath_with(path, Links::Followed).await;
                    assert!(opened.is_err(), "{path}");
                }
                assert!(root.open_beneath("").await.unwrap().1.is_dir);
                for path in [
                    "out",
                    "../x",
                    "sub/../../x",
                    "/etc/passwd",
                    "..",
                    "dangling",
                    "a\0b",
                ] {
                    assert!(root.open_beneath(path).await.is_err(), "{path}");
                }
                let mut names: Vec<_> = root
                    .list("")
                    .await
                    .unwrap()
                    .into_iter()
                    .map(|entry| entry.name)
                    .collect();
                names.sort();
                assert_eq!(names, ["sub", "within"]);
                assert!(root.list("sub/file").await.is_err());
            })
            .unwrap();
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Root::open("/no/such/directory").unwrap_err();
        assert!(error.to_string().contains("/no/such/directory"), "{error}");
    }

    #[test]
    fn any_file_is_opened_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "content").unwrap();
        symlink(&path, directory.path().join("link")).unwrap();
        let open = |path: &Path| Runtime::small().unwrap().block_on(open(path)).unwrap();
        let (_, metadata) = open(&directory.path().join("link")).unwrap();
        assert_eq!(metadata.len, 7);
        let missing = open(&directory.path().join("none")).unwrap_err();
        assert_eq!(missing.phase(), Some(Phase::File));
        assert!(missing.to_string().contains("/none"), "{missing}");
        let error = open(directory.path()).unwrap_err();
        assert!(format!("{error:#}").contains("no regular file"), "{error}");
    }
}
