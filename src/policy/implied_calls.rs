//! The calls that another call stands for: it does what they do, under its own path. A `deny` of one of them holds for it too.
//! An `allow` list has to have those that a parameter of the call brings about.
//!
//! A line of `implied_calls.tsv` has: methods, paths (`*` for a segment, `a|b` for one of several, `**` for the rest), a
//! parameter with a [`ValueCondition`] or `-`, the lists that the line concerns (`deny`, or `both`), and the implied calls. In
//! their paths, `{2}` is that segment of the call, `{path}` its whole path, `{name}` the items of a parameter, `{#name}` the
//! guests that a parameter or a segment names, and `{kind:name}` the kind of guest that an HA resource has. Any value is
//! possible for a `*`, and for a parameter that is missing. `=` is the method of the call.

use super::pattern::{OperationPattern, known_operations, split_path};
use super::value_condition::ValueCondition;
use super::vmids::{
    TEXT_PARAMETERS, VMID_PARAMETERS, for_each_vmid_in_list, for_each_vmid_in_name, for_each_vmid_in_parameter,
};
use crate::base::list_text::list_items;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

static TABLE: LazyLock<Vec<ImpliedCallRule>> =
    LazyLock::new(|| include_str!("implied_calls.tsv").lines().map(ImpliedCallRule::parse).collect());

/// The parameters that name nodes, storages and pools.
const NODE_PARAMETERS: [&str; 4] = ["node", "nodes", "target", "target_node"];
const STORAGE_PARAMETERS: [&str; 5] = ["storage", "target-storage", "targetstorage", "statestorage", "vmstatestorage"];
const POOL_PARAMETERS: [&str; 2] = ["pool", "poolid"];

/// A call with its parameters, or an operation without.
#[derive(Clone, Copy)]
pub struct ImplyingCall<'a> {
    /// GET, POST, PUT or DELETE.
    pub method: &'a str,
    /// The path of the operation with placeholders.
    pub template: &'a str,
    /// The decoded segments of the path.
    pub segments: &'a [&'a str],
}

/// A call that another one stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpliedCall {
    method: String,
    path: Vec<ImpliedSegment>,
    /// The path ends before it, and any segments may follow.
    is_open: bool,
    /// A parameter of the call brings it about, so an `allow` list has to have it.
    pub(super) needs_allow: bool,
}

/// A segment of the path of an implied call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ImpliedSegment {
    Any,
    OneOf(Vec<String>),
    /// One of these names, and a rule has to name it. A rule for any name is not about the call.
    Named(Vec<String>),
    /// A name that is not known yet. Only a rule for any name is certain to have it.
    Unknown,
}

