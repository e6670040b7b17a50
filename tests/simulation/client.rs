//! The clients' side: tasks that send requests one after the other and judge what comes of them.
//!
//! ```text
//!   Job ─► request ─► response ─► body, checked as it comes ─► Ended ─► judged: may that be?
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use ::http::Method;
use bytes::Bytes;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Response;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::fs::Root;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::simulation;
use roundtrip::simulation::Random;
use url::Url;

use crate::ask;
use crate::content;
use crate::content::Way;
use crate::handlers::DIRECTORY;
use crate::handlers::FILES;
use crate::host::Manner;
use crate::job::Job;
use crate::job::Leave;
use crate::job::PATIENCE;
use crate::job::Upload;
use crate::job::Verdict;
use crate::job::Work;
use crate::ledger;
use crate::panics;
use crate::pieces;
use crate::pieces::Pieces;
use crate::pieces::Read;
use crate::plan::Part;
use crate::plan::Plan;

/// No request takes longer, whatever goes wrong on its way.
const HANG: Duration = Duration::from_secs(600);

/// What the tasks of a run share.
pub struct Clients {
    plan: Rc<Plan>,
    clients: Vec<Client>,
    now: [Url; 3],
}

/// How a request ended.
enum Ended {
    Answered,
    /// An answer that only a fault explains.
    Excused(u16),
    Failed(Error),
    Dropped,
    Wrong(String),
}

impl Clients {
    /// The clients of a plan.
    pub fn new(plan: &Rc<Plan>) -> Rc<Clients> {
        let make = |index| settings(plan, &mut plan.stream(Part::Client, index));
        let url = |text: &str| Url::parse(text).expect("a URL");
        Rc::new(Clients {
            plan: Rc::clone(plan),
            clients: (0..plan.clients).map(make).collect(),
            now: [
                url("http://127.0.0.1/now"),
                url("http://server.test/now"),
                url("http://double.test/now"),
            ],
        })
    }

    /// What is wrong with the counts of the clients, when all is over.
    pub fn check_counts(&self) -> Option<String> {
        let mut stats = self.clients.iter().filter_map(Client::stats);
        let wrong = stats.find(|stats| stats.pool.waiting > 0);
        wrong.map(|stats| format!("requests wait that nobody has made: {stats:?}"))
    }

    /// One task: `requests` of them, with pauses.
    pub async fn run_task(self: Rc<Clients>, index: usize, requests: usize) {
        let mut random = self.plan.stream(Part::Task, index);
        for _ in 0..requests {
            let shared = &self.clients[random.index(self.clients.len())];
            let job = Job::draw(&mut random, &self.plan);
            simulation::note(|| format!("request {}: {job:?}", job.ask.id));
            let client = match random.index(100) {
                // One that is gone when its response is.
                0 | 1 => settings(&self.plan, &mut random),
                2 => {
                    shared.close_idle();
                    shared.clone()
                }
                _ => shared.clone(),
            };
            let ended = runtime::timeout(HANG, self.run_job(client, &job)).await;
            if ended.is_err() {
                simulation::fail(format!("request {} has no end: {job:?}", job.ask.id));
                return;
            }
            if random.chance(if self.plan.is_quick { 0.01 } else { 0.1 }) {
                let longest = [1, 100, 3_000][random.index(3)];
                let pause = random.duration(Duration::ZERO..Duration::from_millis(longest));
                runtime::sleep(pause).await;
            }
        }
    }

    async fn run_job(&self, client: Client, job: &Job) {
        let core = Core::current().expect("tasks run on a core");
        let started = core.now();
        let ended = panics::waking(self.perform(&client, job)).await;
        let took = core.now() - started;
        let wrong = self.judge(job, ended, took);
        if let Some(wrong) = wrong {
            let text = format!("request {} after {took:?}: {wrong}; {job:?}", job.ask.id);
            simulation::fail(text);
        }
    }

    fn url(&self, job: &Job) -> Url {
        if let Work::Host(index, _) = job.work {
            let text = match job.by_name {
                true => format!("http://host-{index}.test/"),
                false => format!("http://127.0.1.{index}/"),
            };
            return Url::parse(&text).expect("a URL");
        }
        // The other name has a second address, where nobody listens.
        let names = if job.ask.id.is_multiple_of(8) { 2 } else { 1 };
        let mut url = self.now[usize::from(job.by_name) * names].clone();
        if job.work != Work::Get("/now") {
            url.set_path(&job.path());
        }
        if let Work::Get(_) | Work::Panic(_) | Work::Take = job.work {
            // For the access log, which tells of it.
            url.set_query(str::from_utf8(&job.ask.id_value()).ok());
        }
        url
    }

