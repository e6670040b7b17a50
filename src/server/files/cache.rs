//! What is known of paths beneath a directory, on one core: bounded, looked at again for each turn.
//!
//! ```text
//!   get ─┬─ looked at in this turn ───────► what is known: all that this turn answers was asked before
//!        ├─ else: look by name, at once ───┬─ the same ──► what is known, for this turn
//!        │   (no file is opened, no disk   └─ other, or the kernel has to ask a disk ─► opened anew
//!        └─ unknown ─► opened               is asked)
//! ```
//!
//! A full cache gives up what was not used since the hand of its clock came by. What nobody asks for
//! is closed within 2 s, the directory with it: so long it keeps a file system from being unmounted, and
//! a deleted file its room on the disk. When descriptors are short, all is given up at once.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::rc::Rc;
use std::rc::Weak;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::fs;
use crate::fs::Metadata;
use crate::fs::Root;
use crate::limits::FILE_CACHE_DESCRIPTORS_DIVISOR;
use crate::limits::FILE_CACHE_ENTRIES_MAX;
use crate::limits::FILE_CACHE_IDLE_TIME;
use crate::runtime;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::descriptors;
use crate::runtime::descriptors::Holder;

/// What is known of one path.
#[derive(Clone, Debug)]
pub(super) struct Known<T> {
    pub value: T,
    /// How it looked; `None` for what is not there.
    pub seen: Option<Metadata>,
    /// The turn in which it was looked at last; zero for one that has no number.
    pub turn: u64,
    /// When it was opened.
    pub opened: Instant,
    pub trust: Trust,
    /// True exactly when it is an open file.
    pub has_descriptor: bool,
}

/// What a look at a name, which finds nothing changed, is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing has changed.
    Full,
    /// It was changed at about the time when it was opened: a further change may bear the same time,
    /// since file systems count in ticks. So it counts for a second.
    Young,
    /// On a file system of another machine or process, which a look may wait for. It counts for a
    /// second without one.
    Remote,
}

/// What a cache may hold.
pub(super) trait Value: Clone + 'static {
    /// True while a request is at work with it, for which others may wait.
    fn is_busy(&self) -> bool;
}

struct Entry<T> {
    path: Rc<OsStr>,
    known: Known<T>,
    was_used: bool,
}

/// Paths and what is known of them: a clock with second chances.
pub(super) struct Table<T> {
    index: HashMap<Rc<OsStr>, usize>,
    entries: Vec<Entry<T>>,
    hand: usize,
    entries_max: usize,
}

impl<T: Value> Table<T> {
    fn new(entries_max: usize) -> Table<T> {
        assert!(entries_max > 0, "a cache has room");
        Table {
            index: HashMap::new(),
            entries: Vec::new(),
            hand: 0,
            entries_max,
        }
    }

    fn get(&mut self, path: &OsStr) -> Option<&mut Known<T>> {
        let entry = &mut self.entries[*self.index.get(path)?];
        entry.was_used = true;
        Some(&mut entry.known)
    }

    /// Takes something in. Gives back what had to go for it, to be dropped elsewhere.
    fn insert(&mut self, path: &OsStr, known: Known<T>) -> Option<Known<T>> {
        if let Some(&at) = self.index.get(path) {
            return Some(std::mem::replace(&mut self.entries[at].known, known));
        }
        let evicted = (self.entries.len() == self.entries_max).then(|| self.evict());
        let path: Rc<OsStr> = Rc::from(path);
        self.index.insert(Rc::clone(&path), self.entries.len());
        self.entries.push(Entry {
            path,
            known,
            was_used: true,
        });
        evicted
    }

    fn evict(&mut self) -> Known<T> {
        loop {
            self.hand %= self.entries.len();
            let entry = &mut self.entries[self.hand];
            if !std::mem::take(&mut entry.was_used) {
                return self.remove_at(self.hand);
            }
            self.hand += 1;
        }
    }

    fn remove_at(&mut self, at: usize) -> Known<T> {
        let entry = self.entries.swap_remove(at);
        self.index.remove(&entry.path);
        if let Some(moved) = self.entries.get(at) {
            *self.index.get_mut(&moved.path).expect("it has a place") = at;
        }
        entry.known
    }

    fn remove(&mut self, path: &OsStr) -> Option<Known<T>> {
        let at = *self.index.get(path)?;
        Some(self.remove_at(at))
    }

    /// Takes out what was not used since the last time.
    fn take_idle(&mut self) -> Vec<Known<T>> {
        self.take_out(|entry| !std::mem::take(&mut entry.was_used) && !entry.known.value.is_busy())
    }

    /// Takes out what is open.
    fn take_open(&mut self) -> Vec<Known<T>> {
        self.take_out(|entry| entry.known.has_descriptor)
    }

    fn take_out(&mut self, mut is_out: impl FnMut(&mut Entry<T>) -> bool) -> Vec<Known<T>> {
        let mut taken = Vec::new();
        let mut at = 0;
        while at < self.entries.len() {
            match is_out(&mut self.entries[at]) {
                true => taken.push(self.remove_at(at)),
                false => at += 1,
            }
        }
        taken
    }
}

