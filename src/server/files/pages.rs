//! Listings of directories on one core: each is made once for all who ask within a second, and where its
//! directory is read.
//!
//! ```text
//!   ask ─► gate ─┬─ made within the second, and the directory is the same ─► that one
//!                └─ else ─► pool for listings: read, sort, write ─► kept for a second
//!          └─ others wait here, and look again
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::DefaultHasher;
use std::hash::Hasher;
use std::io;
use std::rc::Rc;
use std::rc::Weak;
use std::sync::Arc;
use std::sync::Weak as SharedWeak;

use ::http::Method;
use ::http::StatusCode;

use crate::fs::FileSystem;
use crate::fs::Listed;
use crate::fs::Metadata;
use crate::fs::Root;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::target::percent_decode;
use crate::limits::FILE_FRESH_TIME;
use crate::limits::LISTINGS_BYTES_MAX;
use crate::runtime;
use crate::runtime::Core;
use crate::runtime::Gate;
use crate::runtime::Instant;
use crate::server::files::Files;
use crate::server::files::listing;
use crate::server::files::listing::Format;
use crate::server::files::refusal;
use crate::server::files::status_of;
use crate::server::files::target::Target;

/// The listing of a directory, as it was read.
#[derive(Debug)]
pub(super) struct Page {
    /// All of JSON; of HTML, what does not depend on the request.
    pub(super) text: Arc<[u8]>,
    /// Of its text.
    pub(super) tag: String,
    /// The directory, and where it is.
    seen: (Metadata, FileSystem),
}

/// The listings of one directory, by their form.
#[derive(Debug, Default)]
pub(super) struct Pages([Slot; Format::COUNT]);

#[derive(Debug, Default)]
struct Slot {
    gate: Gate,
    last: RefCell<Option<Made>>,
    /// Of the last page, while anybody has it.
    text: RefCell<Option<SharedWeak<[u8]>>>,
}

/// What came of reading a directory.
#[derive(Clone, Debug)]
struct Made {
    outcome: Result<Weak<Page>, StatusCode>,
    began: Instant,
    ended: Instant,
}

impl Page {
    /// Runs on a thread of the pool. A text that has not changed since `before` is the same memory: slow
    /// clients do not hold one for each second in which they came.
    fn of(
        listed: Listed,
        format: Format,
        shows_dot_files: bool,
        before: Option<&Arc<[u8]>>,
    ) -> Page {
        let entries = listed.entries.into_iter();
        let items = entries.map(listing::Item::from);
        let mut items: Vec<_> = items
            .filter(|item| shows_dot_files || !item.name.starts_with(b"."))
            .collect();
        listing::sort(&mut items);
        let text = listing::write(format, &items, listed.is_cut).into_bytes();
        let mut hasher = DefaultHasher::new();
        hasher.write(&text);
        let before = before.filter(|before| before[..] == text[..]);
        Page {
            text: before.map_or_else(|| text.into(), Arc::clone),
            tag: format!("{:016x}", hasher.finish()),
            seen: (listed.directory, listed.file_system),
        }
    }
}

impl Made {
    /// What it is to a request that came at `arrived`. A failure is one for those who waited for it.
    fn for_who_came(
        &self,
        arrived: Instant,
        look: impl FnOnce() -> io::Result<Metadata>,
    ) -> Option<Result<Rc<Page>, StatusCode>> {
        let page = match &self.outcome {
            Ok(page) => page.upgrade()?,
            Err(status) => return (arrived <= self.ended).then_some(Err(*status)),
        };
        let (directory, file_system) = page.seen;
        let is_good = arrived <= self.began
            || arrived < self.began + FILE_FRESH_TIME
                // A look may wait for another machine.
                && (file_system == FileSystem::Remote
                    || match look() {
                        Ok(now) => now == directory,
                        Err(error) => status_of(&error) == StatusCode::SERVICE_UNAVAILABLE,
                    });
        is_good.then_some(Ok(page))
    }
}

impl Files {
    /// The response that lists a directory.
    pub(super) async fn list(
        &self,
        request: &Request,
        root: &Root,
        target: &Target,
        pages: &Pages,
    ) -> Response {
        let format = Format::of(request);
        if *request.method() == Method::HEAD {
            return listing::respond_to_head(format);
        }
        match self.page(root, target, pages, format).await {
            Ok(page) => {
                let shown = percent_decode(request.path()).unwrap_or_default();
                let shown = String::from_utf8_lossy(&shown);
                listing::respond(request, &shown, !target.path.is_empty(), format, &page)
            }
            Err(status) => refusal(status),
        }
    }

    async fn page(
        &self,
        root: &Root,
        target: &Target,
        pages: &Pages,
        format: Format,
    ) -> Result<Rc<Page>, StatusCode> {
        let core = Core::current();
        let now = || core.as_ref().map_or(Instant::NEVER, |core| core.now());
        let arrived = now();
        let slot = &pages.0[format as usize];
        let _inside = slot.gate.enter().await;
        let look = || root.look_beneath(target.relative(), self.links);
        let last = slot.last.borrow().clone();
        if let Some(known) = last.and_then(|last| last.for_who_came(arrived, look)) {
            return known;
        }
        let began = now();
        let shows_dot_files = self.shows_dot_files;
        let before = slot.text.borrow().as_ref().and_then(SharedWeak::upgrade);
        let make = move |listed| Page::of(listed, format, shows_dot_files, before.as_ref());
        let page = root.list_into(target.relative(), self.links, make).await;
        let page = page.map(Rc::new).map_err(|error| status_of(&error));
        slot.last.replace(Some(Made {
            outcome: page.as_ref().map(Rc::downgrade).map_err(|status| *status),
            began,
            ended: now(),
        }));
        if let (Some(core), Ok(page)) = (&core, &page) {
            slot.text.replace(Some(Arc::downgrade(&page.text)));
            core.local(|_| Rc::<Kept>::default()).add(Rc::clone(page));
        }
        page
    }
}

/// The listings that a core keeps for who asks within the same second.
#[derive(Default)]
struct Kept(RefCell<VecDeque<Rc<Page>>>);

impl Kept {
    fn add(self: &Rc<Self>, page: Rc<Page>) {
        let kept = Rc::downgrade(self);
        let ours = Rc::downgrade(&page);
        drop(runtime::spawn(async move {
            runtime::sleep(FILE_FRESH_TIME).await;
            if let Some(kept) = kept.upgrade() {
                let mut pages = kept.0.borrow_mut();
                pages.retain(|page| !ours.ptr_eq(&Rc::downgrade(page)));
            }
        }));
        let mut pages = self.0.borrow_mut();
        pages.push_back(page);
        let mut bytes: usize = pages.iter().map(|page| page.text.len()).sum();
        while bytes > LISTINGS_BYTES_MAX && pages.len() > 1 {
            bytes -= pages.pop_front().map_or(0, |page| page.text.len());
        }
    }
}
