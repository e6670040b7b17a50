//! Files of a directory as responses.
//!
//! ```text
//!   path ─► RelativePath ─► fs::Root (nothing leads out) ─┬─ file ──────► conditions ─► range ─► 200, 206
//!                                                         ├─ directory ─► index.html, or a listing
//!                                                         └─ neither ───► 404
//! ```

pub mod listing;

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use ::http::Method;
use ::http::StatusCode;

use crate::error::Result;
use crate::fs::Metadata;
use crate::fs::Root;
use crate::http::body::Body;
use crate::http::conditional;
use crate::http::conditional::EntityTag;
use crate::http::conditional::Precondition;
use crate::http::conditional::Validators;
use crate::http::date;
use crate::http::media_type;
use crate::http::range;
use crate::http::range::Selection;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::target::RelativePath;
use crate::http::target::percent_decode;
use crate::runtime::Core;
use crate::server::files::listing::Item;
use crate::server::handler::Deferred;
use crate::server::handler::Endpoint;
use crate::server::handler::Handler;
use crate::server::handler::ResponseFuture;
use crate::server::into_response::status_text;

/// Serves the files beneath a directory.
///
/// Which file is said by the rest of the path that the route's pattern leaves open (`/{path...}`,
/// or a final `/`), or by the whole path. GET and HEAD; a directory is answered with its
/// `index.html`, or with a page that lists it; conditions and single ranges work; large files take
/// no memory. No path leads out of the directory, nor does a symbolic link: the kernel sees to that.
///
/// A directory that cannot be opened now is tried again with each request; [`Files::open`] makes it
/// an error instead.
///
/// ```no_run
/// # use roundtrip::Router;
/// let router = Router::new().get("/static/", roundtrip::files::serve("public"));
/// # let _ = router;
/// ```
pub fn serve(directory: impl AsRef<Path>) -> Files {
    let directory = directory.as_ref().to_owned();
    let root = OnceLock::new();
    if let Ok(opened) = Root::open(&directory) {
        root.get_or_init(|| opened);
    }
    Files {
        directory,
        root,
        has_listing: true,
    }
}

/// A handler for the files beneath a directory; see [`serve`].
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
    root: OnceLock<Root>,
    has_listing: bool,
}

/// Marks [`Files`] as a handler.
#[derive(Debug)]
pub struct OfFiles;

impl Files {
    /// As [`serve`], for a directory that must be there.
    ///
    /// # Errors
    ///
    /// Names the path: it does not exist, is no directory, or may not be read.
    pub fn open(directory: impl AsRef<Path>) -> Result<Files> {
        let directory = directory.as_ref().to_owned();
        let root = OnceLock::from(Root::open(&directory)?);
        Ok(Files {
            directory,
            root,
            has_listing: true,
        })
    }

    /// Whether a directory without `index.html` is listed (it is), or answered 404.
    #[must_use]
    pub fn listing(mut self, has_listing: bool) -> Files {
        self.has_listing = has_listing;
        self
    }

    fn root(&self) -> io::Result<&Root> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        // What is missing is not found; why is between the operator and the file system.
        let opened = Root::open(&self.directory).map_err(|_| io::ErrorKind::NotFound)?;
        Ok(self.root.get_or_init(|| opened))
    }

    async fn answer(&self, request: &Request) -> Response {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return status_text(StatusCode::METHOD_NOT_ALLOWED).header("Allow", "GET, HEAD");
        }
        let Some(path) = Target::of_request(request) else {
            return status_text(StatusCode::NOT_FOUND);
        };
        match self.find(request, &path).await {
            Ok(response) => response,
            Err(error) => status_text(status_of(&error)),
        }
    }

    async fn find(&self, request: &Request, target: &Target) -> io::Result<Response> {
        let root = self.root()?;
        let opened = root.open_beneath(target.relative()).await?;
        let metadata = opened.1;
        if metadata.is_file && !target.is_directory {
            return Ok(file_response(request, &target.path, opened));
        }
        if !metadata.is_dir {
            return Ok(status_text(StatusCode::NOT_FOUND));
        }
        if !request.path().ends_with('/') {
            return Ok(redirect_into(request));
        }
        let index = join(&target.path, "index.html");
        match root.open_beneath(&index).await {
            Ok(opened) if opened.1.is_file => return Ok(file_response(request, &index, opened)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if !self.has_listing {
            return Ok(status_text(StatusCode::NOT_FOUND));
        }
        let entries = root.list(target.relative()).await?;
        let mut items: Vec<Item> = entries.iter().map(Item::from).collect();
        let shown = percent_decode(request.path()).unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown);
        let page = listing::page(&shown, !target.path.is_empty(), &mut items);
        Ok(Response::new()
            .header("Content-Type", "text/html; charset=utf-8")
            .body(page))
    }
}

