//! `setup`: makes everything that the server needs on a cluster, and takes it back.

mod access;
mod admin;
mod client_file;
mod config_file;
mod private_file;
mod removal;
mod target;

use super::check;
use super::cli::{Cli, ClientKind, SetupArgs};
use super::client_setup::{client_setup, client_url};
use super::failure::Failure;
use super::output::{Mark, print_marked, print_stdout};
use super::terminal;
use super::token;
use access::{Step, TokenChange, USER, token_comment};
use admin::AdminApi;
use client_file::Connection;
use config_file::{ConfigFile, EntryValues, TlsEntry};
use proxmox_mcp::base::hint::render_error;
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::{self, TokenHash, is_valid_name};
use proxmox_mcp::sanitize::printable_path;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::process::geteuid;
use rustix::system::uname;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};
use target::{Address, Target};

/// The file that setup makes for root, if there is none yet.
const SYSTEM_FILE: &str = "/etc/proxmox-mcp/clusters.json";
/// The name of the client without `--client`.
const DEFAULT_CLIENT: &str = "laptop";

/// Makes the token of a cluster and its entry in clusters.json, or takes them back.
pub fn run(cli: &Cli, args: &SetupArgs) -> Result<(), Failure> {
    if cli.demo {
        return Err(Failure::Usage(
            "setup changes a cluster that runs, and --demo starts one that ends with the command. hint: start \
             `proxmox-mcp --demo`, and run setup with --url and the address that it prints"
                .into(),
        ));
    }
    let file = ConfigFile::read(config_path(cli))?;
    if args.remove {
        return removal::run(args, file);
    }
    Setup::prepare(args, file)?.run(cli)
}

/// Returns the path of clusters.json: the one that the server would read, else a new one.
fn config_path(cli: &Cli) -> PathBuf {
    let new = if geteuid().is_root() { SYSTEM_FILE } else { "clusters.json" };
    config::find_path(cli.config.as_deref()).unwrap_or_else(|_| new.into())
}

/// Returns the comment of the tokens for an entry on this machine.
fn own_comment(name: &str) -> String {
    token_comment(name, &uname().nodename().to_string_lossy())
}

/// The client token that setup makes.
struct NewClient {
    name: String,
    token: Secret,
}

/// A setup, ready to be shown and made.
struct Setup<'a> {
    args: &'a SetupArgs,
    file: ConfigFile,
    target: Target,
    name: String,
    token_id: String,
    /// Steps before clusters.json is written.
    steps: Vec<Step>,
    /// Steps after it, which take the previous token away.
    cleanup: Vec<Step>,
    client: Option<NewClient>,
}

impl<'a> Setup<'a> {
    /// Reads everything that the plan depends on. Changes nothing.
    fn prepare(args: &'a SetupArgs, file: ConfigFile) -> Result<Self, Failure> {
        let named = args.name.as_deref().and_then(|name| file.cluster(name));
        let by_address = |endpoint| file.parsed.clusters.iter().find(|cluster| cluster.endpoints.contains(endpoint));
        let entry = named.or_else(|| args.url.as_ref().filter(|_| args.name.is_none()).and_then(by_address));
        let address = Address { url: args.url.as_ref(), fingerprint: args.fingerprint, entry, assume_yes: args.yes };
        let mut target = Target::connect(&address)?;
        let name = match (&args.name, entry) {
            (Some(name), _) => name.clone(),
            (None, Some(entry)) => entry.name.clone(),
            (None, None) => unused_name(&file, &target),
        };
        if let TlsEntry::Ca { file, .. } = &mut target.tls {
            *file = ca_file_name(&name);
        }
        let access = target.admin.read_access().map_err(target::failure)?;
        let token_id = format!("mcp-{}", random_hex::<3>()?);
        let comment = own_comment(&name);
        let entry_token = file.cluster(&name).filter(|entry| entry.user == USER).map(|entry| &*entry.token_id);
        let change = TokenChange { name: &token_id, comment: &comment, entry_token };
        let steps = access.plan_token(args.access, &change);
        let mut after = access.clone();
        steps.iter().for_each(|step| after.apply(step));
        let cleanup = after.plan_removal(&access.replaced_tokens(&change));
        let client = match args.client {
            Some(kind) if kind.uses_stdio() => None,
            None if !file.parsed.clients.is_empty() => None,
            kind => Some(NewClient {
                name: kind.map_or_else(|| DEFAULT_CLIENT.to_owned(), ClientKind::word),
                token: token::generate()?,
            }),
        };
        Ok(Self { args, file, target, name, token_id, steps, cleanup, client })
    }

