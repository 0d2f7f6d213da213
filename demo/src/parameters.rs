//! Parameters of the operations: their types, and the complaints about invalid values in the words of a node.

use crate::calendar::CalendarEvent;
use crate::error::{ApiError, ApiResult};
use crate::http::{decode_form_component, split_pairs};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// The bound of a number without a lower bound.
pub(crate) const MIN: i64 = i64::MIN;
/// The bound of a number without an upper bound.
pub(crate) const MAX: i64 = i64::MAX;
/// Complaint about a parameter that the operation does not have.
pub(crate) const UNKNOWN_PARAMETER: &str =
    "property is not defined in schema and the schema does not allow additional properties";
/// Complaint about a missing parameter.
pub(crate) const MISSING_PARAMETER: &str = "property is missing and it is not optional";

/// One parameter of an operation.
pub(crate) struct Parameter {
    /// Name; `net[n]` stands for net0, net1 and so on.
    pub(crate) name: &'static str,
    pub(crate) kind: ParameterType,
    pub(crate) required: bool,
}

/// Creates a required parameter.
pub(crate) const fn required(name: &'static str, kind: ParameterType) -> Parameter {
    Parameter { name, kind, required: true }
}

/// Creates an optional parameter.
pub(crate) const fn optional(name: &'static str, kind: ParameterType) -> Parameter {
    Parameter { name, kind, required: false }
}

/// The type of a parameter's value.
#[derive(Clone, Copy)]
pub(crate) enum ParameterType {
    /// 1 or 0; in JSON also true and false.
    Boolean,
    /// A whole number within inclusive bounds.
    Integer(i64, i64),
    /// A number within inclusive bounds.
    Number(i64, i64),
    /// Any text.
    Text,
    /// A text of at most this number of characters.
    MaxText(usize),
    /// A text with at least and at most this number of characters.
    LengthText(usize, usize),
    /// A text that matches a pattern, which the function tells.
    Pattern(fn(&str) -> bool),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A text that the function accepts. Its error is the complaint.
    Format(fn(&str) -> Result<(), String>),
    /// The id of a guest.
    Vmid,
    /// A list of texts: the key repeated, or a JSON array.
    List,
}

use ParameterType::{Format, Pattern};

/// The name of a node.
pub(crate) const NODE_NAME: ParameterType =
    Format(|t| accept(is_name(t, "-") && t.len() < 64, "value does not look like a valid node name"));
/// The name of an item in a configuration file, such as a snapshot or a job.
pub(crate) const CONFIG_ID: ParameterType = Format(|t| {
    let valid = (2..=40).contains(&t.len()) && t.starts_with(|c: char| c.is_ascii_alphabetic()) && is_name(t, "-_");
    accept(valid, &format!("invalid configuration ID '{t}'"))
});
/// The name of a storage.
pub(crate) const STORAGE_ID: ParameterType =
    Format(|t| accept(is_name(t, "-_."), &format!("storage ID '{t}' contains illegal characters")));
/// The name of a pool.
pub(crate) const POOL_ID: ParameterType =
    Format(|t| accept(is_name(t, "-_./"), &format!("pool name '{t}' contains invalid characters")));
/// A host name, with or without its domain.
pub(crate) const DNS_NAME: ParameterType = Format(|t| {
    let is_label = |l: &str| is_name(l, "-") && l.len() < 64 && !l.starts_with('-') && !l.ends_with('-');
    accept(t.split('.').all(is_label), "value does not look like a valid DNS name")
});
/// A user id, `user@realm`.
pub(crate) const USER_ID: ParameterType = Format(|t| {
    let valid = t.rsplit_once('@').is_some_and(|(user, realm)| {
        !user.is_empty() && !user.contains([':', '/', ' ']) && is_name(realm, "-_.") && t.len() <= 64
    });
    accept(valid, &format!("value '{t}' does not look like a valid user name"))
});
/// The name of a token.
pub(crate) const TOKEN_NAME: ParameterType =
    Pattern(|t| t.len() > 1 && t.starts_with(|c: char| c.is_ascii_alphabetic()) && is_name(t, "-_."));
/// The name of a group.
pub(crate) const GROUP_ID: ParameterType =
    Format(|t| accept(is_name(t, "-_."), &format!("group name '{t}' contains invalid characters")));
