//! Jars in files, and whatever servers set.

use std::io::Read;
use std::io::Write;

use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::prop_assert_eq;
use proptest::prop_oneof;
use proptest::proptest;

use crate::client::jar::Jar;
use crate::client::jar::tests::NOW;
use crate::client::jar::tests::sent;
use crate::client::jar::tests::url;
use crate::error::ErrorKind;
use crate::limits::COOKIE_ATTRIBUTE_BYTES_MAX;
use crate::limits::COOKIE_BYTES_MAX;
use crate::limits::JAR_FILE_BYTES_MAX;
use crate::limits::JAR_SKIPPED_LINES_MAX;

fn saved(jar: &Jar, now: u64) -> String {
    let mut bytes = Vec::new();
    jar.save_all(&mut bytes, now).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_saved_is_loaded() {
    let jar = Jar::new();
    jar.set(
        &url("https://www.host.test/x/y"),
        [
            "a=1; max-age=60; domain=host.test; path=/",
            "b=\"2 3\"; secure; httponly; max-age=50",
            "c=; domain=.www.host.test",
        ],
        NOW,
    );
    jar.set(&url("http://[::1]/"), ["d=4; max-age=5; secure"], NOW);
    let expected = format!(
        "# Netscape HTTP Cookie File\n\n\
         .host.test\tTRUE\t/\tFALSE\t{}\ta\t1\n\
         #HttpOnly_www.host.test\tFALSE\t/x\tTRUE\t{}\tb\t\"2 3\"\n\
         .www.host.test\tTRUE\t/x\tFALSE\t0\tc\t\n\
         ::1\tFALSE\t/\tTRUE\t{}\td\t4\n",
        NOW + 60,
        NOW + 50,
        NOW + 5,
    );
    assert_eq!(saved(&jar, NOW), expected);
    let again = Jar::new();
    assert_eq!(again.load(expected.as_bytes(), NOW).unwrap().added, 4);
    assert_eq!(again.cookies(NOW), jar.cookies(NOW));
    // What has no end of its own, and what is over, is left out.
    let mut bytes = Vec::new();
    jar.save(&mut bytes, NOW + 50).unwrap();
    let names: Vec<_> = String::from_utf8(bytes)
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.split('\t').nth(5)?.to_owned()))
        .collect();
    assert_eq!(names, ["a"]);
    assert_eq!(
        Jar::new()
            .load(expected.as_bytes(), NOW + 50)
            .unwrap()
            .added,
        2
    );
}

#[test]
fn files_of_others() {
    let file = "# Netscape HTTP Cookie File\r\n\
                # https://curl.se/docs/http-cookies.html\r\n\
                \r\n\
                .Example.com\tTRUE\t/\tFALSE\t1999999999\tlang\tde\r\n\
                #HttpOnly_.www.example.com\tTRUE\t/a\tTRUE\t0\tsid\t7\r\n\
                www.example.com\tfalse\t/\tfalse\t0\tempty\n\
                .co.uk\tTRUE\t/\tFALSE\t0\tsuffix\t1\n\
                127.0.0.1\tTRUE\t/\tFALSE\t0\taddress\t1\n\
                old.example.com\tFALSE\t/\tFALSE\t1\told\t1";
    let jar = Jar::new();
    let loaded = jar.load(file.as_bytes(), NOW).unwrap();
    assert_eq!((loaded.added, loaded.skipped_count), (5, 0));
    let get = |to: &str| sent(&jar, &url(to), NOW).unwrap_or_default();
    assert_eq!(get("https://www.example.com/a"), "sid=7; lang=de; empty=");
    assert_eq!(get("http://b.example.com/a"), "lang=de");
    assert_eq!(get("http://www.bbc.co.uk/"), "");
    assert_eq!(get("http://co.uk/"), "suffix=1");
    assert_eq!(get("http://127.0.0.1/"), "address=1");
    let flags = |name: &str| {
        let cookies = jar.cookies(NOW);
        let cookie = cookies
            .iter()
            .find(|cookie| cookie.name == name.as_bytes())
            .unwrap();
        (cookie.is_http_only, cookie.is_secure, cookie.expires)
    };
    assert_eq!(flags("sid"), (true, true, None));
    assert_eq!(flags("lang"), (false, false, Some(1_999_999_999)));
    // A file replaces what is the same, and a later end removes nothing.
    jar.load(
        &b"www.example.com\tFALSE\t/\tFALSE\t0\tempty\tno\n"[..],
        NOW,
    )
    .unwrap();
    assert_eq!(get("https://www.example.com/"), "lang=de; empty=no");
    jar.load(
        &b"www.example.com\tFALSE\t/\tFALSE\t5\tempty\tno\n"[..],
        NOW,
    )
    .unwrap();
    assert_eq!(get("https://www.example.com/"), "lang=de");
}

