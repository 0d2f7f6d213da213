//! `check`: checks the configuration, and each cluster's version and the privileges of its API token.

use super::cli::Cli;
use super::config::{LoadedConfig, configured_clients, load_certificate};
use super::describe;
use super::failure::Failure;
use super::output::{Mark, Progress, print_marked, print_stdout, printable};
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::base::hint::{Hint, render_error};
use proxmox_mcp::config::{Client, ClusterConfig, ClustersFile, load_state_keys};
use proxmox_mcp::policy::{Confirmer, EffectivePolicy, GuestSelector, OperationPattern, Risk};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::address_check::{AddressCheck, AddressState};
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::guests::{Guest, parse_guests};
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use proxmox_mcp::pve::schema::embedded_schema;
use proxmox_mcp::pve::token_privileges::TokenPrivileges;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use thiserror::Error;

/// Checks the configuration and all clusters in parallel. Prints a line per cluster, in the file's order.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let loaded = LoadedConfig::load(cli)?;
    run_loaded(cli, &loaded.clusters, &loaded.name)
}

/// Checks one cluster of a file.
pub fn run_file(cli: &Cli, path: &Path, cluster: &str) -> Result<(), Failure> {
    let mut loaded = LoadedConfig::load_file(cli, path.to_owned())?;
    loaded.clusters.clusters.retain(|other| other.name == cluster);
    loaded.clusters.default = None;
    run_loaded(cli, &loaded.clusters, &loaded.name)
}

fn run_loaded(cli: &Cli, clusters: &ClustersFile, name: &str) -> Result<(), Failure> {
    let manager = ClusterManager::new(clusters, &cli.limits()).map_err(|error| Failure::Usage(error.to_string()))?;
    let total = manager.clusters().len();
    let default = match &clusters.default {
        Some(name) => format!(", default {name}"),
        None => String::new(),
    };
    print_marked(Mark::Fine, &format!("{name}: {total} cluster{}{default}", if total == 1 { "" } else { "s" }));
    let clients = configured_clients(cli, clusters)?;
    if !clients.is_empty() {
        print_marked(Mark::Fine, &format!("clients: {}", describe::clients(&clients)));
    }
    for client in &clients {
        for line in describe::operation_rules(&client.rules.deny, client.rules.allow.as_deref()) {
            print_stdout(&format!("  client {}: {line}\n", client.name));
        }
    }
    if load_certificate(cli)?.is_some() {
        print_marked(Mark::Fine, "TLS: the certificate and its key match");
    }
    if let Some(file) = &cli.state_key_file {
        load_state_keys(file).map_err(Failure::usage)?;
        print_marked(Mark::Fine, "replicas: the keys of --state-key-file can be read");
    }
    let (progress, answered) = (&Progress::start(), &AtomicUsize::new(0));
    let show = |count: usize| progress.show(&format!("checked {count} of {total} clusters …"));
    let failed = thread::scope(|scope| {
        show(0);
        let check_one = |cluster| {
            let result = check(cluster, &clients);
            show(answered.fetch_add(1, Ordering::Relaxed) + 1);
            result
        };
        let checks: Vec<_> =
            manager.clusters().iter().map(|cluster| (cluster, scope.spawn(move || check_one(cluster)))).collect();
        let mut failed = 0;
        for (cluster, result) in checks {
            let result = result.join().unwrap_or(Err(CheckError::Internal));
            let (mark, text, details) = match result {
                Ok(CheckReport { summary, details }) => (Mark::Fine, summary, details),
                Err(error) => (Mark::Failed, render_error(&error), Vec::new()),
            };
            failed += usize::from(mark == Mark::Failed || details.iter().any(|detail| detail.mark == Mark::Failed));
            let settings = cluster.settings();
            progress.print(&format!(
                "{mark} {}  {}  {}  {}\n",
                settings.name,
                describe::nodes(settings),
                settings.policy,
                printable(&text)
            ));
            for CheckDetail { mark, text } in details {
                progress.print(&format!("  {mark} {}\n", printable(&text)));
            }
        }
        failed
    });
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Runtime(format!("{failed} of {total} clusters failed the check"))),
    }
}

/// The reason why a cluster failed the check.
#[derive(Debug, Error)]
enum CheckError {
    #[error(transparent)]
    Call(#[from] PveError),
    #[error("unexpected answer to GET {path}")]
    UnexpectedAnswer { path: &'static str },
    #[error("Proxmox VE {version}, but token {token} has no rights")]
    NoPrivileges { version: String, token: String, user: String },
    #[error("internal error")]
    Internal,
}

impl Hint for CheckError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Call(error) => error.hint(),
            Self::UnexpectedAnswer { .. } => Some("check that this address is a Proxmox VE node".into()),
            Self::NoPrivileges { token, user, .. } => Some(
                format!(
                    "on a node run `pveum acl modify / --tokens '{token}' --roles PVEAuditor`, and the same with --users \
                     '{user}' (a token can do no more than its user)"
                )
                .into(),
            ),
            Self::Internal => Some("report it".into()),
        }
    }
}

