//! Reads the API description that every node serves: `const apiSchema = [ … ]`, followed by more JavaScript.
//!
//! The list is parsed as JSON from its first bracket to its last, path by path, while it arrives. Nothing is evaluated.
//! A malicious host may send anything, so the description, each path and the result have limits. Where a scalar is
//! expected, any scalar is read as a text and other values are ignored.

use super::error::{SchemaError, SchemaLimit};
use super::limited_value::{MemoryLimitedValue, ValueBudget};
use super::model::SchemaModel;
use super::packed::{
    OperationFacts, PackedMethod, PackedOperation, PackedParameter, ParameterListRef, SchemaBuilder, TextRef,
};
use crate::policy::Risk;
use crate::pve::method::Method;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader, Read};

/// The most values of a type property for one form. The largest real list, of storages, has about 15.
const MAX_INSTANCE_TYPES: usize = 64;

/// The most levels of `allOf` and `oneOf` within each other. Real ones have two.
const MAX_FORM_DEPTH: usize = 8;

/// Most bytes of a decompressed description. Real ones have 1.3 to 4 MB.
pub(super) const MAX_DESCRIPTION_BYTES: u64 = 16 << 20;

/// Most bytes of the methods of one path, which are in memory at once. The largest real ones have some 200 KB.
const MAX_PATH_BYTES: u64 = 1 << 20;

/// Most memory of the methods of one path. An empty object in a list is two bytes of text and some hundred of memory.
const MAX_PATH_MEMORY: usize = 8 << 20;

/// Longest path, in bytes.
const MAX_TEMPLATE_BYTES: usize = 1_000;

/// Most values of an enumeration. The largest real one, all disks of a VM, has some 320.
const MAX_ENUM_VALUES: usize = 1_000;

/// Longest text that is kept of a description, in bytes.
const MAX_TEXT_BYTES: usize = 600;

/// The privileges of one family, any of which is enough, from which only the family is named.
const MIN_FAMILY: usize = 4;

/// Deepest nesting of `and` and `or` in a rule about privileges.
const MAX_RULE_DEPTH: usize = 8;

/// Reads a node's description. The embedded schema contributes the facts about each operation that it has too.
/// The rest of the script stays unread.
pub(super) fn read_description(script: impl Read, embedded: &SchemaModel) -> Result<SchemaModel, SchemaError> {
    read_schema(script, Some(embedded))
}

/// Reads the embedded description, which contains the facts about each operation.
pub(super) fn read_facts(script: impl Read) -> Result<SchemaModel, SchemaError> {
    read_schema(script, None)
}

fn read_schema(script: impl Read, embedded: Option<&SchemaModel>) -> Result<SchemaModel, SchemaError> {
    let progress =
        ReadProgress { bytes_read: Cell::new(0), limit: Cell::new(MAX_PATH_BYTES), exceeded: Cell::new(None) };
    let reader = SizeLimitedReader { inner: script, progress: &progress };
    let mut schema = SchemaReader { embedded, builder: SchemaBuilder::default(), progress: &progress };
    match (schema.read_list(BufReader::with_capacity(32 << 10, reader)), progress.exceeded.get()) {
        (Ok(()), _) => SchemaModel::new(schema.builder.finish(), embedded.is_some()),
        // The parser passes errors on as texts.
        (Err(_), Some(limit)) => Err(SchemaError::TooLarge(limit)),
        (Err(error), None) => Err(error),
    }
}

/// Position of the parser in a description, and the limits for what it reads next.
struct ReadProgress {
    bytes_read: Cell<u64>,
    /// Value of `bytes_read` at which the current path is too large.
    limit: Cell<u64>,
    /// The limit that ended the reading.
    exceeded: Cell<Option<SchemaLimit>>,
}

impl ReadProgress {
    /// Records the limit that ends the reading and returns an error for the parser.
    fn exceed<E: Error>(&self, limit: SchemaLimit) -> E {
        self.exceeded.set(Some(limit));
        E::custom("a limit is exceeded")
    }
}

/// Counts the bytes of `inner` and ends at the limit.
struct SizeLimitedReader<'a, R> {
    inner: R,
    progress: &'a ReadProgress,
}

