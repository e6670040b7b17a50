//! Files of a directory as responses.
//!
//! ```text
//!   path ─► Target ─► fs::Root (nothing leads out) ─┬─ file ──────► Representation ─► 200, 206, 304 …
//!                       (also path.br, .gz, .zst)   ├─ directory ─► index.html, or a listing
//!                                                   └─ neither ───► 404
//! ```

mod cache;
mod content;
pub mod listing;
mod representation;
mod target;

use std::borrow::Cow;
use std::fmt;
use std::future::ready;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use ::http::Method;
use ::http::StatusCode;

use crate::error::Result;
use crate::fs::Links;
use crate::fs::Metadata;
use crate::fs::Root;
use crate::http::conditional::EntityTag;
use crate::http::media_type;
use crate::http::negotiate;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::target::percent_decode;
use crate::limits::FILE_CONTENT_BYTES_MAX;
use crate::limits::FILE_FRESH_TIME;
use crate::runtime::Core;
use crate::runtime::blocking;
use crate::server::files::cache::Cache;
use crate::server::files::cache::Known;
use crate::server::files::listing::Item;
use crate::server::files::representation::Representation;
use crate::server::files::representation::Source;
use crate::server::files::target::Target;
use crate::server::handler::Deferred;
use crate::server::handler::Endpoint;
use crate::server::handler::Handler;
use crate::server::handler::ResponseFuture;
use crate::server::into_response::status_text;

pub use crate::server::files::content::Content;
pub use crate::server::files::content::serve_content;
#[doc(hidden)]
pub use crate::server::files::target::named_beneath;

/// Serves the files beneath a directory.
///
/// Which file is said by the rest of the path that the route's pattern leaves open (`/{path...}`,
/// or a final `/`), or by the whole path. GET and HEAD; a directory is answered with its
/// `index.html`, or with a page that lists it (JSON for those who prefer it); conditions and ranges
/// work; large files take no memory. No path leads out of the directory, nor does a symbolic link:
/// the kernel sees to that. Names that begin with a dot are not found, but for `/.well-known/`.
///
/// A directory that cannot be opened now is tried again with each request; [`Files::open`] makes it
/// an error instead.
///
/// ```no_run
/// use roundtrip::Router;
/// use roundtrip::files;
///
/// let assets = files::serve("public/assets")
///     .precompressed(true)
///     .cache_control("public, max-age=3600");
/// let router = Router::new()
///     .get("/", files::serve("public"))
///     .get("/assets/", assets)
///     .get("/favicon.ico", files::file("public/icon.ico"));
/// # let _ = router;
/// ```
pub fn serve(directory: impl AsRef<Path>) -> Files {
    let directory = absolute(directory.as_ref());
    let root = OnceLock::new();
    if let Ok(opened) = Root::open(&directory) {
        root.get_or_init(|| opened);
    }
    Files::of(directory, root)
}

/// Serves one file, whatever the path of the request is: for `/favicon.ico`, or the page of a
/// program that runs in the browser. With the options of [`Files`]. A symbolic link is followed
/// wherever it leads, since the name comes from the program.
///
/// A file that is not there is tried again with each request, and answered 404.
pub fn file(path: impl AsRef<Path>) -> Files {
    let path = path.as_ref();
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let name = path.file_name().and_then(|name| name.to_str());
    let files = serve(parent.unwrap_or(Path::new(".")));
    Files {
        key: new_key(),
        only: Some(name.unwrap_or_default().to_owned()),
        has_listing: false,
        links: Links::Followed,
        ..files
    }
}

/// A handler for the files beneath a directory; see [`serve`].
///
/// Each worker remembers up to 512 paths: their open files, and the content of those up to 16 KiB. What
/// it remembers is looked at again after a second, by name: a file that was changed, replaced or
/// deleted is served as it was for that long at most. So is the path of the directory itself: it may
/// be a link to a release, and lead to the next; while it leads nowhere, the last one is served. A file that is not asked for is closed within
/// 20 seconds. A file that gets shorter while it is sent ends the connection: its length was told.
#[derive(Clone)]
pub struct Files {
    /// Names what workers remember for these options.
    key: u64,
    directory: PathBuf,
    root: OnceLock<Root>,
    /// The one file that is served, if it is one.
    only: Option<String>,
    has_listing: bool,
    shows_dot_files: bool,
    is_precompressed: bool,
    links: Links,
    cache_control: CacheControl,
}

