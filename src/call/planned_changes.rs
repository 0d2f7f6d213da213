//! The objects of calls in a list as the calls before them will leave them, for the plans of the later ones.

use super::authorize::Authorized;
use super::earlier_calls::{apply_options, normalize};
use super::handle::{ClusterHandle, PlannedBase, PlannedChange};
use super::planned_call::PlannedCall;
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use serde_json::{Map, Value};
use std::sync::PoisonError;

impl PlannedChange {
    /// Returns the change of a call that sets options.
    fn of_call(call: &PlannedCall<'_>) -> Option<Self> {
        let template = call.operation.template.as_deref().filter(|_| call.operation.is_known)?;
        let mut options = call.open_params();
        let is_given = |wanted: &str| call.params.names().any(|name| name == wanted);
        if let Some(guest) = call.created_guest() {
            let base = match call.path_guest().filter(|_| template.ends_with("/clone")) {
                Some(source) => match call.param("snapname") {
                    Some(snapshot) => PlannedBase::CopyOf(source.try_path(&["snapshot", snapshot, "config"]).ok()?),
                    None => PlannedBase::CopyOf(source.path(&["config"])),
                },
                None if is_given("archive") || is_given("restore") => PlannedBase::Unknown,
                None => PlannedBase::New,
            };
            if matches!(base, PlannedBase::CopyOf(_)) {
                options = ApiParams::new();
                let kept = call.params.iter().filter(|(name, _)| matches!(*name, "name" | "hostname" | "description"));
                kept.for_each(|(name, value)| options.push(name, value));
            }
            let vmid = guest.vmid.to_string();
            let path = ApiPath::from_segments(&["nodes", &guest.node, guest.kind.as_str(), &vmid, "config"]).ok()?;
            return Some(Self { object: normalize(&path), base, options });
        }
        let (path, base) = match call.method {
            Method::Post if template.ends_with("/config") => (call.path.clone(), PlannedBase::Present),
            Method::Post => (call.find_created_path()?, PlannedBase::New),
            Method::Put => (call.path.clone(), PlannedBase::Present),
            Method::Get | Method::Delete => return None,
        };
        Some(Self { object: normalize(&path), base, options })
    }
}

impl Authorized<'_> {
    /// Keeps what the call makes and sets for the plans of later calls in the same list.
    pub fn keep_for_later_plans(&self) {
        let (planned, cluster) = (self.planned(), self.planned().cluster);
        if let Some(guest) = planned.created_guest() {
            cluster.planned_guests.lock().unwrap_or_else(PoisonError::into_inner).push(guest);
        }
        if let Some(change) = PlannedChange::of_call(planned) {
            cluster.planned_changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        }
    }
}

impl ClusterHandle<'_> {
    fn planned_changes(&self) -> Vec<PlannedChange> {
        self.planned_changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the options of an object as the earlier calls of the list leave them. `read` reads them as they are now.
    pub(super) fn forecast_options<E>(
        &self,
        path: &ApiPath,
        read: &impl Fn(&ApiPath) -> Result<Map<String, Value>, E>,
    ) -> Result<Map<String, Value>, E> {
        forecast(&self.planned_changes(), path, read)
    }

    /// Returns whether an earlier call of the list makes the object at a path.
    pub(super) fn is_made_before(&self, path: &ApiPath) -> bool {
        let object = normalize(path);
        self.planned_changes().iter().any(|change| change.object == object && change.base != PlannedBase::Present)
    }
}

fn forecast<E>(
    changes: &[PlannedChange],
    path: &ApiPath,
    read: &impl Fn(&ApiPath) -> Result<Map<String, Value>, E>,
) -> Result<Map<String, Value>, E> {
    let object = normalize(path);
    let is_own = |change: &PlannedChange| change.object == object;
    let made_at = changes.iter().rposition(|change| is_own(change) && change.base != PlannedBase::Present);
    let mut options = match made_at.map(|at| &changes[at].base) {
        Some(PlannedBase::New) => Map::new(),
        Some(PlannedBase::CopyOf(source)) => forecast(&changes[..made_at.unwrap_or_default()], source, read)?,
        Some(PlannedBase::Unknown | PlannedBase::Present) | None => read(path)?,
    };
    for change in changes[made_at.unwrap_or_default()..].iter().filter(|change| is_own(change)) {
        apply_options(&change.options, &mut options);
        // It was the digest of the options before.
        options.remove("digest");
    }
    Ok(options)
}
