//! The size of the tree of a JSON text, measured before the tree is built. An object of one member takes a hundred times
//! the bytes of its text.

use crate::base::json_scan::skip_string;

/// Values that one object of a request may have. The parameters of a call on ten thousand guests fit.
pub const MAX_VALUES: usize = 20_000;

// Bytes of the parts of a tree (serde_json, measured with small objects and lists).
const OBJECT_BYTES: usize = 1_000;
const LIST_BYTES: usize = 200;
const VALUE_BYTES: usize = 150;

/// The size of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeSize {
    pub values: usize,
    /// Bytes of memory, estimated from above.
    pub bytes: usize,
}

impl TreeSize {
    /// Measures a valid JSON text in one pass.
    pub fn measure(json: &str) -> Self {
        let bytes = json.as_bytes();
        let (mut objects, mut lists, mut commas) = (0, 0, 0);
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => at = skip_string(bytes, at, &mut false).unwrap_or(bytes.len()),
                b'{' => objects += 1,
                b'[' => lists += 1,
                b',' => commas += 1,
                _ => {}
            }
        }
        // The first value of a list or object follows its bracket, each other one a comma.
        let values = 1 + objects + lists + commas;
        let parts = objects * OBJECT_BYTES + lists * LIST_BYTES + values * VALUE_BYTES;
        Self { values, bytes: json.len() + parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (json, values) in [("1", 1), (r#"{"a":1,"b":[2,3]}"#, 5), (r#"{"a":"{[,,\",{[ "}"#, 2), ("[[],{}]", 5)] {
            assert_eq!(TreeSize::measure(json).values, values, "{json}");
        }
        let many = format!("{{{}}}", vec![r#""":0"#; 100_000].join(","));
        assert!(TreeSize::measure(&many).values > MAX_VALUES);
    }
}
