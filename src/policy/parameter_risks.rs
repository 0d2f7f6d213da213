//! The risk that the parameters of a call add, from the table `parameter_risks.tsv`.
//!
//! A line of the table has: method (or `*` for every change), paths with `*` for a segment and `**` for the rest, names
//! of parameters (`net[n]` for `net0`, `net1`, …, `*` for all), condition, parameters whose presence switches the line
//! off, effect, and the reason. An effect is a kind and flags as in [`Risk::from_code`], flags alone, `-` for none, `?` for
//! a reason that the caller is told, or `=VALUE` for a value that is sent if the parameter is missing. Every parameter of a writing operation has a line. A parameter only
//! ever raises a risk.

use super::risk::{Risk, RiskKind};
use super::value_condition::{ValueCondition, is_clear_no, matches_segment};
use crate::base::list_text::list_items;
use std::sync::LazyLock;

static TABLE: LazyLock<Vec<ParameterRule>> =
    LazyLock::new(|| include_str!("parameter_risks.tsv").lines().map(ParameterRule::parse).collect());

/// The reason for the risk of a parameter that the table does not have, such as one of a newer Proxmox.
const UNKNOWN_PARAMETER: &str = "a parameter that this version does not know";

/// The risk of a call with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiskAssessment {
    pub risk: Risk,
    /// The reasons for what the parameters add to the risk of the operation.
    pub reasons: Vec<RiskReason>,
}

/// The reason for which a parameter raises the risk of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiskReason {
    pub parameter: String,
    pub reason: &'static str,
}

/// A value that is sent because the default of Proxmox is riskier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SafeDefault {
    pub parameter: &'static str,
    pub value: &'static str,
    /// The effect of the default of Proxmox.
    pub reason: &'static str,
}

/// A call as the table sees it.
#[derive(Clone, Copy)]
pub struct AssessedCall<'a> {
    /// GET, POST, PUT or DELETE.
    pub method: &'a str,
    /// The path of the operation with placeholders.
    pub template: &'a str,
    /// The decoded segments of the path.
    pub segments: &'a [&'a str],
    /// The risk of the operation.
    pub operation: Risk,
}

impl<'a> AssessedCall<'a> {
    /// Returns the lines of the table that concern the call. Lines of every method are about changes.
    pub fn find_rules(self) -> CallRules<'a> {
        let template: Vec<&str> = self.template.split('/').skip(1).collect();
        let path = match template.len() == self.segments.len() {
            true => self.segments,
            // A name with slashes makes the path longer than its template.
            false => &template,
        };
        let rules = TABLE.iter().filter(|rule| rule.applies_to(self.method, &template, path)).collect();
        CallRules { call: self, rules }
    }
}

impl CallRules<'_> {
    /// Returns the risk of the call with these parameters (names and values).
    pub fn assess<'p, P>(&self, params: P) -> RiskAssessment
    where
        P: Iterator<Item = (&'p str, &'p str)> + Clone,
    {
        let mut assessment = RiskAssessment { risk: self.call.operation, reasons: Vec::new() };
        if self.call.operation == Risk::UNKNOWN {
            return assessment;
        }
        for rule in &self.rules {
            let Effect::Risk { kind, flags } = rule.effect else { continue };
            if rule.is_off(params.clone()) {
                continue;
            }
            if matches!(rule.condition, ValueCondition::Absent | ValueCondition::Always) {
                let name = rule.names[0];
                // (PVE: an empty list selects as a missing one does.)
                let is_present = |(given, value): (&str, &str)| given == name && list_items(value).next().is_some();
                if rule.condition == ValueCondition::Always || !params.clone().any(is_present) {
                    assessment.raise(name, kind, flags, rule.reason);
                }
                continue;
            }
            for (name, value) in params.clone() {
                if rule.names_parameter(name) && rule.condition.holds(value, &|word| self.risks_reset(word)) {
                    assessment.raise(name, kind, flags, rule.reason);
                }
            }
        }
        // An unknown parameter of a read changes nothing.
        for (name, _) in params.filter(|_| self.call.method != "GET") {
            if !self.rules.iter().any(|rule| rule.names_parameter(name)) {
                let flags = Risk { disruptive: true, ..Risk::READ };
                assessment.raise(name, None, flags, UNKNOWN_PARAMETER);
            }
        }
        assessment
    }

    /// Returns the values to send for missing parameters whose default is riskier.
    pub fn safe_defaults<'p, P>(&self, params: P) -> Vec<SafeDefault>
    where
        P: Iterator<Item = (&'p str, &'p str)> + Clone,
    {
        let is_missing = |name: &str| !params.clone().any(|(given, _)| given == name);
        let rules = self.rules.iter().filter(|rule| !rule.is_off(params.clone()));
        rules
            .filter_map(|rule| match rule.effect {
                Effect::Send(value) if is_missing(rule.names[0]) => {
                    Some(SafeDefault { parameter: rule.names[0], value, reason: rule.reason })
                }
                _ => None,
            })
            .collect()
    }

    /// Returns the parameters that do not do what the caller may expect, with the reason.
    pub fn find_notes<'p>(
        &self,
        params: impl Iterator<Item = (&'p str, &'p str)>,
    ) -> impl Iterator<Item = (&'p str, &'static str)> {
        params.filter_map(|(name, value)| {
            let is_about = |rule: &&&ParameterRule| {
                matches!(rule.effect, Effect::Note)
                    && rule.names_parameter(name)
                    && rule.condition.holds(value, &|_| false)
            };
            self.rules.iter().find(is_about).map(|rule| (name, rule.reason))
        })
    }

    /// Returns whether the loss of a parameter's value has a risk of its own.
    fn risks_reset(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| rule.risks_reset() && rule.names_parameter(name))
    }

    /// Returns whether the table has a line for a parameter.
    pub fn knows_parameter(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| rule.names_parameter(name))
    }
}

