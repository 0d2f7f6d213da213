//! `proxmox_api_call`: any endpoint of the API, any of its methods.

use super::clusters::told;
use crate::mcp::args::{Args, Kind, Param};
use crate::mcp::catalog::{Effect, Input, Output, Stop, Tool};
use crate::mcp::context::Context;
use crate::pve::Method;
use crate::pve::manager::ClusterManager;
use crate::pve::params::Params;
use crate::pve::path::ApiPath;
use std::sync::Arc;

/// The tool `proxmox_api_call(cluster?, path, method?, data?)`.
pub fn proxmox_api_call(manager: Arc<ClusterManager>) -> Tool {
    Tool {
        name: "proxmox_api_call",
        title: "Proxmox API call",
        description: "Calls any endpoint of the Proxmox VE API; answers verbatim JSON. GET reads; POST, \
            PUT and DELETE change things at once. GET on a directory (/, /nodes/{node}) lists what is below it. Example: \
            path /nodes/pve1/qemu/100/status/start, method POST. An answer UPID:… is a task that goes on: GET \
            /nodes/{node}/tasks/{upid}/status until status is stopped; exitstatus is OK or the error, …/log has more.",
        input: Input::Params(&[
            Param {
                name: "cluster",
                kind: Kind::Text,
                required: false,
                about: "a name of list_clusters (default: the default cluster)",
            },
            Param {
                name: "path",
                kind: Kind::Text,
                required: true,
                about: "below /api2/json, such as /nodes/pve1/qemu/100/config",
            },
            Param {
                name: "method",
                kind: Kind::Choice(&["GET", "POST", "PUT", "DELETE"]),
                required: false,
                about: "default: GET",
            },
            Param {
                name: "data",
                kind: Kind::Object,
                required: false,
                about: "the endpoint's parameters, such as {\"memory\": 2048, \"onboot\": true}; several values of one option with commas, as in \
                    {\"delete\": \"tags,description\"}, which unsets options",
            },
        ]),
        effect: Effect::Destructive,
        run: Box::new(move |context, args| run(&manager, context, args)),
    }
}

fn run(manager: &ClusterManager, context: &Context<'_>, args: &Args) -> Result<Output, Stop> {
    let cluster = manager.select(args.text("cluster"))?;
    let typed = args.text("method").unwrap_or("GET");
    let method = Method::ALL.into_iter().find(|m| m.as_str() == typed).unwrap_or(Method::Get);
    let (path, mut params) = ApiPath::parse(args.text("path").unwrap_or_default())?;
    if let Some(data) = args.object("data") {
        params = params.merge(Params::from_json(data).map_err(|problems| problems.join("; "))?)?;
    }
    let answer = cluster.call(method, &path, &params, &context.cancel).map_err(|e| told(manager, cluster, &e))?;
    Ok(Output::text(answer.into_verbatim()))
}