/// The name of a role.
pub(crate) const ROLE_ID: ParameterType =
    Format(|t| accept(is_name(t, "-_."), &format!("role name '{t}' contains invalid characters")));
/// A calendar event of systemd, such as `02:00` or `sun 03:00`.
pub(crate) const CALENDAR_EVENT: ParameterType = Format(|t| check_format("pve-calendar-event", t));
/// The retention of backups.
pub(crate) const PRUNE_BACKUPS: ParameterType = Format(|t| check_format("prune-backups", t));
/// A list of results of tasks.
pub(crate) const TASK_STATUS_LIST: ParameterType = Format(|t| check_format("pve-task-status-type-list", t));
/// A list of guest ids.
pub(crate) const VMID_LIST: ParameterType = Format(|t| check_format("pve-vmid-list", t));
/// A percent-encoded text.
pub(crate) const URL_ENCODED: ParameterType = Format(|t| check_format("urlencoded", t));
/// The value of a VM's network card, whose model needs no key.
pub(crate) const NETWORK_CARD: ParameterType = Format(|t| check_single_default_key(t, "model"));
/// The value of a VM's disk, whose volume needs no key.
pub(crate) const DRIVE: ParameterType = Format(|t| check_single_default_key(t, "file"));
/// The value of a container's mount point, whose volume needs no key.
pub(crate) const MOUNT_POINT: ParameterType = Format(|t| check_single_default_key(t, "volume"));
/// The memory of a VM in MiB: a number, or a property string.
pub(crate) const MEMORY: ParameterType = Format(|t| {
    let current = t.strip_prefix("current=").unwrap_or(t);
    match current.parse::<i64>() {
        Ok(16..) => Ok(()),
        Ok(_) => Err("format error\nmemory.current: value must have a minimum value of 16".into()),
        Err(_) => Err(format!("format error\nmemory.current: type check ('integer') failed - got '{current}'")),
    }
});

/// Fails if two parts of a property string have no key.
fn check_single_default_key(text: &str, key: &str) -> Result<(), String> {
    let count = text.split(',').filter(|part| !part.is_empty() && !part.contains('=')).count();
    accept(count < 2, &format!("duplicate key in comma-separated list property: {key}"))
}

fn accept(valid: bool, complaint: &str) -> Result<(), String> {
    if valid { Ok(()) } else { Err(complaint.into()) }
}

/// Returns true if the text consists of ASCII letters, digits and the characters in `punctuation`.
fn is_name(text: &str, punctuation: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || punctuation.contains(c))
}

/// The parameters of a request, by name.
pub(crate) type RequestParams = BTreeMap<String, Value>;

/// Adds the pairs of a query or a form. A repeated key becomes an array. A value ends at a second `=`, as on a node.
pub(crate) fn add_form(params: &mut RequestParams, text: &str) {
    for (key, value) in split_pairs(text) {
        let (key, value) = (decode_form_component(key), Value::String(decode_form_component(value)));
        match params.get_mut(&key) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                params.insert(key, value);
            }
        }
    }
}

/// Adds the members of a JSON object that are not null.
pub(crate) fn add_json(params: &mut RequestParams, object: Map<String, Value>) {
    params.extend(object.into_iter().filter(|(_, value)| !value.is_null()));
}

/// Checks the parameters of the path and of the request against those of the operation.
///
/// Returns the values as the API keeps them: numbers as numbers, booleans as 1 and 0. The error has all complaints.
pub(crate) fn validate(
    parameters: &[&[Parameter]],
    path: &RequestParams,
    request: RequestParams,
) -> ApiResult<RequestParams> {
    let parameters = || parameters.iter().copied().flatten();
    let check = |key: &str, value| match parameters().find(|parameter| parameter.has_name(key)) {
        Some(parameter) => parameter.kind.validate(value),
        None => Err(UNKNOWN_PARAMETER.into()),
    };
    let required = parameters().filter(|parameter| parameter.required).map(|parameter| parameter.name);
    validate_with(path, request, check, required)
}

