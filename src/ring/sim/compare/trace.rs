//! What a script saw, in a form that two kernels can be compared by.
//!
//! ```text
//!   completions, results of calls ──► Line ──► normal form (what may vary is taken out) ──► text
//! ```

use std::fmt::Write;

use crate::ring::errno::Errno;

/// What of a row may vary on the real kernel, and is therefore not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing: every completion in its order.
    Exact,
    /// The order of completions of different operations within one step.
    Sorted,
    /// Also, how bytes are cut into the completions of one receive.
    Merged,
}

/// One completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The operation's name.
    pub operation: &'static str,
    /// In which order the operations were submitted.
    pub index: usize,
    /// The result, errors by name, descriptors without their number.
    pub result: String,
    /// F_MORE.
    pub more: bool,
    /// F_BUFFER.
    pub buffer: bool,
    /// What was received, if it was a receive.
    pub bytes: Option<Vec<u8>>,
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A direct call and its result.
    Call(String),
    /// All completions until it was quiet.
    Step(Vec<Completion>),
}

/// An error number's name, or what the call returned.
pub fn errno_name(number: i32) -> String {
    format!("{:?}", Errno::from_raw(number))
}

/// The trace as text, one line per call and completion.
pub fn normal_form(lines: &[Line], form: Form) -> Vec<String> {
    let mut out = Vec::new();
    for line in lines {
        match line {
            Line::Call(text) => out.push(text.clone()),
            Line::Step(completions) => {
                let mut completions = completions.clone();
                if form != Form::Exact {
                    completions.sort_by_key(|completion| completion.index);
                }
                if form == Form::Merged {
                    completions = merged(completions);
                }
                if completions.is_empty() {
                    out.push("-- nothing".to_owned());
                }
                for (at, completion) in completions.iter().enumerate() {
                    let mark = if at == 0 { "--" } else { "  " };
                    out.push(format!("{mark} {}", text(completion)));
                }
            }
        }
    }
    out
}

/// Adjacent completions of one operation that brought bytes become one.
fn merged(completions: Vec<Completion>) -> Vec<Completion> {
    let mut out: Vec<Completion> = Vec::new();
    for next in completions {
        if let Some(last) = out.last_mut()
            && last.index == next.index
            && let (Some(have), Some(add)) = (&mut last.bytes, &next.bytes)
            && !have.is_empty()
            && !add.is_empty()
        {
            have.extend_from_slice(add);
            last.result = have.len().to_string();
            last.more = next.more;
            continue;
        }
        out.push(next);
    }
    out
}

fn text(completion: &Completion) -> String {
    let mut text = format!("{}: {}", completion.operation, completion.result);
    if completion.more {
        text.push_str(" MORE");
    }
    if completion.buffer {
        text.push_str(" BUFFER");
    }
    if let Some(bytes) = &completion.bytes {
        let _ = write!(text, " {}", shortened(bytes));
    }
    text
}

/// Short bytes as they are, long ones by length and checksum.
fn shortened(bytes: &[u8]) -> String {
    if bytes.len() <= 80 {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("[{} bytes, {sum:016x}]", bytes.len())
}