/// Marks [`Files`] as a handler.
#[derive(Debug)]
pub struct OfFiles;

/// `Cache-Control` by path.
type ValueOf = dyn Fn(&str) -> Option<&'static str> + Send + Sync;

#[derive(Clone)]
enum CacheControl {
    Unset,
    Same(Arc<str>),
    ByPath(Arc<ValueOf>),
}

/// What a path names.
#[derive(Clone, Debug)]
enum Found {
    File(Rc<Resource>),
    Directory,
    /// Nothing that is served: the status says why.
    Nothing(StatusCode),
}

/// A file, and what is said of it.
#[derive(Debug)]
struct Resource {
    source: Source,
    content_type: Cow<'static, str>,
    cache_control: Option<Cow<'static, str>>,
    tag: String,
    modified_seconds: u64,
}

/// How far an answer is.
enum Step {
    Done(Response),
    /// What this path names must be known first.
    Look(String),
    /// The target's directory is to be listed.
    List,
}

/// Codings of siblings: extension, name of the coding.
const CODINGS: [(&str, &str); 3] = [("br", "br"), ("zst", "zstd"), ("gz", "gzip")];

impl Files {
    /// As [`serve`], for a directory that must be there.
    ///
    /// # Errors
    ///
    /// Names the path: it does not exist, is no directory, or may not be read.
    pub fn open(directory: impl AsRef<Path>) -> Result<Files> {
        let directory = absolute(directory.as_ref());
        let root = OnceLock::from(Root::open(&directory)?);
        Ok(Files::of(directory, root))
    }

    fn of(directory: PathBuf, root: OnceLock<Root>) -> Files {
        Files {
            key: new_key(),
            directory,
            root,
            only: None,
            has_listing: true,
            shows_dot_files: false,
            is_precompressed: false,
            links: Links::Inside,
            cache_control: CacheControl::Unset,
        }
    }

    // ---- options ---------------------------------------------------------------------------

    /// Whether a directory without `index.html` is listed (it is), or answered 404.
    #[must_use]
    pub fn listing(mut self, has_listing: bool) -> Files {
        self.has_listing = has_listing;
        self
    }

    /// Whether names that begin with a dot are served and listed (they are not: `.git` and `.env`
    /// are what is looked for first on other people's servers). `/.well-known/` (RFC 8615) always
    /// is served.
    #[must_use]
    pub fn dot_files(mut self, shows_dot_files: bool) -> Files {
        self.shows_dot_files = shows_dot_files;
        self.key = new_key();
        self
    }

    /// Whether symbolic links may lead out of the directory (they may not). With `true` a link
    /// gives away whatever this process may read.
    #[must_use]
    pub fn follow_symlinks(mut self, follows: bool) -> Files {
        self.links = match follows {
            true => Links::Followed,
            false => Links::Inside,
        };
        self.key = new_key();
        self
    }

    /// Whether `style.css.br`, `style.css.zst` and `style.css.gz`, where they lie beside `style.css`
    /// and are not older, are sent instead of it to clients that take them (they are not). Of the
    /// codings that a client likes best the shortest file is taken; type and name stay those of
    /// `style.css`.
    #[must_use]
    pub fn precompressed(mut self, is_precompressed: bool) -> Files {
        self.is_precompressed = is_precompressed;
        self
    }

    /// `Cache-Control` of all files: `"public, max-age=3600"`. A listing never has it.
    #[must_use]
    pub fn cache_control(mut self, value: impl Into<Arc<str>>) -> Files {
        self.cache_control = CacheControl::Same(value.into());
        self.key = new_key();
        self
    }

