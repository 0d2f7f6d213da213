//! Parameters of tools as data: their JSON Schema for clients, and the check of what a model sent.

use crate::base::suggest::suggest;
use serde_json::{Map, Value, json};

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct ToolParameter {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParameterKind,
    /// Whether the tool needs it.
    pub required: bool,
    /// What it means, for the model.
    pub description: &'static str,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum ParameterKind {
    /// A string.
    Text,
    /// true or false.
    Flag,
    /// One of these words, in upper or lower case.
    Choice(&'static [&'static str]),
    /// An object with names of its own.
    Object,
    /// A whole number below 2^53, as a number or in digits.
    Count,
    /// A list of strings; one string alone is a list of one.
    TextList,
}

/// The largest [`ParameterKind::Count`]: the last that every JSON parser still tells from its neighbours (RFC 8259, section 6).
const MAX_COUNT: u64 = (1 << 53) - 1;

impl ToolParameter {
    /// Its JSON Schema.
    pub fn schema(&self) -> Value {
        let mut schema = match self.kind {
            ParameterKind::Text => json!({"type": "string"}),
            ParameterKind::Flag => json!({"type": "boolean"}),
            ParameterKind::Choice(words) => json!({"type": "string", "enum": words}),
            ParameterKind::Object => json!({"type": "object", "additionalProperties": true}),
            // No union with string, though one is taken: some clients refuse a tool over it.
            ParameterKind::Count => json!({"type": "integer", "minimum": 0}),
            ParameterKind::TextList => json!({"type": "array", "items": {"type": "string"}}),
        };
        schema["description"] = self.description.into();
        schema
    }

    /// What to send, when something else was sent.
    fn expected_text(&self) -> String {
        match self.kind {
            ParameterKind::Text => "a string".into(),
            ParameterKind::Flag => "true or false".into(),
            ParameterKind::Choice(words) => format!("one of {}", words.join(", ")),
            ParameterKind::Object => "an object such as {\"name\": \"value\"}".into(),
            ParameterKind::Count => "a whole number, 0 or more".into(),
            ParameterKind::TextList => "a list of strings".into(),
        }
    }

    /// The value as the tool gets it, or `None` where it does not fit.
    fn coerce(&self, value: Value) -> Option<Value> {
        match (&self.kind, value) {
            (ParameterKind::Text, v @ Value::String(_))
            | (ParameterKind::Flag, v @ Value::Bool(_))
            | (ParameterKind::Object, v @ Value::Object(_)) => Some(v),
            // What models write instead, where only one thing can be meant.
            (ParameterKind::Text, Value::Number(n)) => Some(n.to_string().into()),
            (ParameterKind::Text, Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_string) => {
                Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into())
            }
            (ParameterKind::Flag, Value::String(typed)) => typed.parse::<bool>().ok().map(Value::from),
            (ParameterKind::Object, Value::String(typed)) => {
                serde_json::from_str::<Map<String, Value>>(&typed).ok().map(Value::from)
            }
            (ParameterKind::Choice(words), Value::String(typed)) => {
                words.iter().find(|w| w.eq_ignore_ascii_case(&typed)).map(|w| Value::from(*w))
            }
            (ParameterKind::Count, Value::Number(n)) => {
                // Some clients write every number with a fraction.
                let whole = |f: &f64| f.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(f);
                n.as_u64()
                    .or_else(|| n.as_f64().filter(whole).map(|f| f as u64))
                    .filter(|n| *n <= MAX_COUNT)
                    .map(Value::from)
            }
            (ParameterKind::Count, Value::String(typed)) => {
                typed.trim().parse::<u64>().ok().filter(|n| *n <= MAX_COUNT).map(Value::from)
            }
            (ParameterKind::TextList, v @ Value::String(_)) => Some(Value::Array(vec![v])),
            (ParameterKind::TextList, Value::Array(list)) => {
                list.iter().all(Value::is_string).then_some(Value::Array(list))
            }
            _ => None,
        }
    }
}

