"""What every client asks, and what it must be told. Each scenario says with which options the server is started."""

import contextlib
import json
import os
import socket
import tempfile
import threading

from clients import node

TOOLS = {"list_clusters", "list_nodes", "get_cluster_resources", "proxmox_api_call"}
TASK_SECONDS = 60


def expect(condition, what, found):
    if not condition:
        raise AssertionError(f"{what}; there was: {found}")


@contextlib.contextmanager
def demo_options():
    yield ["--demo"]


def demo(session):
    """All four tools, then a change: a guest is started and its task is seen to end well."""
    tools = session.tools()
    expect(TOOLS <= set(tools), "the four tools are listed", tools)
    session.call("list_clusters")
    nodes = session.call("list_nodes").rows()
    expect(all(row["status"] == "online" for row in nodes) and nodes, "the demo's nodes are online", nodes)
    version = session.call("proxmox_api_call", path="/version").data()
    expect("version" in version, "/version gives the version", version)
    rows = session.call("get_cluster_resources").rows()
    machines = [row for row in rows if row["id"].startswith("qemu/")]
    # A template is stopped too, and can't be started.
    stopped = next((row for row in machines if row["status"] == "stopped" and not row.get("template")), None)
    expect(stopped, "the demo has a virtual machine that is stopped", rows)
    node_path = f"/nodes/{stopped['node']}"
    guest = f"{node_path}/{stopped['id']}"
    upid = session.call("proxmox_api_call", method="POST", path=f"{guest}/status/start").data()
    task = f"{node_path}/tasks/{upid}/status"
    pause = threading.Event()
    for _ in range(TASK_SECONDS * 5):
        status = session.call("proxmox_api_call", path=task).data()
        if status["status"] != "running":
            break
        pause.wait(0.2)
    expect(status["status"] == "stopped" and status["exitstatus"] == "OK", "the task ends well", status)
    now = session.call("proxmox_api_call", path=f"{guest}/status/current").data()
    expect(now["status"] == "running", "the guest runs", now)


@contextlib.contextmanager
def two_clusters_options():
    """One cluster that answers, and one whose node is down."""
    with node.Node() as up, socket.socket() as down, tempfile.TemporaryDirectory() as folder:
        # Bound but not listening: refused at once, and nobody else gets the port meanwhile.
        down.bind(("127.0.0.1", 0))
        token = {"user": node.USER, "token_id": node.TOKEN_ID, "token_secret": node.TOKEN_SECRET}
        urls = {"alpha": up.url, "beta": f"http://127.0.0.1:{down.getsockname()[1]}"}
        config = os.path.join(folder, "clusters.json")
        with open(os.open(config, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump({"clusters": {name: {"url": url, **token} for name, url in urls.items()}}, file)
        yield ["--config", config, "--log", "trace"]


def two_clusters(session):
    """The rows of the one and the error of the other, together; and a choice of cluster where one must be made."""
    tools = session.tools()
    expect(TOOLS <= set(tools), "the four tools are listed", tools)
    for tool in ("list_clusters", "list_nodes", "get_cluster_resources"):
        answer = session.call(tool)
        expect("alpha" in answer.text and "beta" in answer.text, f"{tool} speaks of both clusters", answer.text)
    checked = session.call("list_clusters", check=True)
    expect("9.1.2" in checked.text and "beta" in checked.text, "the one is checked, the other too", checked.text)
    nodes = session.call("list_nodes")
    expect([row["node"] for row in nodes.rows()] == ["alpha1"], "the node that is up has the only row", nodes)
    errors = nodes.structured["errors"]
    expect([error["cluster"] for error in errors] == ["beta"], "the cluster that is down has the only error", errors)
    guests = {row.get("name") for row in session.call("get_cluster_resources").rows()}
    expect({"mail", "dns"} <= guests, "the guests are there", guests)
    version = session.call("proxmox_api_call", cluster="alpha", path="/version").data()
    expect(version == node.ANSWERS["/api2/json/version"], "the answer is Proxmox's own", version)
    for arguments in ({}, {"cluster": "alhpa"}):
        answer = session.try_call("proxmox_api_call", path="/version", **arguments)
        named = "alpha" in answer.text and "beta" in answer.text
        expect(answer.is_error and named, f"with {arguments} it tells which clusters there are", answer)
    answer = session.try_call("proxmox_api_call", cluster="beta", path="/version")
    expect(answer.is_error and "beta" in answer.text, "the cluster that is down is named", answer)


def keeps_the_secret(session, log):
    """What came over the wire, and what the server logged meanwhile."""
    expect(node.TOKEN_SECRET not in session.transcript, "the token's secret is in no answer", "it is in one")
    expect(node.TOKEN_SECRET not in log, "the token's secret is in no log", "it is in the log")


SCENARIOS = {"demo": (demo_options, demo), "two clusters": (two_clusters_options, two_clusters)}