    /// `Cache-Control` of each file by its path beneath the directory, without a slash in front.
    /// Asked when a file is opened, not at each request.
    ///
    /// ```no_run
    /// let files = roundtrip::files::serve("public").cache_control_by(|path| {
    ///     let is_hashed = path.starts_with("assets/");
    ///     Some(if is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" })
    /// });
    /// # let _ = files;
    /// ```
    #[must_use]
    pub fn cache_control_by(
        mut self,
        value_of: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
    ) -> Files {
        self.cache_control = CacheControl::ByPath(Arc::new(value_of));
        self.key = new_key();
        self
    }

    // ---- answering -------------------------------------------------------------------------

    /// The response to a request: what the handler does, for use in another one.
    ///
    /// ```no_run
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::files;
    ///
    /// let page = files::file("public/index.html");
    /// let router = Router::new().get("/app/", move |request: Request| {
    ///     let page = page.clone();
    ///     async move { page.answer(&request).await }
    /// });
    /// # let _ = router;
    /// ```
    pub async fn answer(&self, request: &Request) -> Response {
        let target = match self.target_of(request) {
            Ok(target) => target,
            Err(refused) => return refused,
        };
        let cache = self.cache();
        if let Err(error) = self.refresh_root(cache.as_deref()).await {
            return status_text(status_of(&error));
        }
        // Beside the cache, which may lose in between what this request has found.
        let mut known: Vec<(String, Found)> = Vec::new();
        loop {
            let step = self.step(request, &target, |path| {
                let found = known.iter().find(|(known, _)| known == path);
                found
                    .map(|(_, found)| found.clone())
                    .or_else(|| self.recall(cache.as_deref()?, path))
            });
            match step {
                Step::Done(response) => return response,
                Step::List => return self.list(request, &target).await,
                Step::Look(path) => {
                    let is_guess = path != target.path;
                    let found = self.look(cache.as_deref(), &path, is_guess).await;
                    known.push((path, found));
                }
            }
        }
    }

    /// The response, if what is remembered is enough for it.
    fn answer_at_once(&self, request: &Request) -> Option<Response> {
        let cache = self.cache()?;
        if !self.is_root_fresh(&cache) {
            return None;
        }
        let target = match self.target_of(request) {
            Ok(target) => target,
            Err(refused) => return Some(refused),
        };
        match self.step(request, &target, |path| self.recall(&cache, path)) {
            Step::Done(response) => Some(response),
            Step::Look(_) | Step::List => None,
        }
    }

    fn cache(&self) -> Option<Rc<Cache<Found>>> {
        Core::current().map(|core| Cache::of(&core, self.key))
    }

    /// What is remembered of a path, if that is still so.
    fn recall(&self, cache: &Cache<Found>, path: &str) -> Option<Found> {
        let known = cache.get(path)?;
        let now = Core::current()?.now();
        if now < known.checked + FILE_FRESH_TIME {
            return Some(known.value);
        }
        let relative = if path.is_empty() { "." } else { path };
        let seen = cache.with_root(|root, _| root.look_beneath(relative, self.links))?;
        let is_same = match (&known.seen, &seen) {
            (Some(before), Ok(now)) => {
                before == now && !known.is_young || before.is_dir && now.is_dir
            }
            (None, Err(error)) => status_of(error) == StatusCode::NOT_FOUND,
            _ => false,
        };
        if !is_same {
            cache.remove(path);
            return None;
        }
        let value = known.value.clone();
        let checked = now;
        cache.insert(path, Known { checked, ..known });
        Some(value)
    }

