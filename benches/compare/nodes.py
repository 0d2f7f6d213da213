"""The clusters of a comparison: nginx over TLS with static answers of Proxmox, so that the node's own time is
negligible, and a node that never answers."""

import json
import os
import random
import socket
import ssl
import subprocess
import threading
import time

from tools import WORK, run

GROWTH = (100, 1_000, 10_000, 50_000)
GUESTS = 50
# Rows of the long answer, 3.4 MB.
LONG = 10_000


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, process, seconds=60):
    """Waits until the port accepts connections. Fails if the process ends before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"{process.args[0]} does not listen on port {port}")


def _node(chance, number):
    return {
        "node": f"pve{number}", "id": f"node/pve{number}", "type": "node", "status": "online", "level": "",
        "cpu": chance.random(), "maxcpu": 32, "mem": chance.randint(10**9, 10**11), "maxmem": 137438953472,
        "disk": 10737418240, "maxdisk": 107374182400, "uptime": chance.randint(10**5, 10**7),
        "ssl_fingerprint": ":".join(f"{chance.randint(0, 255):02X}" for _ in range(32)),
    }  # fmt: skip


def _guest(chance, number):
    return {
        "id": f"qemu/{100 + number}", "vmid": 100 + number, "name": f"vm-{number}", "node": f"pve{number % 3 + 1}",
        "type": "qemu", "status": "running", "cpu": chance.random(), "maxcpu": 4, "mem": chance.randint(10**8, 10**10),
        "maxmem": 8589934592, "disk": 0, "maxdisk": 34359738368, "uptime": chance.randint(1, 10**6), "template": 0,
        "netin": chance.randint(10**9, 10**12), "netout": chance.randint(10**9, 10**12),
        "diskread": chance.randint(10**9, 10**12), "diskwrite": chance.randint(10**9, 10**12), "tags": "prod;web",
    }  # fmt: skip


class Nodes:
    """`with Nodes(tools) as nodes:` starts clusters of 50 guests and of each number in GROWTH, at `nodes.ports`."""

    def __init__(self, tools):
        self._folder = os.path.join(WORK, "nodes")
        os.makedirs(self._folder, exist_ok=True)
        self.ports = {guests: free_port() for guests in (GUESTS, *GROWTH)}
        self.long_bytes = 0
        for guests in self.ports:
            self._write(guests)
        self.certificate = (f"{self._folder}/cert.pem", f"{self._folder}/key.pem")
        certificate = ("-keyout", self.certificate[1], "-out", self.certificate[0], "-days", "3650")
        run(tools.openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *certificate, "-subj", "/CN=pve",
            "-addext", "subjectAltName=IP:127.0.0.1")  # fmt: skip
        with open(f"{self._folder}/nginx.conf", "w", encoding="utf-8") as file:
            file.write(self._configuration())
        self._process = subprocess.Popen(
            [tools.nginx, "-c", f"{self._folder}/nginx.conf", "-e", f"{self._folder}/error.log"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _write(self, guests):
        # Every run has the same numbers.
        chance = random.Random(guests)
        nodes = [_node(chance, number) for number in (1, 2, 3)]
        answers = {
            "version": {"release": "9.2", "repoid": "0", "version": "9.2.11"},
            "nodes": nodes,
            "cluster/resources": nodes + [_guest(chance, number) for number in range(guests)],
        }
        if guests == GUESTS:
            answers["cluster/log"] = [_guest(chance, number) for number in range(LONG)]
        for path, data in answers.items():
            file = f"{self._folder}/{guests}/api2/json/{path}.json"
            os.makedirs(os.path.dirname(file), exist_ok=True)
            text = json.dumps({"data": data}, separators=(",", ":"))
            self.long_bytes = max(self.long_bytes, len(text) if path == "cluster/log" else 0)
            with open(file, "w", encoding="utf-8") as out:
                out.write(text)

    def _configuration(self):
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {self._folder}/{kind};" for kind in kinds)
        servers = "\n".join(
            f"server {{ listen 127.0.0.1:{port} ssl; root {self._folder}/{guests};"
            " location / { try_files $uri.json =501; } }"
            for guests, port in self.ports.items()
        )
        return f"""
daemon off; worker_processes 1; pid {self._folder}/nginx.pid; error_log {self._folder}/error.log;
events {{ worker_connections 8192; }}
http {{
access_log off; default_type application/json; open_file_cache max=100;
keepalive_requests 1000000000; keepalive_timeout 600;
ssl_certificate {self.certificate[0]}; ssl_certificate_key {self.certificate[1]};
{temporary}
{servers}
}}
"""

    def __enter__(self):
        try:
            wait_for_port(self.ports[GUESTS], self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()

    def address(self, guests=GUESTS):
        return f"127.0.0.1:{self.ports[guests]}"

    def configuration(self, name, urls):
        """Writes a clusters.json with these clusters and returns its path. The first is the default."""
        file = os.path.join(WORK, f"{name}.json")
        entry = {"user": "mcp@pve", "token_id": "bench", "token_secret": "no-secret", "verify_ssl": False}
        clusters = {cluster: {"url": url, **entry} for cluster, url in urls.items()}
        with open(file, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            json.dump({"clusters": clusters, "default": next(iter(urls))}, out)
        return file


class Listener:
    """A node of one accept loop, with a thread for each connection."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._open = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # shutdown wakes the waiting threads, close alone does not.
        for end in (self._listener, *self._open):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


class Slow(Listener):
    """A node as slow as a real one: three workers, and five milliseconds per request. It counts its requests."""

    WORKERS = 3
    SECONDS = 0.005

    def __init__(self, nodes):
        chance = random.Random(GUESTS)
        rows = [_node(chance, number) for number in (1, 2, 3)]
        resources = rows + [_guest(chance, number) for number in range(GUESTS)]
        self._answers = {
            path: self._answer("200 OK", json.dumps({"data": data}, separators=(",", ":")))
            for path, data in (("nodes", rows), ("cluster/resources", resources))
        }
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*nodes.certificate)
        self._workers = threading.Semaphore(self.WORKERS)
        self.requests = 0
        super().__init__()

    @staticmethod
    def _answer(status, body):
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
        return (head + body).encode()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unknown = self._answer("501 Not Implemented", '{"data":null}')
        with self._tls.wrap_socket(connection, server_side=True) as stream:
            # A GET is one TLS record.
            while request := stream.recv(1 << 14):
                path = request.split(b" ", 2)[1].decode().removeprefix("/api2/json/").split("?")[0]
                with self._workers:
                    self.requests += 1
                    time.sleep(self.SECONDS)
                stream.sendall(self._answers.get(path, unknown))


class Hung(Listener):
    """A node that accepts connections, reads requests, and never answers."""

    def __init__(self):
        self._requests = threading.Semaphore(0)
        super().__init__()
        self.url = f"http://{self.address}"

    def serve(self, connection):
        # Plain HTTP: a request arrives in one piece.
        while connection.recv(1 << 16):
            self._requests.release()

    def wait_for_request(self):
        if not self._requests.acquire(timeout=20):
            raise RuntimeError("the hanging node got no request")
