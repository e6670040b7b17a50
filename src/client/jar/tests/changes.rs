//! What may be set, is set anew, removed, over, or pushed out.

use crate::client::jar::Jar;
use crate::client::jar::tests::NOW;
use crate::client::jar::tests::Step;
use crate::client::jar::tests::each;
use crate::client::jar::tests::expires;
use crate::client::jar::tests::in_order;
use crate::client::jar::tests::sent;
use crate::client::jar::tests::url;
use crate::limits::COOKIE_AGE_MAX;
use crate::limits::COOKIE_ATTRIBUTE_BYTES_MAX;
use crate::limits::COOKIE_BYTES_MAX;
use crate::limits::JAR_COOKIES_MAX;
use crate::limits::JAR_COOKIES_PER_SITE_MAX;

#[test]
fn secure_cookies() {
    each(&[
        Step {
            what: "go over TLS alone",
            from: "https://www.host.test/",
            set: &["A=a; secure"],
            holds: "A=a",
            requests: &[
                ("http://www.host.test/", ""),
                ("http://www.host.test/some/path", ""),
                ("https://www.host.test/", "A=a"),
                ("https://www.host.test/some/path", "A=a"),
            ],
        },
        Step {
            what: "come over TLS alone",
            from: "http://www.host.test/",
            set: &["A=a; secure"],
            holds: "",
            requests: &[("https://www.host.test/", "")],
        },
        Step {
            what: "come from this machine, and go to it",
            from: "http://localhost:8080/",
            set: &["A=a; secure", "__Host-b=2; secure; path=/"],
            holds: "A=a __Host-b=2",
            requests: &[
                ("http://localhost/", "A=a __Host-b=2"),
                ("http://notlocalhost/", ""),
                ("http://a.localhost/", ""),
            ],
        },
        Step {
            what: "an address of this machine",
            from: "http://[::1]/",
            set: &["A=a; secure"],
            holds: "A=a",
            requests: &[("http://[::1]:9/", "A=a"), ("http://[::2]/", "")],
        },
        Step {
            what: "an address of another",
            from: "http://10.0.0.1/",
            set: &["A=a; secure"],
            holds: "",
            requests: &[],
        },
    ]);
}

#[test]
fn what_comes_without_tls_leaves_secure_cookies_alone() {
    let jar = Jar::new();
    let safe = url("https://www.host.test/");
    let open = url("http://www.host.test/");
    jar.set(
        &safe,
        ["a=1; secure; domain=host.test", "b=2; secure; path=/login"],
        NOW,
    );
    let forged = [
        "a=x; domain=host.test",
        "a=x",
        "a=x; path=/deep",
        "a=; domain=host.test; max-age=0",
        "b=x; path=/login/page",
    ];
    jar.set(&open, forged, NOW);
    jar.set(&url("http://deep.www.host.test/"), ["a=x"], NOW);
    assert_eq!(jar.len(), 2);
    // It hides nothing: another path, another name.
    jar.set(&open, ["b=x; path=/", "c=3"], NOW);
    assert_eq!(sent(&jar, &open, NOW).as_deref(), Some("b=x; c=3"));
    // Over TLS, the flag goes too.
    jar.set(&safe, ["a=0; domain=host.test"], NOW);
    assert_eq!(sent(&jar, &open, NOW).as_deref(), Some("a=0; b=x; c=3"));
    // One whose time is over protects nothing.
    jar.set(&safe, ["d=1; secure; max-age=5"], NOW);
    jar.set(&open, ["d=2"], NOW + 5);
    assert_eq!(
        sent(&jar, &open, NOW + 5).as_deref(),
        Some("a=0; b=x; c=3; d=2")
    );
}

