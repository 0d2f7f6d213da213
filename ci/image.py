"""Builds the last stage of the image with a static binary, and tests the image.

    python3 ci/image.py BINARY LIMIT

LIMIT is the number of bytes that the image must not reach.

Pulls nothing and needs no Docker: buildah builds the image and bubblewrap runs it. The image is a read-only root, and
the process has no capabilities and can't get any, as in compose.yaml.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from server import Server

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what} is {found!r}, not {wanted!r}")
    print(f"{what}: {found}")


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout.strip()


class Image:
    """An image in its own store, which is removed with `folder`."""

    def __init__(self, folder, binary):
        os.environ["BUILDAH_ISOLATION"] = "chroot"
        self._buildah = ("buildah", "--storage-driver", "vfs", "--root", f"{folder}/root", "--runroot", f"{folder}/run")
        # The context has only the binary: no other file can get into the image.
        context = f"{folder}/context"
        os.mkdir(context)
        shutil.copy(binary, f"{context}/proxmox-mcp")
        os.chmod(f"{context}/proxmox-mcp", 0o755)
        # The Docker format keeps HEALTHCHECK, the OCI format drops it.
        run(*self._buildah, "bud", "--quiet", "--pull=never", "--format", "docker", "--tag", "proxmox-mcp",
            "--build-arg", "BINARY_FROM=prebuilt", "--file", f"{REPO}/Dockerfile", context)  # fmt: skip

    def config(self):
        return json.loads(run(*self._buildah, "inspect", "--type", "image", "proxmox-mcp"))["Docker"]["config"]

    def mount(self):
        container = run(*self._buildah, "from", "--pull=never", "proxmox-mcp")
        return run(*self._buildah, "mount", container)

    def unmount(self):
        run(*self._buildah, "rm", "--all")


def check_description(config):
    expect("user", config["User"], "65532:65532")
    expect("entrypoint", config["Entrypoint"], ["/proxmox-mcp"])
    expect("health check", config["Healthcheck"]["Test"], ["CMD", "/proxmox-mcp", "health"])
    expect("ports", list(config["ExposedPorts"]), ["8000/tcp"])
    settings = ["PROXMOX_MCP_LISTEN=0.0.0.0:8000", "PROXMOX_MCP_CONFIG=/etc/proxmox-mcp/clusters.json"]
    expect("settings", [e for e in config["Env"] if e.startswith("PROXMOX")], settings)
    expect("licences", config["Labels"]["org.opencontainers.image.licenses"], "MIT OR Apache-2.0")


def check_files(root, limit):
    files = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    expect("files", [os.path.relpath(file, root) for file in files], ["proxmox-mcp"])
    size = os.path.getsize(files[0])
    if size >= limit:
        raise AssertionError(f"the image has {size} bytes, {limit} or more")
    print(f"size: {size} bytes")
    # A new volume gets the owner of this folder.
    expect("owner of the audit folder", os.stat(f"{root}/var/log/proxmox-mcp").st_uid, 65532)


def jail(root, *more):
    """Returns the start of a command that runs in `root` like in a container, with the host's network."""
    # --as-pid-1: the kernel ignores SIGTERM for process 1 if the process does not handle it. The server must handle it.
    return ["bwrap", "--ro-bind", root, "/", *more, "--chdir", "/", "--clearenv", "--unshare-all", "--share-net",
            "--as-pid-1", "--uid", "65532", "--gid", "65532", "--cap-drop", "ALL", "--die-with-parent"]  # fmt: skip


def child_of(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
        return int(children.read().split()[0])


def check_running(root):
    version = run(*jail(root), "/proxmox-mcp", "--version")
    print(f"version: {version}")
    listen = ["--listen", "127.0.0.1:0"]
    with Server([*jail(root), "/proxmox-mcp", "--demo", *listen], pid_of=child_of) as server:
        address = server.url.removeprefix("http://")
        run(*jail(root), "--setenv", "PROXMOX_MCP_LISTEN", address, "/proxmox-mcp", "health")
        print("health of a running server: ok")
    # The server has stopped: its address is free.
    if not subprocess.run([*jail(root), "/proxmox-mcp", "health", "--listen", address], capture_output=True).returncode:
        raise AssertionError("the health check passes for a stopped server")
    print("health of a stopped server: failed, as expected")


def check_tls(root, folder):
    """Tests TLS with mounted files. The health check detects TLS by itself."""
    os.mkdir(f"{folder}/tls")
    os.makedirs(f"{root}/tls")
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-keyout", f"{folder}/tls/key.pem", "-out", f"{folder}/tls/cert.pem"),
        check=True, capture_output=True, timeout=60)  # fmt: skip
    os.chmod(f"{folder}/tls/key.pem", 0o644)
    command = [*jail(root, "--ro-bind", f"{folder}/tls", "/tls"), "--setenv", "MCP_TLS_CERT", "/tls/cert.pem",
               "--setenv", "MCP_TLS_KEY", "/tls/key.pem", "/proxmox-mcp", "--demo"]  # fmt: skip
    with Server([*command, "--listen", "127.0.0.1:0"], pid_of=child_of) as server:
        scheme, address = server.url.split("://")
        expect("scheme with a certificate", scheme, "https")
        run(*jail(root), "/proxmox-mcp", "health", "--listen", address)
        print("health of a running server with TLS: ok")


