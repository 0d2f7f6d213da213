//! The effects of the calls before one in a list, as far as a question and the preconditions depend on them: what they
//! make, start, stop or remove.

use super::affected::AffectedScope;
use super::planned_call::PlannedCall;
use crate::base::list_text::list_items;
use crate::policy::RiskKind;
use crate::pve::Method;
use crate::pve::guests::Guest;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::render::question::{find_value_after, names_an_option};
use serde_json::{Map, Value};

/// The calls of a list before one of them.
#[derive(Clone, Copy, Default)]
pub(super) struct EarlierCalls<'c, 'a>(&'c [&'c PlannedCall<'a>]);

/// The existence of an object after the earlier calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existence {
    /// As the cluster says now.
    AsNow,
    /// The call with this number makes it.
    Made(usize),
    /// The call with this number makes an object above it, such as the guest of a snapshot.
    BelowMade(usize),
    /// The call with this number removes it.
    Removed(usize),
    /// A call makes objects whose names are not known before.
    Open,
}

impl Existence {
    /// Returns the number of the call that makes the object, or one above it.
    pub(super) fn maker(self) -> Option<usize> {
        match self {
            Self::Made(number) | Self::BelowMade(number) => Some(number),
            Self::AsNow | Self::Removed(_) | Self::Open => None,
        }
    }
}

/// The power state of a guest after the earlier calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FuturePower {
    AsNow,
    Running,
    Stopped,
    Open,
}

/// A guest after the earlier calls.
#[derive(Clone, Copy)]
pub(super) struct GuestForecast {
    pub(super) existence: Existence,
    pub(super) power: FuturePower,
    /// Its options, its snapshots or its place in high availability may be others then.
    pub(super) is_changed: bool,
}

impl<'c, 'a> EarlierCalls<'c, 'a> {
    pub(super) fn new(calls: &'c [&'c PlannedCall<'a>]) -> Self {
        Self(calls)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a call sets an interface or virtual network of this name.
    pub(super) fn names_interface(self, name: &str) -> bool {
        let is_named = |call: &PlannedCall<'_>| ["iface", "vnet"].iter().any(|key| call.param(key) == Some(name));
        self.numbered().any(|(_, call)| is_named(call))
    }

    fn numbered(self) -> impl Iterator<Item = (usize, &'c PlannedCall<'a>)> {
        self.0.iter().enumerate().map(|(at, call)| (at + 1, *call)).filter(|(_, call)| call.is_change())
    }

    /// Returns a guest as the earlier calls leave it.
    pub(super) fn forecast_guest(self, vmid: u32) -> GuestForecast {
        let mut guest = GuestForecast { existence: Existence::AsNow, power: FuturePower::AsNow, is_changed: false };
        for (number, call) in self.numbered() {
            if call.affected.creates(vmid) {
                let starts = call.params.iter().any(|(name, value)| name == "start" && value != "0");
                let power = if starts { FuturePower::Open } else { FuturePower::Stopped };
                guest = GuestForecast { existence: Existence::Made(number), power, is_changed: true };
            } else if call.path_guest().is_some_and(|path| path.vmid == vmid.to_string()) {
                guest.apply(call, number);
            } else if call.affected.names(vmid) || call.affected.scope() != &AffectedScope::NamedOnly {
                guest.is_changed |= call.affected.names(vmid);
                if may_change_power(call) {
                    (guest.power, guest.is_changed) = (FuturePower::Open, true);
                }
            }
        }
        guest
    }

    /// Returns the calls that change the object at a path.
    pub(super) fn changes_at(self, path: &ApiPath) -> impl Iterator<Item = &'c PlannedCall<'a>> {
        let wanted = normalize(path);
        self.numbered().map(|(_, call)| call).filter(move |call| normalize(&call.path) == wanted)
    }

    /// Returns the last call that makes the guest with this number.
    pub(super) fn maker_of_guest(self, vmid: u32) -> Option<&'c PlannedCall<'a>> {
        self.numbered().map(|(_, call)| call).filter(|call| call.affected.creates(vmid)).last()
    }

    /// Returns the existence of the object of a call that is no guest.
    pub(super) fn forecast_object_of(self, call: &PlannedCall<'_>) -> Existence {
        match call.is_positional() {
            false => self.forecast_object(&call.path),
            // (PVE: a rule that is added or deleted moves those after it.)
            true => {
                let wanted = normalize(&call.path);
                let list = &wanted[..wanted.len() - 1];
                let moves = |(_, earlier): (usize, &PlannedCall<'_>)| {
                    let path = normalize(&earlier.path);
                    path.starts_with(list) && (earlier.method != Method::Put || earlier.has_param("moveto"))
                };
                if self.numbered().any(moves) { Existence::Open } else { Existence::AsNow }
            }
        }
    }

    /// Returns the existence of the object at a path that is no guest.
    pub(super) fn forecast_object(self, path: &ApiPath) -> Existence {
        let wanted = normalize(path);
        let mut existence = Existence::AsNow;
        for (number, call) in self.numbered() {
            let own = normalize(&call.path);
            let names_object = call.operation.template.as_deref().is_some_and(|template| template.ends_with('}'));
            match call.method {
                Method::Delete if own == wanted || (names_object && wanted.starts_with(&own)) => {
                    existence = Existence::Removed(number);
                }
                Method::Post if wanted.len() > own.len() && wanted.starts_with(&own) => {
                    existence = match call.find_created_path().map(|path| normalize(&path)) {
                        Some(made) if wanted == made => Existence::Made(number),
                        Some(made) if wanted.starts_with(&made) => Existence::BelowMade(number),
                        Some(_) => existence,
                        None => Existence::Open,
                    };
                }
                // (PVE: the path of a new API token is that of the token.)
                Method::Post if own == wanted && names_object => existence = Existence::Made(number),
                Method::Post if own == wanted => existence = Existence::Open,
                // Downloads, backups and changes of disks make volumes.
                _ if is_volume(&wanted) && existence == Existence::AsNow => existence = Existence::Open,
                _ => {}
            }
        }
        existence
    }

    /// Returns the pool of a guest after the earlier calls, or an empty text.
    pub(super) fn forecast_pool<'g>(self, guest: &'g Guest) -> &'g str
    where
        'c: 'g,
    {
        let mut pool = guest.pool.as_str();
        for (_, call) in self.numbered() {
            if let Some(changed) = call.changed_pool().filter(|_| call.affected.names(guest.vmid)) {
                pool = if call.param("delete") == Some("1") { "" } else { changed };
            }
        }
        pool
    }