impl ImplyingCall<'_> {
    /// Returns the calls that this one stands for with these parameters (names and values).
    pub fn find_implied<'p, P>(self, params: P) -> Vec<ImpliedCall>
    where
        P: Iterator<Item = (&'p str, &'p str)> + Clone,
    {
        let params: Vec<(&str, &str)> = params.collect();
        let mut implied: Vec<ImpliedCall> =
            self.rules().filter(|rule| rule.holds(&params)).flat_map(|rule| rule.build(self, Some(&params))).collect();
        implied.extend(self.find_named_objects(&params));
        implied
    }

    /// Returns the calls that every call of this operation stands for.
    pub fn find_certain(self) -> Vec<ImpliedCall> {
        self.rules().filter(|rule| rule.condition.is_none()).flat_map(|rule| rule.build(self, None)).collect()
    }

    fn rules(self) -> impl Iterator<Item = &'static ImpliedCallRule> {
        let template: Vec<&str> = split_path(self.template).collect();
        TABLE.iter().filter(move |rule| rule.applies_to(self.method, &template, self.segments))
    }

    /// Returns calls below the objects that the call names in other places than its path. A rule for everything below such
    /// an object (`* /nodes/*/qemu/200/**`) is about them too.
    fn find_named_objects(self, params: &[(&str, &str)]) -> Vec<ImpliedCall> {
        let mut found = Vec::new();
        let mut add = |before: &[&str], names: Vec<String>| {
            if names.is_empty() {
                return;
            }
            let mut path: Vec<ImpliedSegment> = before.iter().map(|part| parse_alternatives(part)).collect();
            path.extend([ImpliedSegment::Named(names), ImpliedSegment::Unknown]);
            found.push(ImpliedCall { method: self.method.to_owned(), path, is_open: false, needs_allow: false });
        };
        let named_by = |names: &[&str]| -> Vec<String> {
            let values = params.iter().filter(|(name, _)| names.contains(name)).map(|(_, value)| *value);
            // The nodes of an HA rule have priorities: `pve1:2`.
            values.flat_map(list_items).map(|item| item.split(':').next().unwrap_or(item).to_owned()).collect()
        };
        let (mut nodes, mut storages, mut pools) =
            (named_by(&NODE_PARAMETERS), named_by(&STORAGE_PARAMETERS), named_by(&POOL_PARAMETERS));
        let mut vmids = BTreeSet::new();
        for (name, value) in params.iter().filter(|(name, _)| !TEXT_PARAMETERS.contains(name)) {
            let is_id = *name == "id" && self.segments.contains(&"replication");
            let names_guests = is_id || VMID_PARAMETERS.contains(name);
            if names_guests {
                collect_numbers(value, false, &mut vmids);
            } else {
                for_each_vmid_in_parameter(name, value, &mut |vmid| _ = vmids.insert(vmid));
                // `local-lvm:vm-100-disk-0,size=1G`
                storages.extend(value.split_once(':').map(|(storage, _)| storage.to_owned()));
            }
            // The object of a permission.
            let parts: Vec<&str> = value.split('/').collect();
            match parts.as_slice() {
                ["", "vms", vmid, ..] => collect_numbers(vmid, false, &mut vmids),
                ["", "nodes", node, ..] => nodes.push((*node).to_owned()),
                ["", "storage", storage, ..] => storages.push((*storage).to_owned()),
                ["", "pool", pool @ ..] => pools.push(pool.join("/")),
                _ => {}
            }
        }
        match self.segments {
            // The paths of guests have their own numbers.
            ["nodes", _, "qemu" | "lxc", _, ..] => {}
            // UPID:node:pid:pstart:start:type:id:user:
            ["nodes", _, "tasks", upid, ..] => {
                collect_numbers(upid.split(':').nth(6).unwrap_or_default(), false, &mut vmids);
            }
            segments => segments.iter().for_each(|segment| collect_numbers(segment, true, &mut vmids)),
        }
        if let ["cluster", .., node] = self.segments {
            nodes.push((*node).to_owned());
        }
        add(&["nodes", "*", "qemu|lxc"], vmids.iter().map(u32::to_string).collect());
        add(&["nodes"], nodes);
        add(&["storage"], storages.clone());
        add(&["nodes", "*", "storage"], storages);
        add(&["pools"], pools);
        found
    }
}

/// Adds the guest numbers of a text: those of a list, or only those within the names of volumes and resources.
fn collect_numbers(text: &str, only_names: bool, found: &mut BTreeSet<u32>) {
    if !only_names {
        for_each_vmid_in_list(text, &mut |vmid| _ = found.insert(vmid));
    }
    for_each_vmid_in_name(text, &mut |vmid| _ = found.insert(vmid));
}

/// A line of the table.
struct ImpliedCallRule {
    methods: Vec<&'static str>,
    paths: Vec<Vec<&'static str>>,
    /// Names of parameters, one of which meets the condition.
    condition: Option<(Vec<&'static str>, ValueCondition)>,
    needs_allow: bool,
    /// Methods and paths.
    implied: Vec<(&'static str, Vec<&'static str>)>,
}

impl ImpliedCallRule {
    /// Parses a line of the table.
    ///
    /// # Panics
    /// The line is malformed. The table is part of the program, and a test reads it.
    fn parse(line: &'static str) -> Self {
        let [methods, paths, condition, lists, implied] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("implied_calls.tsv has no five columns: {line}")
        };
        let condition = condition
            .split_once(' ')
            .map(|(names, condition)| (names.split(',').collect(), ValueCondition::parse(condition)));
        let implied = implied.split(' ').map(|call| {
            let (method, path) = call.split_once(':').expect("an implied call has a method");
            (method, split_path(path).collect())
        });
        Self {
            methods: methods.split('|').collect(),
            paths: paths.split(' ').map(|path| split_path(path).collect()).collect(),
            condition,
            needs_allow: lists == "both",
            implied: implied.collect(),
        }
    }

