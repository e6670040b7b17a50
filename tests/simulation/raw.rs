//! Clients written by hand, for our server: they pipeline, trickle, stall, half-close, vanish and
//! send nonsense, and check every byte that comes back, in its order.
//!
//! ```text
//!   Script ─► connect ─► send, at its pace ─► receive, at its pace ─► compare ─► end as scripted
//! ```

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use roundtrip::runtime::Instant;
use roundtrip::simulation;
use roundtrip::simulation::Peer;
use roundtrip::simulation::PeerIo;
use roundtrip::simulation::PeerReceived;
use roundtrip::simulation::PeerSent;
use roundtrip::simulation::PeerSocket;
use roundtrip::simulation::Random;

use crate::ask;
use crate::ledger;
use crate::plan::Part;
use crate::plan::Plan;
use crate::script;
use crate::script::After;
use crate::script::Expected;
use crate::script::Script;
use crate::wire;
use crate::wire::Framing;
use crate::wire::Message;
use crate::wire::Progress;

/// No script takes longer.
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(600);

/// Bytes that are received at a time.
const RECEIVE_BYTES: usize = 64 * 1024;

/// A client written by hand.
pub struct Raw {
    plan: Rc<Plan>,
    index: usize,
    random: Random,
    state: State,
}

enum State {
    /// Begins at this time.
    Waiting(Instant),
    Running(Box<Running>),
}

/// A script that is played.
struct Running {
    script: Script,
    socket: PeerSocket,
    is_connected: bool,
    began: Instant,
    sent: usize,
    /// Nothing is sent before this.
    send_at: Instant,
    /// Nothing is received before this.
    receive_at: Instant,
    inbox: Vec<u8>,
    progress: Progress,
    /// Since when nothing has arrived.
    heard: Instant,
    /// When the last byte was sent, or the connection was made.
    said: Instant,
    /// A timer fires at this time.
    patience_until: Instant,
    has_end: bool,
    /// Informational responses since the last one.
    hints: u8,
    /// The connection was reset.
    is_gone: bool,
    is_harmless: bool,
    is_impatient: bool,
    may_be_shed: bool,
}

/// What a call came to.
type Played = Result<Step, String>;

enum Step {
    /// To be called again.
    Goes,
    /// Over.
    Done,
    /// The connection is gone before the script was through.
    Cut,
}

impl Raw {
    /// The raw client of a plan.
    pub fn new(plan: &Rc<Plan>, index: usize) -> Raw {
        ledger::raw_began();
        Raw {
            plan: Rc::clone(plan),
            index,
            random: plan.stream(Part::Raw, index),
            state: State::Waiting(Instant::default()),
        }
    }

    fn play(&mut self, io: &mut PeerIo<'_>) -> Played {
        let running = match &mut self.state {
            State::Running(running) => running,
            State::Waiting(at) if *at == Instant::default() => {
                let longest = Duration::from_millis([1, 300][self.random.index(2)]);
                let delay = self.random.duration(Duration::ZERO..longest);
                *at = io.now() + delay;
                io.wake_in(delay);
                return Ok(Step::Goes);
            }
            State::Waiting(at) if *at > io.now() => return Ok(Step::Goes),
            State::Waiting(_) => {
                let script = script::draw(&mut self.random, &self.plan);
                let running = Running::begin(script, io, &self.plan);
                self.state = State::Running(Box::new(running));
                let State::Running(running) = &mut self.state else {
                    unreachable!()
                };
                running
            }
        };
        running.play(io, &mut self.random, &self.plan)
    }
}

impl Peer for Raw {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let played = self.play(io);
        let name = match &self.state {
            State::Running(running) => running.script.name,
            State::Waiting(_) => "waiting",
        };
        let is_excused = !self.plan.is_harmless() || ledger::is_shutting_down();
        match played {
            Ok(Step::Goes) => return true,
            Ok(Step::Done) => ledger::count(|counts| counts.raw_connections += 1),
            Ok(Step::Cut) if is_excused => {}
            Ok(Step::Cut) => {
                simulation::fail(format!("raw client {} ({name}) was cut off", self.index));
            }
            Err(wrong) => simulation::fail(format!("raw client {} ({name}): {wrong}", self.index)),
        }
        ledger::event(20, self.index as u32);
        ledger::raw_ended();
        false
    }
}