/// The cache of one handler on one core. Nothing of it is borrowed while values are dropped.
pub(super) struct Cache<T> {
    table: RefCell<Table<T>>,
    /// The directory, and when its path was looked at last.
    root: RefCell<Option<(Root, Instant)>>,
    /// True exactly when somebody asked since the last time that idle files were closed.
    was_used: Cell<bool>,
    /// Open files in all caches of this core.
    descriptors: Rc<Cell<u64>>,
}

impl<T: Value> Cache<T> {
    /// The cache for a key on this core, made on first use.
    pub(super) fn of(core: &Rc<Core>, key: u64) -> Rc<Cache<T>> {
        let all = core.local(Caches::new);
        if let Some((_, found)) = all.list.borrow().iter().find(|(own, _)| *own == key) {
            found.was_used.set(true);
            return Rc::clone(found);
        }
        let cache = Rc::new(Cache {
            table: RefCell::new(Table::new(FILE_CACHE_ENTRIES_MAX)),
            root: RefCell::new(None),
            was_used: Cell::new(true),
            descriptors: Rc::clone(&all.descriptors),
        });
        all.list.borrow_mut().push((key, Rc::clone(&cache)));
        // Its tasks end with the core; what it holds is weak, so that the core's end is the cache's.
        drop(runtime::spawn(close_idle(Rc::downgrade(&all), key)));
        cache
    }

    /// Calls with the directory, if it is known, and when it was looked at. Nothing is cloned: workers
    /// may share it.
    pub(super) fn with_root<R>(&self, call: impl FnOnce(&Root, Instant) -> R) -> Option<R> {
        self.root
            .borrow()
            .as_ref()
            .map(|(root, checked)| call(root, *checked))
    }

    /// The path was looked at: it names this. What is known of another directory is forgotten.
    pub(super) fn set_root(&self, root: Root, checked: Instant) {
        let before = self.root.replace(Some((root.clone(), checked)));
        if before.is_some_and(|(before, _)| !before.is_same(&root)) {
            self.clear();
        }
    }

    pub(super) fn get(&self, path: &OsStr) -> Option<Known<T>> {
        self.table.borrow_mut().get(path).cloned()
    }

    /// A look has found it unchanged.
    pub(super) fn set_turn(&self, path: &OsStr, turn: u64) {
        if let Some(known) = self.table.borrow_mut().get(path) {
            known.turn = turn;
        }
    }

    /// Takes something in, unless it is an open file and there is no descriptor left for it.
    pub(super) fn insert(&self, path: &OsStr, known: Known<T>) {
        self.remove(path);
        if known.has_descriptor {
            let allowed = allowed_descriptors();
            while self.descriptors.get() >= allowed && !self.table.borrow().entries.is_empty() {
                let evicted = self.table.borrow_mut().evict();
                self.drop_known(evicted);
            }
            if self.descriptors.get() >= allowed {
                return;
            }
            self.descriptors.set(self.descriptors.get() + 1);
        }
        let evicted = self.table.borrow_mut().insert(path, known);
        evicted.into_iter().for_each(|known| self.drop_known(known));
    }

    pub(super) fn remove(&self, path: &OsStr) {
        let removed = self.table.borrow_mut().remove(path);
        removed.into_iter().for_each(|known| self.drop_known(known));
    }

    /// Forgets everything.
    fn clear(&self) {
        let table = self.table.replace(Table::new(FILE_CACHE_ENTRIES_MAX));
        for entry in table.entries {
            self.drop_known(entry.known);
        }
    }

    fn close_idle(&self) {
        let idle = self.table.borrow_mut().take_idle();
        idle.into_iter().for_each(|known| self.drop_known(known));
    }

    fn close_open(&self) {
        let open = self.table.borrow_mut().take_open();
        open.into_iter().for_each(|known| self.drop_known(known));
    }

    fn drop_known(&self, known: Known<T>) {
        let held = u64::from(known.has_descriptor);
        drop(known);
        self.descriptors.set(self.descriptors.get() - held);
    }
}

impl<T> Drop for Cache<T> {
    fn drop(&mut self) {
        let entries = &self.table.get_mut().entries;
        let held = entries.iter().filter(|entry| entry.known.has_descriptor);
        let held = held.count() as u64;
        self.descriptors.set(self.descriptors.get() - held);
    }
}

/// All caches of a core.
struct Caches<T> {
    list: RefCell<Vec<(u64, Rc<Cache<T>>)>>,
    descriptors: Rc<Cell<u64>>,
}

/// The cores that have caches.
static CORES: AtomicU64 = AtomicU64::new(0);

/// How many open files the caches of one core may hold now: the limit of the process may be changed
/// from outside, and cores come and go.
fn allowed_descriptors() -> u64 {
    let cores = CORES.load(Ordering::Relaxed).max(1);
    fs::descriptors_max() / FILE_CACHE_DESCRIPTORS_DIVISOR / cores
}