/// The result of the check of a cluster that answers.
struct CheckReport {
    summary: String,
    details: Vec<CheckDetail>,
}

/// One address or one rule of a cluster.
struct CheckDetail {
    mark: Mark,
    text: String,
}

impl CheckDetail {
    fn fine(text: String) -> Self {
        Self { mark: Mark::Fine, text }
    }

    fn warning(text: String) -> Self {
        Self { mark: Mark::Warning, text }
    }
}

/// Checks a cluster's version, the token's privileges, every address and every rule.
fn check(cluster: &Cluster, clients: &[Client]) -> Result<CheckReport, CheckError> {
    const VERSION: &str = "/version";
    const PERMISSIONS: &str = "/access/permissions";
    let answer = get(cluster, VERSION)?;
    let version = answer.get("version").and_then(Value::as_str);
    let version = version.ok_or(CheckError::UnexpectedAnswer { path: VERSION })?;
    // Privileges by path; the number says only whether the privilege is inherited by paths below.
    let answer = get(cluster, PERMISSIONS)?;
    let permissions = answer.as_object().ok_or(CheckError::UnexpectedAnswer { path: PERMISSIONS })?;
    let settings = cluster.settings();
    let token = describe::token_id(settings);
    let mut paths = permissions
        .iter()
        .filter_map(|(path, granted)| Some((path, granted.as_object()?)))
        .filter(|(_, granted)| !granted.is_empty());
    let Some((path, privileges)) = paths.next() else {
        return Err(CheckError::NoPrivileges { version: version.to_owned(), token, user: settings.user.clone() });
    };
    const SHOWN: usize = 4;
    let total = 1 + paths.count();
    let names: Vec<&str> = privileges.keys().take(SHOWN).map(String::as_str).collect();
    let more = match privileges.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let s = if total == 1 { "" } else { "s" };
    let summary =
        format!("Proxmox VE {version}  token {token}: {total} path{s}, e.g. {path} → {}{more}", names.join(", "));
    let mut details = check_addresses(cluster);
    let policy = &settings.policy;
    let lists = describe::operation_rules(&policy.deny, policy.allow.as_deref());
    details.extend(lists.into_iter().map(CheckDetail::fine));
    let of_clients =
        clients.iter().filter(|client| client.may_use(&settings.name)).flat_map(|client| &client.rules.protect);
    let protect: Vec<&GuestSelector> = policy.protect.iter().chain(of_clients).collect();
    details.extend(check_protection(cluster, &protect, &TokenPrivileges::from_data(&answer.to_string())));
    details.extend(check_clients(settings, clients));
    Ok(CheckReport { summary, details })
}

/// Checks each address of a cluster by itself. Every one must be a node of the same cluster.
fn check_addresses(cluster: &Cluster) -> Vec<CheckDetail> {
    let settings = cluster.settings();
    let tls = settings.tls_mode();
    let checks = cluster.check_addresses(Instant::now() + settings.timeout, &CancelToken::new());
    let details = checks.into_iter().map(|AddressCheck { address, state }| match state {
        AddressState::Fails(error) => CheckDetail::warning(format!("{address}: {}", render_error(&error))),
        AddressState::OtherCluster(identity) => CheckDetail {
            mark: Mark::Failed,
            text: format!(
                "{address}: is a node of another cluster ({identity}) than the addresses before it. hint: give each \
                 cluster an entry of its own"
            ),
        },
        AddressState::Answers(Some(identity)) => {
            CheckDetail::fine(format!("{address}: answers, TLS: {tls}, {identity}"))
        }
        AddressState::Answers(None) => CheckDetail::fine(format!(
            "{address}: answers, TLS: {tls}, its cluster is not known (the token needs Sys.Audit on /)"
        )),
    });
    details.collect()
}

/// Counts the operations of a cluster that each client may use, and warns of confirmations that no person can give.
fn check_clients(settings: &ClusterConfig, clients: &[Client]) -> Vec<CheckDetail> {
    let local = [Client::anonymous()];
    let clients = if clients.is_empty() { &local } else { clients };
    let mut details = Vec::new();
    for client in clients.iter().filter(|client| client.may_use(&settings.name)) {
        let policy = client.policy_on(&settings.policy);
        let rights = ClientRights::count(policy);
        let text = format!("client {}: {rights}", client.name);
        details.push(if rights.allowed == 0 { CheckDetail::warning(text) } else { CheckDetail::fine(text) });
        for pattern in rights.void_patterns {
            details.push(CheckDetail::warning(format!(
                "client {}: allow {pattern} allows nothing, since `access`, `exec` or another list refuses it",
                client.name
            )));
        }
        let decides = |other: &&Client| other.approve && other.name != client.name && other.may_use(&settings.name);
        if rights.confirmed > 0
            && policy.confirmer() == Confirmer::Operator
            && !clients.iter().any(|other| decides(&other))
        {
            details.push(CheckDetail::warning(format!(
                "client {}: what has to be confirmed is refused, since no other client of this cluster may approve it. \
                 hint: give the person a client with \"approve\": true",
                client.name
            )));
        }
    }
    details
}

