//! Running out of descriptors. The real kernel's limit is the process's, so a child process runs
//! the script there.

use std::env;
use std::process::Command;

use crate::ring::engine::Engine;
use crate::ring::sim::Options;
use crate::ring::sim::compare::LONGER_QUIETS;
use crate::ring::sim::compare::Row;
use crate::ring::sim::compare::engines;
use crate::ring::sim::compare::row;
use crate::ring::sim::compare::side_by_side;
use crate::ring::sim::compare::stage::Stage;
use crate::ring::sim::compare::trace::Form;
use crate::ring::sys::Address;

/// Set in the child process.
const CHILD: &str = "ROUNDTRIP_COMPARE_CHILD";
/// Marks the lines of the trace in the child's output.
const MARK: &str = "trace>";
/// Descriptors that are open when the script says that there are no more.
const DESCRIPTORS: usize = 4;

fn script(stage: &mut Stage) {
    stage.listener("l");
    stage.quietly(|stage| {
        stage.dial("dial", "c1", "l");
        stage.dial("dial", "c2", "l");
        stage.settle();
    });
    let address = Address::Tcp(stage.address("l"));
    stage.socket("spare", &address);
    stage.no_more_descriptors();
    stage.accept("single", "l");
    stage.settle();
    stage.accept_multi("multi", "l");
    stage.settle();
    stage.accept_now("l", "now");
    stage.try_socket("new", &address);
    stage.close("spare");
    stage.accept_multi("one more", "l");
    stage.settle();
    stage.accept_multi("again", "l");
    stage.settle();
    stage.close("c2");
    stage.accept("and the other", "l");
    stage.settle();
    stage.accept("nobody there", "l");
    stage.settle();
    stage.accept_now("l", "nobody there");
}

fn the_row() -> Row {
    row("descriptors run out", Form::Exact, script)
}

#[test]
fn descriptors_run_out() {
    if let Some(engine) = env::var_os(CHILD) {
        let is_named = |found: &Engine| engine == format!("{found:?}").as_str();
        let engine = engines().into_iter().find(is_named).expect("an engine");
        for line in the_row().run_real(engine, LONGER_QUIETS[0]) {
            println!("{MARK}{line}");
        }
        return;
    }
    let mut options = Options::new(1);
    options.descriptors_max = DESCRIPTORS;
    let simulated = the_row().run_simulated(options);
    for engine in engines() {
        let real = in_a_child(engine);
        let title = format!("descriptors run out on {engine:?}");
        assert!(
            real == simulated,
            "{}",
            side_by_side(&title, &real, &simulated)
        );
    }
}

/// The real trace, from a process whose limit can be lowered without harm to other tests.
fn in_a_child(engine: Engine) -> Vec<String> {
    let output = Command::new(env::current_exe().expect("this program"))
        .args([
            "ring::sim::compare::descriptors::descriptors_run_out",
            "--exact",
        ])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{engine:?}"))
        .output()
        .expect("a child process");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "the child failed: {text}");
    let lines = text.lines();
    lines
        .filter_map(|line| line.split_once(MARK))
        .map(|(_, line)| line.to_owned())
        .collect()
}