    fn target_of(&self, request: &Request) -> std::result::Result<Target, Response> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(status_text(StatusCode::METHOD_NOT_ALLOWED).header("Allow", "GET, HEAD"));
        }
        if let Some(name) = &self.only {
            return Ok(Target {
                path: name.clone(),
                is_directory: false,
            });
        }
        Target::of_request(request)
            .filter(|target| self.shows_dot_files || !target.is_hidden())
            .ok_or_else(|| status_text(StatusCode::NOT_FOUND))
    }

    /// Answers as far as what is known of paths goes.
    fn step(
        &self,
        request: &Request,
        target: &Target,
        known: impl Fn(&str) -> Option<Found>,
    ) -> Step {
        match known(&target.path) {
            None => Step::Look(target.path.clone()),
            Some(Found::Nothing(status)) => Step::Done(status_text(status)),
            Some(Found::File(resource)) if !target.is_directory => {
                self.serve_file(request, &target.path, &resource, known)
            }
            Some(Found::Directory) if self.only.is_none() => {
                if !request.path().ends_with('/') {
                    return Step::Done(redirect_into(request));
                }
                let index = join(&target.path, "index.html");
                match known(&index) {
                    None => Step::Look(index),
                    Some(Found::File(resource)) => {
                        self.serve_file(request, &index, &resource, known)
                    }
                    Some(Found::Nothing(status)) if status != StatusCode::NOT_FOUND => {
                        Step::Done(status_text(status))
                    }
                    Some(_) if self.has_listing => Step::List,
                    Some(_) => Step::Done(status_text(StatusCode::NOT_FOUND)),
                }
            }
            Some(_) => Step::Done(status_text(StatusCode::NOT_FOUND)),
        }
    }

    /// The file, or a sibling that holds the same in fewer bytes.
    fn serve_file(
        &self,
        request: &Request,
        path: &str,
        resource: &Resource,
        known: impl Fn(&str) -> Option<Found>,
    ) -> Step {
        if !self.is_precompressed {
            return Step::Done(resource.respond(request, None, None));
        }
        let headers = request.headers();
        let own_weight = negotiate::coding_weight(headers, "identity").unwrap_or(0);
        let mut best: Option<(u16, Rc<Resource>, &'static str)> = None;
        for (extension, coding) in CODINGS {
            let weight = negotiate::coding_weight(headers, coding).unwrap_or(0);
            if weight == 0 || weight < own_weight {
                continue;
            }
            let sibling = format!("{path}.{extension}");
            let found = match known(&sibling) {
                None => return Step::Look(sibling),
                Some(Found::File(found)) => found,
                Some(_) => continue,
            };
            let is_current = found.modified_seconds >= resource.modified_seconds;
            let is_better = best.as_ref().is_none_or(|(best_weight, best, _)| {
                let shorter = found.source.length() < best.source.length();
                weight > *best_weight || weight == *best_weight && shorter
            });
            if is_current && is_better {
                best = Some((weight, found, coding));
            }
        }
        let coded = best.as_ref().map(|(_, found, coding)| (&**found, *coding));
        Step::Done(resource.respond(request, coded, Some("Accept-Encoding")))
    }

    /// Opens what a path names, and remembers it. Paths that name nothing are not remembered, since
    /// anybody could make up many, but for those that we guessed beside one that names something.
    async fn look(&self, cache: Option<&Cache<Found>>, path: &str, is_guess: bool) -> Found {
        // The clock before the look: what changes behind it is not missed.
        let clocks = Core::current().map(|core| (core.now(), core.wall_seconds()));
        let mut opened = self.open_file(cache, path).await;
        if let (Err(error), Some(cache)) = (&opened, cache)
            && is_out_of_descriptors(error)
        {
            cache.clear();
            opened = self.open_file(Some(cache), path).await;
        }
        let (value, seen) = match opened {
            Ok((value, metadata)) => (value, Some(metadata)),
            Err(error) => (Found::Nothing(status_of(&error)), None),
        };
        let is_kept = match &value {
            Found::File(_) | Found::Directory => true,
            Found::Nothing(status) => is_guess && *status == StatusCode::NOT_FOUND,
        };
        if let (Some(cache), Some((checked, wall_seconds)), true) = (cache, clocks, is_kept) {
            let value = value.clone();
            let is_young = |seen: &Metadata| seen.changed.0 >= wall_seconds.cast_signed() - 1;
            let known = Known {
                value,
                is_young: seen.as_ref().is_some_and(is_young),
                seen,
                checked,
            };
            cache.insert(path, known);
        }
        value
    }

    async fn open_file(
        &self,
        cache: Option<&Cache<Found>>,
        path: &str,
    ) -> io::Result<(Found, Metadata)> {
        let relative = if path.is_empty() { "." } else { path };
        let root = self.root(cache)?;
        // Whoever asks for what is not there costs no thread.
        if let Err(error) = root.look_beneath(relative, self.links)
            && status_of(&error) == StatusCode::NOT_FOUND
        {
            return Err(error);
        }
        let (file, metadata, content) = root
            .open_and_read(relative, self.links, FILE_CONTENT_BYTES_MAX)
            .await?;
        if metadata.is_dir {
            return Ok((Found::Directory, metadata));
        }
        if !metadata.is_file {
            return Err(io::ErrorKind::NotFound.into());
        }
        let source = match content {
            Some(content) => Source::Memory(content.into()),
            None => Source::File(file, metadata.len),
        };
        let resource = Resource {
            source,
            content_type: media_type::of_path(Path::new(path)),
            cache_control: self.cache_control.of(path),
            tag: tag_of_file(&metadata),
            modified_seconds: metadata.modified_seconds,
        };
        Ok((Found::File(Rc::new(resource)), metadata))
    }

    /// The directory, which [`Files::refresh_root`] has looked for.
    fn root(&self, cache: Option<&Cache<Found>>) -> io::Result<Root> {
        let known = cache.and_then(|cache| cache.with_root(|root, _| root.clone()));
        known
            .or_else(|| self.root.get().cloned())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// True when the path of the directory names what is open, and was looked at in time.
    fn is_root_fresh(&self, cache: &Cache<Found>) -> bool {
        let Some(now) = Core::current().map(|core| core.now()) else {
            return false;
        };
        let checked = cache.with_root(|_, checked| checked);
        if checked.is_some_and(|checked| now < checked + FILE_FRESH_TIME) {
            return true;
        }
        let known = cache.with_root(|root, _| root.clone());
        let Some(root) = known.or_else(|| self.root.get().cloned()) else {
            return false;
        };
        let is_current = match root.is_current() {
            Ok(is_current) => is_current,
            // A path that names nothing now, or that this process may not see any more, leaves what
            // is open.
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        if is_current {
            cache.set_root(root, now);
        }
        is_current
    }

    /// Opens the directory again where its path names another one by now: a release that was put in
    /// place by a symbolic link.
    async fn refresh_root(&self, cache: Option<&Cache<Found>>) -> io::Result<()> {
        if cache.is_some_and(|cache| self.is_root_fresh(cache)) {
            return Ok(());
        }
        let now = Core::current().map(|core| core.now());
        let directory = self.directory.clone();
        let opened = match blocking(move || Root::open(directory)).await? {
            Ok(opened) => opened,
            // What is missing is not found; why is between the operator and the file system.
            Err(_) => self.root(cache)?,
        };
        if cache.is_none() {
            let _ = self.root.set(opened);
        } else if let (Some(cache), Some(now)) = (cache, now) {
            cache.set_root(opened, now);
        }
        Ok(())
    }

    async fn list(&self, request: &Request, target: &Target) -> Response {
        let entries = match self.root(self.cache().as_deref()) {
            Ok(root) => root.list_with(target.relative(), self.links).await,
            Err(error) => Err(error),
        };
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return status_text(status_of(&error)),
        };
        let mut items: Vec<Item> = entries
            .iter()
            .map(Item::from)
            .filter(|item| self.shows_dot_files || !item.name.starts_with(b"."))
            .collect();
        let shown = percent_decode(request.path()).unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown);
        listing::respond(request, &shown, !target.path.is_empty(), &mut items)
    }
}

