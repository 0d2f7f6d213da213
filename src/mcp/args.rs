//! Parameters of tools as data: their JSON Schema for clients, and the check of what a model sent.

use crate::nearest::nearest;
use serde_json::{Map, Value, json};

/// One parameter.
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
pub enum Kind {
    /// A string.
    Text,
    /// true or false.
    Flag,
    /// One of these words, in upper or lower case.
    Choice(&'static [&'static str]),
    /// An object with names of its own.
    Object,
}

impl Param {
    /// Its JSON Schema.
    pub fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Choice(words) => json!({"type": "string", "enum": words}),
            Kind::Object => json!({"type": "object", "additionalProperties": true}),
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
            Kind::Object => "an object such as {\"name\": \"value\"}, not a text".into(),
        }
    }

    /// The value as the tool gets it, or `None` where it does not fit.
    fn take(&self, value: Value) -> Option<Value> {
        match (&self.kind, value) {
            (Kind::Text, v @ Value::String(_))
            | (Kind::Flag, v @ Value::Bool(_))
            | (Kind::Object, v @ Value::Object(_)) => Some(v),
            (Kind::Choice(words), Value::String(typed)) => {
                words.iter().find(|w| w.eq_ignore_ascii_case(&typed)).map(|w| Value::from(*w))
            }
            _ => None,
        }
    }
}

/// The JSON Schema of an object with these parameters and no others.
pub fn schema(params: &[Param]) -> Value {
    let properties: Map<String, Value> = params.iter().map(|p| (p.name.into(), p.schema())).collect();
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
                    let meant = nearest(&name, valid.iter().copied());
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: [Param; 3] = [
        Param { name: "path", kind: Kind::Text, required: true, about: "where" },
        Param { name: "method", kind: Kind::Choice(&["GET", "PUT"]), required: false, about: "how" },
        Param { name: "data", kind: Kind::Object, required: false, about: "what" },
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
            "unknown argument \"paht\", did you mean path? (valid: path, method, data)",
            "method must be one of GET, PUT",
            "data must be an object",
            "path is missing: a string, where",
        ] {
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(check(json!({"path": 7})).unwrap_err(), "tool: path must be a string (where)");
    }
}
