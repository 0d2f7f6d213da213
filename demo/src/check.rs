//! Parameters: what an operation takes, and every complaint about what it was given, worded as a node words it.

use super::http::decode;
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// No lower bound.
pub(super) const MIN: i64 = i64::MIN;
/// No upper bound.
pub(super) const MAX: i64 = i64::MAX;
/// What a real node says to a parameter it does not know.
pub(super) const UNKNOWN: &str =
    "property is not defined in schema and the schema does not allow additional properties";

/// One parameter of an operation.
pub(super) struct Param {
    /// Its name; `net[n]` stands for net0, net1 and so on.
    pub(super) name: &'static str,
    /// What its value must be.
    pub(super) kind: Kind,
    /// Whether it must be given.
    pub(super) required: bool,
}

/// A parameter that must be given.
pub(super) const fn need(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, required: true }
}

/// A parameter that may be given.
pub(super) const fn may(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, required: false }
}

/// What a parameter's value must be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// 1 or 0; in JSON also true and false.
    Bool,
    /// A whole number from .. to.
    Int(i64, i64),
    /// A number from .. to.
    Num(i64, i64),
    /// A text of at most so many characters; 0 for any.
    Text(usize),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A text that passes the function; else the text it answers.
    Form(fn(&str) -> Result<(), String>),
    /// An id of a guest.
    Vmid,
    /// Texts: the key repeated, or a JSON array.
    List,
}

/// Any text.
pub(super) const TEXT: Kind = Kind::Text(0);
/// A node's name.
pub(super) const NODE: Kind =
    Kind::Form(|t| form(name(t, "-") && t.len() < 64, "value does not look like a valid node name"));
/// The name of a thing in a configuration: a snapshot, a job.
pub(super) const CONFIGID: Kind = Kind::Form(|t| {
    let good = t.len() >= 2 && t.starts_with(|c: char| c.is_ascii_alphabetic()) && name(t, "-_");
    form(good && t.len() <= 40, &format!("invalid configuration ID '{t}'"))
});
/// A storage's name.
pub(super) const STORE: Kind =
    Kind::Form(|t| form(name(t, "-_."), &format!("storage ID '{t}' contains illegal characters")));
/// A pool's name.
pub(super) const POOL: Kind =
    Kind::Form(|t| form(name(t, "-_./"), &format!("pool name '{t}' contains invalid characters")));
/// A host name, with or without its domain.
pub(super) const DNS: Kind = Kind::Form(|t| {
    let label = |l: &str| name(l, "-") && l.len() < 64 && !l.starts_with('-') && !l.ends_with('-');
    form(t.split('.').all(label), "value does not look like a valid DNS name")
});
/// `user@realm`.
pub(super) const USERID: Kind = Kind::Form(|t| {
    let good = t.rsplit_once('@').is_some_and(|(user, realm)| {
        !user.is_empty() && !user.contains([':', '/', ' ']) && name(realm, "-_.") && t.len() <= 64
    });
    form(good, &format!("value '{t}' does not look like a valid user name"))
});
/// A VM's memory in MiB: a number, or the property string that may stand in its place.
pub(super) const MEMORY: Kind = Kind::Form(|t| {
    let current = t.strip_prefix("current=").unwrap_or(t);
    match current.parse::<i64>() {
        Ok(16..) => Ok(()),
        Ok(_) => Err("format error\nmemory.current: value must have a minimum value of 16".into()),
        Err(_) => Err(format!("format error\nmemory.current: type check ('integer') failed - got '{current}'")),
    }
});

#[inline(never)]
fn form(good: bool, complaint: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(complaint.into()) }
}

#[inline(never)]
fn name(text: &str, also: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

/// What a request gives, by name, before anyone knows what it should be.
pub(super) type Given = BTreeMap<String, Value>;

/// Adds the pairs of a query or a form; a repeated key becomes an array.
pub(super) fn add_form(given: &mut Given, text: &str) {
    for pair in text.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key, true), Value::String(decode(value, true)));
        match given.get_mut(&key) {
            Some(Value::Array(all)) => all.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                given.insert(key, value);
            }
        }
    }
}

/// Adds the members of a JSON object; null is as good as absent.
pub(super) fn add_json(given: &mut Given, object: Map<String, Value>) {
    given.extend(object.into_iter().filter(|(_, value)| !value.is_null()));
}

