//! What a run has done so far, for both ends: one per thread, since a run has one.
//!
//! ```text
//!   clients ── next ──► entry ◄── saw ── handlers, hosts        wrong? ─► simulation::fail
//! ```

use std::cell::RefCell;

use roundtrip::simulation;

use crate::ask::Ask;

/// Numbers from here on are those of files.
pub const FILE_IDS: u32 = 0xf000_0000;

/// What may happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It may arrive again: it means the same once and twice.
    Often,
    /// It arrives once at most.
    Once,
    /// It never arrives: it is hidden in the body of another.
    Never,
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests begun, of all clients.
    pub requests: u64,
    /// Requests that handlers of the server were given.
    pub handled: u64,
    /// Handlers and bodies that panicked on purpose.
    pub panicked: u64,
    /// Responses that arrived whole and right.
    pub answered: u64,
    /// Requests that ended with an error.
    pub failed: u64,
    /// Requests and bodies that their caller dropped.
    pub dropped: u64,
    /// Connections that hosts accepted.
    pub accepted_by_hosts: u64,
    /// Connections that raw clients have made and that the server has served.
    pub raw_connections: u64,
    /// A number that depends on everything that happened, in its order.
    pub digest: u64,
}

#[derive(Default)]
struct Ledger {
    entries: Vec<Entry>,
    counts: Counts,
    raw_left: usize,
    is_shutting_down: bool,
    has_excess: bool,
}

struct Entry {
    rule: Rule,
    seen: u8,
    /// What whoever has seen it was asked to send.
    down: Option<u32>,
    is_answered: bool,
}

thread_local! {
    static LEDGER: RefCell<Ledger> = RefCell::default();
}

fn with<T>(call: impl FnOnce(&mut Ledger) -> T) -> T {
    LEDGER.with_borrow_mut(call)
}

/// The number of the next request.
pub fn next(rule: Rule) -> u32 {
    with(|ledger| {
        ledger.entries.push(Entry {
            rule,
            seen: 0,
            down: None,
            is_answered: false,
        });
        ledger.counts.requests += u64::from(rule != Rule::Never);
        ledger.entries.len() as u32 - 1
    })
}

/// A handler or a host was given a request.
pub fn saw(ask: &Ask) {
    let wrong = with(|ledger| {
        let Some(entry) = ledger.entries.get_mut(ask.id as usize) else {
            return Some("that nobody has made");
        };
        entry.seen = entry.seen.saturating_add(1);
        entry.down = Some(ask.down);
        match entry.rule {
            Rule::Never => Some("that is hidden in another"),
            Rule::Once if entry.seen > 1 => Some("that must not be repeated, a second time"),
            _ => None,
        }
    });
    event(1, ask.id);
    if let Some(wrong) = wrong {
        simulation::fail(format!("request {} arrived {wrong}", ask.id));
    }
}

/// True when the request has arrived.
pub fn was_seen(id: u32) -> bool {
    with(|ledger| ledger.entries[id as usize].seen > 0)
}

/// Bytes of the response that somebody was asked for who has seen the request.
pub fn down(id: u32) -> Option<u32> {
    with(|ledger| ledger.entries.get(id as usize)?.down)
}

/// A request was answered, whole and right.
pub fn answered(id: u32) {
    with(|ledger| ledger.entries[id as usize].is_answered = true);
}

/// True when it was.
pub fn was_answered(id: u32) -> bool {
    with(|ledger| {
        let entry = ledger.entries.get(id as usize);
        entry.is_some_and(|entry| entry.is_answered)
    })
}

/// Changes the counts.
pub fn count(change: impl FnOnce(&mut Counts)) {
    with(|ledger| change(&mut ledger.counts));
}

/// The counts.
pub fn counts() -> Counts {
    with(|ledger| ledger.counts)
}

/// Something happened, for the digest.
pub fn event(kind: u32, value: u32) {
    with(|ledger| {
        let mixed = ledger.counts.digest ^ (u64::from(kind) << 32 | u64::from(value));
        ledger.counts.digest = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    });
}

/// A raw client began.
pub fn raw_began() {
    with(|ledger| ledger.raw_left += 1);
}

/// A raw client is done.
pub fn raw_ended() {
    with(|ledger| ledger.raw_left -= 1);
}

/// Raw clients that are not done.
pub fn raw_left() -> usize {
    with(|ledger| ledger.raw_left)
}

/// A host sends more than it says. What is late may meet the next request of its connection.
pub fn say_too_much() {
    with(|ledger| ledger.has_excess = true);
}

/// True when a host has sent more than it said.
pub fn has_excess() -> bool {
    with(|ledger| ledger.has_excess)
}

/// From here on the server refuses.
pub fn begin_shutdown() {
    with(|ledger| ledger.is_shutting_down = true);
}

/// True when the server may refuse.
pub fn is_shutting_down() -> bool {
    with(|ledger| ledger.is_shutting_down)
}
