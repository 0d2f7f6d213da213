//! Reads that the server makes by itself. Each one is a planned call, authorized and recorded in the audit log.

use super::confirm::Confirmed;
use super::denied_call::DeniedCall;
use super::handle::{ClusterHandle, ListedNode};
use super::lookup_error::LookupError;
use super::planned_call::{CallPurpose, PlannedCall};
use crate::base::json_scan::{find_string, walk};
use crate::pve::Method;
use crate::pve::client::cluster::{ApiResponse, Cluster};
use crate::pve::guests::{self, Guest};
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use std::sync::Arc;

impl<'a> ClusterHandle<'a> {
    /// Reads a fixed path for a tool.
    pub fn read(&self, path: &'static str) -> Result<ApiResponse, LookupError> {
        let (path, params) = (ApiPath::from_static(path), ApiParams::new());
        let request = |cluster: &Cluster| cluster.call(Method::Get, &path, &params, &self.cancel);
        let response = self.authorize_read(CallPurpose::ToolRead, path.clone(), params.clone())?.send_read(request)?;
        Ok(self.redact_response(response))
    }

    /// Reads a fixed path for a tool that checks the rows of the list by itself.
    pub fn read_list(&self, path: &'static str, params: &ApiParams) -> Result<ApiResponse, LookupError> {
        let path = ApiPath::from_static(path);
        let request = |cluster: &Cluster| cluster.get_list(&path, params, &self.cancel);
        let response = self.authorize_read(CallPurpose::ToolRead, path.clone(), params.clone())?.send_read(request)?;
        Ok(self.redact_response(response))
    }

    /// Reads the guests of the cluster for a tool. Their texts are not redacted.
    pub fn read_guests(&self) -> Result<Vec<Guest>, LookupError> {
        self.fetch_guests(CallPurpose::ToolRead)
    }

    /// Looks up every guest that the token sees, once.
    pub(super) fn look_up_guests(&self) -> Result<&[Guest], Arc<LookupError>> {
        let guests = self.guests.get_or_init(|| self.fetch_guests(CallPurpose::Lookup).map_err(Arc::new));
        guests.as_deref().map_err(Arc::clone)
    }

    /// Looks up the nodes, once.
    pub(super) fn look_up_nodes(&self) -> Result<&[ListedNode], Arc<LookupError>> {
        let nodes = self.nodes.get_or_init(|| self.fetch_nodes().map_err(Arc::new));
        nodes.as_deref().map_err(Arc::clone)
    }

    /// Looks up a path.
    pub(super) fn look_up(&self, path: &'static str, params: &ApiParams) -> Result<ApiResponse, LookupError> {
        let path = ApiPath::from_static(path);
        let request = |cluster: &Cluster| cluster.call(Method::Get, &path, params, &self.cancel);
        Ok(self.authorize_read(CallPurpose::Lookup, path.clone(), params.clone())?.send_read(request)?)
    }

    /// Plans and authorizes a read that the server makes by itself.
    pub(super) fn authorize_read(
        &self,
        purpose: CallPurpose<'static>,
        path: ApiPath,
        params: ApiParams,
    ) -> Result<Confirmed<'_>, DeniedCall> {
        let authorized = PlannedCall::own_read(self, purpose, path, params).authorize()?;
        Ok(authorized.without_confirmation().expect("no policy demands a confirmation for a plain read"))
    }

    fn fetch_guests(&self, purpose: CallPurpose<'static>) -> Result<Vec<Guest>, LookupError> {
        let mut params = ApiParams::new();
        params.push("type", "vm");
        let read = self.authorize_read(purpose, ApiPath::from_static("/cluster/resources"), params)?;
        Ok(read.send_read(|cluster| guests::list_guests(cluster, &self.cancel))?)
    }

    fn fetch_nodes(&self) -> Result<Vec<ListedNode>, LookupError> {
        let response = self.look_up("/nodes", &ApiParams::new())?;
        let mut nodes = Vec::new();
        walk(response.data(), &mut |_, row| {
            if let Some(name) = find_string(row, "node").filter(|name| !name.is_empty()) {
                let status = find_string(row, "status").unwrap_or("unknown".into());
                nodes.push(ListedNode { name: name.into_owned(), status: status.into_owned() });
            }
            true
        });
        Ok(nodes)
    }
}
