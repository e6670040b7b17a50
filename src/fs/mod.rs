//! Files beneath a directory: the kernel sees to it that nothing leads out.
//!
//! ```text
//!   Root ─ open_beneath("a/b.txt") ─► blocking pool: openat2(RESOLVE_BENEATH) + fstat ─► (file, metadata)
//!        ─ list("a") ──────────────► blocking pool: readdir + stat ─► entries, and whether they are all
//! ```
//!
//! What is too large for memory goes to a [`temporary`] file.
//! Contents are read by whoever sends them (`net`), or with [`read_at`].

pub mod temporary;

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use futures_core::Stream;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::limits::DIRECTORY_ENTRIES_MAX;
use crate::limits::FILE_OPEN_ATTEMPTS_MAX;
use crate::limits::FILE_OPEN_PAUSE;
use crate::limits::FILE_READ_BYTES;
use crate::reactor::Errno;
use crate::reactor::operation::Operation;
use crate::reactor::sys;
use crate::reactor::sys::Directory;
use crate::reactor::sys::File;
use crate::runtime::Class;
use crate::runtime::Core;
use crate::runtime::blocking_in;
use crate::runtime::descriptors;
use crate::runtime::is_simulated;
use crate::runtime::operations;
use crate::runtime::sleep;

pub use crate::reactor::sys::DirEntry;
pub use crate::reactor::sys::FileContent;
pub use crate::reactor::sys::FileSystem;
pub use crate::reactor::sys::Links;
pub use crate::reactor::sys::Listed;
pub use crate::reactor::sys::Metadata;
pub use crate::reactor::sys::Opened;

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
        Root::open_now(path).map_err(|error| {
            let text = format!("cannot open the directory {}", path.display());
            Error::new(ErrorKind::Io, text)
                .in_phase(Phase::File)
                .because(error)
        })
    }

    fn open_now(path: &Path) -> io::Result<Root> {
        Ok(Root {
            directory: Arc::new(Directory::open(path)?),
            path: Arc::from(path),
        })
    }

    /// As [`Root::open`], on the blocking pool.
    ///
    /// # Errors
    ///
    /// Those of open(2); the blocking pool is full.
    pub async fn open_later(path: &Path) -> io::Result<Root> {
        let path = path.to_owned();
        patiently(move || Root::open_now(&path)).await
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
    /// absolute path, a symbolic link) is an error of the kernel (openat2(2), RESOLVE_BENEATH; where that
    /// is refused, the names are opened one by one, without following links).
    ///
    /// # Errors
    ///
    /// Those of openat2(2): `NotFound`, `PermissionDenied`, `CrossesDevices` for a way out; the
    /// blocking pool is full.
    pub async fn open_beneath(
        &self,
        relative: impl AsRef<Path>,
    ) -> io::Result<(Arc<File>, Metadata)> {
        self.open_beneath_with(relative, Links::Inside).await
    }

    /// As [`Root::open_beneath`], with symbolic links as `links` says.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`].
    pub async fn open_beneath_with(
        &self,
        relative: impl AsRef<Path>,
        links: Links,
    ) -> io::Result<(Arc<File>, Metadata)> {
        let directory = Arc::clone(&self.directory);
        let relative = relative.as_ref().to_owned();
        let (file, metadata) = patiently(move || directory.open_beneath(&relative, links)).await?;
        Ok((Arc::new(file), metadata))
    }

    /// The error of a path that names nothing, or nothing that may be had, as far as the kernel knows
    /// without waiting. What is there, or may be, is no error.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`].
    pub fn refuse_beneath(&self, relative: impl AsRef<Path>, links: Links) -> io::Result<()> {
        self.directory.refuse_beneath(relative.as_ref(), links)
    }

    /// What a path beneath this directory names now, if the kernel has it in memory: without waiting.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`]; `WouldBlock` where a disk would have to be asked.
    pub fn look_beneath(&self, relative: impl AsRef<Path>, links: Links) -> io::Result<Metadata> {
        self.directory.look_beneath(relative.as_ref(), links)
    }

    /// As [`Root::open_beneath_with`], and reads a file of up to `bytes_max` bytes. A file is what
    /// read(2) gives, and not what its size says. `None` when it is what was `seen` before, which takes no
    /// descriptor.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`].
    pub async fn open_and_read(
        &self,
        relative: impl AsRef<Path>,
        links: Links,
        bytes_max: usize,
        seen: Option<Metadata>,
    ) -> io::Result<Option<Opened>> {
        let directory = Arc::clone(&self.directory);
        let relative = relative.as_ref().to_owned();
        patiently(move || {
            if seen.is_some_and(|seen| directory.is_same_beneath(&relative, &seen)) {
                return Ok(None);
            }
            let opened = directory.open_and_read(&relative, links, bytes_max);
            opened.map(Some)
        })
        .await
    }

    /// The files and directories in a directory beneath this one, as far as they are among the first
    /// [`DIRECTORY_ENTRIES_MAX`] names. Links that lead nowhere or out are left out.
    ///
    /// # Errors
    ///
    /// As for [`Root::open_beneath`]; `NotADirectory`.
    pub async fn list(&self, relative: impl AsRef<Path>) -> io::Result<Listed> {
        self.list_with(relative, Links::Inside).await
    }

    /// As [`Root::list`], with symbolic links as `links` says.
    ///
    /// # Errors
    ///
    /// As for [`Root::list`].
    pub async fn list_with(&self, relative: impl AsRef<Path>, links: Links) -> io::Result<Listed> {
        self.list_into(relative, links, |listed| listed).await
    }

    /// As [`Root::list_with`], and makes something of it on the same thread. When this is dropped, that
    /// thread goes no further than the next name.
    pub(crate) async fn list_into<T: Send + 'static>(
        &self,
        relative: impl AsRef<Path>,
        links: Links,
        make: impl Fn(Listed) -> T + Send + Sync + 'static,
    ) -> io::Result<T> {
        let directory = Arc::clone(&self.directory);
        let relative = relative.as_ref().to_owned();
        let asker = Arc::new(());
        let asks = Arc::downgrade(&asker);
        let is_wanted = move || asks.strong_count() > 0;
        let list = move || directory.list(&relative, links, DIRECTORY_ENTRIES_MAX, &is_wanted);
        let made = patiently_in(Class::Listing, move || list().map(&make)).await;
        drop(asker);
        made
    }
}