/// The operations that a client may use on a cluster.
struct ClientRights {
    allowed: usize,
    known: usize,
    /// Those that change something.
    changing: usize,
    /// Those that have to be confirmed, whatever their parameters are.
    confirmed: usize,
    confirmer: Confirmer,
    /// Entries of `allow` by which no operation is allowed.
    void_patterns: Vec<String>,
}

impl ClientRights {
    fn count(policy: EffectivePolicy<'_>) -> Self {
        let (mut allowed, mut known) = (Vec::new(), 0);
        for operation in embedded_schema().operations() {
            known += 1;
            let method = operation.method().as_str();
            let template: Vec<&str> = operation.template().split('/').skip(1).collect();
            if policy.allows_operation(method, &template, operation.risk()) {
                allowed.push((method, template, operation.risk()));
            }
        }
        let patterns = policy.cluster.allow.iter().chain(&policy.client.allow).flatten();
        let is_void =
            |pattern: &&OperationPattern| !allowed.iter().any(|(method, template, _)| pattern.fits(method, template));
        let needs_confirmation = |risk: Risk| policy.needs_confirmation(risk);
        Self {
            allowed: allowed.len(),
            known,
            changing: allowed.iter().filter(|(_, _, risk)| !risk.is_read_only()).count(),
            confirmed: allowed.iter().filter(|(_, _, risk)| needs_confirmation(*risk)).count(),
            confirmer: policy.confirmer(),
            void_patterns: patterns.filter(is_void).map(ToString::to_string).collect(),
        }
    }
}

impl fmt::Display for ClientRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, known, changing, confirmed, confirmer, .. } = self;
        write!(f, "{allowed} of {known} operations, of which {changing} change something")?;
        match (confirmed, confirmer) {
            (0, _) => Ok(()),
            (_, Confirmer::Client) => write!(f, " and {confirmed} are always confirmed"),
            (_, Confirmer::Operator) => {
                write!(f, " and {confirmed} are always confirmed by a person outside of the chat")
            }
        }
    }
}

/// Counts the guests of each selector, and says which of them the token can't tell.
fn check_protection(cluster: &Cluster, protect: &[&GuestSelector], token: &TokenPrivileges) -> Vec<CheckDetail> {
    if protect.is_empty() {
        return Vec::new();
    }
    let mut params = ApiParams::new();
    params.push("type", "vm");
    let (path, _) = ApiPath::parse("/cluster/resources").expect("the path is valid");
    let answer = cluster.call(Method::Get, &path, &params, &CancelToken::new());
    let guests = match answer.and_then(|answer| parse_guests(answer.data())) {
        Ok(guests) => guests,
        Err(error) => {
            let text = format!("protect: the guests can't be listed, so every guest counts as protected: {error}");
            return vec![CheckDetail::warning(text)];
        }
    };
    let mut details = Vec::new();
    for selector in protect {
        let is_match =
            |guest: &&Guest| selector.matches(guest.vmid, &guest.pool, &guest.iter_tags().collect::<Vec<_>>());
        let count = guests.iter().filter(is_match).count();
        let hidden = match selector {
            GuestSelector::Pool(pool) if !token.shows_pool(pool) => Some(format!("Pool.Audit on /pool/{pool}")),
            GuestSelector::Pool(_) | GuestSelector::Tag(_) if !token.shows_all_guests() => {
                Some("VM.Audit on /vms".to_owned())
            }
            _ => None,
        };
        details.push(match (count, hidden) {
            (_, Some(privilege)) => CheckDetail::warning(format!(
                "protect {selector}: the token lacks {privilege}, so guests that it can't tell count as protected"
            )),
            (0, None) => CheckDetail::warning(format!("protect {selector}: no guest. hint: check the name")),
            (1, None) => CheckDetail::fine(format!("protect {selector}: 1 guest")),
            (count, None) => CheckDetail::fine(format!("protect {selector}: {count} guests")),
        });
    }
    details
}

fn get(cluster: &Cluster, path: &'static str) -> Result<Value, CheckError> {
    let (known, _) = ApiPath::parse(path).expect("the path is valid");
    let answer = cluster.call(Method::Get, &known, &ApiParams::new(), &CancelToken::new())?;
    serde_json::from_str(answer.data()).map_err(|_| CheckError::UnexpectedAnswer { path })
}