    fn applies_to(&self, method: &str, template: &[&str], segments: &[&str]) -> bool {
        self.methods.contains(&method)
            && self.paths.iter().any(|pattern| {
                let (fixed, is_open) = match pattern.split_last() {
                    Some((&"**", fixed)) => (fixed, true),
                    _ => (&pattern[..], false),
                };
                (template.len() == fixed.len() || (is_open && template.len() > fixed.len()))
                    && fixed.iter().zip(template).enumerate().all(|(at, (wanted, part))| {
                        let actual = if part.starts_with('{') { segments.get(at).unwrap_or(part) } else { part };
                        *wanted == "*" || wanted.split('|').any(|word| word == *actual)
                    })
            })
    }

    fn holds(&self, params: &[(&str, &str)]) -> bool {
        let Some((names, condition)) = &self.condition else { return true };
        let is_named = |given: &str| {
            let stem = given.trim_end_matches(|c: char| c.is_ascii_digit());
            names.iter().any(|name| *name == given || name.strip_suffix("[n]").is_some_and(|name| name == stem))
        };
        let mut values = params.iter().filter(|(name, _)| is_named(name)).map(|(_, value)| *value);
        match condition {
            ValueCondition::Absent => values.next().is_none(),
            condition => values.any(|value| condition.holds(value, &|_| false)),
        }
    }

    /// Builds the implied calls, as far as they are operations. `params` is `None` if they are not known yet.
    fn build(&self, call: ImplyingCall<'_>, params: Option<&[(&str, &str)]>) -> Vec<ImpliedCall> {
        let build_one = |(method, path): &(&'static str, Vec<&'static str>)| {
            let (path, is_open) = match path.split_last() {
                Some((&"**", path)) => (path, true),
                _ => (&path[..], false),
            };
            let mut segments = Vec::with_capacity(path.len());
            for part in path {
                match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                    Some("path") => {
                        let own = call.segments.iter().map(|segment| (*segment).to_owned());
                        segments.extend(own.map(|segment| ImpliedSegment::OneOf(vec![segment])));
                    }
                    Some(name) => segments.push(resolve_segment(name, call, params)),
                    None => segments.push(parse_alternatives(part)),
                }
            }
            if params.is_none() {
                for segment in segments.iter_mut().filter(|segment| **segment == ImpliedSegment::Any) {
                    *segment = ImpliedSegment::Unknown;
                }
            }
            let method = if *method == "=" { call.method } else { method };
            ImpliedCall { method: method.to_owned(), path: segments, is_open, needs_allow: self.needs_allow }
        };
        self.implied.iter().map(build_one).filter(ImpliedCall::is_operation).collect()
    }
}

/// Returns the segment that a placeholder of the table means.
fn resolve_segment(name: &str, call: ImplyingCall<'_>, params: Option<&[(&str, &str)]>) -> ImpliedSegment {
    let values = |name: &str| -> Vec<&str> {
        match name.parse::<usize>() {
            Ok(at) => call.segments.get(at).copied().into_iter().collect(),
            Err(_) => {
                params.unwrap_or_default().iter().filter(|(given, _)| *given == name).map(|(_, value)| *value).collect()
            }
        }
    };
    let found: Vec<String> = if let Some(name) = name.strip_prefix('#') {
        let mut vmids = BTreeSet::new();
        values(name).into_iter().for_each(|value| collect_numbers(value, false, &mut vmids));
        vmids.iter().map(u32::to_string).collect()
    } else if let Some(name) = name.strip_prefix("kind:") {
        let kinds = match values(name).first().and_then(|sid| sid.split_once(':')) {
            Some(("vm", _)) => &["qemu"][..],
            Some(("ct", _)) => &["lxc"],
            _ => &["qemu", "lxc"],
        };
        kinds.iter().map(|kind| (*kind).to_owned()).collect()
    } else if name.parse::<usize>().is_ok() {
        values(name).into_iter().map(str::to_owned).collect()
    } else {
        values(name).into_iter().flat_map(list_items).map(str::to_owned).collect()
    };
    if found.is_empty() { ImpliedSegment::Any } else { ImpliedSegment::OneOf(found) }
}

fn parse_alternatives(part: &str) -> ImpliedSegment {
    match part {
        "*" => ImpliedSegment::Any,
        words => ImpliedSegment::OneOf(words.split('|').map(str::to_owned).collect()),
    }
}

impl ImpliedCall {
    /// Returns whether a rule matches some call that this one may be.
    pub(super) fn meets(&self, rule: &OperationPattern) -> bool {
        let mut segments = rule.segments.iter().zip(&self.path);
        self.fits_length(rule) && segments.all(|(written, segment)| segment.meets(written))
    }

