//! Parameters of tools as data: their JSON Schema for clients, and the check of the arguments that a model sent.

use crate::base::shorten::shorten;
use crate::base::suggest::suggest;
use serde_json::{Map, Value, json};
use thiserror::Error;

#[derive(Clone, Copy, Debug)]
pub struct ToolParameter {
    pub name: &'static str,
    pub kind: ParameterKind,
    pub required: bool,
    /// Meaning of the parameter, for the model.
    pub description: &'static str,
}

/// The values that a parameter accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    Text,
    /// true or false.
    Flag,
    /// One of these words, in upper or lower case.
    Choice(&'static [&'static str]),
    /// An object with any names.
    Object,
    /// A whole number up to 2^53 - 1, as a number or in digits.
    Count,
    /// A list of strings. One string alone is a list of one.
    TextList,
}

/// The largest [`ParameterKind::Count`], up to which every JSON parser reads integers exactly (RFC 8259, section 6).
const MAX_COUNT: u64 = (1 << 53) - 1;

/// Rejection of the arguments of a tool, with all problems at once.
#[derive(Debug, Error)]
#[error("{tool}: {}{}", join_problems(.problems), format_left_out(*.left_out))]
pub struct InvalidArguments {
    tool: String,
    problems: Vec<ArgumentProblem>,
    /// Number of unknown arguments beside those in `problems`.
    left_out: usize,
}

/// Unknown arguments that an error names. Each costs a comparison with all names, and the model's tokens.
const MAX_UNKNOWN_ARGUMENTS: usize = 10;

#[derive(Debug, Error)]
enum ArgumentProblem {
    #[error("unknown argument {name:?}{} (valid: {})", format_suggestion(.suggestion), join_names(.valid))]
    Unknown { name: String, suggestion: Option<&'static str>, valid: Vec<&'static str> },
    #[error("{} must be {} ({})", .0.name, .0.expected(), .0.description)]
    WrongType(ToolParameter),
    #[error("{} is missing: {}, {}", .0.name, .0.expected(), .0.description)]
    Missing(ToolParameter),
}

