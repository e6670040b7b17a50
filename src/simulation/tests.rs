use super::*;
use crate::runtime;
use crate::runtime::sleep;

#[test]
fn a_core_within_blocking_work_takes_its_time() {
    let report = Simulation::new(1).run(async {
        let before = now();
        let nap = || Runtime::small()?.block_on(sleep(Duration::from_secs(60)));
        let napped = runtime::blocking(nap);
        // Its deadline passes while the work runs.
        sleep(Duration::from_secs(1)).await;
        napped.await.unwrap().unwrap();
        now() - before
    });
    let elapsed = report.unwrap();
    assert!(elapsed >= Duration::from_secs(60) && elapsed < Duration::from_secs(62));
}

#[test]
#[should_panic(expected = "a core runs on this thread already")]
fn a_core_does_not_simulate() {
    let inside = async { drop(Simulation::new(1).run(async {})) };
    Runtime::small().unwrap().block_on(inside).unwrap();
}

#[test]
fn a_simulation_within_another_is_its_failure() {
    let report = Simulation::new(1).run(async { drop(Simulation::new(2).run(async {})) });
    assert!(report.failure().unwrap().contains("already"), "{report:?}");
    Simulation::new(3).run(async {}).unwrap();
}