impl<R: Read> Read for SizeLimitedReader<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes_read = self.progress.bytes_read.get();
        let left = self.progress.limit.get().min(MAX_DESCRIPTION_BYTES).saturating_sub(bytes_read);
        if left == 0 && !into.is_empty() {
            let of_description = bytes_read >= MAX_DESCRIPTION_BYTES;
            self.progress.exceeded.set(Some(if of_description {
                SchemaLimit::Description(MAX_DESCRIPTION_BYTES)
            } else {
                SchemaLimit::Path(MAX_PATH_BYTES)
            }));
            return Err(io::Error::other("a limit is exceeded"));
        }
        let length = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = self.inner.read(&mut into[..length])?;
        self.progress.bytes_read.set(bytes_read + n as u64);
        Ok(n)
    }
}

/// Reads up to and including the first `[`.
fn skip_to_list(reader: &mut impl Read) -> Result<(), SchemaError> {
    let mut byte = [0];
    loop {
        match reader.read(&mut byte).map_err(SchemaError::Io)? {
            0 => return Err(SchemaError::NoList),
            _ if byte == *b"[" => return Ok(()),
            _ => {}
        }
    }
}

/// A method that was read before its path.
struct MethodEntry {
    method: PackedMethod,
    /// The facts, if the description contains them.
    facts: Option<OperationFacts>,
}

/// Reads one description.
struct SchemaReader<'a> {
    /// Source of the facts. `None` if the description contains them.
    embedded: Option<&'a SchemaModel>,
    builder: SchemaBuilder,
    progress: &'a ReadProgress,
}

