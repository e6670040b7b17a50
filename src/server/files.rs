//! Files of a directory as responses.
//!
//! ```text
//!   path ─► Target ─► fs::Root (nothing leads out) ─┬─ file ──────► Representation ─► 200, 206, 304 …
//!                       (also path.br, .gz, .zst)   ├─ directory ─► index.html, or a listing
//!                                                   └─ neither ───► 404
//! ```

mod cache;
mod content;
mod listing;
mod pages;
mod representation;
mod target;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fmt;
use std::future::ready;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use ::http::Method;
use ::http::StatusCode;

use crate::error::Result;
use crate::fs::FileContent;
use crate::fs::FileSystem;
use crate::fs::Links;
use crate::fs::Metadata;
use crate::fs::Root;
use crate::http::conditional::EntityTag;
use crate::http::media_type;
use crate::http::negotiate;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::limits::FILE_CONTENT_BYTES_MAX;
use crate::limits::FILE_FRESH_TIME;
use crate::runtime::Core;
use crate::server::files::cache::Cache;
use crate::server::files::cache::Known;
use crate::server::files::cache::Trust;
use crate::server::files::cache::Value;
use crate::server::files::pages::Pages;
use crate::server::files::representation::Representation;
use crate::server::files::representation::Source;
use crate::server::files::target::Target;
use crate::server::handler::Deferred;
use crate::server::handler::Endpoint;
use crate::server::handler::Handler;
use crate::server::handler::ResponseFuture;
use crate::server::into_response::status_text;
use crate::server::into_response::told_when_to_retry;

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
    Files::of(absolute(directory.as_ref()))
}

/// Serves one file, whatever the path of the request is: for `/favicon.ico`, or the page of a
/// program that runs in the browser. With the options of [`Files`]. A symbolic link is followed
/// wherever it leads, since the name comes from the program.
///
/// A file that is not there is tried again with each request, and answered 404.
pub fn file(path: impl AsRef<Path>) -> Files {
    let path = path.as_ref();
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let files = serve(parent.unwrap_or(Path::new(".")));
    Files {
        key: new_key(),
        only: Some(path.file_name().unwrap_or_default().to_owned()),
        has_listing: false,
        links: Links::Followed,
        ..files
    }
}

/// A handler for the files beneath a directory; see [`serve`].
///
/// Each worker remembers up to 512 paths: their open files, as far as an eighth of RLIMIT_NOFILE goes
/// for all workers, and the content of those up to 16 KiB. Each request looks at the name again, so
/// that a file that was changed, replaced or deleted is so for the next request. Four things count for
/// up to a second: where the directory's own path leads, which may be a link to a release, and later to
/// the next (while it leads nowhere, the last one is served); a second change within the same tick of the
/// file system's clock that leaves the length as it was; sizes and times in a listing, which is made once
/// for all who ask; files on network file systems and FUSE, which promise no more themselves. What is not
/// asked for is closed within 2 s, the directory too; when descriptors are short, at once.
///
/// A file is what read(2) gives: one that has no size, or says a wrong one (`/proc`, `/sys`), is sent up
/// to its end, without validators and ranges. A file that gets shorter while it is sent ends the
/// connection: its length was told. What is neither file nor directory (a pipe, a device, a socket) is not
/// found, and never opened. Where threads or descriptors are short, the answer is 503 with `Retry-After`.
///
/// A client that takes nothing for 3 minutes, say a player that is paused, loses its connection:
/// [`Server::write_timeout`](crate::Server::write_timeout) sets that as well.
#[derive(Clone)]
pub struct Files {
    /// Names what workers remember for these options.
    key: u64,
    directory: PathBuf,
    /// The one file that is served, if it is one.
    only: Option<OsString>,
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
    Directory(Rc<Pages>),
    /// Nothing that is served: the status says why.
    Nothing(StatusCode),
}