    /// Returns whether rules together match every call that this one may be.
    pub(super) fn is_covered_by(&self, rules: &[OperationPattern]) -> bool {
        let covers = |rule: &OperationPattern| {
            let mut segments = rule.segments.iter().zip(&self.path);
            self.fits_length(rule) && segments.all(|(written, segment)| segment.is_covered_by(written))
        };
        if rules.iter().any(covers) {
            return true;
        }
        // Each value of a segment may have a rule of its own.
        let several = self.path.iter().enumerate().find_map(|(at, segment)| match segment {
            ImpliedSegment::OneOf(values) if values.len() > 1 => Some((at, values)),
            _ => None,
        });
        several.is_some_and(|(at, values)| {
            values.iter().all(|value| {
                let mut one = self.clone();
                one.path[at] = ImpliedSegment::OneOf(vec![value.clone()]);
                one.is_covered_by(rules)
            })
        })
    }

    fn fits_length(&self, rule: &OperationPattern) -> bool {
        let fits = match rule.segments.len().cmp(&self.path.len()) {
            Ordering::Less => rule.open_ended,
            Ordering::Equal => !self.is_open || rule.open_ended,
            Ordering::Greater => self.is_open,
        };
        fits && rule.fits_method(&self.method)
    }

    /// Returns whether some known operation can be this call.
    fn is_operation(&self) -> bool {
        known_operations().any(|(method, template)| {
            let fits_length = match self.is_open {
                true => template.len() > self.path.len(),
                false => template.len() == self.path.len(),
            };
            method == self.method
                && fits_length
                && self.path.iter().zip(template).all(|(segment, part)| segment.fits_template(part))
        })
    }
}

impl ImpliedSegment {
    /// Returns whether a segment of a rule (`*` for any) has one of the values.
    fn meets(&self, written: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(values) => written == "*" || values.iter().any(|value| value == written),
            Self::Named(values) => values.iter().any(|value| value == written),
            Self::Unknown => written == "*",
        }
    }

    /// Returns whether a segment of a rule has every value.
    fn is_covered_by(&self, written: &str) -> bool {
        match self {
            Self::OneOf(values) | Self::Named(values) => written == "*" || values.iter().all(|value| value == written),
            Self::Any | Self::Unknown => written == "*",
        }
    }

    /// Returns whether the segment may be that part of a template.
    fn fits_template(&self, part: &str) -> bool {
        part.starts_with('{') || self.meets(part)
    }
}