impl SchemaReader<'_> {
    fn read_list(&mut self, mut script: impl Read) -> Result<(), SchemaError> {
        skip_to_list(&mut script)?;
        // The parser needs the bracket too.
        let mut json = serde_json::Deserializer::from_reader(io::Cursor::new(b"[").chain(script));
        Ok(PathListVisitor(self).deserialize(&mut json)?)
    }

    fn read_methods(&mut self, info: &Map<String, Value>) -> Result<Vec<MethodEntry>, SchemaLimit> {
        let methods = Method::ALL.into_iter().filter_map(|m| Some((m, info.get(m.as_str())?.as_object()?)));
        methods.map(|(method, info)| self.read_method(method, info)).collect()
    }

    fn read_method(&mut self, method: Method, info: &Map<String, Value>) -> Result<MethodEntry, SchemaLimit> {
        let mut parameters = ParameterForms::default();
        parameters.add_schema(info.get("parameters").unwrap_or(&Value::Null), &[], 0);
        let facts = match self.embedded {
            Some(_) => None,
            None => Some(OperationFacts {
                summary: self.builder.add_text(&scalar_to_text(info.get("summary")))?,
                risk_reason: self.builder.add_text(&scalar_to_text(info.get("reason")))?,
                risk: Risk::from_code(&scalar_to_text(info.get("risk"))),
                low_priority: scalar_to_text(info.get("rank")) == "low",
            }),
        };
        let method = PackedMethod {
            method,
            name: self.add_text_field(info, "name")?,
            description: self.add_text_field(info, "description")?,
            privileges: self.builder.add_text(&format_privileges(info.get("permissions")))?,
            return_type: self.builder.add_text(&scalar_to_text(info.get("returns").and_then(|r| r.get("type"))))?,
            parameters: self.read_forms(&parameters)?,
            type_property: self.builder.add_text(&shorten_text(parameters.type_property))?,
            refuses_tokens: info.get("allowtoken").is_some_and(|v| !is_perl_true(v)),
            allows_extra_parameters: parameters.is_open,
        };
        Ok(MethodEntry { method, facts })
    }

    /// Adds the methods of a path. A path that is too long or not absolute is ignored.
    fn add_path(&mut self, path: &str, methods: Vec<MethodEntry>) -> Result<(), SchemaLimit> {
        if !path.starts_with('/') || path.len() > MAX_TEMPLATE_BYTES {
            return Ok(());
        }
        let template = self.builder.add_text(path)?;
        for MethodEntry { method, facts } in methods {
            let facts = match facts {
                Some(facts) => facts,
                None => self.copy_facts(method.method, path)?,
            };
            self.builder.add_operation(PackedOperation { template, method, facts })?;
        }
        Ok(())
    }

    /// Copies the embedded facts about an operation. An operation that they don't have is of unknown risk.
    fn copy_facts(&mut self, method: Method, path: &str) -> Result<OperationFacts, SchemaLimit> {
        let known = self.embedded.and_then(|embedded| embedded.find_by_template(method, path));
        Ok(OperationFacts {
            summary: self.builder.add_text(known.map_or("", |known| known.summary()))?,
            risk_reason: self.builder.add_text(known.map_or("", |known| known.risk_reason()))?,
            risk: known.map_or(Risk::UNKNOWN, |known| known.risk()),
            low_priority: known.is_some_and(|known| known.has_low_priority()),
        })
    }

    /// Adds the parameters of an operation. Equal ones of several types are one.
    fn read_forms(&mut self, forms: &ParameterForms<'_>) -> Result<ParameterListRef, SchemaLimit> {
        let mut parameters: Vec<(PackedParameter, Vec<&str>)> = Vec::with_capacity(forms.list.len());
        let mut places: HashMap<PackedParameter, usize> = HashMap::new();
        for form in &forms.list {
            let parameter = self.read_parameter(form.name, form.property, form.is_alternative)?;
            let place = *places.entry(parameter).or_insert(parameters.len());
            match parameters.get_mut(place) {
                None => parameters.push((parameter, form.types.clone())),
                Some((_, types)) if types.is_empty() || form.types.is_empty() => types.clear(),
                Some((_, types)) => types.extend(&form.types),
            }
        }
        let all_types = forms.all_types();
        let mut list = Vec::with_capacity(parameters.len());
        for (mut parameter, mut types) in parameters {
            types.sort_unstable();
            types.dedup();
            if types != all_types {
                let lines: String = types.iter().map(|name| shorten_text(name) + "\n").collect();
                parameter.instance_types = self.builder.add_text(&lines)?;
            }
            list.push(parameter);
        }
        self.builder.add_parameters(list)
    }

    fn read_properties(&mut self, properties: Option<&Map<String, Value>>) -> Result<ParameterListRef, SchemaLimit> {
        let parameters: Result<Vec<PackedParameter>, SchemaLimit> = properties
            .into_iter()
            .flatten()
            .filter_map(|(name, property)| Some((name, property.as_object()?)))
            .map(|(name, property)| self.read_parameter(name, property, false))
            .collect();
        self.builder.add_parameters(parameters?)
    }

    /// Reads a parameter. One of an alternative without a type is optional.
    fn read_parameter(
        &mut self,
        name: &str,
        property: &Map<String, Value>,
        is_alternative: bool,
    ) -> Result<PackedParameter, SchemaLimit> {
        let items = property.get("items").and_then(Value::as_object);
        let get = |key: &str| property.get(key).or_else(|| items.and_then(|items| items.get(key)));
        // A format is a name, or the keys of a property string. The format of a list is that of its items.
        let format = get("format");
        let keys = format.and_then(Value::as_object).or_else(|| property.get("properties").and_then(Value::as_object));
        Ok(PackedParameter {
            name: self.builder.add_text(&shorten_text(name))?,
            kind: self.add_text_field(property, "type")?,
            description: self.add_text_field(property, "description")?,
            default: self.add_text_field(property, "default")?,
            minimum: self.add_text_field(property, "minimum")?,
            maximum: self.add_text_field(property, "maximum")?,
            min_length: self.add_text_field(property, "minLength")?,
            max_length: self.add_text_field(property, "maxLength")?,
            pattern: self.add_text_field(property, "pattern")?,
            format: self.builder.add_text(&shorten_text(&scalar_to_text(format)))?,
            allowed_values: self.builder.add_text(&join_enum_values(get("enum")))?,
            requires: self.add_text_field(property, "requires")?,
            alias: self.add_text_field(property, "alias")?,
            instance_types: TextRef::default(),
            nested: self.read_properties(keys)?,
            optional: is_alternative
                || property.get("optional").is_some_and(is_perl_true)
                || property.contains_key("alias"),
            default_key: property.get("default_key").is_some_and(is_perl_true),
        })
    }

    fn add_text_field(&mut self, object: &Map<String, Value>, key: &str) -> Result<TextRef, SchemaLimit> {
        self.builder.add_text(&shorten_text(&scalar_to_text(object.get(key))))
    }
}