impl Value for Found {
    fn is_busy(&self) -> bool {
        matches!(self, Found::Directory(pages) if Rc::strong_count(pages) > 1)
    }
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
    Look(OsString),
    /// The target's directory is to be listed.
    List(Rc<Pages>),
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
        // Not kept: an open directory keeps its file system from being unmounted.
        drop(Root::open(&directory)?);
        Ok(Files::of(directory))
    }

    fn of(directory: PathBuf) -> Files {
        Files {
            key: new_key(),
            directory,
            only: None,
            has_listing: true,
            shows_dot_files: false,
            is_precompressed: false,
            links: Links::Inside,
            cache_control: CacheControl::Unset,
        }
    }

    // ---- options ---------------------------------------------------------------------------

    /// Whether a directory without `index.html` is listed (it is), or answered 404. A listing shows what is
    /// among the first 10,000 names, and says so where there are more: JSON ends with an object of type
    /// `truncated` then.
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
    /// Asked when a file is opened, not at each request. U+FFFD stands for what is not UTF-8.
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
        let root = match self.root(cache.as_deref()).await {
            Ok(root) => root,
            Err(error) => return refusal(status_of(&error)),
        };
        // Beside the cache, which may lose in between what this request has found.
        let mut known: Vec<(OsString, Found)> = Vec::new();
        loop {
            let step = self.step(request, &target, |path| {
                let found = known.iter().find(|(known, _)| known == path);
                found
                    .map(|(_, found)| found.clone())
                    .or_else(|| self.recall(cache.as_deref()?, path))
            });
            match step {
                Step::Done(response) => return response,
                Step::List(pages) => return self.list(request, &root, &target, &pages).await,
                Step::Look(path) => {
                    let is_guess = path != target.path;
                    let found = self.look(cache.as_deref(), &root, &path, is_guess).await;
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
            Step::Look(_) | Step::List(_) => None,
        }
    }

    fn cache(&self) -> Option<Rc<Cache<Found>>> {
        Core::current().map(|core| Cache::of(&core, self.key))
    }

    /// What is remembered of a path, if that is still so. What cannot be told at once stays remembered.
    fn recall(&self, cache: &Cache<Found>, path: &OsStr) -> Option<Found> {
        let known = cache.get(path)?;
        let core = Core::current()?;
        if known.turn == core.turn() {
            return Some(known.value);
        }
        let is_old = known.trust != Trust::Full && core.now() >= known.opened + FILE_FRESH_TIME;
        let is_same = match known.trust {
            _ if is_old => Some(false),
            Trust::Remote => Some(true),
            Trust::Full | Trust::Young => self.is_same(cache, path, known.seen.as_ref()),
        };
        match is_same {
            Some(true) => cache.set_turn(path, core.turn()),
            Some(false) => cache.remove(path),
            None => {}
        }
        is_same?.then_some(known.value)
    }

    /// Whether a look, which neither opens nor waits, finds what was seen before; `None` when it finds
    /// nothing out.
    fn is_same(&self, cache: &Cache<Found>, path: &OsStr, seen: Option<&Metadata>) -> Option<bool> {
        if path.is_empty() {
            // The directory itself, which is open.
            return Some(true);
        }
        let now = cache.with_root(|root, _| root.look_beneath(path, self.links))?;
        match (seen, now) {
            (_, Err(error)) if status_of(&error) == StatusCode::SERVICE_UNAVAILABLE => None,
            (Some(before), Ok(now)) => Some(*before == now || before.is_dir && now.is_dir),
            (None, Err(error)) => Some(status_of(&error) == StatusCode::NOT_FOUND),
            _ => Some(false),
        }
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
        known: impl Fn(&OsStr) -> Option<Found>,
    ) -> Step {
        match known(&target.path) {
            None => Step::Look(target.path.clone()),
            Some(Found::Nothing(status)) => Step::Done(refusal(status)),
            Some(Found::File(resource)) if !target.is_directory => {
                self.serve_file(request, &target.path, &resource, known)
            }
            Some(Found::Directory(pages)) if self.only.is_none() => {
                if !request.path().ends_with('/') {
                    return Step::Done(redirect_into(request));
                }
                let index = OsString::from(Path::new(&target.path).join("index.html"));
                match known(&index) {
                    None => Step::Look(index),
                    Some(Found::File(resource)) => {
                        self.serve_file(request, &index, &resource, known)
                    }
                    Some(Found::Nothing(status)) if status != StatusCode::NOT_FOUND => {
                        Step::Done(refusal(status))
                    }
                    Some(_) if self.has_listing => Step::List(pages),
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
        path: &OsStr,
        resource: &Resource,
        known: impl Fn(&OsStr) -> Option<Found>,
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
            let sibling = [path, OsStr::new(extension)].join(OsStr::new("."));
            let found = match known(&sibling) {
                None => return Step::Look(sibling),
                Some(Found::File(found)) if found.source.length().is_some() => found,
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
    async fn look(
        &self,
        cache: Option<&Cache<Found>>,
        root: &Root,
        path: &OsStr,
        is_guess: bool,
    ) -> Found {
        // The clock before the look: what changes behind it is not missed.
        let clocks = Core::current().map(|core| (core.now(), core.wall_seconds()));
        // It is so when what it is now could not be told at once.
        let known = cache.and_then(|cache| cache.get(path));
        let seen = known.as_ref().and_then(|known| known.seen);
        let (value, seen, file_system) = match (self.open_file(root, path, seen).await, known) {
            (Ok(None), Some(known)) => return known.value,
            (Ok(Some((value, metadata, file_system))), _) => (value, Some(metadata), file_system),
            (Ok(None), None) => panic!("nothing is what nobody has seen"),
            (Err(error), _) => {
                let value = Found::Nothing(status_of(&error));
                (value, None, FileSystem::Local)
            }
        };
        // Of many who found the same directory at once, one lists it.
        let value = match (value, cache.and_then(|cache| cache.get(path))) {
            (
                Found::Directory(_),
                Some(Known {
                    value: Found::Directory(pages),
                    ..
                }),
            ) => Found::Directory(pages),
            (value, _) => value,
        };
        let is_kept = match &value {
            Found::File(resource) => resource.source.length().is_some(),
            Found::Directory(_) => true,
            Found::Nothing(status) => is_guess && *status == StatusCode::NOT_FOUND,
        };
        if let (Some(cache), Some((opened, wall_seconds)), true) = (cache, clocks, is_kept) {
            let is_young = |seen: &Metadata| seen.changed.0 >= wall_seconds.cast_signed() - 1;
            let known = Known {
                has_descriptor: matches!(&value, Found::File(resource) if resource.source.is_open()),
                value: value.clone(),
                trust: match file_system {
                    FileSystem::Remote => Trust::Remote,
                    _ if seen.is_some_and(|seen| seen.is_file && is_young(&seen)) => Trust::Young,
                    _ => Trust::Full,
                },
                seen,
                turn: 0,
                opened,
            };
            cache.insert(path, known);
        }
        value
    }

    /// `None` for what was seen before.
    async fn open_file(
        &self,
        root: &Root,
        path: &OsStr,
        seen: Option<Metadata>,
    ) -> io::Result<Option<(Found, Metadata, FileSystem)>> {
        let relative = match path.is_empty() {
            true => OsStr::new("."),
            false => path,
        };
        // Whoever asks for what is not there costs no thread.
        root.refuse_beneath(relative, self.links)?;
        let opened = root.open_and_read(relative, self.links, FILE_CONTENT_BYTES_MAX, seen);
        let Some(opened) = opened.await? else {
            return Ok(None);
        };
        let (metadata, file_system) = (opened.metadata, opened.file_system);
        if metadata.is_dir {
            let found = Found::Directory(Rc::default());
            return Ok(Some((found, metadata, file_system)));
        }
        let resource = Resource {
            source: match opened.content {
                FileContent::Whole(content) => Source::Memory(content.into()),
                FileContent::Passing(content) => Source::Passing(content.into()),
                FileContent::Unread => Source::File(Arc::new(opened.file), metadata.len),
                FileContent::Endless => Source::Stream(Arc::new(opened.file)),
            },
            content_type: media_type::of_path(Path::new(path)),
            cache_control: self.cache_control.of(path),
            tag: tag_of_file(&metadata),
            modified_seconds: metadata.modified_seconds,
        };
        let found = Found::File(Rc::new(resource));
        Ok(Some((found, metadata, file_system)))
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
        let Some(root) = cache.with_root(|root, _| root.clone()) else {
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

    /// The directory, opened again where its path names another one by now: a release that was put in
    /// place by a symbolic link.
    async fn root(&self, cache: Option<&Cache<Found>>) -> io::Result<Root> {
        let is_fresh = cache.is_some_and(|cache| self.is_root_fresh(cache));
        let known = cache.and_then(|cache| cache.with_root(|root, _| root.clone()));
        if let (true, Some(root)) = (is_fresh, &known) {
            return Ok(root.clone());
        }
        let now = Core::current().map(|core| core.now());
        let opened = match (Root::open_later(&self.directory).await, known) {
            (Ok(opened), _) => opened,
            // A gap between two releases is none for those who ask.
            (Err(_), Some(known)) => known,
            (Err(error), None) => return Err(error),
        };
        if let (Some(cache), Some(now)) = (cache, now) {
            cache.set_root(opened.clone(), now);
        }
        Ok(opened)
    }
}

impl CacheControl {
    fn of(&self, path: &OsStr) -> Option<Cow<'static, str>> {
        match self {
            CacheControl::Unset => None,
            CacheControl::Same(value) => Some(Cow::Owned(value.to_string())),
            CacheControl::ByPath(value_of) => value_of(&path.to_string_lossy()).map(Cow::Borrowed),
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
        // What is made up while it is read has times that mean nothing.
        let has_state = bytes.source.length().is_some();
        let is_dated = has_state && bytes.modified_seconds >= MODIFIED_SECONDS_MIN;
        let representation = Representation {
            source: &bytes.source,
            content_type: &self.content_type,
            coding,
            etag: EntityTag::strong(&tag).filter(|_| has_state),
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

/// The answer to a request for what cannot be had. What may be had in a moment says when.
fn refusal(status: StatusCode) -> Response {
    told_when_to_retry(status_text(status))
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
        // Not a file's error: the blocking pool is full. Or nothing can be had for the moment.
        io::ErrorKind::Other | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        // The others have no stable name.
        _ => match error.raw_os_error() {
            // Too many symbolic links; a pipe, a device or a socket.
            Some(ELOOP | ENXIO) => StatusCode::NOT_FOUND,
            // No descriptor is left, of the system or of the process.
            Some(ENFILE | EMFILE) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

const ENXIO: i32 = 6;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ELOOP: i32 = 40;

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