#[test]
fn prefixes_keep_their_promise() {
    for (line, is_taken) in [
        ("__Secure-a=1; secure", true),
        ("__Secure-a=1; secure; domain=host.test; path=/x", true),
        ("__Secure-a=1", false),
        ("__secure-a=1", false),
        ("__Host-a=1; secure; path=/", true),
        ("__Host-a=1; path=/", false),
        ("__Host-a=1; secure", false),
        ("__Host-a=1; secure; path=/x", false),
        ("__Host-a=1; secure; path=/; domain=www.host.test", false),
        ("__HOST-a=1; secure; path=/; domain=host.test", false),
        ("__Hostess=1", true),
    ] {
        let jar = Jar::new();
        jar.set(&url("https://www.host.test/"), [line], NOW);
        assert_eq!(!jar.is_empty(), is_taken, "{line}");
    }
    // The default path is not asked for.
    let jar = Jar::new();
    jar.set(
        &url("https://co.uk/"),
        ["__Host-a=1; secure; domain=co.uk; path=/"],
        NOW,
    );
    assert!(jar.is_empty());
}

#[test]
fn updates_and_removals() {
    let past = expires(NOW - 10);
    let future = expires(NOW + 10);
    let b = format!("b=2; secure; {past}");
    let c = format!("c=2; max-age=-1; {past}");
    let d = format!("d=4; max-age=-1; {future}");
    in_order(&[
        Step {
            what: "set",
            from: "https://www.host.test",
            set: &[
                "a=1",
                "b=2; secure",
                "c=3; httponly",
                "d=4; secure; httponly",
            ],
            holds: "a=1 b=2 c=3 d=4",
            requests: &[
                ("http://www.host.test", "a=1 c=3"),
                ("https://www.host.test", "a=1 b=2 c=3 d=4"),
            ],
        },
        Step {
            what: "set anew",
            from: "https://www.host.test",
            set: &[
                "a=w",
                "b=x; secure",
                "c=y; httponly",
                "d=z; secure; httponly",
            ],
            holds: "a=w b=x c=y d=z",
            requests: &[
                ("http://www.host.test", "a=w c=y"),
                ("https://www.host.test", "a=w b=x c=y d=z"),
            ],
        },
        Step {
            what: "removed by age, by date, by both, by age against the date",
            from: "https://www.host.test",
            set: &["a=1; max-Age=-1", &b, &c, &d],
            holds: "",
            requests: &[("https://www.host.test", "")],
        },
    ]);
}

#[test]
fn removals_of_one_of_many() {
    in_order(&[
        Step {
            what: "one name, four cookies",
            from: "http://www.host.test",
            set: &[
                "A=1",
                "A=2; path=/foo",
                "A=3; domain=.host.test",
                "A=4; path=/foo; domain=.host.test",
            ],
            holds: "A=1 A=2 A=3 A=4",
            requests: &[("http://www.host.test/foo", "A=2 A=4 A=1 A=3")],
        },
        Step {
            what: "another site, four more",
            from: "http://www.google.com",
            set: &[
                "A=6",
                "A=7; path=/foo",
                "A=8; domain=.google.com",
                "A=9; path=/foo; domain=.google.com",
            ],
            holds: "A=1 A=2 A=3 A=4 A=6 A=7 A=8 A=9",
            requests: &[("http://www.google.com/foo", "A=7 A=9 A=6 A=8")],
        },
        Step {
            what: "by path",
            from: "http://www.google.com",
            set: &["A=; path=/foo; max-age=-1"],
            holds: "A=1 A=2 A=3 A=4 A=6 A=8 A=9",
            requests: &[("http://www.google.com/foo", "A=9 A=6 A=8")],
        },
        Step {
            what: "by path and domain",
            from: "http://www.host.test",
            set: &["A=; path=/foo; domain=host.test; max-age=-1"],
            holds: "A=1 A=2 A=3 A=6 A=8 A=9",
            requests: &[("http://www.host.test/foo", "A=2 A=1 A=3")],
        },
        Step {
            what: "by name alone, by domain",
            from: "http://www.google.com",
            set: &["A=; max-age=0"],
            holds: "A=1 A=2 A=3 A=8 A=9",
            requests: &[("http://www.google.com/foo", "A=9 A=8")],
        },
        Step {
            what: "nothing of other sites",
            from: "http://www.host.test",
            set: &[
                "A=; domain=google.com; max-age=-1",
                "A=; path=/foo; domain=google.com; max-age=-1",
            ],
            holds: "A=1 A=2 A=3 A=8 A=9",
            requests: &[("http://www.google.com/foo", "A=9 A=8")],
        },
        Step {
            what: "the rest",
            from: "http://www.google.com",
            set: &[
                "A=; domain=google.com; max-age=-1",
                "A=; path=/foo; domain=google.com; max-age=-1",
            ],
            holds: "A=1 A=2 A=3",
            requests: &[("http://www.google.com/foo", "")],
        },
    ]);
}