/// The parameters of an operation, from every form of `parameters`.
///
/// Older operations have `properties`. (PVE 9: `allOf` joins several forms, and `oneOf` has one for each value of a type
/// property, at an operation or at a property.)
#[derive(Default)]
struct ParameterForms<'v> {
    list: Vec<ParameterForm<'v>>,
    /// The parameter whose value selects one form of `oneOf`.
    type_property: &'v str,
    /// Further parameters are allowed, or the form is unknown.
    is_open: bool,
}

struct ParameterForm<'v> {
    name: &'v str,
    property: &'v Map<String, Value>,
    /// The values of the type property. Empty: all.
    types: Vec<&'v str>,
    /// One of several forms, without a type that tells which.
    is_alternative: bool,
}

impl<'v> ParameterForms<'v> {
    /// Adds the parameters of a schema that applies with these types.
    fn add_schema(&mut self, schema: &'v Value, types: &[&'v str], depth: usize) {
        let Some(schema) = schema.as_object() else {
            self.is_open |= !schema.is_null();
            return;
        };
        if depth > MAX_FORM_DEPTH {
            self.is_open = true;
            return;
        }
        // Proxmox allows more by default, and always says 0 where it does not.
        self.is_open |= schema.get("additionalProperties").is_some_and(is_perl_true);
        for (key, value) in schema {
            match (key.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    for (name, property) in properties {
                        self.add_property(name, property, types, false);
                    }
                }
                ("allOf", Value::Array(parts)) => parts.iter().for_each(|part| self.add_schema(part, types, depth + 1)),
                ("oneOf" | "anyOf", Value::Array(forms)) => {
                    for form in forms {
                        let own = read_instance_types(form);
                        let first = self.list.len();
                        self.add_schema(form, if own.is_empty() { types } else { &own }, depth + 1);
                        if own.is_empty() {
                            self.list[first..].iter_mut().for_each(|added| added.is_alternative = true);
                        }
                    }
                }
                ("type-property", Value::String(name)) => {
                    self.type_property = name;
                    if let Some(property) = schema.get("type-property-schema") {
                        self.add_property(name, property, types, false);
                    }
                }
                ("additionalProperties" | "type-property-schema" | "instance-type" | "instance-types", _)
                | ("type" | "description" | "title" | "optional", _) => {}
                _ => self.is_open = true,
            }
        }
    }

    fn add_property(&mut self, name: &'v str, property: &'v Value, types: &[&'v str], is_alternative: bool) {
        let Some(object) = property.as_object() else { return };
        let own = read_instance_types(property);
        let types = if own.is_empty() { types } else { &own };
        match object.get("oneOf").and_then(Value::as_array) {
            Some(forms) => {
                if let Some(name) = object.get("type-property").and_then(Value::as_str) {
                    self.type_property = name;
                }
                let is_alternative = is_alternative || forms.iter().any(|form| read_instance_types(form).is_empty());
                for form in forms.iter().filter(|form| form.get("oneOf").is_none()) {
                    self.add_property(name, form, types, is_alternative);
                }
            }
            None => self.list.push(ParameterForm { name, property: object, types: types.to_vec(), is_alternative }),
        }
    }

    /// Returns the values of the type property, sorted.
    fn all_types(&self) -> Vec<&'v str> {
        let mut types: Vec<&str> = self.list.iter().flat_map(|form| form.types.iter().copied()).collect();
        types.sort_unstable();
        types.dedup();
        types
    }
}

/// Returns the values of the type property for which a form is.
fn read_instance_types(form: &Value) -> Vec<&str> {
    let one = form.get("instance-type").and_then(Value::as_str);
    let several = form.get("instance-types").and_then(Value::as_array);
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str)).take(MAX_INSTANCE_TYPES).collect()
}

