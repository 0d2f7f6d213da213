#!/usr/bin/env python3
"""Two replicas behind nginx, with the configuration of deploy/, are restarted one after the other under load.

    python3 ci/replicas.py target/x86_64-unknown-linux-musl/release/proxmox-mcp

No call may fail. Each client reads, asks for a change, and confirms it with the code of the replica that asked. An SSE
session stays with its replica. A person approves a call at the page that its answer names.
"""

import atexit
import hashlib
import http.client
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

CLIENTS = 8
ROUNDS = 2
# Long enough for a busy machine.
LIMIT_SECONDS = 60
UPID = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmdestroy:100:root@pam!mcp:"
GUEST = {"id": "qemu/100", "vmid": 100, "name": "web01", "node": "pve1", "type": "qemu", "status": "stopped"}
ANSWERS = {
    "/version": {"version": "9.2.1", "release": "9.2", "repoid": "0123456789abcdef"},
    "/cluster/resources": [GUEST],
    "/nodes": [{"node": "pve1", "status": "online", "type": "node"}],
    "/access/permissions": {"/": {"VM.Allocate": 1, "VM.Audit": 1, "Sys.Audit": 1}},
    "/nodes/pve1/qemu/100/status/current": GUEST,
    "/nodes/pve1/qemu/100/config": {"name": "web01"},
    f"/nodes/pve1/tasks/{UPID}/status": {"upid": UPID, "status": "running", "type": "qmdestroy", "node": "pve1"},
}


