//! JSON values within a budget of memory instead of text. `[{"":0},{"":0}]` takes eighty times its own length.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// Approximate memory of a value in a list, or of a value or key in an object.
const VALUE_BYTES: usize = 64;
/// Approximate memory of the first node of an object's tree.
const OBJECT_BYTES: usize = 640;

/// Memory that one value may take.
pub(super) struct ValueBudget {
    left: Cell<usize>,
    exceeded: Cell<bool>,
}

impl ValueBudget {
    pub(super) fn new(bytes: usize) -> Self {
        Self { left: Cell::new(bytes), exceeded: Cell::new(false) }
    }

    /// Returns whether a value was rejected because it needs more memory.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }

    fn reserve<E: Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.exceeded.set(true);
                Err(E::custom("the value takes too much memory"))
            }
        }
    }
}

/// Reads a value and takes its memory from the budget.
#[derive(Clone, Copy)]
pub(super) struct MemoryLimitedValue<'a>(pub(super) &'a ValueBudget);

impl<'de> DeserializeSeed<'de> for MemoryLimitedValue<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MemoryLimitedValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.0.reserve(value.len())?;
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            self.0.reserve(VALUE_BYTES)?;
            list.push(value);
        }
        Ok(list.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.0.reserve(key.len() + if object.is_empty() { OBJECT_BYTES } else { 2 * VALUE_BYTES })?;
            object.insert(key, map.next_value_seed(self)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, budget: usize) -> Result<Value, serde_json::Error> {
        let budget = ValueBudget::new(budget);
        let result = MemoryLimitedValue(&budget).deserialize(&mut serde_json::Deserializer::from_str(json));
        assert_eq!(budget.is_exceeded(), result.is_err());
        result
    }

    #[test]
    fn a_value_within_its_budget_is_that_of_serde_json() {
        let json = r#"{"a":[null,true,-1,18446744073709551615,0.5,"x",{}],"b":{"c":[]},"a\n":1,"b":2}"#;
        assert_eq!(read(json, 10_000).unwrap(), serde_json::from_str::<Value>(json).unwrap());
    }

    #[test]
    fn small_objects_count_as_what_they_take() {
        let json = format!("[{}0]", r#"{"":0},"#.repeat(10_000));
        assert!(json.len() < 100_000);
        assert!(read(&json, 1 << 20).is_err() && read(&json, 8 << 20).is_ok());
    }
}