impl<T: Value> Caches<T> {
    fn new(core: &Rc<Core>) -> Rc<Caches<T>> {
        CORES.fetch_add(1, Ordering::Relaxed);
        let caches = Rc::new(Caches {
            list: RefCell::default(),
            descriptors: Rc::default(),
        });
        let holder: Weak<Caches<T>> = Rc::downgrade(&caches);
        descriptors::register(core, holder);
        caches
    }
}

impl<T> Drop for Caches<T> {
    fn drop(&mut self) {
        CORES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T: Value> Holder for Caches<T> {
    fn give_up(&self) -> bool {
        let before = self.descriptors.get();
        let caches = self.list.borrow().clone();
        caches.iter().for_each(|(_, cache)| cache.close_open());
        before > 0
    }
}

/// Closes what nobody asks for, until nobody asked for anything; then the cache is forgotten.
async fn close_idle<T: Value>(caches: Weak<Caches<T>>, key: u64) {
    loop {
        runtime::sleep(FILE_CACHE_IDLE_TIME).await;
        let Some(caches) = caches.upgrade() else {
            return;
        };
        let found = {
            let all = caches.list.borrow();
            let found = all.iter().find(|(own, _)| *own == key);
            found.map(|(_, cache)| Rc::clone(cache))
        };
        let Some(cache) = found else { return };
        cache.close_idle();
        // Its own and the list's: no request is at work with it.
        let is_idle = Rc::strong_count(&cache) == 2;
        if !cache.was_used.take() && is_idle {
            caches.list.borrow_mut().retain(|(own, _)| *own != key);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Value for u32 {
        fn is_busy(&self) -> bool {
            *self >= BUSY
        }
    }

    const BUSY: u32 = 1_000_000;

    fn known(value: u32) -> Known<u32> {
        Known {
            value,
            seen: None,
            turn: 0,
            opened: Instant::NEVER,
            trust: Trust::Full,
            has_descriptor: false,
        }
    }

    fn value(table: &mut Table<u32>, path: &OsStr) -> Option<u32> {
        table.get(path.as_ref()).map(|known| known.value)
    }

    #[test]
    fn what_is_used_stays() {
        let mut table = Table::new(3);
        for (path, number) in [("a", 1), ("b", 2), ("c", 3)] {
            assert!(table.insert(path.as_ref(), known(number)).is_none());
        }
        assert_eq!(table.insert("a".as_ref(), known(4)).unwrap().value, 1);
        // All were used: the hand goes round once.
        assert_eq!(table.insert("d".as_ref(), known(5)).unwrap().value, 4);
        assert_eq!(value(&mut table, "b".as_ref()), Some(2));
        let evicted = table.insert("e".as_ref(), known(6)).unwrap().value;
        assert_ne!(evicted, 2);
        assert_eq!(value(&mut table, "b".as_ref()), Some(2));
        assert_eq!(table.entries.len(), 3);
        assert_eq!(table.index.len(), 3);
    }

    #[test]
    fn what_is_idle_goes() {
        let mut table = Table::new(10);
        for number in 0..10 {
            table.insert(number.to_string().as_ref(), known(number));
        }
        assert!(table.take_idle().is_empty());
        assert_eq!(value(&mut table, "3".as_ref()), Some(3));
        assert_eq!(value(&mut table, "9".as_ref()), Some(9));
        assert_eq!(table.take_idle().len(), 8);
        assert_eq!(table.remove("9".as_ref()).unwrap().value, 9);
        assert!(table.remove("9".as_ref()).is_none());
        assert_eq!(value(&mut table, "3".as_ref()), Some(3));
        assert_eq!(table.take_idle().len(), 0);
        assert_eq!(table.take_idle().len(), 1);
        assert!(table.entries.is_empty() && table.index.is_empty());
        table.insert(OsStr::new("busy"), known(BUSY));
        assert!(table.take_idle().is_empty() && table.take_idle().is_empty());
        assert_eq!(table.entries.len(), 1);
    }

    /// Against a map without bounds: what is found is what was put in last.
    #[test]
    fn places_stay_right() {
        let mut table = Table::new(7);
        let mut model = HashMap::new();
        let mut random = 1_u32;
        for step in 0..10_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let path = (random >> 16 & 15).to_string();
            match random >> 28 {
                0..8 => {
                    table.insert(path.as_ref(), known(step));
                    model.insert(path, step);
                }
                8..12 => {
                    table.remove(path.as_ref());
                    model.remove(&path);
                }
                _ => {
                    if let Some(found) = value(&mut table, path.as_ref()) {
                        assert_eq!(model.get(&path), Some(&found));
                    }
                }
            }
            assert!(table.entries.len() <= 7);
            for (at, entry) in table.entries.iter().enumerate() {
                assert_eq!(table.index.get(&entry.path), Some(&at));
            }
        }
    }
}