impl CacheControl {
    fn of(&self, path: &str) -> Option<Cow<'static, str>> {
        match self {
            CacheControl::Unset => None,
            CacheControl::Same(value) => Some(Cow::Owned(value.to_string())),
            CacheControl::ByPath(value_of) => value_of(path).map(Cow::Borrowed),
        }
    }
}

impl Resource {
    /// The response, with the bytes of a coded form where one is given.
    fn respond(
        &self,
        request: &Request,
        coded: Option<(&Resource, &'static str)>,
        vary: Option<&'static str>,
    ) -> Response {
        let bytes = coded.map_or(self, |(coded, _)| coded);
        let coding = coded.map(|(_, coding)| coding);
        // The same bytes under their own name are another representation.
        let tag = match coding {
            Some(coding) => Cow::Owned(format!("{}-{coding}", bytes.tag)),
            None => Cow::Borrowed(&bytes.tag[..]),
        };
        let is_dated = bytes.modified_seconds >= MODIFIED_SECONDS_MIN;
        let representation = Representation {
            source: &bytes.source,
            content_type: &self.content_type,
            coding,
            etag: EntityTag::strong(&tag),
            modified_seconds: is_dated.then_some(bytes.modified_seconds),
            cache_control: self.cache_control.as_deref(),
            vary,
            is_typed: true,
        };
        representation.respond(request)
    }
}

impl Handler<OfFiles> for Files {
    fn into_endpoint(self) -> Endpoint {
        Endpoint::Deferred(Arc::new(self))
    }
}

impl Deferred for Files {
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture {
        match self.answer_at_once(&request) {
            Some(response) => Box::pin(ready(response)),
            None => Box::pin(async move { self.answer(&request).await }),
        }
    }

