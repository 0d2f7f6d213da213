"""The original design: FastMCP on uvicorn, with proxmoxer and four tools, over HTTP+SSE.

    python3 original.py PORT CLUSTERS_JSON

For measurements only.
"""

import json
import sys

import uvicorn
from mcp.server.fastmcp import FastMCP
from mcp.server.transport_security import TransportSecuritySettings
from proxmoxer import ProxmoxAPI

PORT, CLUSTERS = int(sys.argv[1]), sys.argv[2]

with open(CLUSTERS, encoding="utf-8") as file:
    clusters = json.load(file)["clusters"]
clients = {}


def client(cluster):
    name = cluster or next(iter(clusters))
    if name not in clients:
        entry = clusters[name]
        host, _, port = entry["url"].partition(":")
        clients[name] = ProxmoxAPI(
            host,
            port=int(port),
            user=entry["user"],
            token_name=entry["token_id"],
            token_value=entry["token_secret"],
            verify_ssl=entry["verify_ssl"],
        )
    return clients[name]


# The product checks the Host header too.
guard = TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=["127.0.0.1:*", "localhost:*"])
server = FastMCP("proxmox", transport_security=guard, log_level="ERROR")


@server.tool()
def list_clusters() -> str:
    return json.dumps([{"name": name, "url": entry["url"]} for name, entry in clusters.items()])


@server.tool()
def list_nodes(cluster: str | None = None) -> str:
    return json.dumps(client(cluster).nodes.get())


@server.tool()
def get_cluster_resources(cluster: str | None = None) -> str:
    return json.dumps(client(cluster).cluster.resources.get())


@server.tool()
def proxmox_api_call(path: str, method: str = "GET", data: dict | None = None, cluster: str | None = None) -> str:
    return json.dumps(getattr(client(cluster)(path), method.lower())(**(data or {})))


uvicorn.run(server.sse_app(), host="127.0.0.1", port=PORT, log_level="error", access_log=False)
