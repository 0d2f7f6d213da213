//! The firewall rules of guests.

use super::directory::directory_rows;
use crate::error::{ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::state::ClusterState;
use ring::digest;
use serde_json::{Map, Value, json};

/// Members of a rule that a caller can set.
#[rustfmt::skip]
const RULE_MEMBERS: &[&str] = &[
    "type", "action", "enable", "macro", "source", "dest", "proto", "dport", "sport", "iface", "log", "icmp-type",
    "comment",
];
/// The digest of the data centre's firewall configuration.
pub(crate) const CLUSTER_DIGEST: &str = "4e1f6ac8b9e3ab0d5fd5e2bb5b5ab27c1cc35a0f";
/// The macros of a node.
#[rustfmt::skip]
const MACROS: &[&str] = &[
    "Amanda", "Auth", "BGP", "BitTorrent", "BitTorrent32", "CVS", "Ceph", "Citrix", "DAAP", "DCC", "DHCPfwd",
    "DHCPv6", "DNS", "Distcc", "FTP", "Finger", "GNUnet", "GRE", "Git", "HKP", "HTTP", "HTTPS", "ICPV2", "ICQ",
    "IMAP", "IMAPS", "IPIP", "IPsec", "IPsecah", "IPsecnat", "IRC", "Jetdirect", "L2TP", "LDAP", "LDAPS", "MDNS",
    "MSNP", "MSSQL", "Mail", "Munin", "MySQL", "NNTP", "NNTPS", "NTP", "NeighborDiscovery", "OSPF", "OpenVPN", "PCA",
    "PMG", "POP3", "POP3S", "PPtP", "Ping", "PostgreSQL", "Printer", "RDP", "RIP", "RNDC", "Razor", "Rdate", "Rsync",
    "SANE", "SMB", "SMBswat", "SMTP", "SMTPS", "SNMP", "SPAMD", "SPICEproxy", "SSH", "SVN", "SixXS", "Squid",
    "Submission", "Syslog", "TFTP", "Telnet", "Telnets", "Time", "Trcrt", "VNC", "VNCL", "Web", "Webcache", "Webmin",
    "Whois",
];

/// Returns the digest of the firewall configuration of the guest in the path.
fn guest_digest(state: &ClusterState, call: &Invocation<'_>) -> String {
    let (options, rules) = (state.firewall_options.get(&call.vmid()), state.firewall_rules.get(&call.vmid()));
    let text: String = options.into_iter().flatten().map(|(key, value)| format!("{key}: {value}\n")).collect();
    let rules: String = rules.into_iter().flatten().map(|rule| format!("{rule}\n")).collect();
    let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, (text + &rules).as_bytes());
    sum.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Fails if the call has the digest of another state of the firewall configuration.
fn check_guest_digest(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    match call.optional_text("digest") {
        Some(digest) if digest != guest_digest(state, call) => {
            fail("detected modified configuration - file changed by other user? Try again.")
        }
        _ => Ok(()),
    }
}

fn rule_row(position: usize, rule: &Value, digest: &str) -> Value {
    let mut row = rule.clone();
    row["pos"] = position.into();
    row["digest"] = digest.into();
    let address = |key: &str| rule[key].as_str().filter(|text| text.contains(['.', ':']));
    if let Some(address) = address("source").or_else(|| address("dest")) {
        row["ipversion"] = if address.contains(':') { 6 } else { 4 }.into();
    } else if rule["proto"] == "icmp" {
        row["ipversion"] = 4.into();
    }
    row
}

/// Returns the rule at the position in the path, which is a text here.
fn row_at_position(rows: Vec<Value>, call: &Invocation<'_>) -> ApiResult {
    let position = existing_position(&rows, call)?;
    let mut row = rows[position].clone();
    row["pos"] = position.to_string().into();
    Ok(row)
}

/// Returns the rules of the guest in the path.
fn guest_rules<'a>(state: &'a mut ClusterState, call: &Invocation<'_>) -> ApiResult<&'a mut Vec<Value>> {
    call.guest(state)?;
    Ok(state.firewall_rules.entry(call.vmid()).or_default())
}

/// Returns the position in the path, if there is a rule.
fn existing_position(rules: &[Value], call: &Invocation<'_>) -> ApiResult<usize> {
    match call.count("pos").expect("a position in the path") {
        position if position < rules.len() => Ok(position),
        position => fail(format!("no rule at position {position}")),
    }
}

/// Sets the members of a rule that the call has.
fn set_members(rule: &mut Value, call: &Invocation<'_>) {
    for member in RULE_MEMBERS {
        if let Some(value) = call.params.get(*member) {
            rule[*member] = value.clone();
        }
    }
}

/// Fails if the action of a rule is not one of the firewall's, if it has an unknown macro, or ports without a protocol. A
/// rule of a group has the name of the group as its action.
fn check_rule(call: &Invocation<'_>) -> ApiResult<()> {
    if let Some(port) = ["dport", "sport"].into_iter().find(|port| call.params.contains_key(*port))
        && !call.params.contains_key("proto")
    {
        return parameter_error("proto", format!("missing property - '{port}' requires this property"));
    }
    if let Some(name) = call.optional_text("macro").filter(|name| !MACROS.contains(name)) {
        return parameter_error("macro", format!("unknown macro '{name}'"));
    }
    match call.optional_text("action") {
        Some(action) if call.optional_text("type") == Some("group") && action != "webserver" => {
            parameter_error("action", format!("security group '{action}' does not exist"))
        }
        Some(action)
            if call.optional_text("type") != Some("group") && !["ACCEPT", "DROP", "REJECT"].contains(&action) =>
        {
            parameter_error("action", format!("unknown action '{action}'"))
        }
        _ => Ok(()),
    }
}

/// GET …/firewall
pub(crate) fn list_directory(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    Ok(directory_rows("name", &["aliases", "ipset", "log", "options", "refs", "rules"]))
}

/// GET …/firewall/aliases and …/firewall/ipset
pub(crate) fn list_nothing(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    Ok(json!([]))
}

/// GET …/firewall/log
pub(crate) fn read_log(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    Ok(json!([{"n": 1, "t": "no content"}]))
}

/// GET …/firewall/options
pub(crate) fn read_options(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    let mut options = Value::Object(options(state, call));
    options["digest"] = guest_digest(state, call).into();
    Ok(options)
}

/// Returns the firewall options of the guest in the path.
fn options(state: &ClusterState, call: &Invocation<'_>) -> Map<String, Value> {
    state.firewall_options.get(&call.vmid()).cloned().unwrap_or_default()
}

/// PUT …/firewall/options
pub(crate) fn update_options(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    check_guest_digest(state, call)?;
    let mut options = options(state, call);
    options.retain(|key, _| call.list("delete").all(|deleted| deleted != key));
    let is_option = |key: &str| !matches!(key, "node" | "vmid" | "delete" | "digest");
    let given = call.params.iter().filter(|(key, _)| is_option(key));
    options.extend(given.map(|(key, value)| (key.clone(), value.clone())));
    state.firewall_options.insert(call.vmid(), options);
    Ok(Value::Null)
}

/// GET …/firewall/rules
pub(crate) fn list_rules(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    let digest = guest_digest(state, call);
    let rows = guest_rules(state, call)?.iter().enumerate();
    Ok(rows.map(|(position, rule)| rule_row(position, rule, &digest)).collect())
}

/// GET …/firewall/rules/{pos}
pub(crate) fn read_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let rows = list_rules(state, call)?;
    row_at_position(rows.as_array().cloned().unwrap_or_default(), call)
}