impl Handler<OfFiles> for Files {
    fn into_endpoint(self) -> Endpoint {
        Endpoint::Deferred(Arc::new(self))
    }
}

impl Deferred for Files {
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture {
        Box::pin(async move { self.answer(&request).await })
    }

    fn for_worker(&self) -> Arc<dyn Deferred> {
        Arc::new(self.clone())
    }
}

/// What a request names beneath the root.
struct Target {
    /// Without slashes at its ends; empty for the root itself.
    path: String,
    /// True exactly when the request can only mean a directory.
    is_directory: bool,
}

impl Target {
    fn of_request(request: &Request) -> Option<Target> {
        open_path(request).and_then(Target::of)
    }

    /// `None` for what no file can be called.
    fn of(path: &str) -> Option<Target> {
        let relative = RelativePath::of_target(path).ok()?;
        let path = String::from_utf8(relative.as_bytes().to_vec()).ok()?;
        Some(Target {
            path,
            is_directory: relative.is_directory(),
        })
    }

    fn relative(&self) -> &str {
        if self.path.is_empty() {
            "."
        } else {
            &self.path
        }
    }
}

/// What a request names beneath the root of its route: the path without slashes at its ends, and
/// whether it can only be a directory. For tests of the whole way from a target to a file.
#[doc(hidden)]
pub fn named_beneath(request: &Request) -> Option<(String, bool)> {
    let target = Target::of_request(request)?;
    Some((target.path, target.is_directory))
}