    fn for_worker(&self) -> Arc<dyn Deferred> {
        Arc::new(self.clone())
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("directory", &self.directory)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// A path that means the same when the program has changed its directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn join(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        _ => format!("{directory}/{name}"),
    }
}

/// To the same path with a slash behind it, since links of a page are relative to the last slash.
/// The location is relative: it cannot lead to another host.
fn redirect_into(request: &Request) -> Response {
    let path = request.path();
    let name = &path[path.rfind('/').map_or(0, |slash| slash + 1)..];
    let query = request
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    status_text(StatusCode::MOVED_PERMANENTLY).header("Location", format!("./{name}/{query}"))
}

/// Times before 1980-01-02 are those of archives and images that have none: they say nothing about
/// when a file was changed.
const MODIFIED_SECONDS_MIN: u64 = 315_619_200;

/// Changes with every change of the file that moves its clock or its length. The same file has the
/// same tag on each machine that serves it, which its inode has not; only where all files have the
/// time of nobody, inode and time of the last change tell them apart.
fn tag_of_file(metadata: &Metadata) -> String {
    let (seconds, nanoseconds) = (metadata.modified_seconds, metadata.modified_nanoseconds);
    let tag = tag_of(seconds, nanoseconds, metadata.len);
    if seconds >= MODIFIED_SECONDS_MIN {
        return tag;
    }
    let (seconds, nanoseconds) = metadata.changed;
    format!("{tag}-{:x}-{seconds:x}-{nanoseconds:x}", metadata.inode)
}

fn tag_of(seconds: u64, nanoseconds: u32, length: u64) -> String {
    format!("{seconds:x}-{nanoseconds:x}-{length:x}")
}

/// What is not there, is no file, or lies outside is not found; nothing more is told.
fn status_of(error: &io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::CrossesDevices
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput => StatusCode::NOT_FOUND,
        // ELOOP has no stable name.
        io::ErrorKind::Other | io::ErrorKind::WouldBlock => StatusCode::SERVICE_UNAVAILABLE,
        _ if error.raw_os_error() == Some(ELOOP) => StatusCode::NOT_FOUND,
        _ if is_out_of_descriptors(error) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Too many symbolic links: "no such file" for a client.
const ELOOP: i32 = 40;
/// No descriptor is left, of the system or of the process.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

fn new_key() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_the_host() {
        let location = |target: &str| {
            let request = Request::for_target("GET", target).unwrap();
            let response = redirect_into(&request);
            response.headers().get("location").unwrap().to_owned()
        };
        assert_eq!(location("/a/b"), "./b/");
        assert_eq!(location("/a/b?q=1"), "./b/?q=1");
        assert_eq!(location("//evil.com"), "./evil.com/");
        assert_eq!(location("/a:b"), "./a:b/");
    }
}
