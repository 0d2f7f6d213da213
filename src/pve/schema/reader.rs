//! A schema out of the description that every node serves: `const apiSchema = [ … ]` and more JavaScript after it. The
//! list is read as data from its first bracket to its last, method by method, as it comes in; nothing is evaluated.
//!
//! Whoever answers in a node's place can send anything. So the whole, each method and what is kept have bounds; of
//! values that are not as expected, scalars are taken as texts and the rest is passed over.

use super::limited_value::MemoryLimitedValue;
use super::packed::{PackedOperation, PackedParameter, SchemaBuilder, TextRef};
use super::{Method, Schema};
use crate::policy::Risk;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};

/// The most of a description that is read, decompressed. Real ones have 1.3 to 4 MB.
pub const MAX_DESCRIPTION_BYTES: u64 = 16 << 20;

/// The most of one path's methods, which are held at once. The largest real ones have some 200 KB.
const MAX_PATH_BYTES: u64 = 1 << 20;

/// Words of one enumeration. The largest real one, all disks of a VM, has some 320.
const MAX_ENUM_VALUES: usize = 1_000;
/// The memory that they may take then: an empty object in a list is two bytes of script and some hundred here.
const MAX_PATH_MEMORY: usize = 8 << 20;

/// Of the cluster's own words for one thing.
const MAX_TEXT_CHARS: usize = 600;

/// Reads a node's description. The error says what it is instead; the rest of the reader is left unread.
pub fn read_description(script: impl Read) -> Result<Schema, String> {
    read_schema(false, Box::new(script))
}

/// Reads the embedded facts, which also have summaries and risks.
pub(super) fn read_facts(script: impl Read) -> Result<Schema, String> {
    read_schema(true, Box::new(script))
}

/// Counts what passes, and ends at a bound that moves.
struct SizeLimitedReader<'a> {
    inner: Box<dyn Read + 'a>,
    bytes_read: &'a Cell<u64>,
    limit: &'a Cell<u64>,
}

impl Read for SizeLimitedReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self
            .limit
            .get()
            .saturating_sub(self.bytes_read.get())
            .min(MAX_DESCRIPTION_BYTES.saturating_sub(self.bytes_read.get()));
        if left == 0 && !into.is_empty() {
            return Err(io::Error::other("it is larger than any description of the API"));
        }
        let most = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = self.inner.read(into.get_mut(..most).unwrap_or_default())?;
        self.bytes_read.set(self.bytes_read.get() + n as u64);
        Ok(n)
    }
}

fn read_schema(facts: bool, script: Box<dyn Read + '_>) -> Result<Schema, String> {
    let (passed, end) = (Cell::new(0), Cell::new(MAX_PATH_BYTES));
    let mut reading =
        SchemaReader { is_embedded: facts, builder: SchemaBuilder::default(), bytes_read: &passed, limit: &end };
    let mut reader =
        BufReader::with_capacity(32 << 10, SizeLimitedReader { inner: script, bytes_read: &passed, limit: &end });
    skip_to_list(&mut reader).map_err(|e| e.to_string())?;
    // The bracket was taken; the parser gets it back.
    let mut json = serde_json::Deserializer::from_reader(io::Cursor::new(b"[").chain(reader));
    PathListVisitor(&mut reading).deserialize(&mut json).map_err(|e| e.to_string())?;
    reading.builder.finish(!facts).map_err(str::to_owned)
}

/// One reading: the schema so far.
struct SchemaReader<'a> {
    is_embedded: bool,
    builder: SchemaBuilder,
    bytes_read: &'a Cell<u64>,
    limit: &'a Cell<u64>,
}

