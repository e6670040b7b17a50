//! Whole forms with files: fields in memory, large files in one temporary file without a name.
//!
//! ```text
//!   request.multipart_form(options) ──► fields      in memory, or 413
//!                                   └─► files ─┬─── in memory, while there is room
//!                                              └─── on disk: one file for the form, a range each
//! ```
//!
//! To read a form as it comes, see [`crate::http::multipart`].

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use ::http::StatusCode;
use bytes::Bytes;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::fs::read_at;
use crate::fs::temporary;
use crate::fs::temporary::TemporaryFile;
use crate::http::body::Body;
use crate::http::multipart::MultipartLimits;
use crate::http::multipart::Part;
use crate::http::multipart::part_no_text;
use crate::http::query::parse_as;
use crate::http::request::Request;
use crate::limits::FILE_READ_BYTES;
use crate::limits::FORM_BYTES_MAX;
use crate::limits::FORM_FIELDS_BYTES_MAX;
use crate::limits::FORM_MEMORY_BYTES_MAX;
use crate::limits::FORM_WRITE_BYTES;

/// What a collected form may take, and where its large files go.
///
/// ```
/// use roundtrip::server::form::FormOptions;
///
/// let films = FormOptions::default()
///     .bytes_max(4 << 30)
///     .directory("/var/tmp");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormOptions {
    limits: MultipartLimits,
    fields_bytes_max: usize,
    memory_bytes_max: usize,
    directory: Option<PathBuf>,
}

impl Default for FormOptions {
    /// 32 MiB for everything, 1 MiB for all fields, 1 MiB of files in memory and the others in the
    /// directory for temporary files; parts and their heads as in [`MultipartLimits`].
    fn default() -> FormOptions {
        FormOptions {
            limits: MultipartLimits {
                bytes_max: Some(FORM_BYTES_MAX),
                ..MultipartLimits::default()
            },
            fields_bytes_max: FORM_FIELDS_BYTES_MAX,
            memory_bytes_max: FORM_MEMORY_BYTES_MAX,
            directory: None,
        }
    }
}

impl FormOptions {
    /// Bytes of everything, on the wire: what each request may take of the disk, while its form is
    /// there. More is answered 413, and so is what is more than the server's own limit for bodies.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> FormOptions {
        self.limits.bytes_max = Some(bytes);
        self
    }

    /// Parts: fields and files. More are answered 413.
    #[must_use]
    pub fn parts_max(mut self, parts: usize) -> FormOptions {
        self.limits.parts_max = parts;
        self
    }

    /// Bytes of all fields, with their names and those of files. More are answered 413.
    #[must_use]
    pub fn fields_bytes_max(mut self, bytes: usize) -> FormOptions {
        self.fields_bytes_max = bytes;
        self
    }

    /// Bytes of all files that stay in memory. What is more goes to disk; zero is all of it.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: usize) -> FormOptions {
        self.memory_bytes_max = bytes;
        self
    }

    /// Where large files go: one without a name for each form. That of the environment otherwise
    /// (`TMPDIR`, else `/tmp`), which on many machines is memory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> FormOptions {
        self.directory = Some(directory.into());
        self
    }
}

impl Request {
    /// All of a `multipart/form-data` body, which is taken: fields, and files in memory or on disk.
    /// What is on disk goes away by itself, with the form.
    ///
    /// ```
    /// use roundtrip::Request;
    /// use roundtrip::server::form::FormOptions;
    ///
    /// async fn upload(mut request: Request) -> roundtrip::Result<String> {
    ///     let form = request.multipart_form(FormOptions::default()).await?;
    ///     let title = form.get("title").unwrap_or("untitled");
    ///     for file in form.files("photo") {
    ///         println!("{}: {} bytes", file.file_name(), file.len());
    ///     }
    ///     Ok(title.to_owned())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Request::multipart`]; a limit of the options is reached, which is answered 413; a
    /// field is not UTF-8, which is answered 400; the temporary file cannot be written.
    pub async fn multipart_form(&mut self, options: FormOptions) -> Result<MultipartForm> {
        let mut multipart = self.multipart_within(options.limits)?;
        let mut collector = Collector {
            fields_bytes_left: options.fields_bytes_max,
            memory_bytes_left: options.memory_bytes_max,
            options,
            disk: None,
            form: MultipartForm::default(),
        };
        while let Some(part) = multipart.next_part().await? {
            collector.collect(part).await?;
        }
        Ok(collector.form)
    }
}