/// Opens a file for reading, by a path that is the program's own: links are followed.
///
/// # Errors
///
/// [`ErrorKind::Io`] naming the path: it does not exist, is no regular file, may not be read; the
/// blocking pool is full.
pub async fn open(path: impl AsRef<Path>) -> Result<(Arc<File>, Metadata), Error> {
    let path = path.as_ref();
    let own = path.to_owned();
    let opened = patiently(move || sys::open_file(&own)).await;
    let (file, metadata) = opened
        .map_err(|error| failure(format!("cannot open the file {}", path.display()), error))?;
    Ok((Arc::new(file), metadata))
}

fn failure(text: String, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        // It did not come to that.
        Ok(ours) => ours.in_phase(Phase::File),
        Err(error) => Error::new(ErrorKind::Io, text)
            .in_phase(Phase::File)
            .because(error),
    }
}

/// Does on the blocking pool what opens something. Where the kernel says "not now", or has no descriptor
/// left, it is done again after a pause that holds no thread, a few times: then that is the answer.
async fn patiently<T: Send + 'static>(
    work: impl Fn() -> io::Result<T> + Send + Sync + 'static,
) -> io::Result<T> {
    patiently_in(Class::File, work).await
}

async fn patiently_in<T: Send + 'static>(
    class: Class,
    work: impl Fn() -> io::Result<T> + Send + Sync + 'static,
) -> io::Result<T> {
    let work = Arc::new(work);
    let mut pause = FILE_OPEN_PAUSE;
    let mut attempts = 1;
    loop {
        let work = Arc::clone(&work);
        let error = match blocking_in(class, move || work()).await? {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(core) = Core::try_current()
            .ok()
            .filter(|_| attempts < FILE_OPEN_ATTEMPTS_MAX)
        else {
            return Err(error);
        };
        match Errno::from_io(&error) {
            Errno::EAGAIN | Errno::EINTR => {
                sleep(pause).await;
                pause *= 2;
                attempts += 1;
            }
            errno if descriptors::are_short(errno) => {
                descriptors::make_room(&core).await;
                attempts = FILE_OPEN_ATTEMPTS_MAX;
            }
            _ => return Err(error),
        }
    }
}

/// Descriptors that this process may have (RLIMIT_NOFILE, the soft limit).
pub fn descriptors_max() -> u64 {
    match is_simulated() {
        // The same on every machine.
        true => 1_024,
        false => sys::file_descriptor_limit().0,
    }
}

/// True for an open file of which `length`, as it says, promises nothing: one that is made up while it is
/// read, or says zero and may have content all the same.
pub fn has_unknown_length(file: &File, length: u64) -> bool {
    let is_empty = || {
        let read = sys::read_now(file, 0, &mut Vec::with_capacity(1), 1, sys::is_local(file));
        matches!(read, Ok(0))
    };
    sys::is_pseudo(file) || length == 0 && !is_empty()
}

/// Reads up to `bytes_max` bytes of a file from `offset` on; none are the end. The ring reads, and
/// does not block when the file is cached.
///
/// # Errors
///
/// Those of pread(2): `WouldBlock` for a file that gave nothing a few times, which one with O_NONBLOCK
/// does on some file systems; or no core runs on this thread.
pub async fn read_at(file: &Arc<File>, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let core = Core::try_current()?;
    if bytes_max == 0 {
        return Ok(Vec::new());
    }
    let mut buffer = Vec::with_capacity(bytes_max);
    let mut pause = FILE_OPEN_PAUSE;
    for attempt in 1.. {
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
            Ok(_) => break,
            Err(Errno::EINTR | Errno::EAGAIN) if attempt < FILE_OPEN_ATTEMPTS_MAX => {
                sleep(pause).await;
                pause *= 2;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(buffer)
}

/// As [`read_at`], on the blocking pool: for files that are made up while they are read, which the ring
/// would leave to threads of the kernel.
///
/// # Errors
///
/// Those of pread(2); the blocking pool is full.
pub async fn read_on_pool(file: &Arc<File>, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = Arc::clone(file);
    patiently(move || {
        let mut buffer = vec![0; bytes_max];
        let read = file.read_at(&mut buffer, offset)?;
        buffer.truncate(read);
        Ok(buffer)
    })
    .await
}

/// What read(2) gives of a file up to its end, for one whose length is [unknown](has_unknown_length).
pub fn chunks(file: Arc<File>) -> Chunks {
    Chunks {
        file,
        offset: 0,
        reading: None,
    }
}

/// The stream of [`chunks`].
pub struct Chunks {
    file: Arc<File>,
    offset: u64,
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>>>>;

impl Stream for Chunks {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        let reading = self.reading.get_or_insert_with(|| {
            Box::pin(async move { read_on_pool(&file, offset, FILE_READ_BYTES).await })
        });
        let read = ready!(reading.as_mut().poll(context));
        self.reading = None;
        self.offset += read.as_ref().map_or(0, Vec::len) as u64;
        Poll::Ready(Some(read).filter(|read| !matches!(read, Ok(bytes) if bytes.is_empty())))
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
                for (bytes_max, expected) in [
                    (7, FileContent::Whole(b"content".to_vec())),
                    (6, FileContent::Unread),
                ] {
                    let open = |seen| root.open_and_read("within", Links::Inside, bytes_max, seen);
                    let opened = open(None).await.unwrap().unwrap();
                    assert_eq!(opened.content, expected);
                    assert!(open(Some(opened.metadata)).await.unwrap().is_none());
                    let other = Metadata {
                        inode: 0,
                        ..opened.metadata
                    };
                    assert!(open(Some(other)).await.unwrap().is_some());
                }
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
                let listed = root.list("").await.unwrap();
                assert!(!listed.is_cut);
                let mut names: Vec<_> =
                    listed.entries.into_iter().map(|entry| entry.name).collect();
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