impl Running {
    fn begin(script: Script, io: &mut PeerIo<'_>, plan: &Plan) -> Running {
        let socket = io.connect(SocketAddr::from(([127, 0, 0, 1], 80)));
        io.wake_in(SCRIPT_TIME_MAX);
        let began = io.now();
        let receive_at = began + script.deaf_for;
        if receive_at > began {
            io.wake_in(script.deaf_for);
        }
        Running {
            script,
            socket,
            is_connected: false,
            began,
            sent: 0,
            send_at: began,
            receive_at,
            inbox: Vec::new(),
            progress: Progress::default(),
            heard: began,
            said: began,
            patience_until: began,
            has_end: false,
            hints: 0,
            is_gone: false,
            is_harmless: plan.is_harmless(),
            is_impatient: plan.is_impatient,
            may_be_shed: plan.guards.may_shed(),
        }
    }

    fn play(&mut self, io: &mut PeerIo<'_>, random: &mut Random, plan: &Plan) -> Played {
        if io.now() >= self.began + SCRIPT_TIME_MAX {
            return Err("has no end".to_owned());
        }
        if !self.is_connected && io.is_connected(self.socket) {
            self.is_connected = true;
            self.began = io.now();
            self.heard = io.now();
            self.said = io.now();
        }
        if !self.is_connected {
            let received = io.receive(self.socket, &mut self.inbox, 0);
            let is_refused = matches!(received, PeerReceived::Reset | PeerReceived::End);
            return Ok(if is_refused { Step::Cut } else { Step::Goes });
        }
        if !self.send(io, random) && !self.may_go_unheard() {
            // What came before can still be read.
            self.receive_all(io);
            return self.cut();
        }
        if let (After::Vanish { reset }, true) = (&self.script.after, self.is_sent()) {
            match reset {
                true => io.reset(self.socket),
                false => io.close(self.socket),
            }
            return Ok(Step::Done);
        }
        self.receive(io);
        self.take_messages()?;
        // A 100 may have come.
        self.send(io, random);
        self.settle(io, plan)
    }

    /// A server that has answered for good takes nothing more; its answer may be on its way.
    fn may_go_unheard(&self) -> bool {
        matches!(self.script.after, After::AwaitEnd { .. })
    }

    fn is_sent(&self) -> bool {
        self.sent == self.script.out.len()
    }

    /// False when the connection takes nothing more.
    fn send(&mut self, io: &mut PeerIo<'_>, random: &mut Random) -> bool {
        while !self.is_sent() {
            if self.send_at > io.now() {
                return true;
            }
            let end = self.script.wait_at.unwrap_or(self.script.out.len());
            if self.sent == end {
                return true;
            }
            let rest = &self.script.out[self.sent..end];
            let len = match self.script.piece_bytes_max {
                usize::MAX => rest.len(),
                max => 1 + random.index(max.min(rest.len())),
            };
            match io.send(self.socket, &rest[..len]) {
                PeerSent::Bytes(bytes) => {
                    self.sent += bytes;
                    self.said = io.now();
                }
                PeerSent::Nothing => return true,
                PeerSent::Reset => return false,
            }
            if !self.script.pause.is_zero() {
                let pause = random.duration(Duration::ZERO..self.script.pause);
                self.send_at = io.now() + pause;
                io.wake_in(pause);
            }
            if self.is_sent() && self.script.after == After::HalfClose {
                io.shut_write(self.socket);
            }
        }
        true
    }

    fn receive(&mut self, io: &mut PeerIo<'_>) {
        if self.receive_at > io.now() {
            return;
        }
        if self.script.read_bytes == usize::MAX {
            return self.receive_all(io);
        }
        if self.receive_some(io, self.script.read_bytes) {
            self.receive_at = io.now() + self.script.read_pause;
            io.wake_in(self.script.read_pause);
        }
    }

    fn receive_all(&mut self, io: &mut PeerIo<'_>) {
        while self.receive_some(io, RECEIVE_BYTES) {}
    }

    /// True when something came.
    fn receive_some(&mut self, io: &mut PeerIo<'_>, bytes_max: usize) -> bool {
        match io.receive(self.socket, &mut self.inbox, bytes_max) {
            PeerReceived::Bytes(_) => {
                self.heard = io.now();
                return true;
            }
            PeerReceived::Nothing => {}
            PeerReceived::End => self.has_end = true,
            PeerReceived::Reset => self.is_gone = true,
        }
        false
    }

