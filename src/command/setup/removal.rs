//! `setup --remove`: takes back what setup made for one entry of clusters.json.

use super::access::{Step, TokenChange, USER};
use super::config_file::ConfigFile;
use super::private_file;
use super::target::{self, Address, Target};
use super::{ca_file_name, confirm_plan, own_comment};
use crate::command::cli::SetupArgs;
use crate::command::failure::Failure;
use crate::command::output::{Mark, print_marked};
use proxmox_mcp::sanitize::printable_path;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A removal, ready to be shown and made.
struct Removal<'a> {
    args: &'a SetupArgs,
    file: ConfigFile,
    name: &'a str,
    target: Target,
    steps: Vec<Step>,
    ca_path: Option<PathBuf>,
}

/// Shows what the removal does, asks, and does it.
pub fn run(args: &SetupArgs, file: ConfigFile) -> Result<(), Failure> {
    let Some(name) = args.name.as_deref() else {
        return Err(Failure::Usage("--remove needs the name of a cluster: setup --remove NAME".into()));
    };
    let Some(entry) = file.cluster(name) else {
        let names: Vec<_> = file.parsed.clusters.iter().map(|cluster| &*cluster.name).collect();
        let hint = if names.is_empty() { "name the file with --config".into() } else { names.join(", ") };
        let path = printable_path(&file.path);
        return Err(Failure::Usage(format!("{path} has no cluster \"{name}\". hint: {hint}")));
    };
    let address =
        Address { url: args.url.as_ref(), fingerprint: args.fingerprint, entry: Some(entry), assume_yes: args.yes };
    let target = Target::connect(&address)?;
    let access = target.admin.read_access().map_err(target::failure)?;
    let entry_token = Some(&*entry.token_id).filter(|_| entry.user == USER);
    let tokens = access.replaced_tokens(&TokenChange { name: "", comment: &own_comment(name), entry_token });
    let steps = access.plan_removal(&tokens);
    let ca_path = file.ca_file(name).filter(|ca| *ca == ca_file_name(name)).map(|ca| file.path.with_file_name(ca));
    Removal { args, file, name, target, steps, ca_path }.run()
}

impl Removal<'_> {
    fn run(self) -> Result<(), Failure> {
        if !confirm_plan(self.args, &self.describe()?)? {
            return Ok(());
        }
        for step in &self.steps {
            self.target.admin.take_and_print(step).map_err(target::failure)?;
        }
        self.remove_files()
    }

    fn describe(&self) -> Result<String, Failure> {
        let Target { admin_user, facts, endpoint, .. } = &self.target;
        let mut text = format!("On Proxmox VE {} ({}, {endpoint}), as {admin_user}:\n", facts.version, facts.name);
        if self.steps.is_empty() {
            text.push_str("  nothing: it has no token that setup made for this entry\n");
        }
        for step in &self.steps {
            let _ = writeln!(text, "  {step}");
        }
        text.push_str("On this machine:\n");
        let path = printable_path(&self.file.path);
        if self.file.parsed.clusters.len() > 1 {
            let _ = writeln!(text, "  change {path}: remove cluster \"{}\"", self.name);
            for client in self.file.clients_of(self.name) {
                let _ =
                    writeln!(text, "  change {path}: remove client \"{client}\", which could use this cluster alone");
            }
        } else {
            let copy = if self.has_own_entries() { ", and keep a copy of it" } else { "" };
            let _ = writeln!(text, "  delete {path}, which has no other cluster{copy}");
        }
        if let Some(path) = &self.ca_path {
            let _ = writeln!(text, "  delete {}", printable_path(path));
        }
        if let Some(kind) = self.args.client {
            match self.args.write_client {
                true => {
                    let file = kind.file()?;
                    let _ = writeln!(text, "  change {}: remove the server of {}", printable_path(&file), kind.title());
                }
                false => {
                    let file = kind.file_name();
                    let _ = writeln!(text, "  (--write-client also removes the server from {file})");
                }
            }
        }
        Ok(text)
    }

    /// Returns whether a person wrote a part of the file.
    fn has_own_entries(&self) -> bool {
        let is_own_client = |name: &str| !self.file.is_made_by_setup("clients", name);
        !self.file.is_made_by_setup("clusters", self.name)
            || self.file.parsed.clients.iter().any(|client| is_own_client(&client.name))
    }

    fn remove_files(mut self) -> Result<(), Failure> {
        let path = self.file.path.clone();
        let is_kept = self.has_own_entries();
        if self.file.remove_cluster(self.name) {
            self.file.write()?;
            print_marked(Mark::Fine, &format!("write {}", printable_path(&path)));
        } else {
            let copy = is_kept.then(|| private_file::back_up(&path)).transpose()?;
            delete(&path)?;
            let copy = copy.map(|copy| format!(" (before: {})", printable_path(&copy))).unwrap_or_default();
            print_marked(Mark::Fine, &format!("delete {}{copy}", printable_path(&path)));
        }
        if let Some(path) = &self.ca_path {
            delete(path)?;
            print_marked(Mark::Fine, &format!("delete {}", printable_path(path)));
        }
        if let (Some(kind), true) = (self.args.client, self.args.write_client) {
            let file = kind.file()?;
            kind.remove(&file)?;
            print_marked(Mark::Fine, &format!("write {}", printable_path(&file)));
        }
        Ok(())
    }
}

fn delete(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|error| Failure::Runtime(format!("cannot delete {}: {error}", printable_path(path))))
}
