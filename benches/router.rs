//! Finding the route of a request, beside `matchit`, the router of axum.
//!
//! ```text
//!   1,000 routes: an API like GitHub's, and one with many resources ─┬─ Routes
//!   the same paths, in turn ─────────────────────────────────────────┴─ matchit
//! ```
//!
//! `matchit` knows paths only; ours looks at the method too, and at whether a slash is missing. A run
//! of `whole` is over all paths, the two by turns: compare their medians.

use divan::Bencher;
use divan::black_box;

use http::Method;
use roundtrip::Request;
use roundtrip::Router;
use roundtrip::server::pattern::Pattern;
use roundtrip::server::router::Routed;
use roundtrip::server::routes::Routes;

fn main() {
    divan::main();
}

/// Paths of the first kind of API.
const API: &[&str] = &[
    "/applications/{client_id}/tokens/{token}",
    "/authorizations",
    "/authorizations/{id}",
    "/emojis",
    "/events",
    "/feeds",
    "/gists",
    "/gists/public",
    "/gists/starred",
    "/gists/{id}",
    "/gists/{id}/forks",
    "/gists/{id}/star",
    "/gitignore/templates",
    "/gitignore/templates/{name}",
    "/issues",
    "/legacy/issues/search/{owner}/{repository}/{state}/{keyword}",
    "/legacy/repos/search/{keyword}",
    "/legacy/user/search/{keyword}",
    "/meta",
    "/networks/{owner}/{repo}/events",
    "/notifications",
    "/notifications/threads/{id}",
    "/notifications/threads/{id}/subscription",
    "/orgs/{org}",
    "/orgs/{org}/events",
    "/orgs/{org}/issues",
    "/orgs/{org}/members",
    "/orgs/{org}/members/{user}",
    "/orgs/{org}/public_members",
    "/orgs/{org}/public_members/{user}",
    "/orgs/{org}/repos",
    "/orgs/{org}/teams",
    "/rate_limit",
    "/repos/{owner}/{repo}",
    "/repos/{owner}/{repo}/assignees",
    "/repos/{owner}/{repo}/assignees/{assignee}",
    "/repos/{owner}/{repo}/branches",
    "/repos/{owner}/{repo}/branches/{branch}",
    "/repos/{owner}/{repo}/collaborators",
    "/repos/{owner}/{repo}/collaborators/{user}",
    "/repos/{owner}/{repo}/comments",
    "/repos/{owner}/{repo}/comments/{id}",
    "/repos/{owner}/{repo}/commits",
    "/repos/{owner}/{repo}/commits/{sha}",
    "/repos/{owner}/{repo}/commits/{sha}/comments",
    "/repos/{owner}/{repo}/contributors",
    "/repos/{owner}/{repo}/downloads",
    "/repos/{owner}/{repo}/downloads/{id}",
    "/repos/{owner}/{repo}/events",
    "/repos/{owner}/{repo}/forks",
    "/repos/{owner}/{repo}/git/blobs/{sha}",
    "/repos/{owner}/{repo}/git/commits/{sha}",
    "/repos/{owner}/{repo}/git/refs",
    "/repos/{owner}/{repo}/git/tags/{sha}",
    "/repos/{owner}/{repo}/git/trees/{sha}",
    "/repos/{owner}/{repo}/hooks",
    "/repos/{owner}/{repo}/hooks/{id}",
    "/repos/{owner}/{repo}/issues",
    "/repos/{owner}/{repo}/issues/{number}",
    "/repos/{owner}/{repo}/issues/{number}/comments",
    "/repos/{owner}/{repo}/issues/{number}/events",
    "/repos/{owner}/{repo}/issues/{number}/labels",
    "/repos/{owner}/{repo}/keys",
    "/repos/{owner}/{repo}/keys/{id}",
    "/repos/{owner}/{repo}/labels",
    "/repos/{owner}/{repo}/labels/{name}",
    "/repos/{owner}/{repo}/languages",
    "/repos/{owner}/{repo}/milestones",
    "/repos/{owner}/{repo}/milestones/{number}",
    "/repos/{owner}/{repo}/milestones/{number}/labels",
    "/repos/{owner}/{repo}/notifications",
    "/repos/{owner}/{repo}/pulls",
    "/repos/{owner}/{repo}/pulls/{number}",
    "/repos/{owner}/{repo}/pulls/{number}/comments",
    "/repos/{owner}/{repo}/pulls/{number}/commits",
    "/repos/{owner}/{repo}/pulls/{number}/files",
    "/repos/{owner}/{repo}/pulls/{number}/merge",
    "/repos/{owner}/{repo}/readme",
    "/repos/{owner}/{repo}/releases",
    "/repos/{owner}/{repo}/releases/{id}",
    "/repos/{owner}/{repo}/releases/{id}/assets",
    "/repos/{owner}/{repo}/stargazers",
    "/repos/{owner}/{repo}/stats/code_frequency",
    "/repos/{owner}/{repo}/stats/commit_activity",
    "/repos/{owner}/{repo}/stats/contributors",
    "/repos/{owner}/{repo}/stats/participation",
    "/repos/{owner}/{repo}/statuses/{ref}",
    "/repos/{owner}/{repo}/subscribers",
    "/repos/{owner}/{repo}/subscription",
    "/repos/{owner}/{repo}/tags",
    "/repos/{owner}/{repo}/teams",
    "/repositories",
    "/search/code",
    "/search/issues",
    "/search/repositories",
    "/search/users",
    "/teams/{id}",
    "/teams/{id}/members",
    "/teams/{id}/members/{user}",
    "/teams/{id}/repos",
    "/user",
    "/user/emails",
    "/user/followers",
    "/user/following/{user}",
    "/user/keys",
    "/user/keys/{id}",
    "/user/repos",
    "/user/starred/{owner}/{repo}",
    "/users",
    "/users/{user}",
    "/users/{user}/events",
    "/users/{user}/followers",
    "/users/{user}/gists",
    "/users/{user}/keys",
    "/users/{user}/received_events",
    "/users/{user}/repos",
    "/users/{user}/starred",
    "/static/{path...}",
];