#[test]
fn a_host_and_a_domain_of_one_name_are_two() {
    in_order(&[
        Step {
            what: "both",
            from: "http://host.test",
            set: &["a=1", "a=2; domain=host.test"],
            holds: "a=1 a=2",
            requests: &[
                ("http://host.test", "a=1 a=2"),
                ("http://www.host.test", "a=2"),
            ],
        },
        Step {
            what: "each is removed as it was set",
            from: "http://host.test",
            set: &["a=; domain=host.test; max-age=0"],
            holds: "a=1",
            requests: &[("http://host.test", "a=1")],
        },
    ]);
}

#[test]
fn times_come_to_an_end() {
    let (c, e) = (expires(NOW + 3), expires(NOW + 5));
    let (c, e) = (format!("c=3; {c}"), format!("e=5; {e}"));
    let jar = Jar::new();
    let host = url("http://www.host.test");
    let set = [
        "a=1",
        "b=2; max-age=3",
        &c,
        "d=4; max-age=5",
        &e,
        "f=6; max-age=100",
    ];
    jar.set(&host, set, NOW);
    for (seconds, expected) in [
        (0, "a=1; b=2; c=3; d=4; e=5; f=6"),
        (2, "a=1; b=2; c=3; d=4; e=5; f=6"),
        (3, "a=1; d=4; e=5; f=6"),
        (4, "a=1; d=4; e=5; f=6"),
        (5, "a=1; f=6"),
        (99, "a=1; f=6"),
        (100, "a=1"),
        (COOKIE_AGE_MAX.as_secs() * 10, "a=1"),
    ] {
        let found = sent(&jar, &host, NOW + seconds);
        assert_eq!(found.as_deref(), Some(expected), "{seconds}");
    }
    assert_eq!(jar.len(), 1);
}

#[test]
fn nothing_is_kept_for_ever() {
    let jar = Jar::new();
    let host = url("http://www.host.test");
    let date = format!("c=3; {}", expires(NOW + 10 * COOKIE_AGE_MAX.as_secs()));
    jar.set(
        &host,
        ["a=1; max-age=99999999999999999999", &date, "d=4"],
        NOW,
    );
    let last = NOW + COOKIE_AGE_MAX.as_secs();
    assert_eq!(
        sent(&jar, &host, last - 1).as_deref(),
        Some("a=1; c=3; d=4")
    );
    assert_eq!(sent(&jar, &host, last).as_deref(), Some("d=4"));
    // No clock is wrong enough to panic.
    jar.set(&host, ["a=1; max-age=99999999999999999999"], u64::MAX);
    assert_eq!(sent(&jar, &host, 0).as_deref(), Some("d=4"));
}

#[test]
fn values_go_back_as_they_came() {
    let jar = Jar::new();
    let host = url("http://www.host.test");
    let lines: [&[u8]; 10] = [
        b"a=\"1\"",
        b"b={\"x\":[1,2]}",
        b"c[d]=a b",
        "e=\u{e4}".as_bytes(),
        b"f=",
        b"g=\xff",
        // Not these.
        b"=h",
        b"i",
        b"j=1\t2",
        b"k=\0",
    ];
    jar.set(&host, lines, NOW);
    let expected = b"a=\"1\"; b={\"x\":[1,2]}; c[d]=a b; e=\xc3\xa4; f=; g=\xff";
    assert_eq!(jar.get(&host, NOW).as_deref(), Some(&expected[..]));
}