    /// Compares what has arrived with what has to.
    fn take_messages(&mut self) -> Result<(), String> {
        while let Some(expected) = self.script.expects.front() {
            let framing = match expected.has_body {
                true => Framing::ToTheEnd(self.has_end),
                false => Framing::Never,
            };
            let Some(message) = wire::parse(&self.inbox, framing, &mut self.progress)? else {
                return Ok(());
            };
            let is_switch = message.status == 101;
            if (100..200).contains(&message.status) && !is_switch {
                let is_hint = message.status == 103 && self.hints < expected.hints;
                self.hints += u8::from(is_hint);
                if !is_hint && self.script.wait_at.take().is_none() {
                    return Err(format!("{} that nobody asked for", message.status));
                }
                let head = memchr::memmem::find(&self.inbox, b"\r\n\r\n");
                self.inbox.drain(..head.expect("it was parsed") + 4);
                continue;
            }
            let Some(body) = &message.body else {
                return Ok(());
            };
            let is_excused = match message.status {
                // A body that did not come.
                400 => !self.is_harmless,
                408 => self.is_impatient,
                503 => self.may_be_shed,
                _ => false,
            };
            if is_excused {
                self.script.expects.clear();
                self.inbox.clear();
                self.is_gone = true;
                return Ok(());
            }
            compare(&message, body, expected)?;
            if self.hints != expected.hints {
                return Err(format!("{} hints, not {}", self.hints, expected.hints));
            }
            self.hints = 0;
            let bytes = message.bytes;
            self.script.wait_at = None;
            self.inbox.drain(..bytes);
            self.progress = Progress::default();
            self.script.expects.pop_front();
            ledger::count(|counts| counts.answered += 1);
        }
        let tail = self.script.tail.unwrap_or_default();
        if tail.starts_with(&self.inbox) {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&self.inbox[..self.inbox.len().min(60)]);
        Err(format!("more than was asked for: {shown:?}"))
    }

    fn settle(&mut self, io: &mut PeerIo<'_>, plan: &Plan) -> Played {
        let tail = self.script.tail.unwrap_or_default();
        let has_all = self.script.expects.is_empty() && self.inbox.len() == tail.len();
        let now = io.now();
        match self.script.after {
            After::Close | After::Starved if has_all && self.is_sent() => {
                io.close(self.socket);
                return Ok(Step::Done);
            }
            After::AwaitEnd { not_before, within } if has_all => {
                if self.has_end || self.is_gone {
                    let early = not_before.unwrap_or_default();
                    io.close(self.socket);
                    // The end may be quicker on its way than what came before.
                    let is_early = now + plan.slack() < self.said + early;
                    return Ok(if is_early { Step::Cut } else { Step::Done });
                }
                if now > self.heard.max(self.began) + within + plan.slack() {
                    return Err(format!("is still open after {within:?}"));
                }
                if self.patience_until <= now {
                    let patience = within + plan.slack() + Duration::from_millis(1);
                    self.patience_until = now + patience;
                    io.wake_in(patience);
                }
            }
            After::HalfClose if has_all && self.has_end => {
                io.close(self.socket);
                return Ok(Step::Done);
            }
            _ => {}
        }
        if self.has_end || self.is_gone {
            return self.cut();
        }
        Ok(Step::Goes)
    }

    /// The connection ended before its time: what has come must be right as far as it goes.
    fn cut(&mut self) -> Played {
        self.take_messages()?;
        let is_over = match self.script.after {
            After::Starved => true,
            After::Reset => self.is_gone,
            _ => false,
        };
        let step = if is_over { Step::Done } else { Step::Cut };
        let Some(expected) = self.script.expects.front() else {
            return Ok(step);
        };
        if let Ok(Some(message)) =
            wire::parse(&self.inbox, Framing::ToTheEnd(true), &mut self.progress)
            && let (Some(body), Some(whole)) = (&message.body, expected.body)
            && message.status == 200
            && !whole.starts_with(body)
        {
            return Err("what came before the cut is wrong".to_owned());
        }
        Ok(step)
    }
}

fn compare(message: &Message<'_>, body: &[u8], expected: &Expected) -> Result<(), String> {
    if !expected.statuses.contains(&message.status) {
        return Err(format!(
            "status {}, not of {:?}",
            message.status, expected.statuses
        ));
    }
    if let Some(ask) = expected.id {
        let id = message.field(ask::FIELD);
        if id != Some(&ask::hex(ask)) {
            let other = id.and_then(ask::parse_hex);
            return Err(format!("the answer to request {other:?}, not to {ask}"));
        }
    }
    if let Some(whole) = expected.body
        && whole != body
    {
        let same = whole.iter().zip(body).take_while(|(a, b)| a == b).count();
        let (got, len) = (body.len(), whole.len());
        return Err(format!(
            "a body of {got} bytes, not {len}, the same up to {same}"
        ));
    }
    if message.field("date").is_none() && message.status != 101 {
        return Err("a response without a date".to_owned());
    }
    Ok(())
}
