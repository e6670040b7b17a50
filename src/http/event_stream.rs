//! Server-sent events, as they are written (WHATWG HTML §9.2.5–9.2.6).
//!
//! ```text
//!   Event::new().event("price").id("7").data("12\n13")
//!
//!     event: price        what `addEventListener` is given; "message" without it
//!     id: 7               what a browser sends back as `Last-Event-ID` when it connects again
//!     data: 12            each line of the data is a line
//!     data: 13
//!                         an empty line dispatches it
//! ```
//!
//! [`server::event_stream`](crate::server::event_stream) makes a response of them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::http::request::Request;

/// The media type of a stream of events.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// One event, or a comment. What a field may not hold is remembered, and reported when the event is
/// sent.
///
/// ```
/// use roundtrip::http::event_stream::Event;
///
/// let event = Event::new().event("price").id("7").data("12");
/// assert_eq!(event.into_bytes()?, "event: price\nid: 7\ndata: 12\n\n");
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    lines: String,
    invalid: Option<InvalidEvent>,
}

/// Why an event cannot be sent. The text never repeats what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// The identifier holds CR, LF or NUL: the first two would end its line, and browsers ignore an
    /// identifier with the third.
    Id,
    /// The name of the event holds CR, LF or NUL.
    Name,
}

impl Event {
    /// Nothing yet.
    pub const fn new() -> Event {
        Event {
            lines: String::new(),
            invalid: None,
        }
    }

    /// What the event is named; browsers call an event without a name `message`. It may not hold CR,
    /// LF or NUL.
    #[must_use]
    pub fn event(self, name: impl AsRef<str>) -> Event {
        self.one_line("event", name.as_ref(), InvalidEvent::Name)
    }

    /// What a browser sends back as `Last-Event-ID` when it connects again; the empty one makes it
    /// forget. It may not hold CR, LF or NUL.
    #[must_use]
    pub fn id(self, id: impl AsRef<str>) -> Event {
        self.one_line("id", id.as_ref(), InvalidEvent::Id)
    }

    /// What the event says. CR LF, CR and LF end a line in it, and arrive as LF. Called again, it
    /// adds lines. An event without data is not dispatched by browsers.
    #[must_use]
    pub fn data(mut self, text: impl AsRef<str>) -> Event {
        for line in Lines(Some(text.as_ref())) {
            self.line("data", line);
        }
        self
    }

    /// How long a browser waits before it connects again, in whole milliseconds.
    #[must_use]
    pub fn retry(mut self, delay: Duration) -> Event {
        let mut buffer = itoa::Buffer::new();
        self.line("retry", buffer.format(delay.as_millis()));
        self
    }

    /// Lines that browsers skip.
    #[must_use]
    pub fn comment(mut self, text: impl AsRef<str>) -> Event {
        for line in Lines(Some(text.as_ref())) {
            self.line("", line);
        }
        self
    }

    /// The event as it is sent.
    ///
    /// # Errors
    ///
    /// A field holds what it may not: [`InvalidEvent`] is the source.
    pub fn into_bytes(mut self) -> Result<Bytes, Error> {
        if let Some(invalid) = self.invalid {
            return Err(invalid.into());
        }
        self.lines.push('\n');
        Ok(self.lines.into())
    }

    fn one_line(mut self, field: &str, value: &str, invalid: InvalidEvent) -> Event {
        if value.contains(['\r', '\n', '\0']) {
            self.invalid = Some(invalid);
        } else {
            self.line(field, value);
        }
        self
    }

    fn line(&mut self, field: &str, value: &str) {
        self.lines.push_str(field);
        self.lines.push(':');
        // One blank behind the colon is taken off by who reads, so one of the value's own stays.
        if !value.is_empty() {
            self.lines.push(' ');
            self.lines.push_str(value);
        }
        self.lines.push('\n');
    }
}

impl Request {
    /// The identifier of the last event that this client got before it connected again (WHATWG HTML
    /// §9.2.4); `None` for one that comes for the first time. It is whatever the client sends.
    pub fn last_event_id(&self) -> Option<&str> {
        self.header("Last-Event-ID").filter(|id| !id.is_empty())
    }
}

