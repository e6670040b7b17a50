//! SOCKS5 (RFC 1928) with a name and a password (RFC 1929), without I/O.
//!
//! ```text
//!   begin ──► 5, methods ──► Method ──► none ────────────────────► Reply ──► the tunnel stands
//!                               └─────► password ──► Password ──────▲
//!   any answer that is not the next one ──► SocksError
//! ```
//! The server has nothing to say before it is asked: a byte too many is an error, as is one of
//! another protocol, at once.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::client::proxy::address::Credentials;
use crate::client::proxy::handshake::Handshake;
use crate::limits::SOCKS_FIELD_BYTES_MAX;

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const METHOD_NONE: u8 = 0;
const METHOD_PASSWORD: u8 = 2;
const METHOD_REFUSED: u8 = 0xff;
const COMMAND_CONNECT: u8 = 1;
const ADDRESS_V4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_V6: u8 = 4;

/// Where a tunnel leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Address(SocketAddr),
    /// The proxy looks it up.
    Name(Box<str>, u16),
}

/// A handshake under way.
pub(super) struct Socks {
    state: State,
    destination: Destination,
    credentials: Option<Credentials>,
    /// The answer that is awaited, as far as it has come.
    answer: Vec<u8>,
}

/// Which answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Method,
    Password,
    Reply,
    Done,
}

/// Why there is no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocksError {
    /// A name is longer than the protocol can say.
    NameTooLong,
    /// Another protocol answers; its first byte.
    Version(u8),
    /// A method that was not offered.
    Method(u8),
    /// It takes none of the methods that were offered.
    NoMethod { has_credentials: bool },
    /// It refused the name and the password.
    Password,
    /// It did not connect, and says why.
    Reply(u8),
    /// A byte that has one value only has another one.
    Reserved,
    /// An address of a kind that there is not.
    AddressType(u8),
    /// More bytes than its answer has.
    Leftover,
    /// The connection ended, and what was awaited.
    Ended(&'static str),
}

impl Socks {
    /// Writes the first message to `out`.
    ///
    /// # Errors
    ///
    /// The name of the destination is longer than 255 bytes.
    pub(super) fn begin(
        destination: Destination,
        credentials: Option<&Credentials>,
        out: &mut Vec<u8>,
    ) -> Result<Socks, SocksError> {
        if let Destination::Name(name, _) = &destination
            && name.len() > SOCKS_FIELD_BYTES_MAX
        {
            return Err(SocksError::NameTooLong);
        }
        match credentials {
            None => out.extend_from_slice(&[VERSION, 1, METHOD_NONE]),
            Some(_) => out.extend_from_slice(&[VERSION, 2, METHOD_NONE, METHOD_PASSWORD]),
        }
        Ok(Socks {
            state: State::Method,
            destination,
            credentials: credentials.cloned(),
            answer: Vec::new(),
        })
    }

    /// How long the answer is that is awaited, as far as its bytes tell; what is wrong with them.
    fn answer_len(&self) -> Result<usize, SocksError> {
        let byte = |at: usize| self.answer.get(at).copied();
        match self.state {
            State::Method => {
                check(byte(0), VERSION, SocksError::Version)?;
                Ok(2)
            }
            State::Password => {
                check(byte(0), PASSWORD_VERSION, SocksError::Version)?;
                Ok(2)
            }
            State::Reply => {
                check(byte(0), VERSION, SocksError::Version)?;
                // A refusal need not have the rest.
                check(byte(1), 0, SocksError::Reply)?;
                check(byte(2), 0, |_| SocksError::Reserved)?;
                let address_len = match (byte(3), byte(4)) {
                    (Some(ADDRESS_V4), _) => 4,
                    (Some(ADDRESS_V6), _) => 16,
                    (Some(ADDRESS_NAME), Some(len)) => 1 + usize::from(len),
                    (None, _) | (Some(ADDRESS_NAME), None) => 1,
                    (Some(other), _) => return Err(SocksError::AddressType(other)),
                };
                Ok(4 + address_len + 2)
            }
            State::Done => Ok(0),
        }
    }