    async fn perform(&self, client: &Client, job: &Job) -> Ended {
        let method = match (job.is_post, job.is_head) {
            (true, _) => Method::POST,
            (_, true) => Method::HEAD,
            _ => Method::GET,
        };
        let mut request = client
            .request(method, self.url(job))
            .header(ask::FIELD, job.ask.value());
        if let Work::File(_, Some((first, len))) = job.work {
            request = request.header("Range", format!("bytes={first}-{}", first + len - 1));
        }
        if job.is_repeatable {
            request = request.header("Idempotency-Key", job.ask.value());
        }
        if let Some(timeout) = job.timeout {
            request = request.timeout(timeout);
        }
        let up = job.ask.up as usize;
        request = match job.upload {
            Upload::Nothing => request,
            Upload::Bytes => request.body(Bytes::from_static(content::of(job.ask.id, Way::Up, up))),
            Upload::File(index) => match open(index).await {
                Ok(body) => request.body(body),
                Err(error) => return Ended::Failed(error.into()),
            },
            Upload::Pieces(end) => {
                let pause = Duration::from_millis(u64::from(job.ask.id % 4));
                let pieces = Pieces::new(job.ask.id, Way::Up, up, pause, end);
                request.body(Body::stream(pieces))
            }
        };
        let response = match leaving(request.send(), job.leave).await {
            None => return Ended::Dropped,
            Some(Err(error)) => return Ended::Failed(error),
            Some(Ok(response)) => response,
        };
        self.read(job, response).await
    }

    async fn read(&self, job: &Job, response: Response) -> Ended {
        let status = response.status_code().as_u16();
        if status != job.status {
            if !self.is_excused(job, status) {
                return Ended::Wrong(format!("status {status}"));
            }
            drop(response);
            return Ended::Excused(status);
        }
        let id = response.headers().get_bytes(ask::FIELD);
        let has_id = matches!(status, 200 | 204)
            && !matches!(
                job.work,
                Work::File(..)
                    | Work::Listing
                    | Work::Host(_, Manner::Garbage)
                    | Work::Proxy(Some((_, Manner::Garbage)))
            );
        if has_id && id != Some(&job.ask.id_value()) {
            let other = id.and_then(ask::parse_hex);
            return Ended::Wrong(format!("the answer to request {other:?}"));
        }
        let chunks_max = match job.leave {
            Leave::Chunks(count) => count,
            _ => usize::MAX,
        };
        let mut body = response.into_body();
        if job.work == Work::Listing {
            return listing(body).await;
        }
        match pieces::read(&mut body, job.body.0, job.reading_pause, chunks_max).await {
            Read::Whole if lacks_trailer(job, &mut body) => {
                Ended::Wrong("its trailer is not there".to_owned())
            }
            Read::Whole => Ended::Answered,
            Read::Failed(error) => Ended::Failed(error),
            Read::Left => Ended::Dropped,
            Read::Wrong(wrong) => Ended::Wrong(format!("its body: {wrong}")),
        }
    }

    /// True when only a fault, or a time-out of the server, can have made this answer.
    fn is_excused(&self, job: &Job, status: u16) -> bool {
        let is_poisoned = matches!(job.work, Work::Proxy(_)) && ledger::has_excess();
        let has_excuse = !self.plan.is_harmless() || ledger::is_shutting_down() || is_poisoned;
        if job.verdict == Verdict::Answer && !has_excuse {
            return false;
        }
        if status == 503 && self.plan.guards.may_shed() {
            return true;
        }
        match job.work {
            Work::File(..) | Work::Listing => matches!(status, 403 | 404 | 408 | 500 | 503),
            // A redirect may lead there, with the body.
            Work::Take | Work::Redirect(_) => matches!(status, 400 | 408),
            Work::Host(_, manner) => manner == Manner::Redirect && status == 408,
            Work::Proxy(_) => matches!(status, 408 | 500 | 502 | 503 | 504),
            _ => status == 408,
        }
    }

    /// What is wrong with how a request ended.
    fn judge(&self, job: &Job, ended: Ended, took: Duration) -> Option<String> {
        // What has arrived can be read at any time.
        let is_timed = job.reading_pause.is_zero();
        let late = job
            .timeout
            .filter(|_| is_timed)
            .map(|timeout| timeout + self.plan.slack());
        if late.is_some_and(|late| took > late) {
            return Some("its time-out has passed long ago".to_owned());
        }
        match ended {
            Ended::Wrong(wrong) => Some(wrong),
            Ended::Answered => {
                ledger::count(|counts| counts.answered += 1);
                ledger::event(10, job.ask.id);
                ledger::answered(job.ask.id);
                if !ledger::was_seen(job.ask.id) && !job.is_hostile {
                    return Some("was answered, and never arrived".to_owned());
                }
                (job.verdict == Verdict::Error).then(|| "was answered after all".to_owned())
            }
            Ended::Excused(status) => {
                ledger::count(|counts| counts.failed += 1);
                ledger::event(11, u32::from(status));
                None
            }
            Ended::Dropped => {
                ledger::count(|counts| counts.dropped += 1);
                ledger::event(12, job.ask.id);
                None
            }
            Ended::Failed(error) => {
                ledger::count(|counts| counts.failed += 1);
                ledger::event(13, job.ask.id);
                simulation::note(|| format!("request {} failed: {error}", job.ask.id));
                self.judge_error(job, &error, took)
                    .map(|wrong| format!("{wrong}: {error:?}"))
            }
        }
    }