/// The JSON Schema of an object with these parameters and no others.
pub fn object_schema(params: &[ToolParameter]) -> Value {
    let mut properties = Map::new();
    for param in params {
        properties.insert(param.name.into(), param.schema());
    }
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let required: Vec<_> = params.iter().filter(|p| p.required).map(|p| p.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The checked arguments of one call.
#[derive(Debug)]
pub struct ToolArguments(Map<String, Value>);

impl ToolArguments {
    /// Checks what was sent against the tool's parameters; says everything that is wrong at once.
    pub fn validate(tool: &str, params: &[ToolParameter], sent: Map<String, Value>) -> Result<Self, String> {
        let mut problems = Vec::new();
        let mut taken = Map::new();
        for (name, value) in sent {
            match params.iter().find(|p| p.name == name) {
                // Models send null, or an empty text, for what they leave out.
                Some(param) if value.is_null() || !param.required && value == "" => {}
                None if value.is_null() => {}
                None => {
                    let valid: Vec<_> = params.iter().map(|p| p.name).collect();
                    let meant = suggest(&name, valid.iter().copied());
                    let meant = meant.map(|m| format!(", did you mean {m}?")).unwrap_or_default();
                    let valid = if valid.is_empty() { "none".into() } else { valid.join(", ") };
                    let name: String = name.chars().take(64).collect();
                    problems.push(format!("unknown argument {name:?}{meant} (valid: {valid})"));
                }
                Some(param) => match param.coerce(value) {
                    Some(value) => drop(taken.insert(name, value)),
                    None => problems.push(format!("{name} must be {} ({})", param.expected_text(), param.description)),
                },
            }
        }
        for missing in params.iter().filter(|p| p.required && !taken.contains_key(p.name)) {
            // A value of the wrong kind has been complained of already.
            if !problems.iter().any(|p| p.starts_with(&format!("{} must be ", missing.name))) {
                problems.push(format!(
                    "{} is missing: {}, {}",
                    missing.name,
                    missing.expected_text(),
                    missing.description
                ));
            }
        }
        if problems.is_empty() { Ok(Self(taken)) } else { Err(format!("{tool}: {}", problems.join("; "))) }
    }

    /// The arguments as they came, for a tool that checks them by itself.
    pub fn new_unchecked(sent: Map<String, Value>) -> Self {
        Self(sent)
    }

    /// A [`ParameterKind::Text`] or [`ParameterKind::Choice`], if it was sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A [`ParameterKind::Flag`]; false where it was not sent.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A [`ParameterKind::Object`], if it was sent.
    pub fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name).and_then(Value::as_object)
    }

    /// A [`ParameterKind::Count`], if it was sent.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// A [`ParameterKind::TextList`], if it was sent.
    pub fn text_list(&self, name: &str) -> Option<Vec<&str>> {
        self.0.get(name).and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: [ToolParameter; 5] = [
        ToolParameter { name: "path", kind: ParameterKind::Text, required: true, description: "where" },
        ToolParameter {
            name: "method",
            kind: ParameterKind::Choice(&["GET", "PUT"]),
            required: false,
            description: "how",
        },
        ToolParameter { name: "data", kind: ParameterKind::Object, required: false, description: "what" },
        ToolParameter { name: "limit", kind: ParameterKind::Count, required: false, description: "rows" },
        ToolParameter { name: "tags", kind: ParameterKind::TextList, required: false, description: "words" },
    ];

    fn check(sent: Value) -> Result<ToolArguments, String> {
        let Value::Object(sent) = sent else { panic!("an object") };
        ToolArguments::validate("tool", &PARAMS, sent)
    }

    #[test]
    fn what_fits_is_taken_null_is_absent_and_choices_know_no_case() {
        let args = check(json!({"path": "/x", "method": "put", "data": null})).unwrap();
        assert_eq!((args.text("path"), args.text("method")), (Some("/x"), Some("PUT")));
        assert!(args.object("data").is_none());
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_what_to_send() {
        let why = check(json!({"paht": "/x", "method": "PATCH", "data": "a=b"})).unwrap_err();
        for part in [
            "unknown argument \"paht\", did you mean path? (valid: path, method, data, limit, tags)",
            "method must be one of GET, PUT",
            "data must be an object",
            "path is missing: a string, where",
        ] {
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(check(json!({"path": true})).unwrap_err(), "tool: path must be a string (where)");
    }

    #[test]
    fn a_count_is_a_whole_number_however_it_is_written() {
        for (sent, taken) in [
            (json!(10), Some(10)),
            (json!("10"), Some(10)),
            (json!(10.0), Some(10)),
            (json!(0), Some(0)),
            (json!(MAX_COUNT), Some(MAX_COUNT)),
            (json!(null), None),
            (json!(""), None),
        ] {
            assert_eq!(check(json!({"path": "/", "limit": sent})).unwrap().count("limit"), taken, "{sent}");
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
            let why = check(json!({"path": "/", "limit": sent})).unwrap_err();
            assert_eq!(why, "tool: limit must be a whole number, 0 or more (rows)", "{sent}");
        }
    }

    #[test]
    fn texts_are_a_list_of_strings_or_one_alone() {
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