impl RiskAssessment {
    /// Adds that the call interrupts or takes away something because of the present state of the cluster.
    pub fn raise_by_state(&mut self, parameter: &str, reason: &'static str) {
        self.raise(parameter, None, Risk { disruptive: true, ..Risk::READ }, reason);
    }

    /// Adds the effect of a parameter, and its reason if it makes a difference.
    fn raise(&mut self, parameter: &str, kind: Option<RiskKind>, flags: Risk, reason: &'static str) {
        let raised = self.risk.max(Risk { kind: kind.unwrap_or(self.risk.kind), ..flags });
        if raised != self.risk {
            self.risk = raised;
            self.reasons.push(RiskReason { parameter: parameter.to_owned(), reason });
        }
    }
}

/// The lines of the table that concern one call.
pub struct CallRules<'a> {
    call: AssessedCall<'a>,
    rules: Vec<&'static ParameterRule>,
}

/// A line of the table.
struct ParameterRule {
    /// `None` for every method.
    method: Option<&'static str>,
    paths: Vec<Vec<&'static str>>,
    names: Vec<&'static str>,
    condition: ValueCondition,
    /// The line does not hold if one of these parameters is given and not off.
    unless: Vec<&'static str>,
    effect: Effect,
    reason: &'static str,
}

#[derive(Clone, Copy)]
enum Effect {
    /// Raises the risk. A kind of `None` leaves the kind as it is.
    Risk {
        kind: Option<RiskKind>,
        flags: Risk,
    },
    /// Sends this value.
    Send(&'static str),
    /// Tells the caller the reason.
    Note,
    None,
}

impl ParameterRule {
    /// Parses a line of the table.
    ///
    /// # Panics
    /// The line is malformed. The table is part of the program, and a test reads it.
    fn parse(line: &'static str) -> Self {
        let [method, paths, names, condition, unless, effect, reason] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("parameter_risks.tsv has no seven columns: {line}")
        };
        let effect = match (effect, effect.strip_prefix('=')) {
            ("-", _) => Effect::None,
            ("?", _) => Effect::Note,
            (_, Some(value)) => Effect::Send(value),
            _ => {
                let has_kind = effect.starts_with(|c: char| c.is_ascii_uppercase());
                let code = if has_kind { effect.to_owned() } else { format!("R{effect}") };
                let flags = Risk::from_code(&code);
                assert_ne!(flags, Risk::UNKNOWN, "parameter_risks.tsv has an unknown effect: {line}");
                Effect::Risk { kind: has_kind.then_some(flags.kind), flags }
            }
        };
        Self {
            method: Some(method).filter(|method| *method != "*"),
            paths: paths.split(' ').map(|path| path.split('/').skip(1).collect()).collect(),
            names: names.split(',').collect(),
            condition: ValueCondition::parse(condition),
            unless: unless.split(' ').filter(|name| *name != "-").collect(),
            effect,
            reason,
        }
    }

    fn applies_to(&self, method: &str, template: &[&str], path: &[&str]) -> bool {
        self.method.map_or(method != "GET", |only| only == method)
            && self.paths.iter().any(|pattern| {
                let (fixed, is_open) = match pattern.split_last() {
                    Some((&"**", fixed)) => (fixed, true),
                    _ => (&pattern[..], false),
                };
                (template.len() == fixed.len() || (is_open && template.len() > fixed.len()))
                    && fixed.iter().zip(template).zip(path).all(|((wanted, part), given)| {
                        let actual = if part.starts_with('{') { given } else { part };
                        *wanted == "*" || wanted == part || matches_segment(wanted, actual)
                    })
            })
    }

