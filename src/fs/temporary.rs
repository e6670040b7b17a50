//! Files without a name: for what is too large for memory and goes away by itself.
//!
//! ```text
//!   TemporaryFile ─ append(bytes) ─► blocking pool: pwrite ─► the range where they are
//!        └─ shared handle ─► read_at, a body, a copy that stays
//! ```

use std::io;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;
use crate::fs::failure;
use crate::fs::patiently;
use crate::reactor::sys;
use crate::reactor::sys::File;
use crate::runtime::Class;
use crate::runtime::blocking_in;

/// A file without a name, that grows at its end. It is gone when the last handle of it is closed,
/// however the process ends.
#[derive(Debug)]
pub struct TemporaryFile {
    file: Arc<File>,
    len: u64,
}

impl TemporaryFile {
    /// A new one in `directory`; without one in that of the environment (`TMPDIR`, else `/tmp`),
    /// which on many machines is memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::error::ErrorKind::Io) naming the directory; the blocking pool is full.
    pub async fn new_in(directory: Option<&Path>) -> Result<TemporaryFile, Error> {
        let directory = directory.map_or_else(std::env::temp_dir, PathBuf::from);
        let place = directory.clone();
        let made = patiently(move || sys::temporary_file(&place)).await;
        let file = made.map_err(|error| {
            let place = directory.display();
            failure(format!("cannot make a temporary file in {place}"), error)
        })?;
        Ok(TemporaryFile {
            file: Arc::new(file),
            len: 0,
        })
    }

    /// Writes bytes behind all others, and says where they are. After an error, and when the future
    /// was dropped, what the file holds there is unknown; what comes behind it is not affected.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::error::ErrorKind::Io): the disk is full, for example; the blocking pool is full.
    pub async fn append(&mut self, bytes: Bytes) -> Result<Range<u64>, Error> {
        let start = self.len;
        // Before the wait: work that has begun goes on when the future is dropped.
        self.len += bytes.len() as u64;
        let file = Arc::clone(&self.file);
        let written =
            blocking_in(Class::File, move || sys::write_all_at(&file, &bytes, start)).await?;
        written.map_err(|error| failure("cannot write to a temporary file".into(), error))?;
        Ok(start..self.len)
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True before the first byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file, for who reads it.
    pub fn handle(&self) -> &Arc<File> {
        &self.file
    }
}

/// Makes a file at `path`, where there must be none, of a range of an open one.
///
/// # Errors
///
/// [`ErrorKind::Io`](crate::error::ErrorKind::Io): it exists, its directory does not, the disk is full, for example.
pub async fn copy_to_new(file: &Arc<File>, range: Range<u64>, path: &Path) -> Result<(), Error> {
    let (file, own) = (Arc::clone(file), path.to_owned());
    let made = patiently(move || sys::copy_to_new(&file, range.clone(), &own));
    named(made.await, path)
}

/// Makes a file at `path`, where there must be none, with this content.
///
/// # Errors
///
/// As for [`copy_to_new`].
pub async fn write_new(path: &Path, bytes: Bytes) -> Result<(), Error> {
    let own = path.to_owned();
    named(patiently(move || sys::write_new(&own, &bytes)).await, path)
}

fn named(result: io::Result<()>, path: &Path) -> Result<(), Error> {
    result.map_err(|error| failure(format!("cannot make the file {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::read_at;
    use crate::runtime::Runtime;

    #[test]
    fn grows_and_is_read() {
        let directory = tempfile::tempdir().unwrap();
        Runtime::small()
            .unwrap()
            .block_on(async {
                let mut file = TemporaryFile::new_in(Some(directory.path())).await.unwrap();
                assert!(file.is_empty());
                assert_eq!(file.append(Bytes::from("abc")).await.unwrap(), 0..3);
                assert_eq!(file.append(Bytes::from("defg")).await.unwrap(), 3..7);
                // Given up at once, it still has its place.
                drop(file.append(Bytes::from("-")));
                assert_eq!(read_at(file.handle(), 2, 10).await.unwrap(), b"cdefg");
                let path = directory.path().join("kept");
                copy_to_new(file.handle(), 1..6, &path).await.unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), b"bcdef");
                let error = write_new(&path, Bytes::from("x")).await.unwrap_err();
                assert!(error.to_string().contains("kept"), "{error}");
                let missing = directory.path().join("missing");
                let error = TemporaryFile::new_in(Some(&missing)).await.unwrap_err();
                assert!(error.to_string().contains("missing"), "{error}");
            })
            .unwrap();
    }
}