    /// Returns the numbers of the calls that change the object at a path, or one below it.
    pub(super) fn changers_of(self, path: &ApiPath) -> Vec<usize> {
        let wanted = normalize(path);
        self.numbered()
            .filter(|(_, call)| normalize(&call.path).starts_with(&wanted))
            .map(|(number, _)| number)
            .collect()
    }

    /// Returns whether an earlier call may remove the object at a path without naming it: with the object above it, with
    /// a guest, or by a command.
    pub(super) fn may_remove_others(self, path: &ApiPath) -> bool {
        let wanted = normalize(path);
        self.numbered().any(|(_, call)| {
            let own = normalize(&call.path);
            let is_sibling = own.len() == wanted.len()
                && own.split_last().map(|(_, above)| above) == wanted.split_last().map(|(_, above)| above);
            let is_sync = call.operation.template.as_deref().is_some_and(|template| template.ends_with("/sync"));
            !call.operation.is_known
                || call.risk.kind == RiskKind::Execute
                || is_sync
                || (call.method == Method::Delete && !is_sibling)
        })
    }

    /// Sets the options of an object as the earlier calls leave them. Returns whether one of them changes it.
    pub(super) fn apply_to_options(self, path: &ApiPath, options: &mut Map<String, Value>) -> bool {
        let mut is_changed = false;
        let wanted = normalize(path);
        let is_change = |call: &PlannedCall<'_>| {
            matches!(call.method, Method::Put | Method::Post) && normalize(&call.path) == wanted
        };
        for (_, call) in self.numbered().filter(|(_, call)| is_change(call)) {
            is_changed = true;
            apply_options(&call.open_params(), options);
        }
        if is_changed {
            options.remove("digest");
        }
        is_changed
    }
}

/// Sets the options that the parameters of a call set, and removes those that they delete.
pub(super) fn apply_options(params: &ApiParams, options: &mut Map<String, Value>) {
    for (name, value) in params.iter() {
        if name == "delete" {
            list_items(value).for_each(|option| drop(options.remove(option)));
        } else if names_an_option(name) {
            let value = find_value_after(params, name, value, options.get(name));
            options.insert(name.to_owned(), value.into());
        }
    }
}

impl GuestForecast {
    /// Applies a call on the guest.
    fn apply(&mut self, call: &PlannedCall<'_>, number: usize) {
        let template = call.operation.template.as_deref().unwrap_or_default();
        let rest = template.split_once("/{vmid}").map_or("", |(_, rest)| rest);
        match (call.method, rest) {
            (Method::Delete, "") => self.existence = Existence::Removed(number),
            (Method::Post, "/status/start" | "/status/reboot" | "/status/reset") => self.power = FuturePower::Running,
            (Method::Post, "/status/stop" | "/status/shutdown") => self.power = FuturePower::Stopped,
            (_, rest) if rest.starts_with("/firewall") => {}
            (Method::Post, "/migrate" | "/move_disk" | "/move_volume") => self.is_changed = true,
            (_, "/config" | "/resize" | "/unlink" | "/snapshot" | "/snapshot/{snapname}") => self.is_changed = true,
            // A rollback, and commands inside the guest, may change its power too.
            _ => (self.power, self.is_changed) = (FuturePower::Open, true),
        }
    }
}

/// Returns whether a call that is not one on a guest's own path may start, stop or replace guests.
fn may_change_power(call: &PlannedCall<'_>) -> bool {
    let Some(template) = call.operation.template.as_deref().filter(|_| call.operation.is_known) else { return true };
    let parts: Vec<&str> = template.split('/').skip(1).collect();
    call.risk.kind == RiskKind::Execute
        || matches!(
            parts.as_slice(),
            [
                "nodes",
                _,
                "stopall" | "startall" | "suspendall" | "migrateall" | "status" | "tasks" | "qemu" | "lxc",
                ..
            ] | ["cluster", "bulk-action" | "ha", ..]
        )
}

/// Returns the segments of a path that identify its object: without the node of a guest, which may move, and with the
/// number alone for a resource of the HA manager.
pub(super) fn normalize(path: &ApiPath) -> Vec<String> {
    let mut segments: Vec<String> = path.segments().map(|segment| segment.into_owned()).collect();
    match segments.as_mut_slice() {
        [top, node, kind, ..] if top == "nodes" && matches!(kind.as_str(), "qemu" | "lxc") => node.clear(),
        [top, ha, resources, sid, ..] if top == "cluster" && ha == "ha" && resources == "resources" => {
            if let Some((_, number)) = sid.split_once(':') {
                *sid = number.to_owned();
            }
        }
        _ => {}
    }
    segments
}

fn is_volume(path: &[String]) -> bool {
    path.get(2).is_some_and(|part| part == "storage") && path.get(4).is_some_and(|part| part == "content")
}
