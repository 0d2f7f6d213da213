//! Parameters of tools as data: their JSON Schema for clients, and the check of what a model sent.

use crate::suggest::suggest;
use serde_json::{Map, Value, json};

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether the tool needs it.
    pub required: bool,
    /// What it means, for the model.
    pub about: &'static str,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
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
    Texts,
}

/// The largest [`Kind::Count`]: the last that every JSON parser still tells from its neighbours (RFC 8259, section 6).
const MOST: u64 = (1 << 53) - 1;

impl Param {
    /// Its JSON Schema.
    pub fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Choice(words) => json!({"type": "string", "enum": words}),
            Kind::Object => json!({"type": "object", "additionalProperties": true}),
            // No union with string, though one is taken: some clients refuse a tool over it.
            Kind::Count => json!({"type": "integer", "minimum": 0}),
            Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        };
        schema["description"] = self.about.into();
        schema
    }

    /// What to send, when something else was sent.
    fn wants(&self) -> String {
        match self.kind {
            Kind::Text => "a string".into(),
            Kind::Flag => "true or false".into(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Object => "an object such as {\"name\": \"value\"}".into(),
            Kind::Count => "a whole number, 0 or more".into(),
            Kind::Texts => "a list of strings".into(),
        }
    }

    /// The value as the tool gets it, or `None` where it does not fit.
    fn take(&self, value: Value) -> Option<Value> {
        match (&self.kind, value) {
            (Kind::Text, v @ Value::String(_))
            | (Kind::Flag, v @ Value::Bool(_))
            | (Kind::Object, v @ Value::Object(_)) => Some(v),
            // What models write instead, where only one thing can be meant.
            (Kind::Text, Value::Number(n)) => Some(n.to_string().into()),
            (Kind::Text, Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_string) => {
                Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into())
            }
            (Kind::Flag, Value::String(typed)) => typed.parse::<bool>().ok().map(Value::from),
            (Kind::Object, Value::String(typed)) => {
                serde_json::from_str::<Map<String, Value>>(&typed).ok().map(Value::from)
            }
            (Kind::Choice(words), Value::String(typed)) => {
                words.iter().find(|w| w.eq_ignore_ascii_case(&typed)).map(|w| Value::from(*w))
            }
            (Kind::Count, Value::Number(n)) => {
                // Some clients write every number with a fraction.
                let whole = |f: &f64| f.fract() == 0.0 && (0.0..=MOST as f64).contains(f);
                n.as_u64()
                    .or_else(|| n.as_f64().filter(whole).map(|f| f as u64))
                    .filter(|n| *n <= MOST)
                    .map(Value::from)
            }
            (Kind::Count, Value::String(typed)) => {
                typed.trim().parse::<u64>().ok().filter(|n| *n <= MOST).map(Value::from)
            }
            (Kind::Texts, v @ Value::String(_)) => Some(Value::Array(vec![v])),
            (Kind::Texts, Value::Array(list)) => list.iter().all(Value::is_string).then_some(Value::Array(list)),
            _ => None,
        }
    }
}

/// The JSON Schema of an object with these parameters and no others.
pub fn schema(params: &[Param]) -> Value {
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
pub struct Args(Map<String, Value>);

impl Args {
    /// Checks what was sent against the tool's parameters; says everything that is wrong at once.
    pub fn check(tool: &str, params: &[Param], sent: Map<String, Value>) -> Result<Self, String> {
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
                Some(param) => match param.take(value) {
                    Some(value) => drop(taken.insert(name, value)),
                    None => problems.push(format!("{name} must be {} ({})", param.wants(), param.about)),
                },
            }
        }
        for missing in params.iter().filter(|p| p.required && !taken.contains_key(p.name)) {
            // A value of the wrong kind has been complained of already.
            if !problems.iter().any(|p| p.starts_with(&format!("{} must be ", missing.name))) {
                problems.push(format!("{} is missing: {}, {}", missing.name, missing.wants(), missing.about));
            }
        }
        if problems.is_empty() { Ok(Self(taken)) } else { Err(format!("{tool}: {}", problems.join("; "))) }
    }

    /// The arguments as they came, for a tool that checks them by itself.
    pub fn unchecked(sent: Map<String, Value>) -> Self {
        Self(sent)
    }

    /// A [`Kind::Text`] or [`Kind::Choice`], if it was sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A [`Kind::Flag`]; false where it was not sent.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A [`Kind::Object`], if it was sent.
    pub fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name).and_then(Value::as_object)
    }

    /// A [`Kind::Count`], if it was sent.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// A [`Kind::Texts`], if it was sent.
    pub fn texts(&self, name: &str) -> Option<Vec<&str>> {
        self.0.get(name).and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: [Param; 5] = [
        Param { name: "path", kind: Kind::Text, required: true, about: "where" },
        Param { name: "method", kind: Kind::Choice(&["GET", "PUT"]), required: false, about: "how" },
        Param { name: "data", kind: Kind::Object, required: false, about: "what" },
        Param { name: "limit", kind: Kind::Count, required: false, about: "rows" },
        Param { name: "tags", kind: Kind::Texts, required: false, about: "words" },
    ];

    fn check(sent: Value) -> Result<Args, String> {
        let Value::Object(sent) = sent else { panic!("an object") };
        Args::check("tool", &PARAMS, sent)
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
            (json!(MOST), Some(MOST)),
            (json!(null), None),
            (json!(""), None),
        ] {
            assert_eq!(check(json!({"path": "/", "limit": sent})).unwrap().count("limit"), taken, "{sent}");
        }
        for sent in
            [json!(-1), json!(1.5), json!("x"), json!("-1"), json!(1e300), json!(MOST + 1), json!(true), json!([1])]
        {
            let why = check(json!({"path": "/", "limit": sent})).unwrap_err();
            assert_eq!(why, "tool: limit must be a whole number, 0 or more (rows)", "{sent}");
        }
    }

    #[test]
    fn texts_are_a_list_of_strings_or_one_alone() {
        let texts =
            |sent| check(json!({"path": "/", "tags": sent})).map(|args| args.texts("tags").map(|t| t.join("|")));
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
        let schema = schema(&PARAMS);
        for (name, param) in schema["properties"].as_object().unwrap() {
            assert!(param["type"].is_string(), "{name}");
        }
        assert_eq!(schema["properties"]["limit"], json!({"type": "integer", "minimum": 0, "description": "rows"}));
    }
}
