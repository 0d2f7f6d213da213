"""The scenarios that every client runs, each with the options of the server."""

import contextlib
import json
import os
import re
import socket
import tempfile

from clients import node

TOOLS = {
    "list_clusters",
    "list_nodes",
    "get_cluster_resources",
    "find_guest",
    "search_api",
    "describe_api",
    "proxmox_api_get",
    "proxmox_api_call",
    "wait_for_task",
}


def expect(condition, what, found):
    if not condition:
        raise AssertionError(f"expected: {what}; found: {found}")


@contextlib.contextmanager
def demo_options():
    yield ["--demo"]


def demo(session):
    """Calls every tool, as a model would for a change: finds a guest, starts it and waits for the task."""
    tools = session.tools()
    expect(TOOLS <= set(tools), "every tool is listed", tools)
    session.call("list_clusters")
    nodes = session.call("list_nodes").rows()
    expect(all(row["status"] == "online" for row in nodes) and nodes, "the demo's nodes are online", nodes)
    version = session.call("proxmox_api_get", path="/version", format="json").data()
    expect("version" in version, "/version gives the version", version)
    rows = session.call("get_cluster_resources").rows()
    machines = [row for row in rows if row["id"].startswith("qemu/")]
    # Templates are stopped too, but can't be started.
    stopped = [row for row in machines if row["status"] == "stopped" and row["template"] != "1"]
    expect(len(stopped) > 1, "the demo has virtual machines that are stopped", rows)
    first, second = stopped[:2]
    found = session.call("find_guest", query=first["name"]).rows()
    expect(found[0]["path"] == f"/nodes/{first['node']}/{first['id']}", "the guest is found with its path", found)
    start = "POST /nodes/{node}/qemu/{vmid}/status/start"
    searched = session.call("search_api", query="start a vm").text
    expect(start in searched, "the search finds the operation", searched)
    described = session.call("describe_api", path="/nodes/{node}/qemu/{vmid}/status/start", method="POST").text
    expect("VM.PowerMgmt" in described, "the description names the privilege", described)
    shown = session.call("proxmox_api_call", method="POST", path=f"/qemu/{first['name']}/status/start", dry_run=True)
    expect(f"{found[0]['path']}/status/start" in shown.text, "the dry run shows the whole request", shown)
    upid = session.call("proxmox_api_call", method="POST", path=f"{found[0]['path']}/status/start").upid()
    ended = session.call("wait_for_task", upid=upid)
    expect("OK: qmstart" in ended.text, "the task ends well", ended)
    waited = session.call("proxmox_api_call", method="POST", path=f"/qemu/{second['name']}/status/start", wait=True)
    expect("OK: qmstart" in waited.text, "the call waits for its task", waited)
    now = session.call("proxmox_api_get", path=f"/qemu/{first['name']}/status/current", format="json").data()
    expect(now["status"] == "running", "the guest runs", now)
    stop = {"method": "POST", "path": f"/qemu/{first['name']}/status/stop", "wait": True}
    asked = session.try_call("proxmox_api_call", **stop)
    if "OK: qmstop" in asked.text:
        return  # This client has asked its user, who accepted.
    code = re.search('confirm: "([0-9a-f-]+)"', asked.text)
    expect(asked.is_error and first["name"] in asked.text and code, "a stop needs confirmation", asked)
    done = session.call("proxmox_api_call", confirm=code.group(1), **stop)
    expect("OK: qmstop" in done.text, "the code confirms the call", done)
    session.call("proxmox_api_call", method="POST", path=f"/qemu/{first['name']}/status/start", wait=True)
    again = session.try_call("proxmox_api_call", confirm=code.group(1), **stop)
    expect(again.is_error and "used before" in again.text, "a code is accepted only once", again)


@contextlib.contextmanager
def two_clusters_options():
    """One cluster that answers, and one with an unreachable node."""
    with node.Node() as up, socket.socket() as down, tempfile.TemporaryDirectory() as folder:
        # Bound but not listening: connections are refused, and no other process gets the port.
        down.bind(("127.0.0.1", 0))
        token = {"user": node.USER, "token_id": node.TOKEN_ID, "token_secret": node.TOKEN_SECRET}
        urls = {"alpha": up.url, "beta": f"http://127.0.0.1:{down.getsockname()[1]}"}
        config = os.path.join(folder, "clusters.json")
        with open(os.open(config, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump({"clusters": {name: {"url": url, **token} for name, url in urls.items()}}, file)
        yield ["--config", config, "--log", "trace"]


def two_clusters(session):
    """Lists show the rows of one cluster and the error of the other. Calls must name a cluster."""
    tools = session.tools()
    expect(TOOLS <= set(tools), "every tool is listed", tools)
    for tool in ("list_clusters", "list_nodes", "get_cluster_resources"):
        answer = session.call(tool)
        expect("alpha" in answer.text and "beta" in answer.text, f"{tool} lists both clusters", answer.text)
    checked = session.call("list_clusters", check=True)
    expect("9.1.2" in checked.text and "beta" in checked.text, "both clusters are checked", checked.text)
    nodes = session.call("list_nodes")
    expect([row["node"] for row in nodes.rows()] == ["alpha1"], "the node that is up has the only row", nodes)
    failed = re.findall(r"^cluster (\w+): ", nodes.text, re.MULTILINE)
    expect(failed == ["beta"], "the cluster that is down has the only error", nodes.text)
    guests = {row.get("name") for row in session.call("get_cluster_resources").rows()}
    expect({"mail", "dns"} <= guests, "the guests are there", guests)
    version = session.call("proxmox_api_call", cluster="alpha", path="/version", format="json").data()
    expect(version == node.ANSWERS["/api2/json/version"], "the answer is Proxmox's own", version)
    for arguments in ({}, {"cluster": "alhpa"}):
        answer = session.try_call("proxmox_api_call", path="/version", **arguments)
        named = "alpha" in answer.text and "beta" in answer.text
        expect(answer.is_error and named, f"with {arguments} the error lists the clusters", answer)
    answer = session.try_call("proxmox_api_call", cluster="beta", path="/version")
    expect(answer.is_error and "beta" in answer.text, "the cluster that is down is named", answer)


def keeps_the_secret(session, log):
    """Checks the client's transcript and the server's log."""
    expect(node.TOKEN_SECRET not in session.transcript, "the token's secret is in no answer", "it is in one")
    expect(node.TOKEN_SECRET not in log, "the token's secret is in no log", "it is in the log")


SCENARIOS = {"demo": (demo_options, demo), "two clusters": (two_clusters_options, two_clusters)}
