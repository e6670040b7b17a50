//! What travels through the kernel as `user_data`: kind, generation and slot of an operation.
//!
//! ```text
//!   63     56 55           32 31              0
//!   ┌────────┬───────────────┬────────────────┐
//!   │  kind  │  generation   │      slot      │
//!   └────────┴───────────────┴────────────────┘
//! ```

/// Largest generation; the next one is 0 again.
pub const GENERATION_MAX: u32 = (1 << 24) - 1;

/// Whose completion it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A slot of the reactor.
    Slot = 1,
    /// A cancellation, whose own completion says nothing of use.
    Cancel = 2,
    /// The ring's self-test.
    SelfTest = 3,
}

/// A decoded `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

impl Token {
    /// Names one use of one slot.
    pub fn slot(slot: u32, generation: u32) -> Token {
        assert!(
            generation <= GENERATION_MAX,
            "generation {generation} does not fit 24 bits"
        );
        Token((Kind::Slot as u64) << 56 | u64::from(generation) << 32 | u64::from(slot))
    }

    /// A completion that nobody waits for.
    pub const CANCEL: Token = Token((Kind::Cancel as u64) << 56);
    /// The ring's self-test.
    pub const SELF_TEST: Token = Token((Kind::SelfTest as u64) << 56);

    /// From a completion.
    pub fn from_user_data(user_data: u64) -> Token {
        Token(user_data)
    }

    /// For a submission.
    pub fn user_data(self) -> u64 {
        self.0
    }

    /// Whose completion it is; `None` for what this crate never submitted.
    pub fn kind(self) -> Option<Kind> {
        match self.0 >> 56 {
            1 => Some(Kind::Slot),
            2 => Some(Kind::Cancel),
            3 => Some(Kind::SelfTest),
            _ => None,
        }
    }

    /// The slot's index.
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    /// The slot's generation when the operation was submitted.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & GENERATION_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_parts() {
        for (slot, generation) in [(0, 0), (u32::MAX, GENERATION_MAX), (7, 1)] {
            let token = Token::from_user_data(Token::slot(slot, generation).user_data());
            assert_eq!(token.kind(), Some(Kind::Slot));
            assert_eq!(token.index(), slot);
            assert_eq!(token.generation(), generation);
        }
        assert_eq!(Token::from_user_data(0).kind(), None);
        assert_eq!(Token::CANCEL.kind(), Some(Kind::Cancel));
    }
}