/// POST …/firewall/rules: by default, a new rule is the first one and disabled.
pub(crate) fn create_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    check_rule(call)?;
    let mut rule = json!({"enable": 0});
    set_members(&mut rule, call);
    let rules = guest_rules(state, call)?;
    let position = call.count("pos").unwrap_or(0).min(rules.len());
    rules.insert(position, rule);
    Ok(Value::Null)
}

/// PUT …/firewall/rules/{pos}
pub(crate) fn update_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    check_guest_digest(state, call)?;
    let rules = guest_rules(state, call)?;
    let position = existing_position(rules, call)?;
    check_rule(call)?;
    if let Some(target) = call.count("moveto") {
        let rule = rules.remove(position);
        rules.insert(target.min(rules.len()), rule);
        return Ok(Value::Null);
    }
    let rule = &mut rules[position];
    rule.as_object_mut().expect("a rule is an object").retain(|member, _| call.list("delete").all(|d| d != member));
    set_members(rule, call);
    Ok(Value::Null)
}

/// DELETE …/firewall/rules/{pos}
pub(crate) fn delete_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    check_guest_digest(state, call)?;
    let rules = guest_rules(state, call)?;
    let position = existing_position(rules, call)?;
    rules.remove(position);
    Ok(Value::Null)
}

/// Returns the rules of the data centre.
fn cluster_rules() -> Vec<Value> {
    vec![
        json!({"pos": 0, "type": "in", "action": "ACCEPT", "enable": 1, "macro": "SSH", "source": "+dc/management",
            "ipversion": 4, "comment": "administration", "digest": CLUSTER_DIGEST}),
        json!({"pos": 1, "type": "in", "action": "ACCEPT", "enable": 1, "proto": "tcp", "dport": "8006",
            "source": "+dc/management", "ipversion": 4, "digest": CLUSTER_DIGEST}),
    ]
}

/// GET /cluster/firewall/rules
pub(crate) fn list_cluster_rules(_: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    Ok(cluster_rules().into())
}

/// GET /cluster/firewall/rules/{pos}
pub(crate) fn read_cluster_rule(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    row_at_position(cluster_rules(), call)
}

