//! Parameters of tools as data: their JSON Schema for clients, and the check of the arguments that a model sent.
//!
//! Models and clients also write unambiguous values of other types: a list as JSON text, a number for a text, `null` for
//! an argument that they leave out. Such a value is accepted if it can mean exactly one thing.

use crate::base::exact_json::{JsonTextError, parse_exact};
use crate::base::suggest::suggest;
use serde_json::{Map, Number, Value, json};
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A text, which is never read as JSON.
    Text,
    /// A path, an identifier or the name of something. None of them begins with a bracket or a quote.
    Name,
    /// A text of words. A list of words is joined with spaces.
    Words,
    /// A text of parts with commas between. A list of parts is joined.
    CommaList,
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
    /// A list of objects with these members. One object alone is a list of one.
    ObjectList(&'static [ToolParameter]),
}

/// The rule for arguments that a tool does not have.
#[derive(Clone, Copy, Debug)]
pub enum UnknownArguments<'a> {
    /// They are ignored with a note, unless their name is like one of these, the parameters of all tools. Nothing can be
    /// changed by mistake.
    Ignore { parameters: &'a [&'static str] },
    /// They are an error, so that no change happens without a part of what the caller meant.
    Refuse,
}

/// Arguments that clients add to every call on their own account (n8n). No tool may have a parameter of these names.
const CLIENT_ARGUMENTS: [&str; 4] = ["toolCallId", "sessionId", "action", "chatInput"];

/// The largest [`ParameterKind::Count`], up to which every JSON parser reads integers exactly (RFC 8259, section 6).
const MAX_COUNT: u64 = (1 << 53) - 1;

/// The most characters of an argument's name that a text repeats.
const MAX_NAME_CHARS: usize = 64;

/// The most ignored arguments that a note names.
const MAX_IGNORED_NAMES: usize = 8;

/// JSON text inside JSON text is read up to this depth.
const MAX_JSON_TEXTS: usize = 2;

/// Rejection of the arguments of a tool, with all problems at once.
#[derive(Debug, Error)]
#[error("{tool}: {}{}", join_problems(.problems), format_left_out(*.left_out, .problems.is_empty()))]
pub struct InvalidArguments {
    tool: String,
    problems: Vec<ArgumentProblem>,
    /// Number of unknown arguments beside those in `problems`.
    left_out: usize,
}

/// The most foreign arguments that are compared with the names of parameters. A call with more is refused.
const MAX_FOREIGN_ARGUMENTS: usize = 100;

/// Unknown arguments that an error names. Each costs a comparison with all names, and the model's tokens.
const MAX_UNKNOWN_ARGUMENTS: usize = 10;

#[derive(Debug, Error)]
enum ArgumentProblem {
    #[error("unknown argument {name:?}{} (valid: {})", format_suggestion(.suggestion), join_names(.valid))]
    Unknown { name: String, suggestion: Option<&'static str>, valid: Vec<&'static str> },
    #[error("{} must be {} ({})", .0.name, .0.expected(), .0.description)]
    WrongType(ToolParameter),
    #[error("{} {cause}: write {} ({})", .parameter.name, .parameter.expected(), .parameter.description)]
    InvalidJsonText { parameter: ToolParameter, cause: JsonTextError },
    #[error("{} is missing: {}, {}", .0.name, .0.expected(), .0.description)]
    Missing(ToolParameter),
    /// An object of a list has problems of its own.
    #[error("{problems}")]
    InvalidItem { parameter: &'static str, problems: InvalidArguments },
}

impl ArgumentProblem {
    fn unknown(name: &str, params: &[ToolParameter]) -> Self {
        let valid: Vec<_> = params.iter().map(|param| param.name).collect();
        let suggestion = suggest(name, valid.iter().copied());
        Self::Unknown { name: shorten(name), suggestion, valid }
    }

    /// Returns the parameter whose value is the problem.
    fn parameter(&self) -> Option<&'static str> {
        match self {
            Self::WrongType(parameter) | Self::InvalidJsonText { parameter, .. } => Some(parameter.name),
            Self::InvalidItem { parameter, .. } => Some(parameter),
            Self::Unknown { .. } | Self::Missing(_) => None,
        }
    }
}