impl SchemaReader<'_> {
    /// The methods of one path, which is not known yet: in a description it comes last.
    fn read_methods(&mut self, info: &Map<String, Value>) -> Result<Vec<PackedOperation>, &'static str> {
        let known = Method::ALL.into_iter().filter_map(|m| Some((m, info.get(m.as_str())?.as_object()?)));
        known.map(|(method, info)| self.read_operation(method, info)).collect()
    }

    /// Keeps the methods of this path.
    fn add_path(&mut self, path: &str, operations: Vec<PackedOperation>) -> Result<(), &'static str> {
        if path.starts_with('/') && path.len() <= 1_000 {
            let template = self.builder.add_text(path)?;
            for operation in operations {
                self.builder.add_operation(PackedOperation { template, ..operation })?;
            }
        }
        Ok(())
    }

    fn read_operation(&mut self, method: Method, info: &Map<String, Value>) -> Result<PackedOperation, &'static str> {
        let parameters = info.get("parameters");
        let properties = parameters.and_then(|p| p.get("properties")).and_then(Value::as_object);
        let raws = properties.map_or(Ok(Vec::new()), |properties| self.read_properties(properties))?;
        let fact = |key: &str| if self.is_embedded { scalar_to_text(info.get(key)) } else { String::new() };
        let (summary, reason, code, rank) = (fact("summary"), fact("reason"), fact("risk"), fact("rank"));
        Ok(PackedOperation {
            method,
            template: TextRef::default(),
            name: self.add_text_field(info, "name")?,
            description: self.add_text_field(info, "description")?,
            summary: self.builder.add_text(&summary)?,
            reason: self.builder.add_text(&reason)?,
            risk: Risk::from_code(&code),
            low_priority: rank == "low",
            privileges: self.builder.add_text(&format_privileges(info.get("permissions")))?,
            return_type: self.builder.add_text(&scalar_to_text(info.get("returns").and_then(|r| r.get("type"))))?,
            parameters: self.builder.add_parameters(raws)?,
            refuses_tokens: info.get("allowtoken").is_some_and(|v| !is_perl_true(v)),
            // Proxmox's default is to allow more; it always says 0 where it does not.
            allows_extra_parameters: parameters.and_then(|p| p.get("additionalProperties")).is_some_and(is_perl_true),
        })
    }

    fn read_properties(&mut self, properties: &Map<String, Value>) -> Result<Vec<PackedParameter>, &'static str> {
        properties
            .iter()
            .filter_map(|(name, facts)| Some((name, facts.as_object()?)))
            .map(|(name, facts)| self.read_parameter(name, facts))
            .collect()
    }

    fn read_parameter(&mut self, name: &str, facts: &Map<String, Value>) -> Result<PackedParameter, &'static str> {
        let items = facts.get("items").and_then(Value::as_object);
        // A format is a name, or the keys of the value. Those of a list are those of its items.
        let format = facts.get("format").or_else(|| items.and_then(|items| items.get("format")));
        let nested = match (format, facts.get("properties").and_then(Value::as_object)) {
            (Some(Value::Object(keys)), _) | (_, Some(keys)) => self.read_properties(keys)?,
            _ => Vec::new(),
        };
        let words = facts.get("enum").or_else(|| items.and_then(|items| items.get("enum")));
        let words = words.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut lines = String::new();
        // An enumeration that is cut would refuse what is right.
        for word in if words.len() > MAX_ENUM_VALUES { &[] } else { words } {
            let word = scalar_to_text(Some(word));
            if !word.is_empty() && !word.contains('\n') {
                lines.push_str(&word);
                lines.push('\n');
            }
        }
        Ok(PackedParameter {
            name: self.builder.add_text(&truncate_line(name))?,
            kind: self.add_text_field(facts, "type")?,
            description: self.add_text_field(facts, "description")?,
            default: self.add_text_field(facts, "default")?,
            minimum: self.add_text_field(facts, "minimum")?,
            maximum: self.add_text_field(facts, "maximum")?,
            min_length: self.add_text_field(facts, "minLength")?,
            max_length: self.add_text_field(facts, "maxLength")?,
            pattern: self.add_text_field(facts, "pattern")?,
            format: self.builder.add_text(&truncate_line(&scalar_to_text(format)))?,
            allowed_values: self.builder.add_text(&lines)?,
            requires: self.add_text_field(facts, "requires")?,
            alias: self.add_text_field(facts, "alias")?,
            nested: self.builder.add_parameters(nested)?,
            optional: facts.get("optional").is_some_and(is_perl_true) || facts.contains_key("alias"),
            default_key: facts.get("default_key").is_some_and(is_perl_true),
        })
    }

    fn add_text_field(&mut self, of: &Map<String, Value>, key: &str) -> Result<TextRef, &'static str> {
        self.builder.add_text(&truncate_line(&scalar_to_text(of.get(key))))
    }
}