    fn names_parameter(&self, name: &str) -> bool {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        self.names.iter().any(|known| {
            *known == "*"
                || *known == name
                || known.strip_suffix("[n]").is_some_and(|known| known == stem && stem.len() < name.len())
        })
    }

    fn is_off<'p>(&self, mut params: impl Iterator<Item = (&'p str, &'p str)>) -> bool {
        !self.unless.is_empty() && params.any(|(name, value)| self.unless.contains(&name) && !is_clear_no(value))
    }

    /// Returns whether the loss of the parameter's value has a risk of its own.
    fn risks_reset(&self) -> bool {
        let is_lasting =
            matches!(self.effect, Effect::Risk { kind: None, flags } if flags.irreversible || flags.disruptive);
        is_lasting && matches!(self.condition, ValueCondition::Given | ValueCondition::Off | ValueCondition::Value(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn call<'a>(method: &'a str, template: &'a str, code: &str) -> AssessedCall<'a> {
        AssessedCall { method, template, segments: &[], operation: Risk::from_code(code) }
    }

    fn assess(method: &str, template: &str, code: &str, params: &[(&str, &str)]) -> Risk {
        call(method, template, code).find_rules().assess(params.iter().copied()).risk
    }

    #[test]
    fn every_parameter_of_a_writing_operation_has_a_line() {
        let facts = fs::read_to_string("src/pve/schema/facts/operations.json").unwrap();
        let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
        let mut count = 0;
        for operation in facts["operations"].as_array().unwrap() {
            let text = |key: &str| operation[key].as_str().unwrap();
            let (method, path) = (text("method"), text("path"));
            if method == "GET" {
                continue;
            }
            for name in operation["params"].as_object().unwrap().keys() {
                if !path.contains(&format!("{{{name}}}")) {
                    assert!(call(method, path, "F").find_rules().knows_parameter(name), "{method} {path} {name}");
                    count += 1;
                }
            }
        }
        assert!(count > 1_500, "{count}");
    }

    #[test]
    fn parameters_raise_the_risk_by_their_meaning() {
        let (qemu, config) = ("/nodes/{node}/qemu", "/nodes/{node}/qemu/{vmid}/config");
        let (lxc, lxc_config) = ("/nodes/{node}/lxc", "/nodes/{node}/lxc/{vmid}/config");
        let vzdump = "/nodes/{node}/vzdump";
        for (method, template, before, name, value, after) in [
            ("POST", qemu, "F", "args", "-device x", "X"),
            ("POST", qemu, "F", "force", "1", "F!"),
            ("POST", qemu, "F", "scsi0", "local-lvm:32", "F"),
            ("POST", qemu, "F", "scsi0", "/dev/sda", "X"),
            ("POST", qemu, "F", "scsi1", "local:0,import-from=/etc/shadow", "X"),
            ("POST", qemu, "F", "serial0", "socket", "F"),
            ("POST", qemu, "F", "serial0", "/dev/ttyS0", "X"),
            ("PUT", config, "F", "virtiofs0", "data", "X"),
            ("PUT", config, "F", "usb0", "spice,usb3=1", "F"),
            ("PUT", config, "F", "usb0", "mapping=key", "F~"),
            ("PUT", config, "F", "scsi1", "local-lvm:vm-100-disk-1,snapshot=1", "F!"),
            ("PUT", config, "F", "scsi1", "local-lvm:vm-100-disk-1,cache=unsafe", "F~"),
            ("PUT", config, "F", "revert", "memory", "F!"),
            ("POST", "/nodes/{node}/qemu/{vmid}/move_disk", "F", "target-vmid", "101", "F~"),
            ("POST", "/nodes/{node}/qemu/{vmid}/agent", "O", "command", "fsfreeze-freeze", "O~"),
            ("POST", "/nodes/{node}/qemu/{vmid}/agent", "O", "command", "suspend-ram", "O~"),
            ("POST", "/nodes/{node}/qemu/{vmid}/agent", "O", "command", "fsfreeze-thaw", "O"),
            ("PUT", "/pools/{poolid}", "F", "delete", "1", "F~"),
            ("PUT", "/pools", "F", "allow-move", "1", "F~"),
            ("PUT", "/pools", "F", "delete", "0", "F"),
            ("POST", "/nodes/{node}/apt/repositories", "F", "enabled", "0", "F~"),
            ("PUT", config, "F", "usb0", "host=1234:5678", "X~"),
            ("PUT", config, "F", "hostpci0", "mapping=gpu,pcie=1", "F~"),
            ("PUT", config, "F", "delete", "unused0", "F!"),
            ("PUT", config, "F", "delete", "tags,net1", "F"),
            ("PUT", config, "F", "delete", "tags\tunused0", "F!"),
            ("PUT", config, "F", "cipassword", "x", "F!"),
            ("PUT", config, "F", "memory", "4096", "F"),
            ("PUT", config, "F", "future-option", "1", "F~"),
            ("POST", lxc, "F", "unprivileged", "0", "X"),
            ("PUT", lxc_config, "F", "mp0", "local:8,mp=/data", "F"),
            ("PUT", lxc_config, "F", "mp0", "/etc,mp=/data", "X"),
            ("PUT", lxc_config, "F", "mp0", "volume=/etc,mp=/data", "X"),
            ("PUT", lxc_config, "F", "features", "nesting=1", "F"),
            ("PUT", lxc_config, "F", "features", "nesting=1,mount=nfs", "X"),
            ("POST", vzdump, "O", "vmid", "100", "O"),
            ("POST", vzdump, "O", "remove", "1", "F!"),
            ("POST", vzdump, "O", "mailto", "a@b.example", "O>"),
            ("POST", vzdump, "O", "exclude-path", "/*", "F!"),
            ("POST", "/nodes/{node}/lxc/{vmid}/status/shutdown", "O", "forceStop", "1", "O!"),
            ("PUT", "/cluster/ha/resources/{sid}", "F", "state", "stopped", "F!"),
            ("PUT", "/cluster/ha/resources/{sid}", "F", "state", "started", "F"),
            ("PUT", "/cluster/ha/resources/{sid}", "F", "max_restart", "0", "F~"),
            ("PUT", "/cluster/ha/resources/{sid}", "F", "max_restart", "2", "F"),
            ("PUT", "/cluster/replication/{id}", "F", "remove_job", "full", "F!"),
            ("PUT", "/storage/{storage}", "F", "disable", "1", "F~"),
            ("PUT", "/storage/{storage}", "F", "disable", "0", "F"),
            ("POST", "/storage", "F", "path", "/etc", "X"),
            ("POST", "/storage", "F", "path", "/mnt/backup", "F"),
            ("POST", "/storage", "F", "path", "/mnt/../etc", "X"),
            ("POST", "/storage", "F", "server", "10.0.0.1", "F>"),
            ("PUT", "/cluster/firewall/options", "F", "policy_in", "DROP", "F~"),
            ("PUT", "/cluster/firewall/options", "F", "delete", "enable", "F~"),
            ("PUT", "/access/users/{userid}", "F", "enable", "0", "F~"),
            ("PUT", "/access/users/{userid}", "F", "comment", "x", "F"),
            ("PUT", "/cluster/options", "F", "webauthn", "rp=x", "F~"),
            ("PUT", "/cluster/options", "F", "http_proxy", "http://x", "F>"),
            ("POST", "/cluster/mapping/dir", "F", "map", "node=pve1,path=/etc", "X"),
        ] {
            assert_eq!(
                assess(method, template, before, &[(name, value)]),
                Risk::from_code(after),
                "{template} {name}={value}"
            );
        }
    }

    #[test]
    fn calls_with_the_same_effect_have_the_same_risk() {
        for (method, template, before, params, after) in [
            ("PUT", "/cluster/backup/{id}", "F", &[("delete", "comment,prune-backups")][..], "F!"),
            ("PUT", "/cluster/backup/{id}", "F", &[("delete", "vmid")], "F~"),
            ("POST", "/storage", "F", &[("prune-backups", "keep-last=1")], "F!"),
            ("POST", "/storage", "F", &[("prune-backups", "keep-all=1")], "F"),
            ("PUT", "/storage/{storage}", "F", &[("lio_tpg", "tpg2")], "F~"),
            ("POST", "/cluster/sdn/zones", "F", &[("type", "vxlan"), ("peers", "203.0.113.9")], "F>"),
            ("PUT", "/cluster/sdn/controllers/{controller}", "F", &[("peers", "203.0.113.9")], "F>"),
            ("POST", "/cluster/sdn/vnets/{vnet}/subnets", "F", &[("dhcp-dns-server", "203.0.113.9")], "F>"),
            ("PUT", "/nodes/{node}/config", "F", &[("wakeonlan", "mac=02:00:00:00:00:01")], "F"),
            (
                "PUT",
                "/nodes/{node}/config",
                "F",
                &[("wakeonlan", "mac=02:00:00:00:00:01,broadcast-address=203.0.113.9")],
                "F>",
            ),
            ("PUT", "/nodes/{node}/qemu/{vmid}/firewall/options", "F", &[("dhcp", "0")], "F~"),
            ("PUT", "/nodes/{node}/qemu/{vmid}/firewall/options", "F", &[("dhcp", "1")], "F"),
            ("PUT", "/nodes/{node}/lxc/{vmid}/firewall/options", "F", &[("radv", "1")], "F~"),
            ("PUT", "/nodes/{node}/firewall/options", "F", &[("nf_conntrack_max", "32768")], "F~"),
            ("PUT", "/cluster/ha/rules/{rule}", "F", &[("nodes", "pve2")], "F~"),
            ("POST", "/cluster/ha/rules", "F", &[("resources", "vm:100"), ("nodes", "pve2")], "F"),
            ("POST", "/cluster/ha/rules", "F", &[("resources", "vm:100,ct:200")], "F~"),
            ("POST", "/cluster/ha/rules", "F", &[("resources", "200")], "F~"),
            ("PUT", "/cluster/ha/groups/{group}", "F", &[("restricted", "1")], "F~"),
            ("PUT", "/nodes/{node}/lxc/{vmid}/config", "F", &[("cmode", "shell")], "F~"),
            ("GET", "/nodes/{node}/qemu/{vmid}/config", "R", &[("snapshot", "before")], "S"),
            ("GET", "/nodes/{node}/qemu/{vmid}/config", "R", &[("current", "1"), ("comment", "x")], "R"),
        ] {
            assert_eq!(
                assess(method, template, before, params),
                Risk::from_code(after),
                "{method} {template} {params:?}"
            );
        }
    }

    #[test]
    fn a_service_is_judged_by_its_name_and_what_is_done_to_it() {
        let template = |action| format!("/nodes/{{node}}/services/{{service}}/{action}");
        for (service, action, before, after) in [
            ("corosync", "start", "O", "O"),
            ("corosync", "stop", "F~", "F!~"),
            ("pve-cluster", "restart", "O~", "F!~"),
            ("networking", "reload", "O~", "F!~"),
            ("pveproxy", "start", "O", "O"),
            ("pvestatd", "restart", "O~", "O~"),
        ] {
            let (template, segments) = (template(action), ["nodes", "pve1", "services", service, action]);
            let call = AssessedCall {
                method: "POST",
                template: &template,
                segments: &segments,
                operation: Risk::from_code(before),
            };
            let assessment = call.find_rules().assess([("service", service)].into_iter());
            assert_eq!(assessment.risk, Risk::from_code(after), "{service} {action}");
        }
    }

    #[test]
    fn missing_parameters_count_with_their_default() {
        let vzdump = call("POST", "/nodes/{node}/vzdump", "O").find_rules();
        let sent = |params: &[(&str, &str)]| {
            vzdump.safe_defaults(params.iter().copied()).first().map(|d| (d.parameter, d.value))
        };
        assert_eq!(sent(&[("vmid", "100")]), Some(("remove", "0")));
        assert_eq!(sent(&[("vmid", "100"), ("remove", "1")]), None);
        assert_eq!(sent(&[("vmid", "100"), ("prune-backups", "keep-last=1")]), None);
        assert_eq!(assess("POST", "/nodes/{node}/startall", "O", &[]), Risk::from_code("O~"));
        assert_eq!(assess("POST", "/nodes/{node}/startall", "O", &[("vms", "100")]), Risk::from_code("O"));
        assert_eq!(assess("POST", "/nodes/{node}/startall", "O", &[("vms", " ,")]), Risk::from_code("O~"));
        let lxc = call("POST", "/nodes/{node}/lxc", "F").find_rules();
        assert_eq!(lxc.safe_defaults([("vmid", "100")].into_iter()).len(), 1);
        let restore = [("vmid", "100"), ("restore", "1")];
        assert_eq!(lxc.safe_defaults(restore.into_iter()), []);
        assert_eq!(lxc.assess(restore.into_iter()).risk, Risk::from_code("X"));
    }

    #[test]
    fn a_flag_of_one_object_is_judged_by_its_name() {
        let template = "/cluster/ceph/flags/{flag}";
        for (flag, code) in [("pause", "F~"), ("noout", "F")] {
            let segments = ["cluster", "ceph", "flags", flag];
            let call = AssessedCall { method: "PUT", template, segments: &segments, operation: Risk::from_code("F") };
            assert_eq!(call.find_rules().assess([("value", "1")].into_iter()).risk, Risk::from_code(code), "{flag}");
        }
    }
}