/// A form that was collected: fields and files, each in the order in which they came.
#[derive(Clone, Default)]
pub struct MultipartForm {
    fields: Vec<(String, String)>,
    files: Vec<FormFile>,
}

impl MultipartForm {
    /// The first field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(own, _)| own == name);
        found.map(|(_, value)| &value[..])
    }

    /// All fields of this name.
    pub fn get_all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        let own = self.fields.iter().filter(move |(own, _)| own == name);
        own.map(|(_, value)| &value[..])
    }

    /// The first field of this name, as a number or anything else that is made of text.
    ///
    /// # Errors
    ///
    /// The value does not spell a `T`: returned by a handler it is answered 400.
    pub fn get_as<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        parse_as(self.get(name), name)
    }

    /// Names and values of all fields.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter();
        fields.map(|(name, value)| (&name[..], &value[..]))
    }

    /// The first file of this name. A control that was left empty has none.
    pub fn file(&self, name: &str) -> Option<&FormFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// All files of this name.
    pub fn files<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s FormFile> {
        self.files.iter().filter(move |file| file.name == name)
    }

    /// All files.
    pub fn all_files(&self) -> &[FormFile] {
        &self.files
    }
}

impl fmt::Debug for MultipartForm {
    /// The names of fields alone: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields().map(|(name, _)| name).collect();
        f.debug_struct("MultipartForm")
            .field("fields", &names)
            .field("files", &self.files)
            .finish()
    }
}

/// A file of a form. Clones share its content.
#[derive(Clone, Debug)]
pub struct FormFile {
    name: String,
    file_name: String,
    file_name_bytes: Vec<u8>,
    content_type: Option<String>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Bytes),
    Disk(Arc<std::fs::File>, Range<u64>),
}

impl FormFile {
    /// The name of the form's control.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's name without directories, which the sender chose; see [`Part::file_name`].
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// As [`FormFile::file_name`], in the bytes that were sent.
    pub fn file_name_bytes(&self) -> &[u8] {
        &self.file_name_bytes
    }

    /// The type that the sender says it has.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Disk(_, range) => range.end - range.start,
        }
    }

    /// True without a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when it is on disk.
    pub fn is_on_disk(&self) -> bool {
        matches!(self.content, Content::Disk(..))
    }

    /// As a body, to be sent on or back.
    pub fn body(&self) -> Body {
        match &self.content {
            Content::Memory(bytes) => bytes.clone().into(),
            Content::Disk(file, range) => Body::file(Arc::clone(file), range.clone()),
        }
    }

    /// Up to `bytes_max` bytes from `offset` on; none are the end.
    ///
    /// # Errors
    ///
    /// The temporary file cannot be read.
    pub async fn read_at(&self, offset: u64, bytes_max: usize) -> Result<Bytes> {
        let left = self.len().saturating_sub(offset);
        let count = usize::try_from(left).map_or(bytes_max, |left| left.min(bytes_max));
        if count == 0 {
            return Ok(Bytes::new());
        }
        match &self.content {
            Content::Memory(bytes) => {
                // There are `count` bytes behind it, so it fits.
                let start = offset as usize;
                Ok(bytes.slice(start..start + count))
            }
            Content::Disk(file, range) => {
                let read = read_at(file, range.start + offset, count).await;
                read.map(Bytes::from).map_err(|error| {
                    Error::new(ErrorKind::Io, "cannot read a temporary file")
                        .in_phase(Phase::File)
                        .because(error)
                })
            }
        }
    }

    /// All of it.
    ///
    /// # Errors
    ///
    /// It is longer than `limit_bytes`, which is answered 413; the temporary file cannot be read.
    pub async fn bytes(&self, limit_bytes: usize) -> Result<Bytes> {
        if let Content::Memory(bytes) = &self.content
            && bytes.len() <= limit_bytes
        {
            return Ok(bytes.clone());
        }
        if self.len() > limit_bytes as u64 {
            let text = format!("a file of the form is longer than {limit_bytes} bytes");
            return Err(too_large(text));
        }
        let mut all = Vec::with_capacity(self.len() as usize);
        loop {
            let part = self.read_at(all.len() as u64, FILE_READ_BYTES).await?;
            if part.is_empty() {
                return Ok(all.into());
            }
            all.extend_from_slice(&part);
        }
    }

    /// Makes a file of it that stays. There must be none at `path`, and `path` should not be made of
    /// [`FormFile::file_name`]: that name is the sender's choice.
    ///
    /// # Errors
    ///
    /// There is one, the directory does not exist, the disk is full, for example.
    pub async fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match &self.content {
            Content::Memory(bytes) => temporary::write_new(path, bytes.clone()).await,
            Content::Disk(file, range) => temporary::copy_to_new(file, range.clone(), path).await,
        }
    }
}