    /// The answer is complete: what follows from it.
    fn take_answer(&mut self, out: &mut Vec<u8>) -> Result<(), SocksError> {
        let answer = std::mem::take(&mut self.answer);
        let next = match (self.state, answer[1], &self.credentials) {
            (State::Method, METHOD_NONE, _) => self.ask(out),
            (State::Method, METHOD_PASSWORD, Some(credentials)) => {
                out.push(PASSWORD_VERSION);
                push_field(out, &credentials.user);
                push_field(out, &credentials.password);
                State::Password
            }
            (State::Method, METHOD_REFUSED, credentials) => {
                let has_credentials = credentials.is_some();
                return Err(SocksError::NoMethod { has_credentials });
            }
            (State::Method, method, _) => return Err(SocksError::Method(method)),
            (State::Password, 0, _) => self.ask(out),
            (State::Password, ..) => return Err(SocksError::Password),
            // Where it connected from is of no use.
            (State::Reply | State::Done, ..) => State::Done,
        };
        self.state = next;
        Ok(())
    }

    /// Asks for the connection.
    fn ask(&self, out: &mut Vec<u8>) -> State {
        out.extend_from_slice(&[VERSION, COMMAND_CONNECT, 0]);
        let port = match &self.destination {
            Destination::Address(address) => {
                match address.ip() {
                    IpAddr::V4(address) => {
                        out.push(ADDRESS_V4);
                        out.extend_from_slice(&address.octets());
                    }
                    IpAddr::V6(address) => {
                        out.push(ADDRESS_V6);
                        out.extend_from_slice(&address.octets());
                    }
                }
                address.port()
            }
            Destination::Name(name, port) => {
                out.push(ADDRESS_NAME);
                push_field(out, name.as_bytes());
                *port
            }
        };
        out.extend_from_slice(&port.to_be_bytes());
        State::Reply
    }
}

/// Behind its length; that it fits was checked before.
fn push_field(out: &mut Vec<u8>, field: &[u8]) {
    let len = u8::try_from(field.len()).expect("fields were checked to have up to 255 bytes");
    out.push(len);
    out.extend_from_slice(field);
}

fn check(
    byte: Option<u8>,
    expected: u8,
    error: impl FnOnce(u8) -> SocksError,
) -> Result<(), SocksError> {
    match byte {
        Some(byte) if byte != expected => Err(error(byte)),
        _ => Ok(()),
    }
}

impl Handshake for Socks {
    type Error = SocksError;

    fn receive(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, SocksError> {
        for (at, &byte) in input.iter().enumerate() {
            if self.state == State::Done {
                return Err(SocksError::Leftover);
            }
            self.answer.push(byte);
            if self.answer.len() < self.answer_len()? {
                continue;
            }
            self.take_answer(out)?;
            if at + 1 < input.len() {
                return Err(SocksError::Leftover);
            }
        }
        Ok(self.state == State::Done)
    }

    fn ended(&self) -> SocksError {
        SocksError::Ended(match self.state {
            State::Method => "its choice of a method",
            State::Password => "its answer to the password",
            State::Reply | State::Done => "its reply",
        })
    }
}

impl SocksError {
    /// True when another address of the same name may do better.
    pub(super) fn is_of_address(self) -> bool {
        // Network unreachable, host unreachable, refused, expired, address type not supported.
        matches!(self, SocksError::Reply(3 | 4 | 5 | 6 | 8))
    }
}

/// RFC 1928 §6.
fn reply_text(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "its rules do not allow the connection",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the time to live expired",
        7 => "it does not know the command",
        8 => "it does not know the address type",
        _ => "a code that is not assigned",
    }
}

impl fmt::Display for SocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocksError::NameTooLong => f.write_str("the name of the host is longer than 255 bytes"),
            SocksError::Version(byte) => {
                write!(f, "its answer is not of SOCKS5 (first byte {byte:#04x})")
            }
            SocksError::Method(method) => {
                write!(f, "it chose a method that was not offered ({method:#04x})")
            }
            SocksError::NoMethod {
                has_credentials: true,
            } => f.write_str("it takes neither no credentials nor a password"),
            SocksError::NoMethod {
                has_credentials: false,
            } => f.write_str(
                "it wants credentials, and its URL has none (socks5://user:password@host)",
            ),
            SocksError::Password => f.write_str("it refused the credentials"),
            SocksError::Reply(code) => write!(f, "{} (reply {code})", reply_text(*code)),
            SocksError::Reserved => f.write_str("a reserved byte of its reply is not zero"),
            SocksError::AddressType(kind) => {
                write!(
                    f,
                    "its reply has an address of an unknown type ({kind:#04x})"
                )
            }
            SocksError::Leftover => f.write_str("it sent more than its answer"),
            SocksError::Ended(what) => write!(f, "it closed the connection before {what}"),
        }
    }
}