fn join_problems(problems: &[ArgumentProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn format_left_out(left_out: usize) -> String {
    if left_out == 0 { String::new() } else { format!("; and {left_out} more unknown arguments") }
}

fn format_suggestion(suggestion: &Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean {name}?"))
}

fn join_names(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

impl ToolParameter {
    /// Returns the JSON Schema of the parameter.
    pub fn schema(&self) -> Value {
        let mut schema = match self.kind {
            ParameterKind::Text => json!({"type": "string"}),
            ParameterKind::Flag => json!({"type": "boolean"}),
            ParameterKind::Choice(words) => json!({"type": "string", "enum": words}),
            ParameterKind::Object => json!({"type": "object", "additionalProperties": true}),
            // A string is accepted too, but some clients reject a tool with a union.
            ParameterKind::Count => json!({"type": "integer", "minimum": 0}),
            ParameterKind::TextList => json!({"type": "array", "items": {"type": "string"}}),
        };
        schema["description"] = self.description.into();
        schema
    }

    /// Returns the expected value for an error text.
    fn expected(&self) -> String {
        match self.kind {
            ParameterKind::Text => "a string".into(),
            ParameterKind::Flag => "true or false".into(),
            ParameterKind::Choice(words) => format!("one of {}", words.join(", ")),
            ParameterKind::Object => "an object such as {\"name\": \"value\"}".into(),
            ParameterKind::Count => "a whole number, 0 or more".into(),
            ParameterKind::TextList => "a list of strings".into(),
        }
    }

    /// Converts a value to the type of the parameter. Returns `None` if it does not fit.
    ///
    /// Models also write unambiguous values of other types: a number for a text, a text for an object.
    fn coerce(&self, value: Value) -> Option<Value> {
        match (&self.kind, value) {
            (ParameterKind::Text, value @ Value::String(_))
            | (ParameterKind::Flag, value @ Value::Bool(_))
            | (ParameterKind::Object, value @ Value::Object(_)) => Some(value),
            (ParameterKind::Text, Value::Number(number)) => Some(number.to_string().into()),
            (ParameterKind::Text, Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_string) => {
                Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into())
            }
            (ParameterKind::Flag, Value::String(text)) => text.parse::<bool>().ok().map(Value::from),
            (ParameterKind::Object, Value::String(text)) => {
                serde_json::from_str::<Map<String, Value>>(&text).ok().map(Value::from)
            }
            (ParameterKind::Choice(words), Value::String(text)) => {
                words.iter().find(|word| word.eq_ignore_ascii_case(&text)).map(|word| Value::from(*word))
            }
            (ParameterKind::Count, Value::Number(number)) => {
                // Some clients write every number with a fraction.
                let is_count = |f: &f64| f.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(f);
                let count = number.as_u64().or_else(|| number.as_f64().filter(is_count).map(|f| f as u64));
                count.filter(|count| *count <= MAX_COUNT).map(Value::from)
            }
            (ParameterKind::Count, Value::String(text)) => {
                text.trim().parse::<u64>().ok().filter(|count| *count <= MAX_COUNT).map(Value::from)
            }
            (ParameterKind::TextList, value @ Value::String(_)) => Some(Value::Array(vec![value])),
            (ParameterKind::TextList, Value::Array(list)) => {
                list.iter().all(Value::is_string).then_some(Value::Array(list))
            }
            _ => None,
        }
    }
}

/// Returns the JSON Schema of an object with exactly these parameters.
pub fn object_schema(params: &[ToolParameter]) -> Value {
    let properties: Map<_, _> = params.iter().map(|param| (param.name.into(), param.schema())).collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let required: Vec<_> = params.iter().filter(|param| param.required).map(|param| param.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The checked arguments of one call.
#[derive(Debug)]
pub struct ToolArguments(Map<String, Value>);

impl ToolArguments {
    /// Checks arguments against the parameters of a tool.
    ///
    /// # Errors
    /// All problems of the arguments at once.
    pub fn validate(
        tool: &str,
        params: &[ToolParameter],
        arguments: Map<String, Value>,
    ) -> Result<Self, InvalidArguments> {
        let (mut problems, mut unknown_count, mut left_out) = (Vec::new(), 0, 0);
        let mut accepted = Map::new();
        for (name, value) in arguments {
            match params.iter().find(|param| param.name == name) {
                // Models send null, or an empty text, for an argument that they leave out.
                Some(param) if value.is_null() || !param.required && value == "" => {}
                None if value.is_null() => {}
                None if unknown_count >= MAX_UNKNOWN_ARGUMENTS => left_out += 1,
                None => {
                    unknown_count += 1;
                    let valid: Vec<_> = params.iter().map(|param| param.name).collect();
                    let suggestion = suggest(&name, valid.iter().copied());
                    let name = shorten(&name).into_owned();
                    problems.push(ArgumentProblem::Unknown { name, suggestion, valid });
                }
                Some(param) => match param.coerce(value) {
                    Some(value) => _ = accepted.insert(name, value),
                    None => problems.push(ArgumentProblem::WrongType(*param)),
                },
            }
        }
        for param in params.iter().filter(|param| param.required && !accepted.contains_key(param.name)) {
            let is_reported = |problem: &_| matches!(problem, ArgumentProblem::WrongType(p) if p.name == param.name);
            if !problems.iter().any(is_reported) {
                problems.push(ArgumentProblem::Missing(*param));
            }
        }
        if problems.is_empty() {
            Ok(Self(accepted))
        } else {
            Err(InvalidArguments { tool: tool.into(), problems, left_out })
        }
    }

    /// Creates arguments without a check, for a tool that checks them itself.
    pub fn new_unchecked(arguments: Map<String, Value>) -> Self {
        Self(arguments)
    }

    /// Returns a [`ParameterKind::Text`] or [`ParameterKind::Choice`], if it was sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Returns a [`ParameterKind::Flag`], by default false.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns a [`ParameterKind::Object`], if it was sent.
    pub fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name).and_then(Value::as_object)
    }

    /// Returns a [`ParameterKind::Count`], if it was sent.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// Returns a [`ParameterKind::TextList`], if it was sent.
    pub fn text_list(&self, name: &str) -> Option<Vec<&str>> {
        self.0.get(name).and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: [ToolParameter; 5] = [
        ToolParameter { name: "path", kind: ParameterKind::Text, required: true, description: "an address" },
        ToolParameter {
            name: "method",
            kind: ParameterKind::Choice(&["GET", "PUT"]),
            required: false,
            description: "the verb",
        },
        ToolParameter { name: "data", kind: ParameterKind::Object, required: false, description: "the body" },
        ToolParameter { name: "limit", kind: ParameterKind::Count, required: false, description: "rows" },
        ToolParameter { name: "tags", kind: ParameterKind::TextList, required: false, description: "words" },
    ];

    fn check(arguments: Value) -> Result<ToolArguments, String> {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        ToolArguments::validate("tool", &PARAMS, arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn matching_values_are_accepted_null_is_absent_and_choices_ignore_case() {
        let args = check(json!({"path": "/x", "method": "put", "data": null})).unwrap();
        assert_eq!((args.text("path"), args.text("method")), (Some("/x"), Some("PUT")));
        assert!(args.object("data").is_none());
    }

    #[test]
    fn of_many_unknown_arguments_ten_are_named() {
        let many: Map<String, Value> = (0..5_000).map(|n| (format!("{n}{}", "x".repeat(500)), json!(1))).collect();
        let error = check(Value::Object(many)).unwrap_err();
        assert!(error.len() < 3_000 && error.ends_with("; and 4990 more unknown arguments"), "{error}");
    }

    #[test]
    fn all_problems_are_reported_at_once_with_the_expected_values() {
        let error = check(json!({"paht": "/x", "method": "PATCH", "data": "a=b"})).unwrap_err();
        for part in [
            "unknown argument \"paht\", did you mean path? (valid: path, method, data, limit, tags)",
            "method must be one of GET, PUT",
            "data must be an object",
            "path is missing: a string, an address",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(check(json!({"path": true})).unwrap_err(), "tool: path must be a string (an address)");
    }

    #[test]
    fn a_count_is_a_whole_number_in_any_notation() {
        for (sent, count) in [
            (json!(10), Some(10)),
            (json!("10"), Some(10)),
            (json!(10.0), Some(10)),
            (json!(0), Some(0)),
            (json!(MAX_COUNT), Some(MAX_COUNT)),
            (json!(null), None),
            (json!(""), None),
        ] {
            assert_eq!(check(json!({"path": "/", "limit": sent})).unwrap().count("limit"), count, "{sent}");
        }
        for sent in [
            json!(-1),
            json!(1.5),
            json!("x"),
            json!("-1"),
            json!(1e300),
            json!(MAX_COUNT + 1),
            json!(true),
            json!([1]),
        ] {
            let error = check(json!({"path": "/", "limit": sent})).unwrap_err();
            assert_eq!(error, "tool: limit must be a whole number, 0 or more (rows)", "{sent}");
        }
    }

    #[test]
    fn a_text_list_is_a_list_of_strings_or_one_string() {
        let texts =
            |sent| check(json!({"path": "/", "tags": sent})).map(|args| args.text_list("tags").map(|t| t.join("|")));
        assert_eq!(texts(json!(["a", "b,c"])).unwrap().unwrap(), "a|b,c");
        assert_eq!(texts(json!("a")).unwrap().unwrap(), "a");
        assert_eq!(texts(json!([])).unwrap().unwrap(), "");
        assert!(texts(json!(null)).unwrap().is_none());
        for sent in [json!([1]), json!({"a": 1}), json!(7)] {
            assert!(texts(sent.clone()).unwrap_err().contains("tags must be a list of strings"), "{sent}");
        }
    }

    #[test]
    fn no_schema_is_a_union() {
        let schema = object_schema(&PARAMS);
        for (name, param) in schema["properties"].as_object().unwrap() {
            assert!(param["type"].is_string(), "{name}");
        }
        assert_eq!(schema["properties"]["limit"], json!({"type": "integer", "minimum": 0, "description": "rows"}));
    }
}
