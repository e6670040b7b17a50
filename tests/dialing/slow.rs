//! Work that blocks and takes long: it holds up its own kind, which says so, and nothing else.

use std::future::Future;
use std::time::Duration;

use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::files;
use roundtrip::fs;
use roundtrip::limits::BLOCKING_QUEUE_MAX;
use roundtrip::limits::BLOCKING_THREADS_MAX;
use roundtrip::limits::FILE_QUEUE_MAX;
use roundtrip::limits::FILE_THREADS_MAX;
use roundtrip::limits::LOOKUP_QUEUE_MAX;
use roundtrip::limits::LOOKUP_THREADS_MAX;
use roundtrip::runtime;
use roundtrip::runtime::JoinHandle;
use roundtrip::runtime::blocking;
use roundtrip::simulation;
use roundtrip::simulation::Simulation;

use crate::OURS;
use crate::address;
use crate::ip;

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(100);

/// Runs `program` beside a server of files and of blocking work, whose name is `known`.
fn run(simulation: Simulation, program: impl AsyncFnOnce(&Client) -> Result<()>) {
    let simulation = simulation
        .file("/srv/f", "content")
        .host("known", ip(OURS[0]));
    let report = simulation.run(async {
        let router = Router::new()
            .get("/blocking", async |_: Request| blocking(|| "done").await)
            .get("/too-much", async |_: Request| {
                let work =
                    || (0..=BLOCKING_QUEUE_MAX + BLOCKING_THREADS_MAX).map(|_| blocking(|| ()));
                work()
                    .collect::<Vec<_>>()
                    .pop()
                    .expect("it is one more")
                    .await?;
                Ok::<_, Error>("done")
            })
            .get("/files/", files::serve("/srv"));
        let server = Server::new(router).bind(address(OURS[0]))?;
        let (handle, serving) = (server.handle(), runtime::spawn(server.run_here()));
        program(&Client::new()).await?;
        handle.shutdown();
        serving.await?
    });
    report.unwrap().unwrap();
}

/// A path of the server, by its address.
fn url(path: &str) -> String {
    format!("http://{}{path}", OURS[0])
}

/// Asks for one name each, beside the caller.
fn ask_for_names(client: &Client, count: usize) -> Vec<JoinHandle<Error>> {
    let ask = |index| {
        let request = client.get(format!("http://name{index}/"));
        runtime::spawn(async { request.send().await.expect_err("there is no such name") })
    };
    (0..count).map(ask).collect()
}

async fn in_short<T>(future: impl Future<Output = T>) -> T {
    let in_time = runtime::timeout(SHORT, future).await;
    in_time.expect("others have threads of their own")
}

/// How the errors begin, and how many begin so.
async fn count(asked: Vec<JoinHandle<Error>>, texts: &[&str]) -> Result<Vec<usize>> {
    let mut counts = vec![0; texts.len()];
    for error in asked {
        let error = error.await?;
        assert_eq!(error.phase(), Some(Phase::Resolve), "{error}");
        let found = texts.iter().position(|text| error.text().starts_with(text));
        counts[found.unwrap_or_else(|| panic!("{error}"))] += 1;
    }
    Ok(counts)
}

#[test]
fn a_pool_of_slow_look_ups_holds_up_look_ups_alone() {
    let takes = 20 * SECOND;
    run(
        Simulation::new(1).lookup_time(takes, takes),
        async |client| {
            let began = simulation::now();
            let asked = ask_for_names(client, 3 * LOOKUP_THREADS_MAX);
            runtime::sleep(SECOND).await;
            for (path, text) in [("/files/f", "content"), ("/blocking", "done")] {
                let answer = in_short(client.get(url(path)).send()).await?;
                assert_eq!(answer.text().await?, text);
            }
            // They are given up after the time to connect, of which 10 s are left.
            let texts = ["the name was not found", "other look-ups took all threads"];
            let counts = count(asked, &texts).await?;
            assert_eq!(counts, [LOOKUP_THREADS_MAX, 2 * LOOKUP_THREADS_MAX]);
            assert!(simulation::now() - began < 11 * SECOND);
            // Those that had no thread by then do not get one any more: threads are free once the others
            // are done.
            let patient = Client::builder().connect_timeout(40 * SECOND).build();
            let answer = patient.get("http://known/files/f").send().await?;
            assert_eq!(answer.text().await?, "content");
            let took = simulation::now() - began;
            assert!(took >= 2 * takes && took < 2 * takes + SECOND, "{took:?}");
            Ok(())
        },
    );
}

#[test]
fn a_name_that_was_not_looked_up_was_not_sought_in_vain() {
    run(
        Simulation::new(1).lookup_time(3 * SECOND, 3 * SECOND),
        async |client| {
            let most = LOOKUP_THREADS_MAX + LOOKUP_QUEUE_MAX;
            let mut asked = ask_for_names(client, most + 2);
            let refused = asked.split_off(most);
            for error in refused {
                let error = error.await?;
                let text = format!("{error:#}");
                assert!(
                    text.contains("look-ups of names wait already: 4096 wait for"),
                    "{text}"
                );
                assert_eq!(
                    (error.kind(), error.phase()),
                    (ErrorKind::Limit, Some(Phase::Resolve))
                );
                let response = roundtrip::IntoResponse::into_response(error);
                assert_eq!(response.status_code(), 503);
                assert_eq!(response.headers().get("retry-after"), Some("1"));
            }
            let texts = [
                "cannot find an address",
                "the name was not found",
                "other look-ups took all threads",
            ];
            let (looked_up, under_way) = (3 * LOOKUP_THREADS_MAX, LOOKUP_THREADS_MAX);
            let never = most - looked_up - under_way;
            assert_eq!(count(asked, &texts).await?, [looked_up, under_way, never]);
            Ok(())
        },
    );
}

#[test]
fn a_disk_that_hangs_holds_up_files_alone() {
    let hour = 3_600 * SECOND;
    run(Simulation::new(1).file_time(hour, hour), async |client| {
        let open = |_| runtime::spawn(fs::open("/srv/f"));
        let opening: Vec<_> = (0..FILE_THREADS_MAX + FILE_QUEUE_MAX).map(open).collect();
        runtime::sleep(SECOND).await;
        let answer = in_short(client.get("http://known/blocking").send()).await?;
        assert_eq!(answer.text().await?, "done");
        let refused = in_short(client.get(url("/files/f")).send()).await?;
        assert_eq!(refused.status_code(), 503);
        assert_eq!(refused.headers().get("retry-after"), Some("1"));
        // Those who go leave room for others.
        opening.iter().for_each(JoinHandle::abort);
        let waiting = client.get(url("/files/f")).timeout(SECOND).send().await;
        assert!(waiting.unwrap_err().is_timeout());
        Ok(())
    });
}

#[test]
fn blocking_work_beyond_its_bounds_is_told_to_come_back() {
    run(Simulation::new(1), async |client| {
        let refused = client.get(url("/too-much")).send().await?;
        assert_eq!(refused.status_code(), 503);
        assert_eq!(refused.headers().get("retry-after"), Some("1"));
        let text = refused.text().await?;
        assert_eq!(
            text,
            "Service Unavailable: too many pieces of blocking work wait already\n"
        );
        Ok(())
    });
}