impl std::error::Error for SocksError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;
    use crate::client::proxy::handshake::tests::feed;

    fn name(name: &str) -> Destination {
        Destination::Name(name.into(), 443)
    }

    fn credentials() -> Credentials {
        Credentials {
            user: (*b"me").into(),
            password: (*b"hush").into(),
        }
    }

    fn begun(destination: Destination, credentials: Option<&Credentials>) -> Socks {
        Socks::begin(destination, credentials, &mut Vec::new()).unwrap()
    }

    /// Talks in turns, in pieces of each size: each message of the server, and what we say to it.
    #[track_caller]
    fn talk(with: Option<&Credentials>, turns: &[(&[u8], &[u8])]) {
        for size in [1, 2, 3, 300] {
            let mut machine = begun(name("a.example"), with);
            for (at, (theirs, ours)) in turns.iter().enumerate() {
                let is_last = at + 1 == turns.len();
                let (outcome, out) = feed(&mut machine, theirs, size);
                assert_eq!(outcome, Ok(is_last));
                assert_eq!(out, *ours);
            }
        }
    }

    const ASKED: &[u8] = b"\x05\x01\x00\x03\x09a.example\x01\xbb";

    #[test]
    fn without_credentials() {
        let mut out = Vec::new();
        Socks::begin(name("a"), None, &mut out).unwrap();
        assert_eq!(out, [5, 1, 0]);
        for reply in [
            b"\x05\0\0\x01\x7f\0\0\x01\x12\x34".as_slice(),
            b"\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34",
            b"\x05\0\0\x03\x02ab\x12\x34",
            b"\x05\0\0\x03\0\x12\x34",
        ] {
            talk(None, &[(b"\x05\0", ASKED), (reply, b"")]);
        }
        let long = [b"\x05\0\0\x03\xff".as_slice(), &[7; 257]].concat();
        talk(None, &[(b"\x05\0", ASKED), (&long, b"")]);
    }

    #[test]
    fn with_credentials() {
        let mut out = Vec::new();
        Socks::begin(name("a"), Some(&credentials()), &mut out).unwrap();
        assert_eq!(out, [5, 2, 0, 2]);
        let reply = b"\x05\0\0\x01\0\0\0\0\0\0".as_slice();
        let asks: &[u8] = b"\x01\x02me\x04hush";
        talk(
            Some(&credentials()),
            &[(b"\x05\x02", asks), (b"\x01\0", ASKED), (reply, b"")],
        );
        // A server that wants none is not given any.
        talk(Some(&credentials()), &[(b"\x05\0", ASKED), (reply, b"")]);
    }

    #[test]
    fn addresses_as_the_protocol_has_them() {
        let asked = |destination: Destination| {
            let mut machine = begun(destination, None);
            feed(&mut machine, b"\x05\0", 2).1
        };
        let v4 = Destination::Address("1.2.3.4:80".parse().unwrap());
        assert_eq!(asked(v4), b"\x05\x01\0\x01\x01\x02\x03\x04\0\x50");
        let v6 = Destination::Address("[2001:db8::1]:8080".parse().unwrap());
        let bytes = b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1f\x90";
        assert_eq!(asked(v6), bytes);
        let long = "a".repeat(255);
        let said = asked(name(&long));
        assert_eq!(said[..5], [5, 1, 0, 3, 255]);
        assert_eq!(said.len(), 5 + 255 + 2);
        let too_long = Socks::begin(name(&"a".repeat(256)), None, &mut Vec::new());
        assert_eq!(too_long.err(), Some(SocksError::NameTooLong));
    }

    /// The error of the last of these messages, the same however they are split.
    #[track_caller]
    fn error(with: Option<&Credentials>, turns: &[&[u8]]) -> SocksError {
        let mut errors = [1, 2, 5, 300].into_iter().map(|size| {
            let mut machine = begun(name("a.example"), with);
            let (last, before) = turns.split_last().unwrap();
            for turn in before {
                assert_eq!(feed(&mut machine, turn, size).0, Ok(false));
            }
            let (head, tail) = last.split_at(last.len() - 1);
            let outcome = feed(&mut machine, head, size).0;
            let outcome = outcome.and_then(|_| feed(&mut machine, tail, size).0);
            outcome.unwrap_err()
        });
        let first = errors.next().unwrap();
        assert!(errors.all(|error| error == first));
        first
    }

    #[test]
    fn refusals_say_why() {
        let me = credentials();
        let refused = |has_credentials| SocksError::NoMethod { has_credentials };
        assert_eq!(error(None, &[b"\x05\xff"]), refused(false));
        assert_eq!(error(Some(&me), &[b"\x05\xff"]), refused(true));
        assert_eq!(
            error(Some(&me), &[b"\x05\x02", b"\x01\x01"]),
            SocksError::Password
        );
        let texts = [
            "general failure",
            "rules",
            "network is unreachable",
            "host is unreachable",
            "refused",
            "time to live",
            "command",
            "address type",
            "not assigned",
        ];
        for (text, code) in texts.into_iter().zip(1..) {
            // Also without the rest, which some servers leave out.
            let reply = [5, code];
            let error = error(None, &[b"\x05\0", &reply]);
            assert_eq!(error, SocksError::Reply(code));
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(error.is_of_address(), [3, 4, 5, 6, 8].contains(&code));
        }
        let shown = format!("{} {:?}", SocksError::Password, SocksError::Password);
        assert!(!shown.contains("hush"));
    }

    #[test]
    fn hostile_answers_end_in_errors() {
        let me = credentials();
        assert_eq!(error(None, &[b"H"]), SocksError::Version(b'H'));
        assert_eq!(error(None, &[b"\x04"]), SocksError::Version(4));
        assert_eq!(error(None, &[b"\x05\x02"]), SocksError::Method(2));
        assert_eq!(error(None, &[b"\x05\x01"]), SocksError::Method(1));
        assert_eq!(error(Some(&me), &[b"\x05\x80"]), SocksError::Method(0x80));
        let kept = error(Some(&me), &[b"\x05\x02", b"\x05"]);
        assert_eq!(kept, SocksError::Version(5));
        assert_eq!(error(None, &[b"\x05\0", b"\x04"]), SocksError::Version(4));
        let reserved = error(None, &[b"\x05\0", b"\x05\0\x01"]);
        assert_eq!(reserved, SocksError::Reserved);
        let kind = error(None, &[b"\x05\0", b"\x05\0\0\x02"]);
        assert_eq!(kind, SocksError::AddressType(2));
        let kind = error(None, &[b"\x05\0", b"\x05\0\0\0"]);
        assert_eq!(kind, SocksError::AddressType(0));
        // More than the answer, within one piece.
        let leftover = |turns: &[&[u8]]| {
            let mut machine = begun(name("a.example"), None);
            let (last, before) = turns.split_last().unwrap();
            for turn in before {
                feed(&mut machine, turn, 300).0.unwrap();
            }
            feed(&mut machine, last, 300).0
        };
        assert_eq!(leftover(&[b"\x05\0\x05"]), Err(SocksError::Leftover));
        let reply = b"\x05\0\0\x01\0\0\0\0\0\0x";
        assert_eq!(leftover(&[b"\x05\0", reply]), Err(SocksError::Leftover));
        // A name that lies about its length takes from what follows, and is one byte too short.
        let lying = b"\x05\0\0\x03\x03ab\0";
        assert_eq!(leftover(&[b"\x05\0", lying]), Ok(false));
    }

    #[test]
    fn an_early_end_is_told_at_every_byte() {
        let me = credentials();
        let turns: [(&[u8], &str); 3] = [
            (b"\x05\x02", "method"),
            (b"\x01\0", "password"),
            (b"\x05\0\0\x01\0\0\0\0\0\0", "reply"),
        ];
        for at in 0..turns.len() {
            for len in 0..turns[at].0.len() {
                let mut machine = begun(name("a.example"), Some(&me));
                for (turn, _) in &turns[..at] {
                    feed(&mut machine, turn, 300).0.unwrap();
                }
                feed(&mut machine, &turns[at].0[..len], 300).0.unwrap();
                let text = machine.ended().to_string();
                assert!(text.contains(turns[at].1), "{text}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_in_any_pieces(
            begins in 0..4usize,
            bytes in proptest::collection::vec(0..7u8, 0..40),
            size in 1..9usize,
        ) {
            let me = credentials();
            let begin: [&[u8]; 4] = [b"", b"\x05\0", b"\x05\x02", b"\x05\0\x05\0\0\x03"];
            let mut machine = begun(name("a.example"), Some(&me));
            let (outcome, out) = feed(&mut machine, begin[begins], 1);
            if outcome.is_ok() {
                let (outcome, more) = feed(&mut machine, &bytes, size);
                prop_assert!(out.len() + more.len() <= 64);
                prop_assert!(machine.answer.len() <= 262);
                if let Ok(is_done) = outcome {
                    prop_assert_eq!(is_done, machine.state == State::Done);
                }
            }
        }
    }
}