#[test]
fn a_line_that_is_none_is_skipped() {
    let long = "v".repeat(COOKIE_BYTES_MAX);
    let path = "p".repeat(COOKIE_ATTRIBUTE_BYTES_MAX);
    for (line, why) in [
        ("{\"cookies\":[]}", "seven fields"),
        ("a.test TRUE / FALSE 0 secret 1", "seven fields"),
        ("a.test\tTRUE\t/\tFALSE\t0\tsecret\t1\t2", "seven fields"),
        ("a.test\tyes\t/\tFALSE\t0\tsecret\t1", "field 2"),
        ("a.test\tTRUE\t/\t1\t0\tsecret\t1", "field 4"),
        ("a.test\tTRUE\tx\tFALSE\t0\tsecret\t1", "path"),
        (
            &format!("a.test\tTRUE\t/{path}\tFALSE\t0\tsecret\t1"),
            "path",
        ),
        ("a.test\tTRUE\t/\tFALSE\tsoon\tsecret\t1", "field 5"),
        ("a.test\tTRUE\t/\tFALSE\t+5\tsecret\t1", "field 5"),
        ("a.test\tTRUE\t/\tFALSE\t\tsecret\t1", "field 5"),
        (
            "a.test\tTRUE\t/\tFALSE\t99999999999999999999\tsecret\t1",
            "field 5",
        ),
        ("\tTRUE\t/\tFALSE\t0\tsecret\t1", "host"),
        ("..a.test\tTRUE\t/\tFALSE\t0\tsecret\t1", "host"),
        ("a.test/\tTRUE\t/\tFALSE\t0\tsecret\t1", "host"),
        ("a.test\tTRUE\t/\tFALSE\t0\t\tsecret", "name or value"),
        ("a.test\tTRUE\t/\tFALSE\t0\tsecret\t1; b=2", "name or value"),
        ("a.test\tTRUE\t/\tFALSE\t0\tsecret\t1\x01", "name or value"),
        (
            &format!("a.test\tTRUE\t/\tFALSE\t0\tsecret\t{long}"),
            "4096",
        ),
    ] {
        let jar = Jar::new();
        let good = |name: &str| format!("good.test\tTRUE\t/\tFALSE\t0\t{name}\t1");
        let file = format!("# comment\n{}\n{line}\n{}\n", good("a"), good("b"));
        let loaded = jar.load(file.as_bytes(), NOW).unwrap();
        assert_eq!((loaded.added, loaded.skipped_count), (2, 1), "{line}");
        let text = loaded.skipped[0].to_string();
        assert!(text.starts_with("line 3 is skipped: "), "{text}");
        assert!(text.contains(why), "{text}: {why}");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(
            sent(&jar, &url("http://good.test/"), NOW).unwrap(),
            "a=1; b=1"
        );
    }
    let line = &b"a.test\tTRUE\t/\xff\tFALSE\t0\ta\t1\n"[..];
    let loaded = Jar::new().load(line, NOW).unwrap();
    assert!(loaded.skipped[0].reason.contains("UTF-8"), "{loaded:?}");
    // Something else altogether.
    let loaded = Jar::new()
        .load("x\n".repeat(1_000).as_bytes(), NOW)
        .unwrap();
    assert_eq!((loaded.added, loaded.skipped_count), (0, 1_000));
    assert_eq!(loaded.skipped.len(), JAR_SKIPPED_LINES_MAX);
}

