//! Dates of HTTP (RFC 9110 §5.6.7), written and read.
//!
//! ```text
//!   seconds since 1970 ──► "Sun, 06 Nov 1994 08:49:37 GMT" ──► cached for that second
//!   IMF-fixdate │ RFC 850 │ asctime ──► seconds since 1970
//! ```
//!
//! The time comes in as a number: this module has no clock.

/// Bytes of a date as HTTP writes it.
pub const DATE_BYTES: usize = 29;

/// The `Date` of a core: formatted once per second, however many responses carry it.
#[derive(Clone, Debug)]
pub struct DateCache {
    seconds: u64,
    line: [u8; LINE_BYTES],
}

/// `Date: `, the date, CR and LF.
const LINE_BYTES: usize = 6 + DATE_BYTES + 2;

impl Default for DateCache {
    fn default() -> DateCache {
        DateCache::new()
    }
}

impl DateCache {
    /// Holds the date of second 0.
    pub fn new() -> DateCache {
        let mut line = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        line[6..6 + DATE_BYTES].copy_from_slice(&format(0));
        DateCache { seconds: 0, line }
    }

    /// The date of this second, of seconds since 1970.
    pub fn get(&mut self, seconds: u64) -> &[u8; DATE_BYTES] {
        let line = self.line(seconds);
        let date = line[6..].first_chunk();
        date.expect("a date stands in the line")
    }

    /// The whole field of this second, with its line end.
    pub fn line(&mut self, seconds: u64) -> &[u8; LINE_BYTES] {
        if seconds != self.seconds {
            self.seconds = seconds;
            self.line[6..6 + DATE_BYTES].copy_from_slice(&format(seconds));
        }
        &self.line
    }
}

const DAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const LONG_DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The last second that a date with a year of four digits can name.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Writes a time as an IMF-fixdate. Times behind the year 9999 are written as its last second.
pub fn format(seconds: u64) -> [u8; DATE_BYTES] {
    let seconds = seconds.min(SECONDS_MAX);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // 1970-01-01 was a Thursday.
    date[..3].copy_from_slice(DAYS[((days + 4) % 7) as usize]);
    digits(&mut date[5..7], day);
    date[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    digits(&mut date[12..16], year);
    digits(&mut date[17..19], second / 3_600);
    digits(&mut date[20..22], second / 60 % 60);
    digits(&mut date[23..25], second % 60);
    date
}

fn digits(out: &mut [u8], mut number: u64) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day since 1970, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era_day = days % 146_097;
    let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let march_month = (5 * year_day + 2) / 153;
    let day = year_day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = days / 146_097 * 400 + era_year + u64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970 of a date, the reverse of [`civil`]; `None` before 1970.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year - u64::from(month <= 2);
    let march_month = (month + 9) % 12;
    let year_day = (153 * march_month + 2) / 5 + day - 1;
    let era_year = year % 400;
    let era_day = era_year * 365 + era_year / 4 - era_year / 100 + year_day;
    (year / 400 * 146_097 + era_day).checked_sub(719_468)
}