/// Checks the parameters of the path and of the request with a function, and that those required are there.
pub(crate) fn validate_with<'a>(
    path: &RequestParams,
    request: RequestParams,
    check: impl Fn(&str, Value) -> Result<Value, String>,
    required: impl Iterator<Item = &'a str>,
) -> ApiResult<RequestParams> {
    let mut errors = BTreeMap::new();
    let mut values = path.clone();
    for (key, value) in request {
        match path.get(&key) {
            Some(in_path) if value_text(in_path) != value_text(&value) => {
                let clash = "duplicate parameter (already defined in URI) with conflicting values!";
                errors.insert(key, clash.to_string());
            }
            Some(_) => {}
            None => {
                values.insert(key, value);
            }
        }
    }
    // A node looks for clashes before it checks types.
    if !errors.is_empty() {
        return Err(ApiError::Parameters(errors));
    }
    let mut validated = RequestParams::new();
    for (key, value) in values {
        match check(&key, value) {
            Ok(value) => drop(validated.insert(key, value)),
            Err(complaint) => drop(errors.insert(key, complaint)),
        }
    }
    for name in required {
        if !validated.contains_key(name) && !errors.contains_key(name) {
            errors.insert(name.into(), MISSING_PARAMETER.into());
        }
    }
    if errors.is_empty() { Ok(validated) } else { Err(ApiError::Parameters(errors)) }
}

/// Checks a text by the name of its format. Returns the complaint. Formats that the demo does not know accept any text.
pub(crate) fn check_format(format: &str, text: &str) -> Result<(), String> {
    if let Some(format) = format.strip_suffix("-list") {
        return text
            .split([',', ';', ' ', '\0'])
            .filter(|item| !item.is_empty())
            .try_for_each(|item| check_format(format, item));
    }
    let kind = match format {
        "pve-configid" => CONFIG_ID,
        "pve-storage-id" => STORAGE_ID,
        "pve-node" => NODE_NAME,
        "pve-poolid" => POOL_ID,
        "dns-name" => DNS_NAME,
        _ => Format(|_| Ok(())),
    };
    if let Format(check) = kind {
        check(text)?;
    }
    match format {
        "pve-vmid" => accept(
            text.parse::<u32>().is_ok_and(|id| (100..=999_999_999).contains(&id)),
            "value does not look like a valid VM ID",
        ),
        "pve-calendar-event" => accept(
            CalendarEvent::parse(text).is_some(),
            &format!("invalid calendar event '{text}' - unable to parse calendar event '{text}'\n"),
        ),
        "pve-replication-job-id" => {
            let is_job = text.split_once('-').is_some_and(|(guest, number)| {
                check_format("pve-vmid", guest).is_ok() && number.parse::<u32>().is_ok()
            });
            accept(is_job, &format!("invalid replication job id '{text}'"))
        }
        "pve-task-status-type" => {
            accept(matches!(text, "ok" | "error" | "warning" | "unknown"), &format!("invalid status '{text}'"))
        }
        "prune-backups" => text.split(',').try_for_each(|part| {
            accept(part.contains('='), "value without key, but schema does not define a default key")
        }),
        "urlencoded" => accept(
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b"%-_.!~*'()".contains(&b)),
            &format!("invalid urlencoded string: {text}"),
        ),
        "CIDR" => accept(text.contains('/'), "value does not look like a valid CIDR network"),
        _ => Ok(()),
    }
}

/// Returns a scalar as the text that a form would have.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Parameter {
    /// Returns true if the key names this parameter, or one of a numbered family.
    pub(crate) fn has_name(&self, key: &str) -> bool {
        self.name == key || Self::is_family_member(self.name, key)
    }

    /// Returns true if the key is one of the numbered family `name`, such as `net0` of `net[n]`.
    pub(crate) fn is_family_member(name: &str, key: &str) -> bool {
        let Some(family) = name.strip_suffix("[n]") else { return false };
        key.strip_prefix(family).is_some_and(|number| {
            (1..=3).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
                && (number == "0" || !number.starts_with('0'))
        })
    }
}