#[test]
fn files_have_a_bound_and_fail_clearly() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let jar = Jar::new();
    let error = jar.load(std::io::repeat(b'#'), NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains(&JAR_FILE_BYTES_MAX.to_string()));
    for error in [
        jar.load(Broken, NOW).unwrap_err(),
        jar.save(Broken, NOW).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(format!("{error:#}").ends_with(": gone"), "{error}");
    }
}

/// A cookie is bytes, and comes back as it was set; so does that of a file.
#[test]
fn what_is_no_text_comes_back() {
    let place = url("http://a.test/");
    let jar = Jar::new();
    let lines: [&[u8]; 4] = [
        b"a=caf\xe9; max-age=60",
        b"\xff=1; max-age=60",
        b"\xfe=\"\xd4\"; max-age=60",
        b"\xff=2; max-age=60; domain=\xff",
    ];
    jar.set(&place, lines, NOW);
    let expected = &b"a=caf\xe9; \xff=1; \xfe=\"\xd4\""[..];
    assert_eq!(jar.get(&place, NOW).as_deref(), Some(expected));
    let mut file = Vec::new();
    jar.save(&mut file, NOW).unwrap();
    let again = Jar::new();
    let loaded = again.load(&file[..], NOW).unwrap();
    assert_eq!((loaded.added, loaded.skipped_count), (3, 0));
    assert_eq!(again.get(&place, NOW).as_deref(), Some(expected));
    again.set(&place, [b"\xff=1; max-age=0"], NOW);
    assert_eq!(again.len(), 2);
}

fn any_line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => "[ab]",
        1 => "__(Host|secure)-[ab]",
        1 => "[ -~\\t\u{e4}]{0,4}",
    ];
    let attribute = prop_oneof![
        "domain=(\\.?(www\\.)?host\\.test|test|\\.|[ -~]{0,8})",
        "path=(/|/a|/a/b|[ -~]{0,8})",
        "max-age=-?[0-9]{1,4}",
        "expires=[ -~]{0,30}",
        "secure",
        "[ -~]{0,8}",
    ];
    let attributes = proptest::collection::vec(attribute, 0..4);
    (name, "[ -~\\t]{0,6}", attributes)
        .prop_map(|(name, value, attributes)| format!("{name}={value}; {}", attributes.join("; ")))
}

proptest! {
    /// Whatever servers set: what is sent is one clean line, what is saved can be loaded, and the
    /// count is right.
    #[test]
    fn any_lines(
        lines in proptest::collection::vec(
            (0..4usize, any_line(), 0..100u64, any::<bool>()),
            1..60,
        )
    ) {
        let places = [
            url("http://www.host.test/a/b"),
            url("https://host.test/"),
            url("http://localhost/"),
            url("https://[::1]/a/"),
        ];
        let jar = Jar::new();
        let mut now = NOW;
        for (place, line, seconds, asks) in lines {
            let place = &places[place];
            jar.set(place, [&line], now);
            now += seconds;
            if asks && let Some(found) = sent(&jar, place, now) {
                prop_assert!(!found.contains(|char: char| char.is_ascii_control()));
                for pair in found.split("; ") {
                    prop_assert!(pair.find('=').is_some_and(|at| at > 0), "{found:?}");
                }
            }
            prop_assert!(jar.cookies(now).len() <= jar.len());
        }
        let all = jar.cookies(now);
        let again = Jar::new();
        let text = saved(&jar, now);
        let loaded = again.load(text.as_bytes(), now).unwrap();
        prop_assert_eq!((loaded.added, loaded.skipped_count), (all.len(), 0));
        prop_assert_eq!(again.cookies(now), all);
        // Asking drops what is over: then the count is exact.
        for place in &places {
            jar.get(place, now);
        }
        prop_assert_eq!(jar.len(), jar.cookies(now).len());
    }

    #[test]
    fn any_file(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~\\t\\n]{0,200}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            let jar = Jar::new();
            let loaded = jar.load(bytes, NOW).unwrap();
            prop_assert!(jar.cookies(NOW).len() <= loaded.added);
        }
    }
}
