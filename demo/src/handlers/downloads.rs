//! Files that a node fetches for a storage. The demo fetches nothing.

use crate::error::{ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::storage::Volume;
use crate::state::{ClusterState, TaskBuilder};
use crate::units::MIB;

/// Size of every file.
const SIZE: u64 = 640 * MIB;

/// Starts the task that adds a file to a storage.
fn download(
    state: &mut ClusterState,
    call: &Invocation<'_>,
    content: &'static str,
    name: &str,
    url: &str,
) -> ApiResult {
    let storage = state.storage(call.text("storage"))?;
    if !storage.accepts(content) {
        return fail(format!("storage '{}' is not configured for content-type '{content}'", storage.name));
    }
    let node = (!storage.shared).then(|| call.node().to_string());
    let volid = format!("{}:{content}/{name}", storage.name);
    let path = format!("/var/lib/vz/template/{}/{name}", if content == "vztmpl" { "cache" } else { content });
    if state.volumes.iter().any(|volume| volume.volid == volid && volume.is_on(call.node())) {
        return fail(format!("refusing to override existing file '{path}'"));
    }
    let format = if content == "vztmpl" { "tzst" } else { "iso" };
    TaskBuilder::new(call.node(), "download", name)
        .line(format!("downloading {url} to {path}"))
        .line("the demo fetches nothing: the file has no content")
        .line(format!("download of '{url}' to '{path}' finished"))
        .start(state, &call.caller.id, move |state| {
            let ctime = state.seconds();
            state.volumes.push(Volume::new(volid, node, content, format, SIZE, ctime));
            Ok(())
        })
}

/// POST /nodes/{node}/storage/{storage}/download-url
pub(crate) fn download_url(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let name = call.text("filename");
    let (content, extensions): (_, &[&str]) = match call.text("content") {
        "iso" => ("iso", &[".iso", ".img"]),
        "vztmpl" => ("vztmpl", &[".tar.gz", ".tar.xz", ".tar.zst"]),
        _ => ("import", &[".ova", ".qcow2", ".raw", ".vmdk"]),
    };
    if !extensions.iter().any(|extension| name.ends_with(extension)) {
        return parameter_error("filename", "wrong file extension");
    }
    download(state, call, content, name, call.text("url"))
}

/// POST /nodes/{node}/aplinfo: downloads a container template of the list.
pub(crate) fn download_template(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let template = call.text("template");
    call.require(state, &format!("/storage/{}", call.text("storage")), "Datastore.AllocateTemplate")?;
    let known = super::nodes::templates();
    if known.as_array().into_iter().flatten().all(|row| row["template"] != template) {
        return fail(format!("no such template '{template}'"));
    }
    download(state, call, "vztmpl", template, &format!("http://download.proxmox.com/images/system/{template}"))
}
