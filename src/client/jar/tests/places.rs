//! Which hosts and paths a cookie goes to, and in which order.

use crate::client::jar::Jar;
use crate::client::jar::tests::NOW;
use crate::client::jar::tests::Step;
use crate::client::jar::tests::each;
use crate::client::jar::tests::in_order;
use crate::client::jar::tests::sent;
use crate::client::jar::tests::url;

#[test]
fn hosts_and_schemes() {
    each(&[
        Step {
            what: "a cookie of a host",
            from: "http://www.host.test/",
            set: &["A=a"],
            holds: "A=a",
            requests: &[
                ("http://www.host.test", "A=a"),
                ("http://www.host.test/", "A=a"),
                ("http://www.host.test/some/path", "A=a"),
                ("https://www.host.test", "A=a"),
                ("https://www.host.test/some/path", "A=a"),
                ("ftp://www.host.test/", ""),
                ("ws://www.host.test/", ""),
                ("http://www.other.org", ""),
                ("http://sibling.host.test", ""),
                ("http://host.test", ""),
                ("http://deep.www.host.test", ""),
                ("http://test", ""),
            ],
        },
        Step {
            what: "nothing comes from other schemes",
            from: "ftp://www.host.test/",
            set: &["A=a"],
            holds: "",
            requests: &[],
        },
        Step {
            what: "no port",
            from: "http://www.host.test:8080/",
            set: &["a=1"],
            holds: "a=1",
            requests: &[
                ("http://www.host.test", "a=1"),
                ("http://www.host.test:8080/", "a=1"),
                ("http://www.host.test:1234/", "a=1"),
            ],
        },
        Step {
            what: "a dot at the end",
            from: "http://www.host.test./",
            set: &["a=1", "b=2; domain=host.test."],
            holds: "a=1",
            requests: &[
                ("http://www.host.test", "a=1"),
                ("http://www.host.test.", "a=1"),
            ],
        },
    ]);
}

#[test]
fn addresses() {
    each(&[
        Step {
            what: "an IPv4 address",
            from: "http://192.168.0.10",
            set: &[
                "a=1",
                "b=2; domain=192.168.0.10",
                "c=3; domain=.192.168.0.10",
                "d=4; domain=.0.10",
            ],
            holds: "a=1 b=2",
            requests: &[
                ("http://192.168.0.10", "a=1 b=2"),
                ("http://192.168.0.10:8080/x", "a=1 b=2"),
                ("http://192.168.0.1", ""),
                ("http://a.192.168.0.10.test", ""),
            ],
        },
        Step {
            what: "an IPv6 address, however it is written",
            from: "http://[2001:db8::1]:8080/",
            set: &["a=1", "b=2; domain=2001:db8::1", "c=3; domain=8::1"],
            holds: "a=1 b=2",
            requests: &[
                ("http://[2001:db8:0:0::1]", "a=1 b=2"),
                ("https://[2001:DB8::1]/x", "a=1 b=2"),
                ("http://[2001:db8::2]", ""),
            ],
        },
    ]);
}

#[test]
fn paths() {
    const BELOW: &[(&str, &str)] = &[
        ("http://www.host.test", ""),
        ("http://www.host.test/", ""),
        ("http://www.host.test/some", ""),
        ("http://www.host.test/some/", ""),
        ("http://www.host.test/some/path", "A=a"),
        ("http://www.host.test/some/path?query", "A=a"),
        ("http://www.host.test/some/paths", ""),
        ("http://www.host.test/some/path/foo", "A=a"),
        ("http://www.host.test/some/path/foo/", "A=a"),
    ];
    let row = |what, from, set| Step {
        what,
        from,
        set,
        holds: "A=a",
        requests: BELOW,
    };
    each(&[
        row(
            "explicit",
            "http://www.host.test/",
            &["A=a; path=/some/path"],
        ),
        row("a directory", "http://www.host.test/some/path/", &["A=a"]),
        row(
            "a file",
            "http://www.host.test/some/path/index.html",
            &["A=a"],
        ),
        row(
            "no path",
            "http://www.host.test/some/path/x",
            &["A=a; path=some"],
        ),
        row("empty", "http://www.host.test/some/path/x", &["A=a; path="]),
        row(
            "the last counts",
            "http://www.host.test/",
            &["A=a; path=/; path=/some/path"],
        ),
        Step {
            what: "no path in the URL",
            from: "http://www.host.test",
            set: &["A=a"],
            holds: "A=a",
            requests: &[
                ("http://www.host.test", "A=a"),
                ("http://www.host.test/some", "A=a"),
            ],
        },
        Step {
            what: "a path of another directory may be set",
            from: "http://www.host.test/x/y",
            set: &["A=a; path=/z"],
            holds: "A=a",
            requests: &[
                ("http://www.host.test/x/y", ""),
                ("http://www.host.test/z", "A=a"),
            ],
        },
    ]);
}