fn join_problems(problems: &[ArgumentProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn format_left_out(left_out: usize, is_all: bool) -> String {
    match (left_out, is_all) {
        (0, _) => String::new(),
        (_, true) => format!("{left_out} unknown arguments"),
        (_, false) => format!("; and {left_out} more unknown arguments"),
    }
}

fn format_suggestion(suggestion: &Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean {name}?"))
}

fn join_names(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn shorten(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).collect()
}

impl ParameterKind {
    /// Returns true if a string is JSON text of another value. A string that may be meant as a text stays one.
    fn reads_json_text(self, text: &str) -> bool {
        match self {
            Self::Text => false,
            Self::Name => text.trim_start().starts_with(['[', '"']),
            // A key or a word may be quoted.
            Self::Words | Self::CommaList => text.trim_start().starts_with('['),
            Self::Flag | Self::Choice(_) | Self::Object | Self::Count | Self::TextList | Self::ObjectList(_) => true,
        }
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Words | Self::CommaList | Self::TextList | Self::ObjectList(_))
    }
}

impl ToolParameter {
    /// Returns the JSON Schema of the parameter.
    pub fn schema(&self) -> Value {
        let mut schema = match self.kind {
            // A list is accepted too, but some clients reject a tool with a union.
            ParameterKind::Text | ParameterKind::Name | ParameterKind::Words | ParameterKind::CommaList => {
                json!({"type": "string"})
            }
            ParameterKind::Flag => json!({"type": "boolean"}),
            ParameterKind::Choice(words) => json!({"type": "string", "enum": words}),
            ParameterKind::Object => json!({"type": "object", "additionalProperties": true}),
            ParameterKind::Count => json!({"type": "integer", "minimum": 0}),
            ParameterKind::TextList => json!({"type": "array", "items": {"type": "string"}}),
            ParameterKind::ObjectList(members) => json!({"type": "array", "items": object_schema(members)}),
        };
        if !self.description.is_empty() {
            schema["description"] = self.description.into();
        }
        schema
    }

    /// Returns the expected value for an error text.
    fn expected(&self) -> String {
        match self.kind {
            ParameterKind::Text | ParameterKind::Name | ParameterKind::Words => "a string".into(),
            ParameterKind::CommaList => "a string, with commas between its parts".into(),
            ParameterKind::Flag => "true or false".into(),
            ParameterKind::Choice(words) => format!("one of {}", words.join(", ")),
            ParameterKind::Object => "an object such as {\"name\": \"value\"}".into(),
            ParameterKind::Count => "a whole number, 0 or more, such as 20".into(),
            ParameterKind::TextList => "a list of strings such as [\"a\", \"b\"]".into(),
            ParameterKind::ObjectList(members) => {
                let names: Vec<_> = members.iter().map(|member| member.name).collect();
                format!("a list of objects with {}", names.join(", "))
            }
        }
    }

    /// Returns the value in the type of the parameter. Returns `None` for a value that means an absent argument.
    fn read(&self, value: Value) -> Result<Option<Value>, ArgumentProblem> {
        let value = self.unwrap_json_text(value)?;
        let is_absent = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::String(text) => !self.required && text.trim().is_empty(),
            _ => false,
        };
        if is_absent {
            return Ok(None);
        }
        let value = match value {
            Value::Array(mut items) if items.len() == 1 && !self.kind.is_list() => items.remove(0),
            other => other,
        };
        if let ParameterKind::ObjectList(members) = self.kind {
            return self.read_objects(members, value).map(Some);
        }
        self.convert(value).map(Some).ok_or(ArgumentProblem::WrongType(*self))
    }

    /// Returns a list of objects, each with the values of its members in their types.
    fn read_objects(&self, members: &[ToolParameter], value: Value) -> Result<Value, ArgumentProblem> {
        let items = match value {
            Value::Array(items) => items,
            item => vec![item],
        };
        let read_item = |(at, item)| {
            let Value::Object(item) = self.unwrap_json_text(item)? else {
                return Err(ArgumentProblem::WrongType(*self));
            };
            let name = format!("item {} of {}", at + 1, self.name);
            let mut read = ToolArguments::validate(&name, members, UnknownArguments::Refuse, item);
            // No client adds members of its own to an item.
            if let Ok(ToolArguments { ignored, .. }) = &read
                && !ignored.is_empty()
            {
                let problems = ignored.iter().map(|name| ArgumentProblem::unknown(name, members)).collect();
                read = Err(InvalidArguments { tool: name, problems, left_out: 0 });
            }
            let invalid = |problems| ArgumentProblem::InvalidItem { parameter: self.name, problems };
            read.map(|item| Value::Object(item.values)).map_err(invalid)
        };
        items.into_iter().enumerate().map(read_item).collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    /// Replaces a string that is JSON text by the value that it says.
    fn unwrap_json_text(&self, mut value: Value) -> Result<Value, ArgumentProblem> {
        for _ in 0..MAX_JSON_TEXTS {
            let Value::String(text) = &value else { break };
            if !self.kind.reads_json_text(text) {
                break;
            }
            match parse_exact(text) {
                Ok(inner) => value = inner,
                Err(JsonTextError::NotJson) => break,
                Err(cause) => return Err(ArgumentProblem::InvalidJsonText { parameter: *self, cause }),
            }
        }
        Ok(value)
    }

    fn convert(&self, value: Value) -> Option<Value> {
        match (self.kind, value) {
            (ParameterKind::Flag, value @ Value::Bool(_)) | (ParameterKind::Object, value @ Value::Object(_)) => {
                Some(value)
            }
            (ParameterKind::Words, Value::Array(items)) => join_texts(&items, " ").map(Value::from),
            (ParameterKind::CommaList, Value::Array(items)) => join_texts(&items, ",").map(Value::from),
            (ParameterKind::Name, value) => read_text(&value).map(|text| text.trim().into()),
            (ParameterKind::Text | ParameterKind::Words | ParameterKind::CommaList, value) => {
                read_text(&value).map(Value::from)
            }
            (ParameterKind::TextList, Value::Array(items)) => {
                items.iter().map(|item| read_text(item).map(Value::from)).collect::<Option<Vec<_>>>().map(Value::from)
            }
            (ParameterKind::TextList, value) => Some(Value::Array(vec![read_text(&value)?.into()])),
            (ParameterKind::Flag, value) => read_flag(&value).map(Value::from),
            (ParameterKind::Choice(words), Value::String(text)) => {
                words.iter().find(|word| word.eq_ignore_ascii_case(text.trim())).map(|word| Value::from(*word))
            }
            (ParameterKind::Count, Value::Number(number)) => read_count(&number).map(Value::from),
            (ParameterKind::Count, Value::String(text)) => {
                text.trim().parse::<u64>().ok().filter(|count| *count <= MAX_COUNT).map(Value::from)
            }
            (
                ParameterKind::Object
                | ParameterKind::Choice(_)
                | ParameterKind::Count
                // Its items are read one by one.
                | ParameterKind::ObjectList(_),
                _,
            ) => None,
        }
    }
}

/// Returns a string, or a number as text.
fn read_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        // Some clients write every number with a fraction: a guest's number is 100, not 100.0.
        Value::Number(number) => Some(read_count(number).map_or_else(|| number.to_string(), |count| count.to_string())),
        _ => None,
    }
}