    fn judge_error(&self, job: &Job, error: &Error, took: Duration) -> Option<&'static str> {
        let is_poisoned = matches!(job.work, Work::Host(..)) && ledger::has_excess();
        let is_excused = !self.plan.is_harmless() || ledger::is_shutting_down() || is_poisoned;
        if job.verdict == Verdict::Answer && !is_excused {
            return Some("failed, and nothing went wrong");
        }
        // A dial belongs to its host: another request may have begun it. And who waits in the pool
        // waits for the requests of others, which may have stalled.
        let is_of_others = matches!(
            error.phase(),
            Some(Phase::Connect | Phase::Resolve | Phase::Pool)
        );
        if error.is_timeout() && !is_of_others && took < self.least_timeout(job) {
            return Some("timed out before its time");
        }
        if error.is_timeout() && !is_of_others && self.is_lively(job) {
            return Some("timed out, and the other end was there");
        }
        let is_plausible = match error.kind() {
            ErrorKind::Closed | ErrorKind::Timeout => true,
            ErrorKind::Connect | ErrorKind::Resolve => is_excused,
            ErrorKind::Protocol | ErrorKind::Limit => job.is_hostile || is_poisoned,
            ErrorKind::Io => is_excused || job.upload == Upload::Pieces(pieces::End::Error),
            _ => false,
        };
        (!is_plausible).then_some("failed in a way that nothing explains")
    }

    /// True when the other end answers, or is gone: no fault makes it silent for long, and so nothing
    /// may wait until a patient time-out.
    fn is_lively(&self, job: &Job) -> bool {
        let is_stalled = match job.work {
            Work::Host(_, manner) | Work::Proxy(Some((_, manner))) => manner.is_stalled(),
            _ => job.upload == Upload::Pieces(pieces::End::Stuck),
        };
        let is_patient = job.timeout.is_none_or(|timeout| timeout >= PATIENCE);
        is_patient && !is_stalled && !self.plan.is_impatient
    }

    /// No time-out that this request has is shorter.
    fn least_timeout(&self, job: &Job) -> Duration {
        let own = job.timeout.unwrap_or(HANG);
        let least = if self.plan.is_impatient {
            Duration::from_millis(100)
        } else {
            CLIENT_TIMEOUT
        };
        own.min(least)
    }
}

/// The shortest time-out that a patient client has.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

fn settings(plan: &Plan, random: &mut Random) -> Client {
    let mut builder = Client::builder();
    if random.chance(0.6) {
        builder = builder
            .idle_per_host_max(*random.choose(&[0, 1, 2, 32]))
            .idle_max(*random.choose(&[0, 1, 4, 256]))
            .idle_timeout(Duration::from_millis(*random.choose(&[5, 1_000, 90_000])));
        if random.chance(0.5) {
            builder = builder.per_host_max(1 + random.index(4));
        }
        if random.chance(0.3) {
            builder = builder.age_max(Duration::from_millis(1 + random.below(500)));
        }
    }
    if plan.is_impatient {
        let time = |random: &mut Random| Duration::from_millis(100 + random.below(2_000));
        builder = builder
            .connect_timeout(time(random))
            .write_timeout(time(random))
            .response_head_timeout(time(random))
            .body_timeout(time(random));
    }
    if panics::are_on() {
        builder = builder.observer(panics::observe);
    }
    builder.build()
}

/// One of the files, as a body.
async fn open(index: usize) -> io::Result<Body> {
    let root = Root::open(DIRECTORY)?;
    let (file, _) = root.open_beneath(&format!("f{index}")).await?;
    Ok(Body::file(file, 0..FILES[index] as u64))
}

/// True when a trailer has to be there, and is not.
fn lacks_trailer(job: &Job, body: &mut Body) -> bool {
    if job.work != Work::Get("/stream") || job.is_head || !job.ask.id.is_multiple_of(4) {
        return false;
    }
    let trailers = body.take_trailers();
    let found = trailers
        .as_ref()
        .and_then(|trailers| trailers.get_bytes("x-end"));
    found != Some(&job.ask.id_value())
}

async fn listing(body: Body) -> Ended {
    match body.text().await {
        Ok(page) => {
            let names = (0..FILES.len()).map(|index| format!(">f{index}<"));
            match names.into_iter().find(|name| !page.contains(name)) {
                None => Ended::Answered,
                Some(name) => Ended::Wrong(format!("the listing lacks {name}")),
            }
        }
        Err(error) => Ended::Failed(error),
    }
}

/// A future, until its caller has had enough of it.
pub async fn leaving<F: Future>(future: F, leave: Leave) -> Option<F::Output> {
    match leave {
        Leave::Never | Leave::Chunks(_) => Some(future.await),
        Leave::Time(time) => runtime::timeout(time, future).await.ok(),
        Leave::Polls(left) => {
            Polls {
                future: Box::pin(future),
                left,
            }
            .await
        }
    }
}

/// A future that is polled so many times at most.
struct Polls<F> {
    future: Pin<Box<F>>,
    left: u32,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // With nothing left this is where it is dropped, at its first await point or a later one.
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