#[test]
fn long_cookies_are_ignored() {
    let jar = Jar::new();
    let host = url("http://www.host.test/");
    let longest = format!("a={}", "v".repeat(COOKIE_BYTES_MAX - 1));
    jar.set(&host, [&longest[..], &format!("b{longest}")], NOW);
    assert_eq!(sent(&jar, &host, NOW).as_deref(), Some(&longest[..]));
    let deep = format!(
        "http://www.host.test/{}/",
        "d".repeat(COOKIE_ATTRIBUTE_BYTES_MAX)
    );
    jar.set(&url(&deep), ["c=1", "d=1; path=/"], NOW);
    assert_eq!(jar.len(), 2);
}

#[test]
fn a_site_pushes_out_its_own() {
    let jar = Jar::new();
    let host = url("https://www.host.test/");
    jar.set(
        &host,
        ["session=1; secure", "old=1", "used=1", "over=1; max-age=1"],
        NOW,
    );
    jar.set(&url("http://other.test/"), ["mine=1"], NOW);
    let fill = |from: &str, range: std::ops::Range<usize>| {
        let lines = range.map(|number| format!("n{number}=1; path=/deep"));
        jar.set(&url(from), lines, NOW + 1);
    };
    fill("http://a.host.test/", 0..JAR_COOKIES_PER_SITE_MAX - 3);
    assert_eq!(jar.len(), JAR_COOKIES_PER_SITE_MAX + 1);
    // `Secure` does not go with this one.
    let used = sent(&jar, &url("http://www.host.test/"), NOW + 1);
    assert_eq!(used.as_deref(), Some("old=1; used=1"));
    fill("http://b.host.test/", 0..JAR_COOKIES_PER_SITE_MAX - 3);
    assert_eq!(jar.len(), JAR_COOKIES_PER_SITE_MAX + 1);
    let all = sent(&jar, &host, NOW + 1).unwrap();
    assert_eq!(all, "session=1; old=1; used=1", "what was used is kept");
    fill(
        "http://b.host.test/",
        1_000..1_000 + JAR_COOKIES_PER_SITE_MAX,
    );
    assert_eq!(sent(&jar, &host, NOW + 1).as_deref(), Some("session=1"));
    assert_eq!(
        sent(&jar, &url("http://other.test/"), NOW).as_deref(),
        Some("mine=1")
    );
}

#[test]
fn all_sites_push_out_what_was_used_longest_ago() {
    let jar = Jar::new();
    let site = |number: usize| url(&format!("http://site{number}.test/"));
    for number in 0..JAR_COOKIES_MAX {
        jar.set(&site(number), ["a=1"], NOW);
    }
    assert!(sent(&jar, &site(0), NOW).is_some());
    jar.set(&url("http://new.test/"), ["a=1", "b=2"], NOW);
    assert_eq!(jar.len(), JAR_COOKIES_MAX);
    assert!(sent(&jar, &site(0), NOW).is_some());
    assert!(sent(&jar, &site(1), NOW).is_none());
    assert!(sent(&jar, &site(2), NOW).is_none());
    assert!(sent(&jar, &site(3), NOW).is_some());
    // What is over goes first.
    jar.clear();
    assert!(jar.is_empty());
    for number in 0..JAR_COOKIES_MAX {
        jar.set(
            &site(number),
            [if number == 7 { "a=1; max-age=1" } else { "a=1" }],
            NOW,
        );
    }
    jar.set(&url("http://new.test/"), ["a=1"], NOW + 1);
    assert!(sent(&jar, &site(0), NOW + 1).is_some());
    assert_eq!(jar.len(), JAR_COOKIES_MAX);
}

#[test]
fn clones_are_one_jar_for_all_threads() {
    fn is_shared<T: Clone + Send + Sync>(_: &T) {}
    let jar = Jar::new();
    is_shared(&jar);
    let host = url("http://www.host.test/");
    jar.clone().set(&host, ["a=secret"], NOW);
    assert_eq!(sent(&jar, &host, NOW).as_deref(), Some("a=secret"));
    assert_eq!(format!("{jar:?}"), "Jar { len: 1 }");
    // The lines may ask the jar.
    let lines = ["b=2"].into_iter().inspect(|_| assert_eq!(jar.len(), 1));
    jar.set(&host, lines, NOW);
    assert_eq!(jar.len(), 2);
}