/// A form as far as it has come.
struct Collector {
    options: FormOptions,
    fields_bytes_left: usize,
    memory_bytes_left: usize,
    /// Made for the first file that does not fit into memory.
    disk: Option<TemporaryFile>,
    form: MultipartForm,
}

impl Collector {
    async fn collect(&mut self, part: Part<'_>) -> Result<()> {
        let name = part.name().to_owned();
        let file_name = part.file_name().map(str::to_owned);
        let file_name_bytes = part.file_name_bytes().unwrap_or_default().to_vec();
        let content_type = part.content_type().map(str::to_owned);
        self.count_field(name.len())?;
        self.count_field(file_name.as_ref().map_or(0, String::len))?;
        self.count_field(content_type.as_ref().map_or(0, String::len))?;
        let Some(file_name) = file_name else {
            let value = self.collect_field(part).await?;
            self.form.fields.push((name, value));
            return Ok(());
        };
        let content = self.collect_file(part).await?;
        let file = FormFile {
            name,
            file_name,
            file_name_bytes,
            content_type,
            content,
        };
        // A control that was left empty sends a file without a name and without a byte.
        if !file.is_empty() || !file.file_name.is_empty() {
            self.form.files.push(file);
        }
        Ok(())
    }

    fn count_field(&mut self, bytes: usize) -> Result<()> {
        let left = self.fields_bytes_left.checked_sub(bytes);
        self.fields_bytes_left = left.ok_or_else(|| {
            let max = self.options.fields_bytes_max;
            let knob = "FormOptions::fields_bytes_max";
            too_large(format!(
                "the fields of the form are longer than {max} bytes; {knob}"
            ))
        })?;
        Ok(())
    }

    async fn collect_field(&mut self, mut part: Part<'_>) -> Result<String> {
        let mut value = Vec::new();
        while let Some(chunk) = part.chunk().await? {
            self.count_field(chunk.len())?;
            value.extend_from_slice(&chunk);
        }
        String::from_utf8(value).map_err(|_| part_no_text())
    }

    async fn collect_file(&mut self, mut part: Part<'_>) -> Result<Content> {
        // Copied, since a chunk is a part of something larger.
        let mut held = Vec::new();
        while let Some(chunk) = part.chunk().await? {
            if chunk.len() > self.memory_bytes_left - held.len() {
                return self.spill(part, held, chunk).await;
            }
            held.extend_from_slice(&chunk);
        }
        self.memory_bytes_left -= held.len();
        Ok(Content::Memory(held.into()))
    }

    /// The file does not fit into memory: what was held of it, `chunk`, and the rest go to disk.
    async fn spill(
        &mut self,
        mut part: Part<'_>,
        mut held: Vec<u8>,
        mut chunk: Bytes,
    ) -> Result<Content> {
        let mut disk = match self.disk.take() {
            Some(disk) => disk,
            None => TemporaryFile::new_in(self.options.directory.as_deref()).await?,
        };
        let start = disk.len();
        loop {
            if held.len() + chunk.len() >= FORM_WRITE_BYTES {
                if !held.is_empty() {
                    disk.append(std::mem::take(&mut held).into()).await?;
                }
                if chunk.len() >= FORM_WRITE_BYTES / 2 {
                    disk.append(std::mem::take(&mut chunk)).await?;
                }
            }
            held.extend_from_slice(&chunk);
            match part.chunk().await? {
                Some(next) => chunk = next,
                None => break,
            }
        }
        if !held.is_empty() {
            disk.append(held.into()).await?;
        }
        let content = Content::Disk(Arc::clone(disk.handle()), start..disk.len());
        self.disk = Some(disk);
        Ok(content)
    }
}

fn too_large(text: String) -> Error {
    Error::new(ErrorKind::Limit, text)
        .in_phase(Phase::RequestBody)
        .answered(StatusCode::PAYLOAD_TOO_LARGE)
}