/// Returns the values of an enumeration, each ended by a line break. An enumeration with too many values counts as
/// none, because a shortened one would reject valid values.
fn join_enum_values(values: Option<&Value>) -> String {
    let values = values.and_then(Value::as_array).filter(|values| values.len() <= MAX_ENUM_VALUES);
    let texts = values.into_iter().flatten().map(|value| scalar_to_text(Some(value)));
    texts.filter(|text| !text.is_empty() && !text.contains('\n')).map(|text| text + "\n").collect()
}

/// Returns a string, number or boolean as text, and an empty text for other values.
fn scalar_to_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        _ => String::new(),
    }
}

/// Returns whether Perl takes a value as true. `0`, `"0"` and the empty text are false.
fn is_perl_true(value: &Value) -> bool {
    !matches!(scalar_to_text(Some(value)).as_str(), "" | "0" | "false")
}

/// Returns one line of at most [`MAX_TEXT_BYTES`] without control characters.
fn shorten_text(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if out.len() + word.len() >= MAX_TEXT_BYTES {
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

/// Returns the rule of `permissions` as text: `VM.Audit on /vms/{vmid}`. It is empty for an operation that users may
/// call without a privilege. Only root@pam may call an operation without a rule.
fn format_privileges(permissions: Option<&Value>) -> String {
    let get = |key: &str| permissions.and_then(|permissions| permissions.get(key));
    match (get("check"), get("user").and_then(Value::as_str)) {
        (Some(check), _) => shorten_text(&format_rule(check, 0)),
        (None, Some(_)) => String::new(),
        (None, None) => "only root@pam".into(),
    }
}

fn format_rule(check: &Value, depth: usize) -> String {
    let Some([kind, rest @ ..]) = check.as_array().map(Vec::as_slice) else { return String::new() };
    let text = |index: usize| rest.get(index).and_then(Value::as_str).unwrap_or("");
    let list = |index: usize| {
        let is_any = rest.iter().any(|word| word == "any");
        let names = rest.get(index).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let names: Vec<&str> = names.collect();
        match find_family(&names).filter(|_| is_any && names.len() >= MIN_FAMILY) {
            Some(family) => format!("{family}.* (which one depends on the option)"),
            None => names.join(if is_any { " or " } else { " and " }),
        }
    };
    match kind.as_str() {
        Some(word @ ("and" | "or")) if depth < MAX_RULE_DEPTH => {
            let mut parts: Vec<String> = rest.iter().map(|part| format_rule(part, depth + 1)).collect();
            parts.retain(|part| !part.is_empty());
            let joined = parts.join(&format!(" {word} "));
            if depth > 0 && parts.len() > 1 { format!("({joined})") } else { joined }
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

/// Returns the beginning that all names have in common up to their last dot: `VM.Config`.
fn find_family<'n>(names: &[&'n str]) -> Option<&'n str> {
    let (first, _) = names.first()?.rsplit_once('.')?;
    names.iter().all(|name| name.rsplit_once('.').is_some_and(|(family, _)| family == first)).then_some(first)
}

/// Parses a list of paths.
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

/// Parses a path: its methods, and the list of the paths below it.
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
        let Self(reader) = self;
        let progress = reader.progress;
        let mut path = String::new();
        let mut methods = Vec::new();
        loop {
            progress.limit.set(progress.bytes_read.get() + MAX_PATH_BYTES);
            match map.next_key::<String>()?.as_deref() {
                None => break,
                Some("path") => path = map.next_value()?,
                // Packed at once, so that no large value is in memory while the paths below are read.
                Some("info") => {
                    let budget = ValueBudget::new(MAX_PATH_MEMORY);
                    let info = map.next_value_seed(MemoryLimitedValue(&budget)).map_err(|error| {
                        if budget.is_exceeded() {
                            progress.exceed(SchemaLimit::PathMemory(MAX_PATH_MEMORY))
                        } else {
                            error
                        }
                    })?;
                    if let Value::Object(info) = info {
                        methods = reader.read_methods(&info).map_err(|limit| progress.exceed::<A::Error>(limit))?;
                    }
                }
                Some("children") => map.next_value_seed(PathListVisitor(reader))?,
                Some(_) => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        reader.add_path(&path, methods).map_err(|limit| progress.exceed(limit))
    }
}
