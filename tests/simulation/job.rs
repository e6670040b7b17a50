//! One request of a client: what it asks for, how it is sent and read, and what has to come of it.
//!
//! ```text
//!   numbers ─► Work (where to, and what there) ─► Job: ask, upload, reading, time-out ─► Expect
//! ```

use std::fmt;
use std::time::Duration;

use roundtrip::simulation::Random;

use crate::ask::Ask;
use crate::content;
use crate::content::Way;
use crate::handlers;
use crate::handlers::failing;
use crate::handlers::manner;
use crate::host::Manner;
use crate::ledger;
use crate::ledger::Rule;
use crate::pieces::End;
use crate::plan::Plan;

/// A time-out below this may pass with nobody at fault.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A handler that answers from what it was asked.
    Get(&'static str),
    /// A handler that panics, or whose body fails.
    Panic(&'static str),
    /// A handler that is given a body.
    Take,
    /// The same bytes come back.
    Echo,
    /// A file, or a part of it from the first number on, so many bytes.
    File(usize, Option<(usize, usize)>),
    /// The page of a directory.
    Listing,
    /// A redirect of this status.
    Redirect(u16),
    /// A host, by its index and manner.
    Host(usize, Manner),
    /// Our server, which passes it on: to itself, or to a host.
    Proxy(Option<(usize, Manner)>),
}

/// What is sent beside the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// Nothing.
    Nothing,
    /// All of it at once.
    Bytes,
    /// Piece by piece.
    Pieces(End),
    /// A file, from its first byte on.
    File(usize),
}

/// When the caller loses interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Not before the end.
    Never,
    /// After its future was polled so many times.
    Polls(u32),
    /// After this time.
    Time(Duration),
    /// After so many chunks of the body.
    Chunks(usize),
}

/// What has to come of it, if no fault interferes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer.
    Answer,
    /// The answer or an error: nobody can tell.
    Either,
    /// An error.
    Error,
}