/// Reads up to and with the first `[`.
fn skip_to_list(reader: &mut impl Read) -> io::Result<()> {
    let mut byte = [0];
    loop {
        match reader.read(&mut byte)? {
            0 => return Err(io::Error::other("it has no list")),
            _ if byte == *b"[" => return Ok(()),
            _ => {}
        }
    }
}

/// A text, a number or a truth value as text; empty for anything else.
fn scalar_to_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        _ => String::new(),
    }
}

/// Perl's truth: `0`, `"0"` and the empty text are false.
fn is_perl_true(value: &Value) -> bool {
    !matches!(scalar_to_text(Some(value)).as_str(), "" | "0" | "false")
}

/// One line of at most so many characters, without control characters.
fn truncate_line(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if out.len() + word.len() >= MAX_TEXT_CHARS {
            out.push('…');
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().filter(|c| !c.is_control()));
    }
    out
}

/// The rule of `permissions` in words: `VM.Audit on /vms/{vmid}`. Who may call without a privilege needs none; where
/// nothing is said, only root@pam may.
fn format_privileges(permissions: Option<&Value>) -> String {
    let Some(permissions) = permissions else { return "only root@pam".into() };
    match (permissions.get("check"), permissions.get("user").and_then(Value::as_str)) {
        (Some(check), _) => truncate_line(&format_rule(check, 0)),
        (None, Some(_)) => String::new(),
        (None, None) => "only root@pam".into(),
    }
}

fn format_rule(check: &Value, depth: usize) -> String {
    let Some([kind, rest @ ..]) = check.as_array().map(Vec::as_slice) else { return String::new() };
    let text = |at: usize| rest.get(at).and_then(Value::as_str).unwrap_or("");
    let list = |at: usize| {
        let any = rest.iter().any(|word| word == "any");
        let names = rest.get(at).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        names.collect::<Vec<_>>().join(if any { " or " } else { " and " })
    };
    match kind.as_str() {
        Some(word @ ("and" | "or")) if depth < 8 => {
            let mut parts: Vec<String> = rest.iter().map(|part| format_rule(part, depth + 1)).collect();
            parts.retain(|part| !part.is_empty());
            let whole = parts.join(&format!(" {word} "));
            if depth > 0 && parts.len() > 1 { format!("({whole})") } else { whole }
        }
        Some("perm") => format!("{} on {}", list(1), text(0)),
        Some("perm-modify") => format!("Permissions.Modify on {}", text(0)),
        Some("userid-group") => format!("{} on the user's group", list(0)),
        Some("userid-param") if text(0) == "self" => "being that user".into(),
        Some("userid-param") => format!("{} on the user's realm", text(0)),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

/// The list of paths.
struct PathListVisitor<'r, 'a>(&'r mut SchemaReader<'a>);

impl<'de> DeserializeSeed<'de> for PathListVisitor<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PathListVisitor<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of paths")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(PathVisitor(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

/// A path: its methods, and the list of those below it.
struct PathVisitor<'r, 'a>(&'r mut SchemaReader<'a>);

impl<'de> DeserializeSeed<'de> for PathVisitor<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PathVisitor<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path of the API")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(reading) = self;
        let mut path = String::new();
        let mut operations = Vec::new();
        loop {
            reading.limit.set(reading.bytes_read.get() + MAX_PATH_BYTES);
            match map.next_key::<String>()?.as_deref() {
                None => break,
                Some("path") => path = map.next_value()?,
                // Made compact at once: nothing large is held while what is below this path is read.
                Some("info") => {
                    let held = map.next_value_seed(MemoryLimitedValue(&Cell::new(MAX_PATH_MEMORY)))?;
                    let none = Map::new();
                    operations = reading.read_methods(held.as_object().unwrap_or(&none)).map_err(A::Error::custom)?;
                }
                Some("children") => map.next_value_seed(PathListVisitor(reading))?,
                Some(_) => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        reading.add_path(&path, operations).map_err(A::Error::custom)
    }
}