/// Checks everything given against everything the operation takes. The values come back as the API keeps them (numbers
/// as numbers, booleans as 1 and 0), or all complaints at once, by parameter.
pub(super) fn check(params: &[&[Param]], path: &Given, given: Given) -> Result<Given, BTreeMap<String, String>> {
    let mut errors = BTreeMap::new();
    let mut all = path.clone();
    for (key, value) in given {
        match path.get(&key) {
            Some(before) if plain(before) != plain(&value) => {
                let clash = "duplicate parameter (already defined in URI) with conflicting values!";
                errors.insert(key, clash.to_string());
            }
            Some(_) => {}
            None => {
                all.insert(key, value);
            }
        }
    }
    // A clash is found before the schema is asked.
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut checked = Given::new();
    for (key, value) in all {
        let Some(param) = params.iter().flat_map(|group| group.iter()).find(|p| p.is(&key)) else {
            errors.insert(key, UNKNOWN.into());
            continue;
        };
        match param.kind.check(value) {
            Ok(value) => {
                checked.insert(key, value);
            }
            Err(complaint) => {
                errors.insert(key, complaint);
            }
        }
    }
    for param in params.iter().flat_map(|group| group.iter()).filter(|p| p.required) {
        if !checked.contains_key(param.name) && !errors.contains_key(param.name) {
            errors.insert(param.name.into(), "property is missing and it is not optional".into());
        }
    }
    if errors.is_empty() { Ok(checked) } else { Err(errors) }
}

/// A scalar as the text it would be in a form.
#[inline(never)]
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Param {
    /// Whether the name is this parameter's, or one of its family's.
    pub(super) fn is(&self, key: &str) -> bool {
        match self.name.strip_suffix("[n]") {
            None => self.name == key,
            Some(family) => key.strip_prefix(family).is_some_and(|n| {
                !n.is_empty()
                    && n.len() <= 3
                    && n.bytes().all(|b| b.is_ascii_digit())
                    && (n == "0" || !n.starts_with('0'))
            }),
        }
    }
}

impl Kind {
    /// The type as a node's API description names it.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int(..) | Self::Vmid => "integer",
            Self::Num(..) => "number",
            Self::List => "array",
            _ => "string",
        }
    }

    fn check(self, value: Value) -> Result<Value, String> {
        let wrong = |got: &str| Err(format!("type check ('{}') failed - got {got}", self.type_name()));
        let text = match (self, value) {
            (Self::List, Value::Array(all)) => return Ok(Value::Array(all)),
            (Self::List, Value::String(one)) => return Ok(Value::Array(vec![one.into()])),
            (_, Value::Array(_)) => return wrong("ARRAY"),
            (_, Value::Object(_)) => return wrong("HASH"),
            (_, Value::Bool(b)) => if b { "1" } else { "0" }.to_string(),
            (_, other) => plain(&other),
        };
        match self {
            Self::Bool => match text.as_str() {
                "1" => Ok(1.into()),
                "0" => Ok(0.into()),
                _ => wrong(&format!("'{text}'")),
            },
            Self::Int(from, to) => match text.parse::<i64>() {
                Ok(n) => bounds(n as f64, from, to).map(|()| n.into()),
                Err(_) => wrong(&format!("'{text}'")),
            },
            Self::Num(from, to) => match text.parse::<f64>() {
                Ok(n) if n.is_finite() => bounds(n, from, to).map(|()| number(n)),
                _ => wrong(&format!("'{text}'")),
            },
            Self::Vmid => match text.parse::<i64>() {
                Ok(n @ 100..=999_999_999) => Ok(n.into()),
                Ok(_) => Err("invalid format - value does not look like a valid VM ID\n".into()),
                Err(_) => wrong(&format!("'{text}'")),
            },
            Self::Text(max) if max > 0 && text.chars().count() > max => {
                Err(format!("value may only be {max} characters long"))
            }
            Self::OneOf(all) if !all.contains(&text.as_str()) => {
                Err(format!("value '{text}' does not have a value in the enumeration '{}'", all.join(", ")))
            }
            Self::Form(test) => match test(&text) {
                Ok(()) => Ok(text.into()),
                Err(complaint) => Err(format!("invalid format - {complaint}\n")),
            },
            _ => Ok(text.into()),
        }
    }
}

fn bounds(n: f64, from: i64, to: i64) -> Result<(), String> {
    if from != MIN && n < from as f64 {
        Err(format!("value must have a minimum value of {from}"))
    } else if to != MAX && n > to as f64 {
        Err(format!("value must have a maximum value of {to}"))
    } else {
        Ok(())
    }
}

fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() < 1e15 {
        (n as i64).into()
    } else {
        Number::from_f64(n).map_or(0.into(), Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::{Given, Kind, MAX, MEMORY, add_form, check, may, need};

    #[test]
    fn every_complaint_comes_at_once() {
        let mut given = Given::new();
        add_form(&mut given, "vmid=5&memory=abc&cores=0&bogus=1&onboot=maybe&net0=a&net01=b&cores=0");
        let params = &[need("vmid", Kind::Vmid), need("target", Kind::Text(9)), may("memory", MEMORY)];
        let more = &[may("cores", Kind::Int(1, MAX)), may("onboot", Kind::Bool), may("net[n]", Kind::Text(0))];
        let errors = check(&[params, more], &Given::new(), given).unwrap_err();
        let names: Vec<_> = errors.keys().map(String::as_str).collect();
        assert_eq!(names, ["bogus", "cores", "memory", "net01", "onboot", "target", "vmid"]);
        assert_eq!(errors["cores"], "type check ('integer') failed - got ARRAY");
    }
}
