//! What is asked for: a request carries its own description, so that the other end knows what to
//! send and what to expect.
//!
//! ```text
//!   x-ask: iiiiiiii uuuuuuuu dddddddd mmmmmmmm     number, bytes up, bytes down, manner and time
//! ```

use roundtrip::Request;

/// The field that carries it, in both directions.
pub const FIELD: &str = "x-ask";
/// Length of the value.
pub const VALUE_BYTES: usize = 32;
/// Length of the value in a response: the number alone.
pub const ID_BYTES: usize = 8;

/// The description of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The number of the request; no two of a run have the same.
    pub id: u32,
    /// Bytes of its body.
    pub up: u32,
    /// Bytes of the response's body.
    pub down: u32,
    /// What the other end does with it; its meaning depends on the other end.
    pub manner: u8,
    /// Milliseconds that the other end takes, where its manner is to take any.
    pub delay: u16,
}

impl Ask {
    /// As the value of the field.
    pub fn value(&self) -> [u8; VALUE_BYTES] {
        let mut value = [0; VALUE_BYTES];
        let last = u32::from(self.manner) << 16 | u32::from(self.delay);
        for (at, number) in [self.id, self.up, self.down, last].into_iter().enumerate() {
            value[at * 8..at * 8 + 8].copy_from_slice(&hex(number));
        }
        value
    }

    /// The number, as the value of the response's field.
    pub fn id_value(&self) -> [u8; ID_BYTES] {
        hex(self.id)
    }

    /// From the value of the field.
    pub fn parse(value: &[u8]) -> Option<Ask> {
        if value.len() != VALUE_BYTES {
            return None;
        }
        let number = |at: usize| parse_hex(&value[at * 8..at * 8 + 8]);
        let last = number(3)?;
        Some(Ask {
            id: number(0)?,
            up: number(1)?,
            down: number(2)?,
            manner: (last >> 16) as u8,
            delay: last as u16,
        })
    }

    /// From a request that arrived.
    pub fn of(request: &Request) -> Option<Ask> {
        Ask::parse(request.headers().get_bytes(FIELD)?)
    }
}

/// A number as eight digits.
pub fn hex(number: u32) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 8];
    for (at, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[(number >> (28 - 4 * at)) as usize & 15];
    }
    text
}

/// The number of eight digits.
pub fn parse_hex(text: &[u8]) -> Option<u32> {
    if text.len() != 8 {
        return None;
    }
    text.iter().try_fold(0, |number: u32, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u32::from(digit))
    })
}
