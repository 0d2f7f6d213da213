//! The operations this cluster has: tables of what each is, takes and needs, a file a topic.
//!
//! Paths, parameters, privileges and who of a node's daemons does it are those of a real node's API description.

mod action;
mod cluster;
#[cfg(test)]
mod facts;
pub(super) mod fixed;
mod guest;
mod node;
mod storage;

use super::api::{Answer, Call};
use super::check::Kind::{OneOf, Vmid};
use super::check::{Given, NODE, Param, may, need};
use super::world::World;
use Access::Need;

/// One operation.
#[derive(Clone, Copy)]
pub(super) struct Route {
    method: &'static str,
    /// Its path; `{name}` is a parameter, `a|b` either of two, a last `{volume}` all that is left.
    pub(super) path: &'static str,
    /// Whether the privileged daemon does it.
    pub(super) daemon: bool,
    /// Who may.
    pub(super) access: Access,
    /// What it takes, those of the path included.
    pub(super) params: &'static [&'static [Param]],
    /// What it does.
    pub(super) run: Run,
}

/// Who may call an operation. Paths are templates over the parameters.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// Anyone with a token; what they see or may do is the handler's to say.
    All,
    /// No token, only a login.
    Ticket,
    /// Who has this privilege there.
    Need(&'static str, &'static str),
    /// Who has any of these there.
    Any(&'static str, &'static [&'static str]),
}

/// What an operation does.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// Answers a directory: the key of each row, and the rows.
    Names(&'static str, &'static [&'static str]),
    /// Answers this, in the way of `fixed.txt`.
    Text(&'static str),
    /// Calls this.
    Fn(fn(&mut World, &Call<'_>) -> Answer),
}

/// Every operation.
fn all() -> impl Iterator<Item = Route> {
    let tables = [cluster::ROUTES, node::ROUTES, storage::ROUTES, guest::ROUTES, action::ROUTES];
    tables.into_iter().flatten().copied().chain(fixed::routes())
}

/// The operation a request means, and the parameters in its path.
pub(super) fn find(method: &str, segments: &[String]) -> Option<(Route, Given)> {
    all().filter(|route| route.method == method).find_map(|route| Some((route, route.matches(segments)?)))
}

/// Whether the path (without `api2` and the format) is one that needs no token.
pub(super) fn is_public(segments: &[String]) -> bool {
    matches!(segments, [a, b] if a == "access" && b == "domains")
}

impl Route {
    fn matches(&self, segments: &[String]) -> Option<Given> {
        let mut given = Given::new();
        let mut left = segments.iter();
        for part in self.path.split('/').filter(|part| !part.is_empty()) {
            let here = left.next()?;
            match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                Some("volume") => {
                    let rest: Vec<&str> = [here].into_iter().chain(left.by_ref()).map(String::as_str).collect();
                    given.insert("volume".into(), rest.join("/").into());
                }
                Some(name) => {
                    given.insert(name.into(), here.as_str().into());
                }
                None if part.split('|').any(|p| p == here) => {}
                None => return None,
            }
        }
        left.next().is_none().then_some(given)
    }
}

const fn pveproxy(
    method: &'static str,
    path: &'static str,
    access: Access,
    params: &'static [&'static [Param]],
    run: Run,
) -> Route {
    Route { method, path, daemon: false, access, params, run }
}

const fn pvedaemon(
    method: &'static str,
    path: &'static str,
    access: Access,
    params: &'static [&'static [Param]],
    run: Run,
) -> Route {
    Route { method, path, daemon: true, access, params, run }
}

const HERE: &[Param] = &[need("node", NODE)];
const GUEST: &[Param] = &[need("node", NODE), need("vmid", Vmid)];
const TIMEFRAME: &[Param] =
    &[need("timeframe", OneOf(&["hour", "day", "week", "month", "year"])), may("cf", OneOf(&["AVERAGE", "MAX"]))];

const ANYONE: Access = Access::All;
const VM_AUDIT: Access = Need("/vms/{vmid}", "VM.Audit");
const VM_ALLOCATE: Access = Need("/vms/{vmid}", "VM.Allocate");