/// The lines of a text, ended by CR LF, CR or LF; what follows the last end is a line too.
struct Lines<'a>(Option<&'a str>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.take()?;
        let Some(end) = text.find(['\r', '\n']) else {
            return Some(text);
        };
        let (line, rest) = text.split_at(end);
        let rest = rest.strip_prefix("\r\n").unwrap_or(&rest[1..]);
        self.0 = Some(rest);
        Some(line)
    }
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidEvent::Id => "the id of an event holds CR, LF or NUL (WHATWG HTML §9.2.6)",
            InvalidEvent::Name => "the name of an event holds CR, LF or NUL (WHATWG HTML §9.2.6)",
        })
    }
}

impl std::error::Error for InvalidEvent {}

impl From<InvalidEvent> for Error {
    fn from(invalid: InvalidEvent) -> Error {
        Error::new(ErrorKind::Invalid, "the event cannot be sent").because(invalid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    fn text(event: Event) -> String {
        String::from_utf8(event.into_bytes().unwrap().to_vec()).unwrap()
    }

    /// What a browser makes of a stream: name, data and identifier of each event that it
    /// dispatches (WHATWG HTML §9.2.6).
    fn read(stream: &str) -> Vec<(String, String, String)> {
        let (mut name, mut data, mut id) = (String::new(), String::new(), String::new());
        let mut events = Vec::new();
        for line in Lines(Some(stream)) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                _ if line.is_empty() => {
                    let taken = (std::mem::take(&mut name), std::mem::take(&mut data));
                    if let Some(data) = taken.1.strip_suffix('\n') {
                        events.push((taken.0, data.to_owned(), id.clone()));
                    }
                }
                "event" => name = value.to_owned(),
                "data" => data += &(value.to_owned() + "\n"),
                "id" if !value.contains('\0') => id = value.to_owned(),
                _ => {}
            }
        }
        events
    }

    #[test]
    fn fields_are_lines() {
        let event = Event::new();
        assert_eq!(text(event.clone().data("a")), "data: a\n\n");
        assert_eq!(text(event.clone().data("")), "data:\n\n");
        assert_eq!(text(event.clone().data(" a")), "data:  a\n\n");
        assert_eq!(text(event.clone().data("a\n")), "data: a\ndata:\n\n");
        assert_eq!(text(event.clone().comment("a\nb")), ": a\n: b\n\n");
        assert_eq!(text(event.clone().comment("")), ":\n\n");
        assert_eq!(text(event.clone().id("")), "id:\n\n");
        let retry = event.clone().retry(Duration::from_millis(1_500));
        assert_eq!(text(retry), "retry: 1500\n\n");
        let all = event.event("e").id("1").data("a\r\nb\rc\nd");
        let lines = "event: e\nid: 1\ndata: a\ndata: b\ndata: c\ndata: d\n\n";
        assert_eq!(text(all), lines);
    }

    #[test]
    fn no_field_ends_its_line() {
        for bad in ["\r", "\n", "\0", "a\nb", "7\r\ndata: forged"] {
            for (event, rule) in [
                (Event::new().id(bad), InvalidEvent::Id),
                (Event::new().event(bad), InvalidEvent::Name),
            ] {
                let error = event.data("x").into_bytes().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Invalid);
                let line = format!("{error:#}");
                assert!(line.ends_with(&rule.to_string()), "{line}");
                assert!(!line.contains("forged"));
            }
        }
    }

    #[test]
    fn the_last_id_of_a_client() {
        let request = || Request::for_target("GET", "/").unwrap();
        assert_eq!(request().last_event_id(), None);
        let with = |id: &str| request().with_header("last-event-id", id).unwrap();
        assert_eq!(with("7").last_event_id(), Some("7"));
        assert_eq!(with("").last_event_id(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_browser_reads_what_was_said(
            name in "[^\r\n\0]{0,8}",
            id in "[^\r\n\0]{0,8}",
            data in "[a-z: \r\n]{0,16}",
            comment in "[a-z:\r\n]{0,16}",
        ) {
            let event = Event::new().comment(&comment).event(&name).id(&id).data(&data);
            let stream = text(event) + &text(Event::new().data("next"));
            let events = read(&stream);
            let lines: Vec<_> = Lines(Some(&data)).collect();
            prop_assert_eq!(events.len(), 2);
            prop_assert_eq!(&events[0], &(name, lines.join("\n"), id));
            prop_assert!(!events[0].1.contains('\r'));
            prop_assert_eq!(&events[1].1, "next");
        }
    }
}