impl fmt::Display for ImpliedCall {
    /// Writes the clause of a sentence about the call that implies this one. `*` is what varies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.path.iter().find_map(|segment| match segment {
            ImpliedSegment::Named(values) => Some(values),
            _ => None,
        });
        if let Some(values) = named {
            return write!(f, "it names `{}`", values.join("`, `"));
        }
        write!(f, "it does what {} ", self.method)?;
        for segment in &self.path {
            match segment {
                ImpliedSegment::OneOf(values) if values.len() == 1 => write!(f, "/{}", values[0])?,
                _ => f.write_str("/*")?,
            }
        }
        f.write_str(if self.is_open { "/* does" } else { " does" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parameter_risks::AssessedCall;
    use super::super::risk::Risk;
    use super::*;
    use std::collections::HashMap;
    use std::fs;

    /// Returns the calls that a call stands for, as a rule would be written that denies each one.
    fn denies(pattern: &str, method: &str, template: &str, path: &str, params: &[(&str, &str)]) -> bool {
        let pattern = OperationPattern::parse(pattern).expect(pattern);
        let segments: Vec<&str> = split_path(path).collect();
        let call = ImplyingCall { method, template, segments: &segments };
        call.find_implied(params.iter().copied()).iter().any(|implied| implied.meets(&pattern))
    }

    #[test]
    fn every_line_is_about_operations() {
        for rule in TABLE.iter() {
            for (method, path) in &rule.implied {
                assert!(["GET", "POST", "PUT", "DELETE", "="].contains(method), "{method}");
                assert!(!path.is_empty());
            }
            for pattern in rule.paths.iter().filter(|pattern| pattern.last() != Some(&"**")) {
                let path = pattern.iter().map(|part| parse_alternatives(part)).collect();
                let fits = rule.methods.iter().any(|method| {
                    let call = ImpliedCall {
                        method: (*method).to_owned(),
                        path: Vec::clone(&path),
                        is_open: false,
                        needs_allow: false,
                    };
                    call.is_operation()
                });
                assert!(fits, "{} /{}", rule.methods.join("|"), pattern.join("/"));
            }
        }
    }

    #[test]
    fn guests_of_a_call_are_those_that_it_selects() {
        let stop = "POST /nodes/*/qemu/200/status/stop";
        let (all, bulk) = ("/nodes/{node}/stopall", "/cluster/bulk-action/guest/shutdown");
        for (template, path, params, denied) in [
            (all, "/nodes/pve1/stopall", &[][..], true),
            (all, "/nodes/pve1/stopall", &[("vms", "200,300")], true),
            (all, "/nodes/pve1/stopall", &[("vms", "300")], false),
            (all, "/nodes/pve1/stopall", &[("force-stop", "0")], false),
            (bulk, "/cluster/bulk-action/guest/shutdown", &[("vms", "200")], true),
            (bulk, "/cluster/bulk-action/guest/shutdown", &[("vms", "201")], false),
        ] {
            assert_eq!(denies(stop, "POST", template, path, params), denied, "{path} {params:?}");
        }
        let stop = "POST /nodes/pve1/qemu/*/status/stop";
        assert!(!denies(stop, "POST", all, "/nodes/pve2/stopall", &[]));
        let ha = "/cluster/ha/resources/{sid}";
        let stopped = [("state", "stopped")];
        assert!(denies(stop, "PUT", ha, "/cluster/ha/resources/vm:200", &stopped));
        assert!(denies(stop, "PUT", ha, "/cluster/ha/resources/200", &stopped));
        assert!(!denies(stop, "PUT", ha, "/cluster/ha/resources/ct:200", &stopped));
        assert!(!denies(stop, "PUT", ha, "/cluster/ha/resources/vm:200", &[("state", "started")]));
    }

    #[test]
    fn switching_a_rule_off_is_deleting_it() {
        for (template, path, name, value) in [
            ("/storage/{storage}", "/storage/nas", "disable", "1"),
            ("/cluster/replication/{id}", "/cluster/replication/100-0", "disable", "on"),
            ("/cluster/replication/{id}", "/cluster/replication/100-0", "remove_job", "full"),
            ("/cluster/backup/{id}", "/cluster/backup/b1", "enabled", "0"),
            ("/cluster/backup/{id}", "/cluster/backup/b1", "schedule", "2020-01-01"),
            ("/access/users/{userid}", "/access/users/a@pve", "enable", "0"),
            ("/access/users/{userid}", "/access/users/a@pve", "expire", "1"),
            ("/cluster/notifications/matchers/{name}", "/cluster/notifications/matchers/m", "disable", "1"),
        ] {
            let pattern = format!("DELETE {}", template.split('{').next().unwrap_or_default()) + "*";
            assert!(denies(&pattern, "PUT", template, path, &[(name, value)]), "{pattern} {name}={value}");
            assert!(!denies(&pattern, "PUT", template, path, &[("comment", "x")]), "{pattern}");
        }
        // These options have no DELETE.
        let repositories = "/nodes/{node}/apt/repositories";
        assert!(!denies("DELETE /**", "PUT", repositories, "/nodes/pve1/apt/repositories", &[("enabled", "0")]));
    }

    #[test]
    fn rule_for_all_of_an_object_holds_where_a_call_names_it() {
        for (pattern, template, path, name, value) in [
            ("* /qemu/200/**", "/nodes/{node}/vzdump", "/nodes/pve1/vzdump", "vmid", "100,200"),
            ("POST /qemu/200/**", "/cluster/replication", "/cluster/replication", "id", "200-0"),
            ("* /nodes/pve2/**", "/nodes/{node}/qemu/{vmid}/migrate", "/nodes/pve1/qemu/100/migrate", "target", "pve2"),
            ("* /nodes/*/storage/nas/**", "/nodes/{node}/vzdump", "/nodes/pve1/vzdump", "storage", "nas"),
            ("* /storage/nas/**", "/nodes/{node}/qemu/{vmid}/config", "/nodes/pve1/qemu/100/config", "scsi1", "nas:10"),
            ("* /qemu/200/**", "/access/acl", "/access/acl", "path", "/vms/200"),
            ("* /pools/prod/**", "/access/acl", "/access/acl", "path", "/pool/prod"),
            ("* /nodes/pve2/**", "/access/acl", "/access/acl", "path", "/nodes/pve2"),
            ("* /pools/prod/**", "/nodes/{node}/qemu/{vmid}/clone", "/nodes/pve1/qemu/100/clone", "pool", "prod"),
        ] {
            assert!(denies(pattern, "POST", template, path, &[(name, value)]), "{pattern} {name}={value}");
            assert!(!denies(pattern, "POST", template, path, &[(name, "x")]), "{pattern} {name}=x");
        }
        let (template, path) = ("/nodes/{node}/vzdump", "/nodes/pve1/vzdump");
        assert!(!denies("POST /nodes/*/qemu/*/**", "POST", template, path, &[("vmid", "200")]), "names no guest");
        assert!(!denies("POST /nodes/*/qemu/200/status/stop", "POST", template, path, &[("vmid", "200")]));
    }

    /// Returns a value that meets a condition.
    fn find_value(condition: &ValueCondition) -> Option<String> {
        Some(match condition {
            ValueCondition::Absent => return None,
            ValueCondition::Off => "0".into(),
            ValueCondition::Dated => "2020-01-01".into(),
            ValueCondition::Value(words) | ValueCondition::Word(words) => words[0].replace('*', "0"),
            _ => "1".into(),
        })
    }

    #[test]
    fn call_has_at_least_the_risk_of_those_that_it_stands_for() {
        let operations: Vec<_> = include_str!("operation_risks.tsv")
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .map(|columns| (columns[0], columns[1], Risk::from_code(columns[2])))
            .collect();
        let facts = fs::read_to_string("src/pve/schema/facts/operations.json").expect("the facts");
        let facts: serde_json::Value = serde_json::from_str(&facts).expect("JSON");
        let facts = facts["operations"].as_array().expect("a list");
        let parameters: HashMap<(&str, &str), Vec<&String>> = facts
            .iter()
            .map(|one| {
                let text = |key: &str| one[key].as_str().expect("a text");
                ((text("method"), text("path")), one["params"].as_object().expect("an object").keys().collect())
            })
            .collect();
        let mut lower = Vec::new();
        for (rule, (method, template, risk)) in
            TABLE.iter().flat_map(|rule| operations.iter().map(move |one| (rule, *one)))
        {
            let segments: Vec<&str> = split_path(template).collect();
            let condition = rule.condition.as_ref();
            let is_known = |name: &str| {
                parameters.get(&(method, template)).is_some_and(|names| names.iter().any(|known| *known == name))
            };
            let has_parameter = condition.is_none_or(|(names, _)| names.iter().any(|name| is_known(name)));
            if !rule.applies_to(method, &segments, &segments) || !has_parameter {
                continue;
            }
            let params: Vec<(&str, String)> = condition
                .and_then(|(names, condition)| {
                    Some((*names.iter().find(|name| is_known(name))?, find_value(condition)?))
                })
                .into_iter()
                .collect();
            let call = ImplyingCall { method, template, segments: &segments };
            let assessed = AssessedCall { method, template, segments: &segments, operation: risk };
            let risk = assessed.find_rules().assess(params.iter().map(|(name, value)| (*name, value.as_str()))).risk;
            let given: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
            for implied in rule.build(call, Some(&given)) {
                let is_same = |method: &str, template: &str| {
                    let parts: Vec<&str> = split_path(template).collect();
                    method == implied.method
                        && parts.len() == implied.path.len()
                        && implied.path.iter().zip(&parts).all(|(segment, part)| segment.fits_template(part))
                };
                for (_, other, least) in operations.iter().filter(|(method, template, _)| is_same(method, template)) {
                    if least.kind > risk.kind || (least.is_sensitive() && !risk.is_sensitive()) {
                        lower.push(format!(
                            "{method} {template} {params:?} {risk:?}: {} {other} {least:?}",
                            implied.method
                        ));
                    }
                }
            }
        }
        assert!(lower.is_empty(), "{}", lower.join("\n"));
    }

    #[test]
    fn operation_stands_for_what_each_of_its_calls_does() {
        let segments = ["nodes", "{node}", "stopall"];
        let call = ImplyingCall { method: "POST", template: "/nodes/{node}/stopall", segments: &segments };
        let matches = |pattern: &str| {
            let pattern = OperationPattern::parse(pattern).expect(pattern);
            call.find_certain().iter().any(|implied| implied.meets(&pattern))
        };
        assert!(matches("POST /nodes/*/qemu/*/status/shutdown") && !matches("POST /nodes/*/qemu/200/status/shutdown"));
        assert!(!matches("POST /nodes/*/qemu/*/status/stop"), "force-stop=0 stops none");
    }
}