def check_guarded(root):
    """The image listens on all addresses, so it must not start without a client token."""
    command = [*jail(root), "--setenv", "PROXMOX_MCP_LISTEN", "0.0.0.0:8000", "/proxmox-mcp", "--demo"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    expect("exit code without a client token", found.returncode, 2)
    if "MCP_AUTH_TOKEN" not in found.stderr:
        raise AssertionError(f"the error does not name MCP_AUTH_TOKEN: {found.stderr}")


def check_demo(root):
    """The one line of the documents, on all addresses of the container."""
    demo = ["--demo", "--insecure-no-auth"]
    command = [*jail(root), "--setenv", "PROXMOX_MCP_LISTEN", "0.0.0.0:0", "/proxmox-mcp", *demo]
    with Server(command, pid_of=child_of) as server:
        address = server.url.removeprefix("http://")
        run(*jail(root), "--setenv", "PROXMOX_MCP_LISTEN", address, "/proxmox-mcp", "health")
        print("health of the demo on all addresses: ok")


def check_configuration(root, folder):
    """The mounted folder and the audit volume of compose.yaml, as user 65532. An edit that replaces the file is seen."""
    os.makedirs(f"{root}/etc/proxmox-mcp")
    folders = {f"{folder}/config": "/etc/proxmox-mcp", f"{folder}/audit": "/var/log/proxmox-mcp"}
    for name in folders:
        os.mkdir(name)
    with open(f"{REPO}/clusters.example.json") as file:
        config = json.load(file)
    authority = f"{folder}/config/pve-root-ca.pem"
    shutil.copy(f"{folder}/tls/cert.pem", authority)
    config["clusters"]["home"].pop("verify_ssl")
    config["clusters"]["home"]["ca_file"] = "pve-root-ca.pem"

    def write():
        path = f"{folder}/config/clusters.json"
        with open(f"{path}.new", "w") as file:
            json.dump(config, file)
        os.rename(f"{path}.new", path)

    write()
    mounts = ["--ro-bind", f"{folder}/config", "/etc/proxmox-mcp", "--bind", f"{folder}/audit", "/var/log/proxmox-mcp"]
    settings = {"PROXMOX_MCP_LISTEN": "0.0.0.0:0", "PROXMOX_MCP_CONFIG": "/etc/proxmox-mcp/clusters.json",
                "MCP_AUDIT_LOG": "/var/log/proxmox-mcp/audit.log"}  # fmt: skip
    variables = [part for name, value in settings.items() for part in ("--setenv", name, value)]
    # bubblewrap maps the caller to user 65532, so that the caller's files are that user's in the container.
    command = [*jail(root, *mounts), *variables, "/proxmox-mcp"]
    with Server(command, pid_of=child_of) as server:
        config["clusters"]["home"]["access"] = "operate"
        write()
        for _ in range(500):
            if "cluster home changed: access" in server.output():
                break
            time.sleep(0.05)
        else:
            raise AssertionError(f"the edit was not seen:\n{server.output()}")
        print("an edit of the mounted folder: seen")
    expect("audit file", os.listdir(f"{folder}/audit"), ["audit.log"])


def main(binary, limit):
    with tempfile.TemporaryDirectory() as folder:
        image = Image(folder, binary)
        check_description(image.config())
        try:
            root = image.mount()
            check_files(root, int(limit))
            check_running(root)
            check_tls(root, folder)
            check_guarded(root)
            check_demo(root)
            check_configuration(root, folder)
        finally:
            image.unmount()


if __name__ == "__main__":
    main(*sys.argv[1:])