/// The part of the path that the route leaves open, as it came, with a slash before it. `None` when
/// it does not begin behind a slash.
fn open_path(request: &Request) -> Option<&str> {
    let path = request.path();
    let Some((_, rest)) = request.params().last() else {
        return path.starts_with('/').then_some(path);
    };
    if path.ends_with(rest) && path[..path.len() - rest.len()].ends_with('/') {
        return Some(&path[path.len() - rest.len() - 1..]);
    }
    // The parameter is decoded, which must not happen twice. It ends the path, so that it is the
    // one suffix that decodes to it. Lengths tell which: to decode each would be quadratic.
    let (mut end, mut escapes) = (path.len(), 0);
    for (at, _) in path.rmatch_indices('/') {
        escapes += path[at..end].matches('%').count();
        end = at;
        let coded = &path[at + 1..];
        if coded.len() == rest.len() + 2 * escapes
            && percent_decode(coded).is_some_and(|decoded| *decoded == *rest.as_bytes())
        {
            return Some(&path[at..]);
        }
    }
    None
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

fn file_response(
    request: &Request,
    path: &str,
    (file, metadata): (Arc<std::fs::File>, Metadata),
) -> Response {
    let tag = tag_of(&metadata);
    let validators = Validators {
        etag: EntityTag::strong(&tag),
        last_modified: (metadata.modified_seconds > 0).then_some(metadata.modified_seconds),
    };
    let now = Core::current().map_or(0, |core| core.wall_seconds());
    let (method, headers) = (request.method(), request.headers());
    let response = match conditional::evaluate(method, headers, validators, now) {
        Precondition::Proceed => Response::new(),
        Precondition::NotModified => {
            let response = Response::new().status(StatusCode::NOT_MODIFIED);
            return with_validators(response, validators);
        }
        Precondition::Failed => return status_text(StatusCode::PRECONDITION_FAILED),
    };
    let len = metadata.len;
    // Ranges are defined for GET only (RFC 9110 §14.2).
    let selection = if method == Method::GET && conditional::range_counts(headers, validators, now)
    {
        range::select(headers, len)
    } else {
        Selection::Whole
    };
    let response = match selection {
        // HEAD of an empty file has a length too.
        Selection::Whole => response
            .header("Content-Length", itoa::Buffer::new().format(len))
            .body(Body::file(file, 0..len)),
        Selection::Part(part) => response
            .status(StatusCode::PARTIAL_CONTENT)
            .header("Content-Range", range::content_range(&part, len))
            .body(Body::file(file, part)),
        Selection::Unsatisfiable => {
            return status_text(StatusCode::RANGE_NOT_SATISFIABLE)
                .header("Content-Range", range::unsatisfied_range(len));
        }
    };
    with_validators(response, validators)
        .header("Content-Type", media_type::of_path(Path::new(path)))
        .header("Accept-Ranges", "bytes")
}

fn with_validators(mut response: Response, validators: Validators<'_>) -> Response {
    if let Some(etag) = validators.etag {
        response = response.header("ETag", etag.to_string());
    }
    match validators.last_modified {
        Some(seconds) => response.header("Last-Modified", date::format(seconds)),
        None => response,
    }
}

/// Changes with every change of the file that moves its clock or its length, or replaces it.
fn tag_of(metadata: &Metadata) -> String {
    format!(
        "{:x}-{:x}-{:x}-{:x}",
        metadata.modified_seconds, metadata.modified_nanoseconds, metadata.len, metadata.inode
    )
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
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Too many symbolic links: "no such file" for a client.
const ELOOP: i32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn open_path_of(target: &str, params: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::for_target("GET", target).unwrap();
        request.set_params(params.iter().copied());
        open_path(&request).map(str::to_owned)
    }

    #[test]
    fn the_open_part_of_a_long_path_is_found_at_once() {
        let open = format!("{}{}", "/".repeat(8_000), "%41".repeat(2_700));
        let decoded = format!("{}{}", "/".repeat(8_000), "A".repeat(2_700));
        let target = format!("/files/{open}");
        let found = open_path_of(&target, &[("path", &decoded)]);
        assert_eq!(found, Some(format!("/{open}")));
    }

    #[test]
    fn the_open_part_of_the_path() {
        type Params = &'static [(&'static str, &'static str)];
        let table: &[(&str, Params, Option<&str>)] = &[
            ("/a/b", &[], Some("/a/b")),
            ("/a/b?c", &[("path", "a/b")], Some("/a/b")),
            ("/files/a/b", &[("path", "a/b")], Some("/a/b")),
            ("/files/", &[("path", "")], Some("/")),
            (
                "/x/b/a%2Fb",
                &[("id", "x"), ("", "b/a/b")],
                Some("/b/a%2Fb"),
            ),
            ("/f/%25.txt", &[("path", "%.txt")], Some("/%25.txt")),
            ("/f/%FF", &[("path", "%FF")], Some("/%FF")),
            ("*", &[], None),
        ];
        for (target, params, expected) in table {
            assert_eq!(
                open_path_of(target, params).as_deref(),
                *expected,
                "{target}"
            );
        }
    }

    #[test]
    fn targets_stay_inside() {
        let path = |text: &str| Target::of(text).map(|target| target.path);
        assert_eq!(path("/a/../../../b").as_deref(), Some("b"));
        assert_eq!(path("/%2e%2e/b").as_deref(), Some("b"));
        assert_eq!(path("/..%2fb"), None);
        assert_eq!(path("/a%00"), None);
        assert_eq!(path("/%FF"), None);
    }

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
