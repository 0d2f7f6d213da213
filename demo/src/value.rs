//! JSON values, built small.
//!
//! `serde_json::json!` puts each key's allocation, insertion and error path into the caller. With some hundred literals
//! that made most of this module's code, and the demo ships inside the binary. This `json!` takes the same syntax and
//! only fills an array; one function makes the object of it.

use serde_json::{Map, Value};

/// What can stand as a value in [`json!`].
pub(super) trait ToValue {
    /// A copy of it in JSON.
    fn to_value(&self) -> Value;
}

/// An object of these members. A function of its own, and never inlined, for the reason above.
#[inline(never)]
pub(super) fn object(members: &mut [(&str, Value)]) -> Value {
    let mut map = Map::new();
    for (key, value) in members {
        map.insert((*key).to_string(), value.take());
    }
    Value::Object(map)
}

/// An array of these.
#[inline(never)]
pub(super) fn array(items: &mut [Value]) -> Value {
    Value::Array(items.iter_mut().map(Value::take).collect())
}

/// Puts a member into an object.
#[inline(never)]
pub(super) fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    map.insert(key.to_string(), value);
}

/// Sets a member of an object; of anything else it changes nothing.
#[inline(never)]
pub(super) fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = object {
        map.insert(key.to_string(), value);
    }
}

/// Takes the members of the second object over into the first.
#[inline(never)]
pub(super) fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(map), Value::Object(more)) = (object, more) {
        map.extend(more);
    }
}

macro_rules! scalar {
    ($($kind:ty)*) => { $(impl ToValue for $kind {
        fn to_value(&self) -> Value { Value::from(*self) }
    })* };
}
scalar!(u8 u32 u64 usize i32 i64 f64);

impl ToValue for str {
    #[inline(never)]
    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        self.as_str().to_value()
    }
}

impl ToValue for Value {
    #[inline(never)]
    fn to_value(&self) -> Value {
        self.clone()
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl<T: ToValue> ToValue for Vec<T> {
    fn to_value(&self) -> Value {
        Value::Array(self.iter().map(ToValue::to_value).collect())
    }
}

impl<K: AsRef<str>, V: ToValue> ToValue for std::collections::BTreeMap<K, V> {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, value) in self {
            map.insert(key.as_ref().to_string(), value.to_value());
        }
        Value::Object(map)
    }
}

/// A JSON value from its literal; members that are no literals are copied.
macro_rules! json {
    (@object [$($done:tt)*] $(,)?) => { $crate::value::object(&mut [$($done)*]) };
    (@object [$($done:tt)*] $key:tt : null $(, $($rest:tt)*)?) => {
        json!(@object [$($done)* ($key, serde_json::Value::Null),] $($($rest)*)?)
    };
    (@object [$($done:tt)*] $key:tt : {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        json!(@object [$($done)* ($key, json!({$($inner)*})),] $($($rest)*)?)
    };
    (@object [$($done:tt)*] $key:tt : [$($inner:tt)*] $(, $($rest:tt)*)?) => {
        json!(@object [$($done)* ($key, json!([$($inner)*])),] $($($rest)*)?)
    };
    (@object [$($done:tt)*] $key:tt : $value:expr $(, $($rest:tt)*)?) => {
        json!(@object [$($done)* ($key, $crate::value::ToValue::to_value(&$value)),] $($($rest)*)?)
    };
    (@array [$($done:tt)*] $(,)?) => { $crate::value::array(&mut [$($done)*]) };
    (@array [$($done:tt)*] {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        json!(@array [$($done)* json!({$($inner)*}),] $($($rest)*)?)
    };
    (@array [$($done:tt)*] $value:expr $(, $($rest:tt)*)?) => {
        json!(@array [$($done)* $crate::value::ToValue::to_value(&$value),] $($($rest)*)?)
    };
    ({$($members:tt)*}) => { json!(@object [] $($members)*) };
    ([$($items:tt)*]) => { json!(@array [] $($items)*) };
    ($value:expr) => { $crate::value::ToValue::to_value(&$value) };
}
pub(super) use json;