fn join_texts(items: &[Value], separator: &str) -> Option<String> {
    Some(items.iter().map(read_text).collect::<Option<Vec<_>>>()?.join(separator))
}

fn read_flag(value: &Value) -> Option<bool> {
    match read_text(value)?.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Returns a whole number, which may have a fraction of zero.
fn read_count(number: &Number) -> Option<u64> {
    let is_count = |f: &f64| f.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(f);
    let count = number.as_u64().or_else(|| number.as_f64().filter(is_count).map(|f| f as u64));
    count.filter(|count| *count <= MAX_COUNT)
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
pub struct ToolArguments {
    values: Map<String, Value>,
    /// Names that were ignored, shortened.
    ignored: Vec<String>,
}

impl ToolArguments {
    /// Checks arguments against the parameters of a tool.
    ///
    /// # Errors
    /// All problems of the arguments at once.
    pub fn validate(
        tool: &str,
        params: &[ToolParameter],
        unknown: UnknownArguments<'_>,
        arguments: Map<String, Value>,
    ) -> Result<Self, InvalidArguments> {
        let (mut problems, mut unknown_count, mut left_out) = (Vec::new(), 0, 0);
        let (mut values, mut ignored) = (Map::new(), Vec::new());
        for (name, value) in arguments {
            match params.iter().find(|param| param.name == name) {
                Some(param) => match param.read(value) {
                    Ok(Some(value)) => _ = values.insert(name, value),
                    Ok(None) => {}
                    Err(problem) => problems.push(problem),
                },
                // Models send null for an argument that they leave out.
                None if value.is_null() => {}
                None if unknown_count + ignored.len() >= MAX_FOREIGN_ARGUMENTS => {
                    unknown_count += 1;
                    left_out += 1;
                }
                None if may_ignore(&name, unknown) => ignored.push(name),
                None => {
                    unknown_count += 1;
                    match unknown_count <= MAX_UNKNOWN_ARGUMENTS {
                        true => problems.push(ArgumentProblem::unknown(&name, params)),
                        false => left_out += 1,
                    }
                }
            }
        }
        for param in params.iter().filter(|param| param.required && !values.contains_key(param.name)) {
            if !problems.iter().any(|problem| problem.parameter() == Some(param.name)) {
                problems.push(ArgumentProblem::Missing(*param));
            }
        }
        if problems.is_empty() && left_out == 0 {
            let ignored = ignored.iter().map(|name| shorten(name)).collect();
            return Ok(Self { values, ignored });
        }
        // The missing argument may have one of the unknown names.
        let unknown = ignored.iter().filter(|name| !CLIENT_ARGUMENTS.contains(&name.as_str()));
        let room = MAX_UNKNOWN_ARGUMENTS.saturating_sub(unknown_count);
        left_out += unknown.clone().count().saturating_sub(room);
        problems.splice(0..0, unknown.take(room).map(|name| ArgumentProblem::unknown(name, params)));
        Err(InvalidArguments { tool: tool.into(), problems, left_out })
    }

    /// Creates arguments without a check, for a tool that checks them itself.
    pub fn new_unchecked(arguments: Map<String, Value>) -> Self {
        Self { values: arguments, ignored: Vec::new() }
    }

    /// Returns the note about arguments that were ignored.
    pub fn ignored_note(&self) -> Option<String> {
        let shown = &self.ignored[..self.ignored.len().min(MAX_IGNORED_NAMES)];
        let names: Vec<String> = shown.iter().map(|name| format!("{name:?}")).collect();
        let more = match self.ignored.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!names.is_empty()).then(|| format!("ignored, as this tool has no such argument: {}{more}", names.join(", ")))
    }

    /// Returns whether an argument was sent.
    pub fn is_given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns a text, a list of texts in one, or a [`ParameterKind::Choice`], if it was sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    /// Returns a [`ParameterKind::Flag`], by default false.
    pub fn flag(&self, name: &str) -> bool {
        self.values.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns a [`ParameterKind::Object`], if it was sent.
    pub fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.values.get(name).and_then(Value::as_object)
    }

    /// Returns a [`ParameterKind::Count`], if it was sent.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.values.get(name).and_then(Value::as_u64)
    }

    /// Returns a [`ParameterKind::ObjectList`], if it was sent.
    pub fn object_list(&self, name: &str) -> Option<Vec<&Map<String, Value>>> {
        self.values.get(name).and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_object).collect())
    }

    /// Returns a [`ParameterKind::TextList`], if it was sent.
    pub fn text_list(&self, name: &str) -> Option<Vec<&str>> {
        self.values.get(name).and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).collect())
    }
}

