"""A fake Proxmox node with three paths and one token."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER = "ci@pve"
TOKEN_ID = "clients"
# The secret must appear only in the request's header: see scenarios.py.
TOKEN_SECRET = "ca11ab1e-5ec2-4e70-9bad-c0ffee5ec2e7"

GIB = 1 << 30
NODE = {"node": "alpha1", "status": "online", "cpu": 0.02, "maxcpu": 8, "mem": 9 * GIB, "maxmem": 32 * GIB,
        "disk": 11 * GIB, "maxdisk": 94 * GIB, "uptime": 86400, "level": ""}  # fmt: skip
GUEST = {"node": "alpha1", "status": "running", "cpu": 0.1, "mem": GIB, "maxmem": 2 * GIB, "disk": 0,
         "maxdisk": 8 * GIB, "uptime": 3600, "netin": 0, "netout": 0, "diskread": 0, "diskwrite": 0,
         "template": 0}  # fmt: skip
ANSWERS = {
    "/api2/json/version": {"version": "9.1.2", "release": "9.1", "repoid": "0123456789abcdef"},
    "/api2/json/nodes": [{**NODE, "type": "node", "id": "node/alpha1", "ssl_fingerprint": "AB:" * 31 + "AB"}],
    "/api2/json/cluster/resources": [
        {**GUEST, "type": "qemu", "id": "qemu/100", "vmid": 100, "name": "mail", "maxcpu": 2},
        {**GUEST, "type": "lxc", "id": "lxc/101", "vmid": 101, "name": "dns", "maxcpu": 1, "status": "stopped"},
        {**NODE, "type": "node", "id": "node/alpha1"},
        {"type": "storage", "id": "storage/alpha1/local", "storage": "local", "node": "alpha1", "shared": 0,
         "status": "available", "plugintype": "dir", "content": "iso,vztmpl", "disk": GIB, "maxdisk": 94 * GIB},
    ],
}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers["Authorization"] != f"PVEAPIToken={USER}!{TOKEN_ID}={TOKEN_SECRET}":
            self._answer(401, "no such token", {"data": None})
            return
        path, _, query = self.path.partition("?")
        rows = ANSWERS.get(path)
        if rows is None:
            self._answer(501, f"Method 'GET {path.removeprefix('/api2/json')}' not implemented", {"data": None})
            return
        if query:
            # The only supported parameter is `type`, with "vm" for both kinds of guest.
            kind = query.removeprefix("type=")
            rows = [row for row in rows if row["type"] == kind or kind == "vm" and "vmid" in row]
        self._answer(200, "OK", {"data": rows})

    def _answer(self, status, reason, value):
        body = json.dumps(value).encode()
        self.send_response(status, reason)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Node:
    """`with Node() as node:` starts a node at `node.url`."""

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