#[test]
fn the_order_of_the_line() {
    each(&[
        Step {
            what: "the longest path first",
            from: "http://www.host.test/",
            set: &[
                "A=a; path=/foo/bar",
                "B=b; path=/foo/bar/baz/qux",
                "C=c; path=/foo/bar/baz",
                "D=d; path=/foo",
            ],
            holds: "A=a B=b C=c D=d",
            requests: &[
                ("http://www.host.test/foo/bar/baz/qux", "B=b C=c A=a D=d"),
                ("http://www.host.test/foo/bar/baz/", "C=c A=a D=d"),
                ("http://www.host.test/foo/bar", "A=a D=d"),
            ],
        },
        Step {
            what: "of paths of one length the oldest first",
            from: "http://www.host.test/",
            set: &[
                "A=a; path=/foo/bar",
                "X=x; path=/foo/bar",
                "Y=y; path=/foo/bar/baz/qux",
                "B=b; path=/foo/bar/baz/qux",
                "C=c; path=/foo/bar/baz",
                "W=w; path=/foo/bar/baz",
                "Z=z; path=/foo",
                "D=d; path=/foo",
                // Set again, it keeps its place.
                "A=a; path=/foo/bar",
            ],
            holds: "A=a B=b C=c D=d W=w X=x Y=y Z=z",
            requests: &[
                (
                    "http://www.host.test/foo/bar/baz/qux",
                    "Y=y B=b C=c W=w A=a X=x Z=z D=d",
                ),
                (
                    "http://www.host.test/foo/bar/baz/",
                    "C=c W=w A=a X=x Z=z D=d",
                ),
                ("http://www.host.test/foo/bar", "A=a X=x Z=z D=d"),
            ],
        },
        Step {
            what: "one name, many domains and paths",
            from: "http://www.host.test/",
            set: &[
                "A=1; path=/",
                "A=2; path=/path",
                "A=3; path=/quux",
                "A=4; path=/path/foo",
                "A=5; domain=.host.test; path=/path",
                "A=6; domain=.host.test; path=/quux",
                "A=7; domain=.host.test; path=/path/foo",
            ],
            holds: "A=1 A=2 A=3 A=4 A=5 A=6 A=7",
            requests: &[
                ("http://www.host.test/path", "A=2 A=5 A=1"),
                ("http://www.host.test/path/foo", "A=4 A=7 A=2 A=5 A=1"),
            ],
        },
    ]);
}

#[test]
fn domains() {
    const ALL_BELOW: &[(&str, &str)] = &[
        ("http://www.host.test", "a=1"),
        ("http://host.test", "a=1"),
        ("http://bar.host.test", "a=1"),
        ("http://foo.www.host.test", "a=1"),
        ("http://nothost.test", ""),
        ("http://other.test", ""),
        ("http://test", ""),
    ];
    let row = |what, set| Step {
        what,
        from: "http://www.host.test",
        set,
        holds: "a=1",
        requests: ALL_BELOW,
    };
    each(&[
        row("without a dot", &["a=1; domain=host.test"]),
        row("with a dot", &["a=1; domain=.host.test"]),
        row("in any case", &["a=1; domain=.HOST.Test"]),
        Step {
            what: "each domain above, and none beside",
            from: "http://a.b.c.d.com",
            set: &[
                "a=1; domain=.a.b.c.d.com",
                "b=2; domain=.b.c.d.com",
                "c=3; domain=.c.d.com",
                "d=4; domain=.d.com",
                "X=bcd; domain=.b.c.d.com",
                "X=cd; domain=.c.d.com",
            ],
            holds: "X=bcd X=cd a=1 b=2 c=3 d=4",
            requests: &[
                ("http://a.b.c.d.com", "a=1 b=2 c=3 d=4 X=bcd X=cd"),
                ("http://b.c.d.com", "b=2 c=3 d=4 X=bcd X=cd"),
                ("http://c.d.com", "c=3 d=4 X=cd"),
                ("http://d.com", "d=4"),
            ],
        },
    ]);
}