    /// Shows the plan, asks, and makes it.
    fn run(mut self, cli: &Cli) -> Result<(), Failure> {
        if !confirm_plan(self.args, &self.describe()?)? {
            return Ok(());
        }
        let (mut done, had_ca) = (Vec::new(), self.ca_path().exists());
        if let Err(failure) = self.make(&mut done) {
            if self.target.ca.is_some() && !had_ca {
                let _ = fs::remove_file(self.ca_path());
            }
            return Err(take_back(&self.target.admin, &done, failure));
        }
        for step in &self.cleanup {
            self.target.admin.take_and_print(step).map_err(target::failure)?;
        }
        self.finish_client(cli)?;
        print_stdout("\n");
        check::run_file(cli, &self.file.path, &self.name)
    }

    fn describe(&self) -> Result<String, Failure> {
        let Target { admin_user, facts, endpoint, tls, .. } = &self.target;
        let mut text = format!("On Proxmox VE {} ({}, {endpoint}), as {admin_user}:\n", facts.version, facts.name);
        for step in self.steps.iter().chain(&self.cleanup) {
            let _ = writeln!(text, "  {step}");
        }
        text.push_str("On this machine:\n");
        let path = printable_path(&self.file.path);
        if self.target.ca.is_some() {
            let _ = writeln!(text, "  write {}: the authority of the cluster", printable_path(&self.ca_path()));
        }
        let tls = match tls {
            TlsEntry::Unchanged => "as before",
            TlsEntry::PublicRoots if !endpoint.https => "none (http on loopback)",
            TlsEntry::PublicRoots => "public authorities",
            TlsEntry::Ca { .. } => "the authority of the cluster",
            TlsEntry::Fingerprint(_) => "the fingerprint of the certificate",
        };
        let (verb, mode) = if self.file.exists { ("change", "") } else { ("write", ", readable by its owner alone") };
        let change = if self.file.cluster(&self.name).is_some() { "change" } else { "add" };
        let _ = writeln!(
            text,
            "  {verb} {path}{mode}: {change} cluster \"{}\", access {}, certificates trusted by: {tls}",
            self.name, self.args.access
        );
        if let Some(client) = &self.client {
            let change = if self.file.has_client(&client.name) { "replace the token of" } else { "add" };
            let _ = writeln!(text, "  {verb} {path}: {change} client \"{}\"", client.name);
            if self.file.exists && self.file.parsed.clients.is_empty() {
                text.push_str("    (the file has no clients yet: from then on every caller needs a token)\n");
            }
        }
        if let (Some(kind), true) = (self.args.client, self.args.write_client) {
            let file = kind.file()?;
            let copy = if file.exists() { ", and keep a copy of it" } else { "" };
            let _ = writeln!(text, "  write {}: add the server for {}{copy}", printable_path(&file), kind.title());
        }
        Ok(text)
    }