impl ParameterType {
    /// Returns the type as a node's API description names it.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer(..) | Self::Vmid => "integer",
            Self::Number(..) => "number",
            Self::List => "array",
            Self::Text
            | Self::MaxText(_)
            | Self::LengthText(..)
            | Self::Pattern(_)
            | Self::OneOf(_)
            | Self::Format(_) => "string",
        }
    }

    pub(crate) fn validate(self, value: Value) -> Result<Value, String> {
        let mismatch = |got: &str| format!("type check ('{}') failed - got {got}", self.type_name());
        let text = match (self, value) {
            (Self::List, Value::Array(items)) => return Ok(Value::Array(items)),
            (Self::List, Value::String(item)) => return Ok(Value::Array(vec![item.into()])),
            (_, Value::Array(_)) => return Err(mismatch("ARRAY")),
            (_, Value::Object(_)) => return Err(mismatch("HASH")),
            (_, Value::Bool(b)) => u8::from(b).to_string(),
            (_, scalar) => value_text(&scalar),
        };
        let mismatch = || mismatch(&format!("'{text}'"));
        match self {
            Self::Boolean => match text.as_str() {
                "1" => Ok(1.into()),
                "0" => Ok(0.into()),
                _ => Err(mismatch()),
            },
            Self::Integer(min, max) => {
                let n: i64 = text.parse().map_err(|_| mismatch())?;
                check_bounds(n as f64, min, max).map(|()| n.into())
            }
            Self::Number(min, max) => {
                let n = text.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(mismatch)?;
                check_bounds(n, min, max).map(|()| to_number(n))
            }
            Self::Vmid => match text.parse::<u32>() {
                Ok(n @ 100..=999_999_999) => Ok(n.into()),
                _ if text.parse::<i64>().is_ok() => {
                    Err("invalid format - value does not look like a valid VM ID\n".into())
                }
                _ => Err(mismatch()),
            },
            Self::MaxText(max) | Self::LengthText(_, max) if text.chars().count() > max => {
                Err(format!("value may only be {max} characters long"))
            }
            Self::LengthText(min, _) if text.chars().count() < min => {
                Err(format!("value must be at least {min} characters long"))
            }
            Self::Pattern(matches) if !matches(&text) => Err("value does not match the regex pattern".into()),
            Self::OneOf(words) if !words.contains(&text.as_str()) => {
                Err(format!("value '{text}' does not have a value in the enumeration '{}'", words.join(", ")))
            }
            Self::Format(check) => match check(&text) {
                Ok(()) => Ok(text.into()),
                Err(complaint) => Err(format!("invalid format - {complaint}\n")),
            },
            Self::Text | Self::MaxText(_) | Self::LengthText(..) | Self::Pattern(_) | Self::OneOf(_) | Self::List => {
                Ok(text.into())
            }
        }
    }
}

fn check_bounds(n: f64, min: i64, max: i64) -> Result<(), String> {
    if min != MIN && n < min as f64 {
        Err(format!("value must have a minimum value of {min}"))
    } else if max != MAX && n > max as f64 {
        Err(format!("value must have a maximum value of {max}"))
    } else {
        Ok(())
    }
}

/// Returns a finite number in JSON, without a fraction if it has none.
fn to_number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() < 1e15 {
        (n as i64).into()
    } else {
        Value::Number(Number::from_f64(n).expect("a finite number"))
    }
}

#[cfg(test)]
mod tests {
    use super::ParameterType::{Boolean, Integer, MaxText, Text, Vmid};
    use super::{MAX, MEMORY, RequestParams, add_form, optional, required, validate};
    use crate::error::ApiError;

    #[test]
    fn validate_returns_every_complaint_at_once() {
        let mut form = RequestParams::new();
        add_form(&mut form, "vmid=5&memory=abc&cores=0&bogus=1&onboot=maybe&net0=a&net01=b&cores=0");
        let first = &[required("vmid", Vmid), required("target", MaxText(9)), optional("memory", MEMORY)];
        let second = &[optional("cores", Integer(1, MAX)), optional("onboot", Boolean), optional("net[n]", Text)];
        let result = validate(&[first, second], &RequestParams::new(), form);
        let Err(ApiError::Parameters(errors)) = result else { panic!("accepted: {result:?}") };
        let names: Vec<_> = errors.keys().map(String::as_str).collect();
        assert_eq!(names, ["bogus", "cores", "memory", "net01", "onboot", "target", "vmid"]);
        assert_eq!(errors["cores"], "type check ('integer') failed - got ARRAY");
    }
}