const COLOURS: &[&str] = &[
    "red", "green", "blue", "yellow", "purple", "orange", "black", "white", "grey", "pink", "cyan",
    "magenta", "brown", "lime", "teal", "navy",
];

const NOUNS: &[&str] = &[
    "accounts",
    "invoices",
    "orders",
    "items",
    "carts",
    "shipments",
    "labels",
    "prices",
    "stores",
    "users",
    "groups",
    "roles",
    "keys",
    "reports",
];

/// 1,000 patterns; each is one path, and all paths differ.
fn patterns() -> Vec<String> {
    let mut patterns: Vec<String> = API.iter().map(|path| (*path).to_owned()).collect();
    'all: for shape in ["", "/{id}", "/{id}/history", "/{id}/parts/{part}"] {
        for colour in COLOURS {
            for noun in NOUNS {
                if patterns.len() == 1_000 {
                    break 'all;
                }
                patterns.push(format!("/v1/{colour}-{noun}{shape}"));
            }
        }
    }
    assert_eq!(patterns.len(), 1_000);
    patterns
}

/// A path for every seventh pattern, in no order, and some that nobody has.
fn paths() -> Vec<String> {
    let patterns = patterns();
    let count = patterns.len();
    let mut paths: Vec<String> = (0..count / 7)
        .map(|at| patterns[at * 387 % count].as_str())
        .map(|pattern| {
            let segments = pattern.split('/').map(|segment| match segment {
                "{path...}" => "css/site.css",
                wild if wild.starts_with('{') => "some-value-42",
                literal => literal,
            });
            segments.collect::<Vec<_>>().join("/")
        })
        .collect();
    paths.extend(["/nothing", "/v1/red-nothing/7", "/repos/a/b/nothing"].map(str::to_owned));
    paths
}

fn routes() -> Routes<usize> {
    let mut routes = Routes::new();
    for (index, path) in patterns().iter().enumerate() {
        let pattern = Pattern::parse(&format!("GET {path}")).expect("a valid pattern");
        routes.insert(pattern, index).expect("no two conflict");
    }
    routes
}

fn matchit() -> matchit::Router<usize> {
    let mut router = matchit::Router::new();
    for (index, path) in patterns().iter().enumerate() {
        let path = path.replace("{path...}", "{*path}");
        router.insert(path, index).expect("no two conflict");
    }
    router
}

/// All paths once; per item is per look-up.
#[divan::bench(sample_count = 400, name = "whole_a_ours")]
fn whole_ours(bencher: Bencher<'_, '_>) {
    let (routes, paths) = (routes(), paths());
    bencher.counter(paths.len()).bench(|| {
        let found = paths.iter().filter_map(|path| {
            let found = routes.find(&Method::GET, "", black_box(path)).found()?;
            let taken = found.pattern.captures(path).map(|(_, span)| span.len());
            Some(*found.value + taken.sum::<usize>())
        });
        found.sum::<usize>()
    });
}

/// All paths once; per item is per look-up.
#[divan::bench(sample_count = 400, name = "whole_b_matchit")]
fn whole_matchit(bencher: Bencher<'_, '_>) {
    let (router, paths) = (matchit(), paths());
    bencher.counter(paths.len()).bench(|| {
        let found = paths.iter().filter_map(|path| {
            let found = router.at(black_box(path)).ok()?;
            let taken = found.params.iter().map(|(_, value)| value.len());
            Some(*found.value + taken.sum::<usize>())
        });
        found.sum::<usize>()
    });
}

const EXAMPLES: [&str; 7] = [
    "/user",
    "/repos/rust/cargo/pulls/42/files",
    "/v1/magenta-invoices",
    "/v1/magenta-invoices/42/history",
    "/static/css/site.css",
    "/users/some%20one/gists",
    "/nothing/here",
];

#[divan::bench(args = EXAMPLES)]
fn one_ours(bencher: Bencher<'_, '_>, path: &str) {
    let routes = routes();
    bencher.bench(|| {
        routes
            .find(&Method::GET, black_box("example.com"), black_box(path))
            .found()
            .is_some()
    });
}

#[divan::bench(args = EXAMPLES)]
fn one_matchit(bencher: Bencher<'_, '_>, path: &str) {
    let router = matchit();
    bencher.bench(|| router.at(black_box(path)).is_ok());
}

/// A whole request through a router: cleaning, look-up, pattern and parameters.
#[divan::bench(args = EXAMPLES)]
fn request(bencher: Bencher<'_, '_>, path: &str) {
    let router = patterns().iter().fold(Router::new(), |router, path| {
        router.get(path, |_: &Request| ())
    });
    bencher
        .with_inputs(|| Request::for_target("GET", path).expect("a valid target"))
        .bench_local_refs(|request| matches!(router.find(request), Routed::Endpoint { .. }));
}

/// To register all patterns.
#[divan::bench]
fn registration() -> Routes<usize> {
    routes()
}