    /// Makes the token and writes the files. `done` has the steps that were taken, for a failure.
    fn make(&mut self, done: &mut Vec<Step>) -> Result<(), Failure> {
        let mut secret = None;
        for step in &self.steps {
            let made = self.target.admin.take_and_print(step).map_err(target::failure)?;
            done.push(step.clone());
            secret = made.or(secret);
        }
        let secret = secret.expect("a setup makes a token");
        if let Some(ca) = &self.target.ca {
            private_file::replace(&self.ca_path(), ca.as_bytes(), |_| Ok(()))?;
            print_marked(Mark::Fine, &format!("write {}", printable_path(&self.ca_path())));
        }
        let entry = EntryValues {
            endpoint: &self.target.endpoint,
            tls: &self.target.tls,
            user: USER,
            token_id: &self.token_id,
            token_secret: secret.expose(),
            access: self.args.access,
        };
        self.file.set_cluster(&self.name, &entry);
        if let Some(client) = &self.client {
            let hash = TokenHash::from_token(client.token.expose().as_bytes());
            self.file.set_client(&client.name, &hash, self.args.access, &self.name);
        }
        self.file.write()?;
        print_marked(Mark::Fine, &format!("write {}", printable_path(&self.file.path)));
        Ok(())
    }

    /// Prints the client's entry, and writes it if that was asked for.
    fn finish_client(&self, cli: &Cli) -> Result<(), Failure> {
        let url = client_url(cli.http.scheme(), cli.http.listen);
        let config = absolute(&self.file.path);
        let program = env::current_exe().unwrap_or_else(|_| "proxmox-mcp".into());
        let connection = match &self.client {
            Some(client) => Connection::Http { url: &url, token: client.token.expose() },
            None => Connection::Stdio { program: &program, config: &config },
        };
        match (self.args.client, &self.client) {
            (Some(kind), _) if self.args.write_client => {
                let file = kind.file()?;
                let copy = kind.write(&file, &connection)?;
                let copy = copy.map(|copy| format!(" (before: {})", printable_path(&copy))).unwrap_or_default();
                print_marked(Mark::Fine, &format!("write {}{copy}", printable_path(&file)));
            }
            (Some(kind), _) => print_stdout(&format!("\n{}", kind.instructions(&connection))),
            (None, Some(client)) => print_stdout(&format!(
                "\nThe token of client \"{}\", shown once:\n  {}\n{}",
                client.name,
                client.token.expose(),
                client_setup(&url, Some(client.token.expose()))
            )),
            (None, None) => {}
        }
        Ok(())
    }

    fn ca_path(&self) -> PathBuf {
        self.file.path.with_file_name(ca_file_name(&self.name))
    }
}

/// Shows a plan and asks. Returns false for a dry run.
fn confirm_plan(args: &SetupArgs, plan: &str) -> Result<bool, Failure> {
    print_stdout(plan);
    if args.dry_run {
        print_stdout("Nothing was changed (--dry-run).\n");
        return Ok(false);
    }
    if !args.yes && !terminal::confirm("Make these changes?")? {
        return Err(Failure::Runtime("nothing was changed".into()));
    }
    Ok(true)
}

fn ca_file_name(cluster: &str) -> String {
    format!("{cluster}-ca.pem")
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the cluster's own name, or one with a number if another entry has it: nodes outside of a cluster are often
/// called `pve`.
fn unused_name(file: &ConfigFile, target: &Target) -> String {
    let own = &target.facts.name;
    let own = if is_valid_name(own) { own.clone() } else { "proxmox".to_owned() };
    let is_free = |name: &String| file.cluster(name).is_none_or(|entry| entry.endpoints.contains(&target.endpoint));
    let numbered = (2..).map(|number: u32| format!("{own}-{number}"));
    std::iter::once(own.clone()).chain(numbered).find(is_free).expect("there are more numbers than entries")
}

fn random_hex<const N: usize>() -> Result<String, Failure> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::no_random_bytes())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Takes steps back after a failure, the last one first.
fn take_back(admin: &AdminApi, done: &[Step], failure: Failure) -> Failure {
    let mut left = Vec::new();
    for step in done.iter().rev().filter_map(Step::reverse) {
        match admin.take(&step) {
            Ok(_) => print_marked(Mark::Fine, &format!("{step} (taken back)")),
            Err(error) => left.push(format!("{step}: {}", render_error(&error))),
        }
    }
    match left.is_empty() {
        true => failure,
        false => Failure::Runtime(format!("{failure}\nleft behind: {}", left.join("; "))),
    }
}
