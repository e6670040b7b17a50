//! Our client, asynchronous and blocking, against the servers of others. What was run is written to
//! `target/interop-origins.md` as a table.
//!
//! ```text
//!   cases × Go, Node, Python, httpbin under gunicorn, nginx before Go × asynchronous, blocking
//!                                       └─► ok · not offered · failed, and why
//! ```

mod caller;
mod cases;
mod start;

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::thread;

use caller::Caller;
use caller::Way;
use cases::CASES;
use cases::Case;
use start::Origin;

/// What came of a case.
enum Outcome {
    Fine,
    NotOffered,
    Failed(String),
}

#[test]
fn our_client_against_the_servers_of_others() {
    let go = start::go();
    let origins = [
        start::node(),
        start::python(),
        start::httpbin(),
        start::nginx(&go.address()),
        go,
    ];
    let columns: Vec<(&Origin, Way)> = origins
        .iter()
        .flat_map(|origin| [(origin, Way::Async), (origin, Way::Blocking)])
        .collect();
    // A thread for each: a blocking client has a core of its thread.
    let outcomes: Vec<Vec<Outcome>> = thread::scope(|scope| {
        let threads: Vec<_> = columns
            .iter()
            .map(|(origin, way)| {
                scope.spawn(|| CASES.iter().map(|case| run(case, origin, *way)).collect())
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended
            .map(|outcome| outcome.expect("panics are caught"))
            .collect()
    });
    let (table, failures) = tabulate(&columns, &outcomes);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop-origins.md");
    std::fs::write(path, &table).expect("the table");
    assert!(failures.is_empty(), "{table}\n{}", failures.join("\n"));
}

fn run(case: &Case, origin: &Origin, way: Way) -> Outcome {
    let is_offered = case.origins.contains(&origin.name);
    if !is_offered || (case.is_async_only && way == Way::Blocking) {
        return Outcome::NotOffered;
    }
    let performed = catch_unwind(AssertUnwindSafe(|| {
        (case.run)(&Caller::new(way), origin);
    }));
    match performed {
        Ok(()) => Outcome::Fine,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::Failed(text.unwrap_or_default())
        }
    }
}

fn tabulate(columns: &[(&Origin, Way)], outcomes: &[Vec<Outcome>]) -> (String, Vec<String>) {
    let mut table = "| case |".to_owned();
    let mut failures = Vec::new();
    for (origin, way) in columns {
        let _ = write!(table, " {}, {way:?} |", origin.version);
    }
    table += &format!("\n|---|{}\n", "---|".repeat(columns.len()));
    for (number, case) in CASES.iter().enumerate() {
        let _ = write!(table, "| {} |", case.name);
        for (column, (origin, way)) in outcomes.iter().zip(columns) {
            let cell = match &column[number] {
                Outcome::Fine => "ok",
                Outcome::NotOffered => "–",
                Outcome::Failed(text) => {
                    failures.push(format!("{}, {}, {way:?}: {text}", case.name, origin.name));
                    "FAILED"
                }
            };
            let _ = write!(table, " {cell} |");
        }
        table.push('\n');
    }
    (table, failures)
}
