//! An access log whose output fails now and then, and what has to be in it all the same.
//!
//! ```text
//!   server ─ lines ─► Output ─► EAGAIN, ENOSPC, EPIPE, a part of it … ─► text
//!   at the end: each request has a line, or is counted as lost; what a line says has happened
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::io::Write;

use roundtrip::server::Statistics;
use roundtrip::simulation::Random;

use crate::ask;
use crate::handlers::FILES;
use crate::ledger;

/// What writes fail with: EINTR, EIO, EAGAIN, EFBIG, ENOSPC, EPIPE, EDQUOT.
const ERRORS: [i32; 7] = [4, 5, 11, 27, 28, 32, 122];
/// How often they do, in one run and another.
const RATES: [f64; 5] = [0.0, 0.05, 0.5, 0.95, 1.0];

thread_local! {
    static TEXT: RefCell<Vec<u8>> = RefCell::default();
}

/// Where the server of a run writes its log.
pub struct Output {
    random: Random,
    failing: f64,
}

impl Output {
    pub fn new(mut random: Random) -> Output {
        let failing = *random.choose(&RATES);
        Output { random, failing }
    }

    fn fails(&mut self) -> io::Result<()> {
        match self.random.chance(self.failing) {
            true => Err(io::Error::from_raw_os_error(*self.random.choose(&ERRORS))),
            false => Ok(()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fails()?;
        let taken = match self.random.chance(self.failing) {
            true => self.random.index(bytes.len() + 1),
            false => bytes.len(),
        };
        TEXT.with_borrow_mut(|text| text.extend_from_slice(&bytes[..taken]));
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.fails()
    }
}

/// What is wrong with what was written, when no connection is left.
pub fn check(stats: &Statistics) -> Option<String> {
    let text = String::from_utf8(TEXT.take()).expect("lines are ASCII");
    let mut found = Found::default();
    for line in text.split_inclusive('\n') {
        let said = match line.strip_suffix('\n') {
            Some(line) => found.add(line),
            // The last one may be cut where its end was not waited for.
            None if stats.access_log_dropped > 0 => Ok(()),
            None => Err("has no end"),
        };
        if let Err(wrong) = said {
            return Some(format!("a line of the access log {wrong}: {line:?}"));
        }
    }
    let lost = stats.access_log_dropped;
    let told = found.requests + found.unnamed + lost;
    let most = stats.requests + stats.requests_refused + stats.header_timeouts;
    let is_all = lost > 0 || found.requests == stats.requests;
    if !(stats.requests..=most).contains(&told) || !is_all || found.lost > lost {
        return Some(format!("the access log has {found:?} for {stats:?}"));
    }
    let is_untold = |(id, is_whole): &(&u32, &bool)| ledger::was_answered(**id) && !**is_whole;
    let untold = found.whole.iter().find(is_untold).map(|(id, _)| *id);
    let wrong = untold.filter(|_| lost == 0);
    wrong.map(|id| format!("request {id} was answered, and no line says so"))
}

/// What the log says.
#[derive(Debug, Default)]
struct Found {
    requests: u64,
    /// Lines of what was refused before it was a request.
    unnamed: u64,
    /// What notes between the lines say.
    lost: u64,
    /// Of each request that says its number, whether a response to it may be whole.
    whole: BTreeMap<u32, bool>,
}

impl Found {
    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        if let Some(note) = line.strip_prefix("# ") {
            let count = note.strip_suffix(" lines lost").ok_or("is none")?;
            self.lost += count.parse::<u64>().map_err(|_| "has no number")?;
            return Ok(());
        }
        // Address and time, request, status and what it took, pattern, end.
        let parts: Vec<&str> = line.split('"').collect();
        let &[_, request, sent, _, end] = &parts[..] else {
            return Err("is not whole");
        };
        let mut sent = sent.split_ascii_whitespace();
        let status = sent.next().and_then(|status| status.parse::<u16>().ok());
        let bytes = sent.next().and_then(|bytes| bytes.parse::<u64>().ok());
        let (Some(status), Some(bytes)) = (status, bytes) else {
            return Err("has no numbers");
        };
        let is_complete = match end {
            " complete" => true,
            " peer-gone" | " timed-out" | " shut-down" | " panicked" | " cut" | " aborted" => false,
            _ => return Err("has no end"),
        };
        if is_complete && matches!(status, 444 | 499) {
            return Err("tells of no response, and that it is complete");
        }
        let words: Vec<&str> = request.split(' ').collect();
        let &[method, target, _] = &words[..] else {
            self.unnamed += 1;
            return Ok(());
        };
        self.requests += 1;
        let number = target.split_once('?').map(|(_, number)| number.as_bytes());
        let id = number.and_then(ask::parse_hex);
        if let Some(id) = id {
            // Of a panic there is a response, if there was none.
            *self.whole.entry(id).or_default() |= is_complete || end == " panicked";
        }
        if status != 200 || method == "HEAD" {
            return Ok(());
        }
        let file = target.strip_prefix("/files/f");
        let file = file.and_then(|index| FILES.get(index.parse::<usize>().ok()?));
        let is_right = match (id.and_then(ledger::down), file) {
            (Some(down), _) if is_complete => bytes >= u64::from(down),
            (_, Some(&file)) if is_complete => bytes == file as u64,
            (_, Some(&file)) => bytes <= file as u64,
            _ => true,
        };
        is_right.then_some(()).ok_or("tells of other bytes")
    }
}
