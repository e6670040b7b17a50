//! Path parameters, in recycled memory.
//!
//! ```text
//!   text     i d 7 r e s t a / b
//!   entries  [ "id", "7" ] [ "rest", "a/b" ]      (lengths, one behind the other)
//! ```

/// Names and values that a router found in a path.
#[derive(Default)]
pub(super) struct Params {
    text: String,
    /// Lengths of name and value, in order.
    lengths: Vec<(u32, u32)>,
}

impl Params {
    /// Adds a parameter behind the others.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        self.text.push_str(value);
        self.lengths.push((name.len() as u32, value.len() as u32));
    }

    /// The value of the first parameter of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(candidate, _)| *candidate == name)
            .map(|(_, value)| value)
    }

    /// All parameters, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.lengths.iter().map(move |(name_len, value_len)| {
            let value_start = start + *name_len as usize;
            let end = value_start + *value_len as usize;
            let pair = (&self.text[start..value_start], &self.text[value_start..end]);
            start = end;
            pair
        })
    }

    /// Removes all parameters, and keeps memory of usual size.
    pub(super) fn clear(&mut self) {
        if self.text.capacity() > KEPT_BYTES_MAX {
            *self = Params::default();
        }
        self.text.clear();
        self.lengths.clear();
    }
}

/// More text is given back to the allocator.
const KEPT_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_name_in_order() {
        let mut params = Params::default();
        params.push("id", "7");
        params.push("empty", "");
        params.push("rest", "a/b");
        assert_eq!(params.get("id"), Some("7"));
        assert_eq!(params.get("empty"), Some(""));
        assert_eq!(params.get("rest"), Some("a/b"));
        assert_eq!(params.get("i"), None);
        params.clear();
        assert_eq!(params.iter().count(), 0);
    }
}