/// Returns true if an argument that no parameter has may be ignored.
fn may_ignore(name: &str, unknown: UnknownArguments<'_>) -> bool {
    let is_foreign = || match unknown {
        UnknownArguments::Ignore { parameters } => suggest(name, parameters.iter().copied()).is_none(),
        UnknownArguments::Refuse => false,
    };
    CLIENT_ARGUMENTS.contains(&name) || is_foreign()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: [ToolParameter; 9] = [
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
        ToolParameter { name: "query", kind: ParameterKind::Words, required: false, description: "words" },
        ToolParameter { name: "fields", kind: ParameterKind::CommaList, required: false, description: "keys" },
        ToolParameter { name: "cluster", kind: ParameterKind::Name, required: false, description: "a name" },
        ToolParameter { name: "check", kind: ParameterKind::Flag, required: false, description: "ask" },
    ];

    /// The rule of a tool that only reads, beside a tool with the parameter `wait`.
    const IGNORE: UnknownArguments<'_> = UnknownArguments::Ignore { parameters: &["path", "fields", "wait"] };

    fn check_with(unknown: UnknownArguments<'_>, arguments: Value) -> Result<ToolArguments, String> {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        ToolArguments::validate("tool", &PARAMS, unknown, arguments).map_err(|error| error.to_string())
    }

    fn check(arguments: Value) -> Result<ToolArguments, String> {
        check_with(UnknownArguments::Refuse, arguments)
    }

    /// Returns the value of one argument as it is used, or the error.
    fn read(name: &str, sent: Value) -> Result<Value, String> {
        let mut arguments = json!({"path": "/"});
        arguments[name] = sent;
        check(arguments).map(|args| args.values.get(name).cloned().unwrap_or_default())
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
            "unknown argument \"paht\", did you mean path? (valid: path, method, data, limit, tags, query, fields, cluster, check)",
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
            json!([1, 2]),
            json!("18446744073709551616"),
        ] {
            let error = check(json!({"path": "/", "limit": sent})).unwrap_err();
            assert_eq!(error, "tool: limit must be a whole number, 0 or more, such as 20 (rows)", "{sent}");
        }
    }

    #[test]
    fn a_text_list_is_a_list_of_strings_or_one_string() {
        let texts =
            |sent| check(json!({"path": "/", "tags": sent})).map(|args| args.text_list("tags").map(|t| t.join("|")));
        assert_eq!(texts(json!(["a", "b,c"])).unwrap().unwrap(), "a|b,c");
        assert_eq!(texts(json!("a")).unwrap().unwrap(), "a");
        assert_eq!(texts(json!(["a", 7])).unwrap().unwrap(), "a|7");
        for absent in [json!(null), json!([]), json!(""), json!("[]"), json!("null")] {
            assert!(texts(absent.clone()).unwrap().is_none(), "{absent}");
        }
        for sent in [json!([null]), json!({"a": 1}), json!([["a"]]), json!(true)] {
            assert!(texts(sent.clone()).unwrap_err().contains("tags must be a list of strings"), "{sent}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_accepted_if_it_means_one_thing() {
        for (name, sent, used) in [
            ("path", json!(7), json!("7")),
            ("path", json!(100.0), json!("100")),
            ("path", json!(u64::MAX), json!("18446744073709551615")),
            ("path", json!("007"), json!("007")),
            ("path", json!(["/x"]), json!("/x")),
            ("path", json!(r#"{"a":1}"#), json!(r#"{"a":1}"#)),
            ("path", json!("null"), json!("null")),
            ("query", json!(["web", "prod", 5]), json!("web prod 5")),
            ("query", json!(r#"["web", "prod"]"#), json!("web prod")),
            ("query", json!("[web"), json!("[web")),
            ("query", json!(r#""web prod""#), json!(r#""web prod""#)),
            ("cluster", json!("007"), json!("007")),
            ("cluster", json!("null"), json!("null")),
            ("cluster", json!(r#"["lab"]"#), json!("lab")),
            ("cluster", json!(r#" "lab""#), json!("lab")),
            ("cluster", json!(r#""lab"#), json!(r#""lab"#)),
            ("cluster", json!(7), json!("7")),
            ("cluster", json!(" lab\n"), json!("lab")),
            ("fields", json!(["name", "vmid"]), json!("name,vmid")),
            ("fields", json!(r#" ["name", "vmid"]"#), json!("name,vmid")),
            ("fields", json!("[name"), json!("[name")),
            ("method", json!(" put "), json!("PUT")),
            ("method", json!(r#""GET""#), json!("GET")),
            ("method", json!(["GET"]), json!("GET")),
            ("check", json!("True"), json!(true)),
            ("check", json!("off"), json!(false)),
            ("check", json!(1), json!(true)),
            ("check", json!(0.0), json!(false)),
            ("check", json!("null"), json!(null)),
            ("limit", json!("007"), json!(7)),
            ("limit", json!("10.0"), json!(10)),
            ("limit", json!(["3"]), json!(3)),
            ("data", json!(r#"{"name":"007","id":18446744073709551615}"#), json!({"name": "007", "id": u64::MAX})),
            ("data", json!(r#""{\"a\":[1]}""#), json!({"a": [1]})),
            ("data", json!([{"a": 1}]), json!({"a": 1})),
            ("data", json!("{}"), json!({})),
            ("data", json!([]), json!(null)),
            ("data", json!(" "), json!(null)),
            ("tags", json!(r#"["a","b"]"#), json!(["a", "b"])),
            ("tags", json!("[a"), json!(["[a"])),
        ] {
            assert_eq!(read(name, sent.clone()), Ok(used), "{name} {sent}");
        }
    }

    #[test]
    fn a_value_with_two_meanings_is_rejected_with_the_right_form() {
        for (name, sent, part) in [
            ("path", json!(true), "path must be a string (an address)"),
            ("path", json!(["/x", "/y"]), "path must be a string"),
            ("query", json!([["web"]]), "query must be a string"),
            ("cluster", json!(["a", "b"]), "cluster must be a string (a name)"),
            ("cluster", json!({"name": "a"}), "cluster must be a string (a name)"),
            ("check", json!(2), "check must be true or false (ask)"),
            ("check", json!("maybe"), "check must be true or false"),
            ("method", json!("PATCH"), "method must be one of GET, PUT"),
            ("data", json!([{"a": 1}, {"b": 2}]), "data must be an object such as {\"name\": \"value\"}"),
            ("data", json!("a=1"), "data must be an object"),
            ("tags", json!(r#"{"a":1}"#), "tags must be a list of strings such as [\"a\", \"b\"]"),
            ("data", json!(r#"{"a":1,"\u0061":2}"#), "data has the member \"a\" twice: write an object such as"),
            ("data", json!(r#""{\"x\":{\"a\":1,\"a\":2}}""#), "data has the member \"a\" twice"),
            ("fields", json!(r#"[{"a":1,"a":2}]"#), "fields has the member \"a\" twice"),
        ] {
            let error = read(name, sent.clone()).unwrap_err();
            assert!(error.contains(part), "{name} {sent}: {error}");
        }
    }

    #[test]
    fn arguments_that_clients_add_are_ignored_with_a_note() {
        let added = json!({"path": "/", "toolCallId": "x", "sessionId": 1, "action": "sendMessage", "chatInput": ""});
        for rule in [IGNORE, UnknownArguments::Refuse] {
            let note = check_with(rule, added.clone()).unwrap().ignored_note().unwrap();
            assert!(note.ends_with(r#": "action", "chatInput", "sessionId", "toolCallId""#), "{note}");
        }
        let foreign = json!({"path": "/", "explanation": "x"});
        assert!(check_with(IGNORE, foreign.clone()).unwrap().ignored_note().is_some());
        let error = check_with(UnknownArguments::Refuse, foreign).unwrap_err();
        assert!(error.contains("unknown argument \"explanation\""), "{error}");
        assert_eq!(check(json!({"path": "/", "explanation": null})).unwrap().ignored_note(), None);
        let many: Map<_, _> = (0..90).map(|n| (format!("x\u{1b}{n:0>99}"), json!(1))).collect();
        let mut many = Value::Object(many);
        many["path"] = json!("/");
        let note = check_with(IGNORE, many).unwrap().ignored_note().unwrap();
        assert!(note.ends_with(" and 82 more") && note.len() < 1_000 && !note.contains('\u{1b}'), "{note}");
    }

    #[test]
    fn a_call_with_very_many_foreign_arguments_is_refused() {
        let many: Map<_, _> =
            (0..1_000).map(|n| (format!("x{n}"), json!(1))).chain([("path".into(), "/".into())]).collect();
        let error = check_with(IGNORE, Value::Object(many)).unwrap_err();
        assert!(error.ends_with("1000 unknown arguments") && error.len() < 100, "{error}");
    }

    #[test]
    fn a_misspelt_argument_is_an_error_also_where_others_are_ignored() {
        let check = |arguments| check_with(IGNORE, arguments).unwrap_err();
        assert!(check(json!({"path": "/", "fieldz": "a"})).contains("did you mean fields?"));
        assert!(check(json!({"path": "/", "wait": 1})).contains("unknown argument \"wait\" (valid: path"));
        let error = check(json!({"url": "/", "action": "x"}));
        assert!(error.contains("unknown argument \"url\"") && error.contains("path is missing"), "{error}");
        assert!(!error.contains("action"), "{error}");
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