/// GET /nodes/{node}/firewall/rules/{pos}: the nodes have no rules.
pub(crate) fn read_node_rule(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    row_at_position(Vec::new(), call)
}

/// Returns the rules of the only security group.
fn group_rules(call: &Invocation<'_>) -> ApiResult<Vec<Value>> {
    match call.text("group") {
        "webserver" => Ok(vec![
            json!({"pos": 0, "type": "in", "action": "ACCEPT", "enable": 1, "macro": "HTTP", "digest": CLUSTER_DIGEST}),
            json!({"pos": 1, "type": "in", "action": "ACCEPT", "enable": 1, "macro": "HTTPS", "digest": CLUSTER_DIGEST}),
        ]),
        group => fail(format!("no such security group '{group}'")),
    }
}

/// GET /cluster/firewall/groups/{group}
pub(crate) fn read_group(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    group_rules(call).map(Value::from)
}

/// GET /cluster/firewall/groups/{group}/{pos}
pub(crate) fn read_group_rule(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    row_at_position(group_rules(call)?, call)
}

/// GET /cluster/firewall/ipset/{name}
pub(crate) fn read_ipset(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    match call.text("name") {
        "management" => Ok(json!([{"cidr": "192.0.2.0/24", "digest": CLUSTER_DIGEST}])),
        name => fail(format!("no such IPSet '{name}'")),
    }
}

/// GET /cluster/firewall/ipset/{name}/{cidr}
pub(crate) fn read_ipset_entry(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let entries = read_ipset(state, call)?;
    match entries.as_array().into_iter().flatten().find(|entry| entry["cidr"] == call.text("cidr")) {
        Some(entry) => Ok(entry.clone()),
        None => parameter_error("cidr", "no such IP/Network"),
    }
}

/// Returns the row of an alias of the data centre.
fn alias_row(name: &str, (cidr, comment): &(String, Option<String>)) -> Value {
    let version = if cidr.contains(':') { 6 } else { 4 };
    let mut row = json!({"name": name, "cidr": cidr, "ipversion": version, "digest": CLUSTER_DIGEST});
    if let Some(comment) = comment {
        row["comment"] = comment.as_str().into();
    }
    row
}

/// GET /cluster/firewall/aliases
pub(crate) fn list_aliases(state: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    Ok(state.aliases.iter().map(|(name, alias)| alias_row(name, alias)).collect())
}

/// Fails unless the alias in the path exists.
fn require_alias(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    if state.aliases.contains_key(call.text("name")) { Ok(()) } else { parameter_error("name", "no such alias") }
}

/// GET /cluster/firewall/aliases/{name}
pub(crate) fn read_alias(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_alias(state, call)?;
    let name = call.text("name");
    Ok(alias_row(name, &state.aliases[name]))
}

fn given_alias(call: &Invocation<'_>) -> (String, Option<String>) {
    (call.text("cidr").into(), call.optional_text("comment").map(String::from))
}

/// POST /cluster/firewall/aliases
pub(crate) fn create_alias(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let name = call.text("name");
    if state.aliases.contains_key(name) {
        return parameter_error("name", format!("alias '{name}' already exists"));
    }
    state.aliases.insert(name.into(), given_alias(call));
    Ok(Value::Null)
}

/// PUT /cluster/firewall/aliases/{name}
pub(crate) fn update_alias(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_alias(state, call)?;
    state.aliases.remove(call.text("name"));
    let name = call.optional_text("rename").unwrap_or(call.text("name"));
    state.aliases.insert(name.into(), given_alias(call));
    Ok(Value::Null)
}

/// DELETE /cluster/firewall/aliases/{name}
pub(crate) fn delete_alias(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_alias(state, call)?;
    state.aliases.remove(call.text("name"));
    Ok(Value::Null)
}

/// GET …/firewall/refs: what a rule can refer to.
pub(crate) fn list_refs(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    if call.params.contains_key("vmid") {
        call.guest(state)?;
    }
    let wanted = |kind: &str| call.optional_text("type").is_none_or(|wanted| wanted == kind);
    let aliases = state.aliases.iter().filter(|_| wanted("alias")).map(|(name, (_, comment))| {
        json!({"type": "alias", "scope": "dc", "name": name, "ref": format!("dc/{name}"), "comment": comment})
    });
    let ipset = json!({"type": "ipset", "scope": "dc", "name": "management", "ref": "+dc/management",
        "comment": "may reach the hosts"});
    Ok(aliases.chain(wanted("ipset").then_some(ipset)).collect())
}

/// GET …/{vmid}/firewall/aliases/{name}: guests have none.
pub(crate) fn read_guest_alias(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    parameter_error("name", "no such alias")
}

/// GET …/{vmid}/firewall/ipset/{name} and …/{cidr}: guests have none.
pub(crate) fn read_guest_ipset(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    fail(format!("no such IPSet '{}'", call.text("name")))
}