class Node(http.server.BaseHTTPRequestHandler):
    """The part of a Proxmox node that the calls below read."""

    protocol_version = "HTTP/1.1"
    changes = []

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0].removeprefix("/api2/json").replace("%3A", ":").replace("%40", "@")
        path = path.replace("%21", "!")
        if self.command == "GET" and path not in ANSWERS:
            self.send_error(501)
            return
        if self.command != "GET":
            self.changes.append(path)
        body = json.dumps({"data": ANSWERS[path] if self.command == "GET" else UPID}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(what, is_true):
    deadline = time.monotonic() + LIMIT_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            sys.exit(f"waited {LIMIT_SECONDS} s in vain: {what}")
        time.sleep(0.02)


def is_ready(port, token):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status == 200
    except OSError:
        return False


class Proxy:
    """nginx with the configuration of deploy/nginx.conf, without TLS and with the ports of the test."""

    def __init__(self, folder, replicas):
        self._folder, self._replicas, self.port = folder, replicas, free_port()
        self._write(down=None)
        command = ["nginx", "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]
        self._reload = [*command, "-s", "reload"]
        self._process = subprocess.Popen([*command, "-g", "daemon off;"], stdin=subprocess.DEVNULL)
        atexit.register(self._process.terminate)
        wait_until("nginx has workers", self._workers)

    def _write(self, down):
        with open("deploy/nginx.conf", encoding="utf-8") as file:
            text = file.read()
        text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.M).replace("listen 443 ssl", f"listen 127.0.0.1:{self.port}")
        for number, port in enumerate(self._replicas):
            mark = " down" if number == down else ""
            text, count = re.subn(rf"server 127\.0\.0\.1:800{number + 1}\b", f"server 127.0.0.1:{port}{mark}", text)
            assert count == 1, "the upstream of deploy/nginx.conf has each replica once"
            text = text.replace(f"127.0.0.1:800{number + 1}/", f"127.0.0.1:{port}/")
        paths = "".join(
            f"{name}_temp_path {self._folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        with open(f"{self._folder}/nginx.conf", "w", encoding="utf-8") as file:
            file.write(
                f"pid {self._folder}/pid;\nworker_processes 2;\nevents {{ worker_connections 1024; }}\n"
                f"http {{\naccess_log off;\n{paths}{text}}}\n"
            )

    def _workers(self):
        output = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, text=True, check=False
        )
        return set(output.stdout.split())

    def balance(self, down):
        """Leaves one replica out, or none, and waits until no worker process has the earlier configuration."""
        old = self._workers()
        self._write(down)
        subprocess.run(self._reload, check=True)
        wait_until("old workers of nginx end", lambda: self._workers() and not self._workers() & old)

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(LIMIT_SECONDS)


class Replica:
    def __init__(self, binary, folder, number, port, token):
        self._command = [
            binary, "--config", f"{folder}/clusters.json", "--state-key-file", f"{folder}/state-key",
            "--listen", f"127.0.0.1:{port}", "--allowed-hosts", "mcp.example.com", "--log", "warn",
            "--page-url", f"https://mcp.example.com/replica{number}/",
        ]  # fmt: skip
        self._port, self._token = port, token
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        atexit.register(self._process.kill)
        wait_until("the replica is ready", self._is_ready)

    def _is_ready(self):
        assert self._process.poll() is None, "the replica ended"
        return is_ready(self._port, self._token)

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(LIMIT_SECONDS)
        assert code == 0, f"the replica ended with {code}"


class Client:
    """A client of 2026-07-28 with tasks, or of an older version."""

    def __init__(self, port, token):
        self._port, self.token = port, token

    def send(self, method, path, message=None, headers=None):
        """Sends a request in a connection of its own. Returns its status and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT_SECONDS)
        headers = {
            "Host": "mcp.example.com", "Authorization": f"Bearer {self.token}", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream", "Connection": "close", **(headers or {}),
        }  # fmt: skip
        connection.request(method, path, message and json.dumps(message), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def post(self, path, message):
        status, body = self.send("POST", path, message)
        assert status in (200, 202), f"{status}: {body}"
        return body

    def call(self, tool, **arguments):
        """Calls a tool and returns the text of its result."""
        params = {"name": tool, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        result = json.loads(self.post("/mcp", message))["result"]
        return result["content"][0]["text"], result.get("isError", False)

    def delete(self, **more):
        return self.call("proxmox_api_call", path="/nodes/pve1/qemu/100", method="DELETE", **more)


def make_calls(client, stopped, counts, failures):
    """Reads, and makes a change with the code of its question, until it is told to stop."""
    try:
        while not stopped.is_set():
            text, failed = client.call("list_nodes")
            assert not failed and "pve1" in text, text
            text, _ = client.delete()
            code = re.search(r'confirm: "([^"]+)"', text)
            assert code, text
            text, failed = client.delete(confirm=code[1])
            assert not failed and UPID in text, text
            counts.append(3)
    except Exception as error:  # Every kind of failure is a failed call.
        failures.append(f"{type(error).__name__}: {error}")


def check_session(port, token):
    """Opens an SSE session, sends it messages by connections of their own, and reads the answers as events."""
    client = Client(port, token)
    stream = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS)
    head = f"GET /sse HTTP/1.1\r\nHost: mcp.example.com\r\nAuthorization: Bearer {token}\r\n"
    stream.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
    received = ""

    def read_until(pattern):
        nonlocal received
        while not (found := re.search(pattern, received)):
            part = stream.recv(65536).decode()
            assert part, f"the stream ended: {received}"
            received += part
        return found

    endpoint = urllib.parse.urljoin("/sse", read_until(r"event: endpoint\r?\ndata: (\S+)\r?\n")[1])
    for number in range(10):
        client.post(endpoint, {"jsonrpc": "2.0", "id": f"ping-{number}", "method": "ping"})
        read_until(f'"ping-{number}"')
    stream.close()


def check_approval(agent, person):
    """Approves a call of an agent at the page of the replica where it waits."""
    text, _ = agent.delete()
    found = re.search(r"https://mcp\.example\.com(/replica[12]/)#approvals", text)
    assert found, text
    place = f"{found[1]}approvals"
    status, body = person.send("GET", place)
    assert status == 200, f"{status}: {body}"
    [call] = json.loads(body)["approvals"]
    status, body = person.send("GET", "/approvals")
    assert status == 404 and "hint: " in body, f"an incomplete list: {status}: {body}"
    person.post(place, {"id": call["id"], "decision": "approve"})
    text, failed = agent.delete()
    assert not failed and UPID in text, text
    status, body = person.send("GET", found[1], headers={"Accept": "text/html"})
    assert status == 200 and "<title>" in body, f"the page: {status}: {body}"


def main():
    binary = os.path.abspath(sys.argv[1])
    node = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Node)
    threading.Thread(target=node.serve_forever, daemon=True).start()
    tokens = [f"pmcp_client{number}-0a1b2c3d4e5f6071829304" for number in range(CLIENTS)]
    agents = [f"pmcp_agent{number}-0a1b2c3d4e5f6071829304" for number in range(CLIENTS)]
    person = "pmcp_person-0a1b2c3d4e5f6071829304"
    with tempfile.TemporaryDirectory() as folder:
        # The worker processes of nginx may have another user.
        os.chmod(folder, 0o711)
        cluster = {
            "url": f"http://127.0.0.1:{node.server_address[1]}", "user": "root@pam", "token_id": "mcp",
            "token_secret": "0a1b2c3d-0000-4000-8000-000000000000", "access": "full",
        }  # fmt: skip
        entries = {
            **{token: {"access": "full"} for token in tokens},
            **{token: {"access": "full", "confirm_by": "operator"} for token in agents},
            person: {"access": "read", "approve": True},
        }
        config = {
            "clusters": {"lab": cluster},
            "clients": {
                token.removeprefix("pmcp_").partition("-")[0]: {"token_sha256": hashlib.sha256(token.encode()).hexdigest(), **entry}
                for token, entry in entries.items()
            },
        }
        for name, text in (("clusters.json", json.dumps(config)), ("state-key", "0123456789" * 5)):
            path = os.path.join(folder, name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
        ports = [free_port(), free_port()]
        replicas = [Replica(binary, folder, number, port, tokens[0]) for number, port in enumerate(ports, 1)]
        proxy = Proxy(folder, ports)
        for token in tokens:
            check_session(proxy.port, token)
        for token in agents:
            check_approval(Client(proxy.port, token), Client(proxy.port, person))
        Node.changes.clear()
        stopped, counts, failures = threading.Event(), [], []
        threads = [
            threading.Thread(target=make_calls, args=(Client(proxy.port, token), stopped, counts, failures))
            for token in tokens
        ]
        for thread in threads:
            thread.start()
        for _ in range(ROUNDS):
            for number, replica in enumerate(replicas):
                proxy.balance(down=number)
                before = len(counts)
                replica.stop()
                wait_until("the other replica answers calls", lambda: failures or len(counts) >= before + CLIENTS)
                replica.start()
                proxy.balance(down=None)
        stopped.set()
        for thread in threads:
            thread.join(LIMIT_SECONDS)
        proxy.stop()
        for replica in replicas:
            replica.stop()
    assert not failures, f"{len(failures)} failed calls, such as: {failures[0]}"
    assert len(Node.changes) == len(counts), "each code made its change once"
    print(f"{2 * ROUNDS} restarts of replicas, {sum(counts)} calls of {CLIENTS} clients, none failed")


main()