/// The body that has to come.
#[derive(Clone, Copy)]
pub struct Content(pub &'static [u8]);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A request to be made.
#[derive(Clone, Debug)]
pub struct Job {
    pub work: Work,
    pub ask: Ask,
    pub is_post: bool,
    /// A HEAD, whose response has no body.
    pub is_head: bool,
    /// A POST that may be sent twice, and says so.
    pub is_repeatable: bool,
    pub upload: Upload,
    pub timeout: Option<Duration>,
    pub leave: Leave,
    /// Pause before each chunk of the response's body.
    pub reading_pause: Duration,
    /// True to reach the other end by its name.
    pub by_name: bool,
    pub status: u16,
    pub body: Content,
    pub verdict: Verdict,
    /// The other end breaks rules.
    pub is_hostile: bool,
}

impl Job {
    /// Draws a request.
    pub fn draw(random: &mut Random, plan: &Plan) -> Job {
        let mut job = if plan.is_quick {
            quick(random)
        } else {
            match random.index(if plan.hosts > 0 { 17 } else { 10 }) {
                0 => quick(random),
                1 => get(random),
                2 => panicking(random),
                3 | 4 => take(random),
                5 => echo(random),
                6 | 7 => file(random),
                8 => redirect(random),
                9 => {
                    let job = blank(Work::Proxy(None), Rule::Often);
                    answered(job, draw_bytes(random, 100_000))
                }
                10 | 11 => proxied(host(random, plan.hosts)),
                _ => host(random, plan.hosts),
            }
        };
        job.by_name = random.chance(0.3);
        if random.chance(0.15) && !plan.is_quick {
            job.reading_pause = Duration::from_millis(random.below(20));
        }
        if random.chance(if plan.is_quick { 0.02 } else { 0.15 }) {
            job.leave = draw_leave(random);
        }
        if job.timeout.is_none() && random.chance(if plan.is_quick { 0.02 } else { 0.2 }) {
            let times = [1, 20, 200, 2_000, 20_000, 120_000];
            job.timeout = Some(Duration::from_millis(*random.choose(&times)));
        }
        if job.timeout.is_some_and(|timeout| timeout < PATIENCE) && job.verdict == Verdict::Answer {
            job.verdict = Verdict::Either;
        }
        job
    }

    /// The path, for the server.
    pub fn path(&self) -> String {
        match self.work {
            Work::Get(route) | Work::Panic(route) => route.to_owned(),
            Work::Take => "/take".to_owned(),
            Work::Echo => "/echo".to_owned(),
            Work::File(index, _) => format!("/files/f{index}"),
            Work::Listing => "/files/".to_owned(),
            Work::Redirect(status) => format!("/redirect/{status}"),
            Work::Host(..) => "/".to_owned(),
            Work::Proxy(None) => "/proxy/own".to_owned(),
            Work::Proxy(Some((index, _))) => format!("/proxy/{index}"),
        }
    }
}

fn blank(work: Work, rule: Rule) -> Job {
    Job {
        work,
        ask: Ask {
            id: ledger::next(rule),
            ..Ask::default()
        },
        is_post: false,
        is_head: false,
        is_repeatable: false,
        upload: Upload::Nothing,
        timeout: None,
        leave: Leave::Never,
        reading_pause: Duration::ZERO,
        by_name: false,
        status: 200,
        body: Content(&[]),
        verdict: Verdict::Answer,
        is_hostile: false,
    }
}

/// With a response's body of this length.
fn answered(mut job: Job, len: usize) -> Job {
    job.ask.down = len as u32;
    job.body = Content(content::of(job.ask.id, Way::Down, len));
    job
}

/// As often below 100 bytes as above 10,000.
pub fn draw_bytes(random: &mut Random, max: usize) -> usize {
    if random.chance(0.1) {
        return 0;
    }
    let bits = (usize::BITS - max.leading_zeros()) as usize;
    let bits = 1 + random.index(bits);
    let most = (1 << bits).min(max + 1);
    random.index(most)
}

fn draw_leave(random: &mut Random) -> Leave {
    match random.index(3) {
        0 => Leave::Polls(random.below(6) as u32),
        1 => Leave::Time(random.duration(Duration::ZERO..Duration::from_millis(50))),
        _ => Leave::Chunks(random.index(4)),
    }
}

fn quick(random: &mut Random) -> Job {
    match random.index(8) {
        0 => answered(
            blank(Work::Get("/later"), Rule::Often),
            draw_bytes(random, 1_000),
        ),
        1 => {
            let mut job = blank(Work::Take, Rule::Once);
            job.is_post = true;
            job.ask.up = draw_bytes(random, 1_000) as u32;
            job.upload = Upload::Bytes;
            answered(job, draw_bytes(random, 100))
        }
        _ => answered(
            blank(Work::Get("/now"), Rule::Often),
            draw_bytes(random, 300),
        ),
    }
}

fn get(random: &mut Random) -> Job {
    let route = *random.choose(&["/now", "/later", "/slow", "/stream", "/wait", "/hinted"]);
    let mut job = blank(Work::Get(route), Rule::Often);
    job.ask.delay = random.below(300) as u16;
    if route == "/stream" {
        job.ask.delay = random.below(10) as u16;
    }
    let mut job = answered(job, draw_bytes(random, 200_000));
    if random.chance(0.1) {
        job.is_head = true;
        job.body = Content(&[]);
    }
    job
}

fn panicking(random: &mut Random) -> Job {
    let (route, manner) = *random.choose(&[
        ("/panic", 0),
        ("/panic-later", failing::AT_ONCE),
        ("/panic-later", failing::LATER),
        ("/stream", failing::IN_BODY),
        ("/stream", failing::BODY_ERROR),
    ]);
    let mut job = blank(Work::Panic(route), Rule::Often);
    job.ask.manner = manner;
    job.ask.delay = random.below(5) as u16;
    if route == "/stream" {
        job.verdict = Verdict::Error;
        return answered(job, draw_bytes(random, 50_000));
    }
    job.status = 500;
    job
}

fn draw_upload(random: &mut Random, job: &mut Job) {
    job.is_post = true;
    job.ask.up = draw_bytes(random, 200_000) as u32;
    job.upload = match random.index(2) {
        0 => Upload::Bytes,
        _ => Upload::Pieces(End::Whole),
    };
}

fn take(random: &mut Random) -> Job {
    let mut job = blank(Work::Take, Rule::Once);
    draw_upload(random, &mut job);
    job.ask.manner = random.below(manner::COUNT) as u8;
    job.ask.delay = random.below(5) as u16;
    let is_read = [manner::READ, manner::COLLECT].contains(&job.ask.manner);
    if is_read && job.ask.up > 1 && random.chance(0.2) {
        job.upload = Upload::Pieces(*random.choose(&[End::Error, End::Stuck]));
        job.verdict = Verdict::Error;
        if job.upload == Upload::Pieces(End::Stuck) {
            job.timeout = Some(random.duration(Duration::from_millis(10)..PATIENCE / 6));
        }
    }
    answered(job, draw_bytes(random, 50_000))
}

fn echo(random: &mut Random) -> Job {
    let mut job = blank(Work::Echo, Rule::Once);
    draw_upload(random, &mut job);
    if random.chance(0.3) {
        let index = handlers::draw_file(random);
        let whole = handlers::file_content(index);
        job.ask.up = whole.len() as u32;
        job.upload = Upload::File(index);
        job.body = Content(whole);
        return job;
    }
    job.body = Content(content::of(job.ask.id, Way::Up, job.ask.up as usize));
    job
}

fn file(random: &mut Random) -> Job {
    if random.chance(0.1) {
        return blank(Work::Listing, Rule::Often);
    }
    let index = handlers::draw_file(random);
    let whole = handlers::file_content(index);
    if whole.is_empty() || random.chance(0.5) {
        let mut job = blank(Work::File(index, None), Rule::Often);
        job.body = Content(whole);
        return job;
    }
    let first = random.index(whole.len());
    let len = 1 + random.index(whole.len() - first);
    let mut job = blank(Work::File(index, Some((first, len))), Rule::Often);
    job.status = 206;
    job.body = Content(&whole[first..first + len]);
    job
}

fn redirect(random: &mut Random) -> Job {
    let status = *random.choose(&[301, 302, 303, 307, 308]);
    let mut job = blank(Work::Redirect(status), Rule::Often);
    if status >= 307 && random.chance(0.5) {
        job.is_post = true;
        job.ask.up = 1 + draw_bytes(random, 50_000) as u32;
        job.upload = Upload::Bytes;
    }
    answered(job, draw_bytes(random, 50_000))
}

fn host(random: &mut Random, hosts: usize) -> Job {
    let manner = Manner::draw(random);
    let mut job = blank(Work::Host(random.index(hosts), manner), Rule::Often);
    job.ask.manner = manner as u8;
    job.ask.delay = random.below(300) as u16;
    job.status = manner.status();
    job.is_hostile = manner.is_hostile();
    let bytes_max = if manner == Manner::Trickle {
        200
    } else {
        200_000
    };
    let len = match manner.status() {
        200 if manner.is_cut() => 2 + draw_bytes(random, bytes_max),
        200 => draw_bytes(random, bytes_max),
        _ => 0,
    };
    if manner != Manner::Redirect && random.chance(0.3) {
        draw_upload(random, &mut job);
        // Hosts close what rests, and a POST is not repeated, unless it allows that and can be.
        job.is_repeatable = random.chance(0.3);
        if !job.is_repeatable || job.upload != Upload::Bytes {
            job.verdict = Verdict::Either;
        }
    }
    if manner.is_cut() {
        job.verdict = Verdict::Error;
    }
    if manner.may_fail() {
        job.verdict = Verdict::Either;
    }
    if manner.is_stalled() {
        job.timeout = Some(random.duration(Duration::from_millis(50)..Duration::from_secs(5)));
    }
    answered(job, len)
}

/// The same through our server.
fn proxied(mut job: Job) -> Job {
    let Work::Host(index, manner) = job.work else {
        panic!("hosts are passed on to")
    };
    job.work = Work::Proxy(Some((index, manner)));
    job.is_hostile = false;
    if job.verdict == Verdict::Error || job.is_post {
        // Without a head it is the proxy that answers; and it does not say that a POST may be sent
        // twice.
        job.verdict = Verdict::Either;
    }
    job
}