/// Reads a date in any of the three forms that RFC 9110 §5.6.7 wants read, as seconds since 1970.
/// `None` for anything else, and for dates before 1970.
///
/// The year of the RFC 850 form has two digits: `now` decides the century, since a date more than
/// 50 years ahead means the past.
pub fn parse(text: &str, now: u64) -> Option<u64> {
    let bytes = text.as_bytes();
    if let Some(date) = bytes.first_chunk::<DATE_BYTES>()
        && bytes.len() == DATE_BYTES
    {
        return parse_fixdate(date);
    }
    match bytes.first_chunk::<24>() {
        Some(date) if bytes.len() == 24 => parse_asctime(date),
        _ => parse_rfc850(text, now),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn parse_fixdate(date: &[u8; DATE_BYTES]) -> Option<u64> {
    let day_name = date.first_chunk::<3>()?;
    DAYS.iter().position(|name| *name == day_name)?;
    let separators = [(3, b","), (4, b" "), (7, b" "), (11, b" "), (16, b" ")];
    if separators.iter().any(|(at, byte)| date[*at] != byte[0]) || !date.ends_with(b" GMT") {
        return None;
    }
    seconds_of(
        number(&date[12..16])?,
        month(&date[8..11])?,
        number(&date[5..7])?,
        &date[17..25],
    )
}

/// `Sun Nov  6 08:49:37 1994`
fn parse_asctime(date: &[u8; 24]) -> Option<u64> {
    let day_name = date.first_chunk::<3>()?;
    DAYS.iter().position(|name| *name == day_name)?;
    if [3, 7, 10, 19].iter().any(|at| date[*at] != b' ') {
        return None;
    }
    let day = match date[8] {
        b' ' => number(&date[9..10])?,
        _ => number(&date[8..10])?,
    };
    seconds_of(
        number(&date[20..24])?,
        month(&date[4..7])?,
        day,
        &date[11..19],
    )
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn parse_rfc850(text: &str, now: u64) -> Option<u64> {
    let (day_name, rest) = text.split_once(", ")?;
    if !LONG_DAYS.contains(&day_name) {
        return None;
    }
    let date: &[u8; 22] = rest.as_bytes().try_into().ok()?;
    if date[2] != b'-' || date[6] != b'-' || date[9] != b' ' || !date.ends_with(b" GMT") {
        return None;
    }
    let two_digits = number(&date[7..9])?;
    let (this_year, ..) = civil(now.min(SECONDS_MAX) / 86_400);
    let mut year = this_year / 100 * 100 + two_digits;
    if year > this_year + 50 {
        year -= 100;
    }
    seconds_of(
        year,
        month(&date[3..6])?,
        number(&date[..2])?,
        &date[10..18],
    )
}

fn month(name: &[u8]) -> Option<u64> {
    let index = MONTHS.iter().position(|month| &month[..] == name)?;
    Some(index as u64 + 1)
}

fn number(text: &[u8]) -> Option<u64> {
    crate::http::token::decimal(text)
}

fn seconds_of(year: u64, month: u64, day: u64, time: &[u8]) -> Option<u64> {
    if time[2] != b':' || time[5] != b':' {
        return None;
    }
    let (hour, minute) = (number(&time[..2])?, number(&time[3..5])?);
    // A leap second counts as the one before it.
    let second = match number(&time[6..8])? {
        60 => 59,
        second => second,
    };
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in_month = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year == 0 || day == 0 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_of(year, month, day)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64) -> String {
        String::from_utf8(format(seconds).to_vec()).unwrap()
    }

    const NOW: u64 = 1_790_000_000;

    #[test]
    fn writes_known_dates() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(text(seconds), date);
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for seconds in (0..SECONDS_MAX).step_by(86_400 * 13 + 4_711) {
            assert_eq!(parse(&text(seconds), NOW), Some(seconds));
        }
    }

    #[test]
    fn reads_all_three_forms() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(date, NOW), Some(784_111_777), "{date}");
        }
        // Two digits more than 50 years ahead mean the past.
        let date = parse("Saturday, 01-Jan-77 00:00:00 GMT", NOW);
        assert_eq!(date, Some(220_924_800));
        assert!(parse("Wednesday, 01-Jan-70 00:00:00 GMT", NOW).unwrap() > NOW);
    }

    #[test]
    fn refuses_what_is_no_date() {
        for date in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sunday, 06-Nov-94 08:49:37 GMTx",
            "Sun Nov  6 08:49:37 199\u{e9}",
            "Sun, 06 Nov 0000 08:49:37 GMT",
        ] {
            assert_eq!(parse(date, NOW), None, "{date}");
        }
    }

    #[test]
    fn the_cache_follows_the_second() {
        let mut cache = DateCache::new();
        assert_eq!(cache.get(0), &format(0));
        assert_eq!(cache.get(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        let line = cache.line(784_111_778);
        assert_eq!(line, b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
    }
}