#[test]
fn what_is_no_domain_of_the_host() {
    each(&[
        Step {
            what: "what is no domain of the host",
            from: "http://foo.bar.com",
            set: &[
                "a=1; domain=.yo.foo.bar.com",
                "b=2; domain=.foo.com",
                "c=3; domain=.bar.foo.com",
                "d=4; domain=.foo.bar.com.net",
                "e=5; domain=ar.com",
                "f=6; domain=.",
                "g=7; domain=/",
                "h=8; domain=http://foo.bar.com",
                "i=9; domain=..foo.bar.com",
                "j=10; domain=..bar.com",
                "k=11; domain=.foo.bar.com?blah",
                "l=12; domain=.foo.bar.com/blah",
                "m=12; domain=.foo.bar.com:80",
                "n=14; domain=.foo.bar.com:",
                "o=15; domain=.foo.bar.com#sup",
                "p=16; domain=.foo.bar.com.",
                "q=17; domain=f\u{f6}\u{f6}.bar.com",
                "r=18; domain=*.bar.com",
            ],
            holds: "",
            requests: &[("http://foo.bar.com", "")],
        },
        Step {
            what: "an empty one is none",
            from: "http://www.host.test",
            set: &["a=1; domain=", "b=2; domain=host.test; domain="],
            holds: "a=1 b=2",
            requests: &[
                ("http://www.host.test", "a=1 b=2"),
                ("http://host.test", ""),
            ],
        },
    ]);
}

#[test]
fn hosts_and_domains_side_by_side() {
    in_order(&[
        Step {
            what: "for the host",
            from: "http://www.google.izzle",
            set: &["A=B"],
            holds: "A=B",
            requests: &[("http://www.google.izzle", "A=B")],
        },
        Step {
            what: "for the domain",
            from: "http://www.google.izzle",
            set: &["C=D; domain=.google.izzle"],
            holds: "A=B C=D",
            requests: &[
                ("http://www.google.izzle", "A=B C=D"),
                ("http://foo.www.google.izzle", "C=D"),
            ],
        },
        Step {
            what: "for the host and below",
            from: "http://www.google.izzle",
            set: &[
                "E=F; domain=.www.google.izzle",
                "G=H; domain=www.google.izzle",
            ],
            holds: "A=B C=D E=F G=H",
            requests: &[("http://www.google.izzle", "A=B C=D E=F G=H")],
        },
        Step {
            what: "not for what lies below",
            from: "http://www.google.izzle",
            set: &["K=L; domain=.bar.www.google.izzle"],
            holds: "A=B C=D E=F G=H",
            requests: &[
                ("http://bar.www.google.izzle", "C=D E=F G=H"),
                ("http://www.google.izzle", "A=B C=D E=F G=H"),
            ],
        },
    ]);
}

#[test]
fn domains_of_other_scripts() {
    const HOSTS: [&str; 2] = ["b\u{fc}cher.test", "xn--bcher-kva.test"];
    for from in HOSTS {
        let jar = Jar::new();
        let from = url(&format!("http://www.{from}"));
        jar.set(&from, ["a=1", "b=2; domain=xn--bcher-kva.test"], NOW);
        jar.set(&from, ["c=3; domain=b\u{fc}cher.test"], NOW);
        for to in HOSTS {
            let get = |host: String| sent(&jar, &url(&host), NOW).unwrap_or_default();
            assert_eq!(get(format!("http://www.{to}")), "a=1; b=2");
            assert_eq!(get(format!("http://{to}")), "b=2");
            assert_eq!(get(format!("http://foo.www.{to}")), "b=2");
            assert_eq!(get("http://other.test".into()), "");
        }
    }
}

#[test]
fn public_suffixes() {
    each(&[
        Step {
            what: "a domain that is everybody's",
            from: "http://www.bbc.co.uk",
            set: &[
                "a=1",
                "b=2; domain=co.uk",
                "c=3; domain=.uk",
                "d=4; domain=bbc.co.uk",
            ],
            holds: "a=1 d=4",
            requests: &[
                ("http://www.bbc.co.uk", "a=1 d=4"),
                ("http://co.uk", ""),
                ("http://uk", ""),
                ("http://some.co.uk", ""),
                ("http://news.bbc.co.uk", "d=4"),
            ],
        },
        Step {
            what: "top-level domains, known or not",
            from: "http://a.b",
            set: &["a=1; domain=.b", "b=2; domain=b"],
            holds: "",
            requests: &[],
        },
        Step {
            what: "a private suffix",
            from: "http://me.github.io",
            set: &["a=1; domain=github.io", "b=2; domain=me.github.io"],
            holds: "b=2",
            requests: &[("http://me.github.io", "b=2"), ("http://you.github.io", "")],
        },
        Step {
            what: "a host that is a suffix has cookies of its own",
            from: "http://co.uk",
            set: &["a=1", "b=2; domain=co.uk", "c=3; domain=.co.uk"],
            holds: "a=1 b=2 c=3",
            requests: &[
                ("http://co.uk", "a=1 b=2 c=3"),
                ("http://uk", ""),
                ("http://some.co.uk", ""),
                ("http://foo.some.co.uk", ""),
            ],
        },
        Step {
            what: "a dot behind a suffix",
            from: "http://com./index.html",
            set: &["a=1"],
            holds: "a=1",
            requests: &[
                ("http://com./index.html", "a=1"),
                ("http://no-cookies.com./", ""),
            ],
        },
    ]);
}
