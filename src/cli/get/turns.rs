//! Who may write: several URLs may be fetched at once and have one output, which gets one body after
//! the other, in the order of the URLs.
//!
//! ```text
//!   standard output:  0 ─ 2 ─ 3     2 and 3 wait until 0 has ended; what they receive meanwhile
//!   file "a":         1 ─ 4         is as little as the client takes without being asked
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::future::poll_fn;
use std::task::Poll;
use std::task::Waker;

/// The outputs of all URLs, which are numbered.
pub struct Turns {
    /// For each output, those who have not ended.
    lines: RefCell<Vec<VecDeque<usize>>>,
    /// For each URL, the line of its body's output.
    bodies: Vec<Option<usize>>,
    /// The line of standard output, where reports stand among bodies.
    reports: Option<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Turns {
    /// `outputs` names the file of each URL, `None` being standard output. With `reports` every URL
    /// writes there when it has ended.
    pub fn new<'a>(outputs: impl Iterator<Item = Option<&'a OsStr>>, reports: bool) -> Turns {
        let mut lines: Vec<VecDeque<usize>> = Vec::new();
        let mut known = HashMap::new();
        let mut bodies = Vec::new();
        for (index, name) in outputs.enumerate() {
            // Where nothing is kept nothing can be mixed.
            let line = (name != Some(OsStr::new("/dev/null"))).then(|| {
                let line = *known.entry(name).or_insert(lines.len());
                lines.resize_with(lines.len().max(line + 1), VecDeque::new);
                lines[line].push_back(index);
                line
            });
            bodies.push(line);
        }
        let reports = known.get(&None).copied().filter(|_| reports);
        if let Some(line) = reports {
            lines[line] = (0..bodies.len()).collect();
        }
        Turns {
            lines: RefCell::new(lines),
            bodies,
            reports,
            waiting: RefCell::default(),
        }
    }

    /// Waits until this URL may write its body.
    pub async fn body(&self, index: usize) {
        self.first(self.bodies[index], index).await;
    }

    /// Waits until this URL may write its report.
    pub async fn report(&self, index: usize) {
        self.first(self.reports, index).await;
    }

    async fn first(&self, line: Option<usize>, index: usize) {
        let Some(line) = line else { return };
        poll_fn(|cx| {
            if self.lines.borrow()[line].front() == Some(&index) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// This URL writes no more.
    pub fn end(&self, index: usize) {
        for line in [self.bodies[index], self.reports].into_iter().flatten() {
            let line = &mut self.lines.borrow_mut()[line];
            if let Some(at) = line.iter().position(|other| *other == index) {
                line.remove(at);
            }
        }
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    /// Who could write a body, and a report, when none but these have ended.
    fn free(turns: &Turns, count: usize) -> (Vec<usize>, Vec<usize>) {
        let mut cx = Context::from_waker(Waker::noop());
        let bodies = (0..count).filter(|index| pin!(turns.body(*index)).poll(&mut cx).is_ready());
        let bodies = bodies.collect();
        let mut cx = Context::from_waker(Waker::noop());
        let reports =
            (0..count).filter(|index| pin!(turns.report(*index)).poll(&mut cx).is_ready());
        (bodies, reports.collect())
    }

    #[test]
    fn one_after_the_other_by_output() {
        let names = [
            None,
            Some("a"),
            None,
            Some("/dev/null"),
            Some("a"),
            Some("/dev/null"),
        ]
        .map(|name| name.map(OsStr::new));
        let turns = Turns::new(names.into_iter(), false);
        let reports: Vec<usize> = (0..6).collect();
        assert_eq!(free(&turns, 6), (vec![0, 1, 3, 5], reports.clone()));
        turns.end(2);
        assert_eq!(free(&turns, 6), (vec![0, 1, 3, 5], reports.clone()));
        turns.end(0);
        turns.end(1);
        assert_eq!(free(&turns, 6), (vec![3, 4, 5], reports));
        let turns = Turns::new(names.into_iter(), true);
        assert_eq!(free(&turns, 6), (vec![0, 1, 3, 5], vec![0]));
        turns.end(0);
        turns.end(1);
        assert_eq!(free(&turns, 6), (vec![2, 3, 4, 5], vec![2]));
        // Reports alone are whole lines, and wait for nobody.
        let turns = Turns::new(
            ["a", "b"].map(|name| Some(OsStr::new(name))).into_iter(),
            true,
        );
        assert_eq!(free(&turns, 2), (vec![0, 1], vec![0, 1]));
    }
}
