"""Builds the Debian package of a static binary, and installs, upgrades, removes and purges it in a clean Debian.

    python3 ci/package.py BINARY

Needs root, debootstrap and lintian. CI_CACHE keeps the clean Debian for the next run. The service itself can't run here:
the checks start the server as the unit does, as its user and with its variables.
"""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from server import Server

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG = "/etc/proxmox-mcp/clusters.json"
VARIABLES = "/etc/default/proxmox-mcp"
# Files that every installation of a package changes, in any Debian.
OTHERS = re.compile(r"/(var/lib/dpkg|var/cache|var/log|proc|dev|run|tmp|root|etc/(passwd|group|g?shadow|subuid|subgid)-?$)")


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what} is {found!r}, not {wanted!r}")
    print(f"{what}: {found}")


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def build(binary, folder, revision):
    version = re.search(r'^version = "(.*)"$', open(f"{REPO}/Cargo.toml").read(), re.MULTILINE)[1]
    env = {**os.environ, "DEB_VERSION": f"{version}-{revision}", "SOURCE_DATE_EPOCH": "1767225600"}
    return run("bash", f"{REPO}/packaging/deb/build", binary, ARCHITECTURE, folder, env=env).strip()


def clean_debian(folder):
    """Unpacks a clean Debian of this machine's release, with the packages that the package needs."""
    release = dict(line.split("=", 1) for line in open("/etc/os-release").read().splitlines() if "=" in line)
    suite = release["VERSION_CODENAME"].strip('"')
    cache = os.path.join(os.environ.get("CI_CACHE", tempfile.gettempdir()), f"debian-{suite}-{ARCHITECTURE}.tar")
    if not os.path.exists(cache):
        made = f"{folder}/made"
        run("debootstrap", "--variant=minbase", "--include=adduser", suite, made, "http://deb.debian.org/debian")
        run("tar", "--create", "--file", f"{cache}.new", "--directory", made, "--one-file-system", ".")
        os.rename(f"{cache}.new", cache)
        shutil.rmtree(made)
    root = f"{folder}/root"
    os.mkdir(root)
    run("tar", "--extract", "--file", cache, "--directory", root)
    return root


class Debian:
    """A Debian in a folder."""

    def __init__(self, root):
        self.root = root
        # No package may start a service here.
        self.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)

    def path(self, path):
        return self.root + path

    def read(self, path):
        return open(self.path(path)).read()

    def write(self, path, text, mode=0o644):
        with open(self.path(path), "w") as file:
            file.write(text)
        os.chmod(self.path(path), mode)

    def exists(self, path):
        return os.path.lexists(self.path(path))

    def run(self, *command, **options):
        env = {"PATH": PATH, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
        return run("chroot", self.root, *command, env=env, **options)

    def install(self, package):
        shutil.copy(package, self.path("/tmp/package.deb"))
        output = self.run("dpkg", "--install", "/tmp/package.deb")
        os.remove(self.path("/tmp/package.deb"))
        return output

    def files(self):
        """Every path but those that belong to no package."""
        found = set()
        for folder, folders, files in os.walk(self.root):
            inner = folder[len(self.root) :]
            found.update(f"{inner}/{name}" for name in folders + files)
        return {path for path in found if not OTHERS.match(path)}

    def user(self):
        """The numbers of the service's user and group, or None."""
        line = next((line for line in self.read("/etc/passwd").splitlines() if line.startswith("proxmox-mcp:")), None)
        return line and tuple(int(number) for number in line.split(":")[2:4])


def check_package(package):
    run("lintian", "--allow-root", "--fail-on", "error,warning", package)
    print(f"{os.path.basename(package)}: {os.path.getsize(package)} bytes, lintian has no error and no warning")


def check_installed(debian, version):
    expect("program", debian.run("/usr/bin/proxmox-mcp", "--version").strip(), f"proxmox-mcp {version}")
    for path in (
        "/lib/systemd/system/proxmox-mcp.service",
        "/lib/systemd/system/proxmox-mcp.socket",
        "/usr/share/bash-completion/completions/proxmox-mcp",
        "/usr/share/zsh/vendor-completions/_proxmox-mcp",
        "/usr/share/fish/vendor_completions.d/proxmox-mcp.fish",
        "/usr/share/doc/proxmox-mcp/copyright",
        "/usr/share/doc/proxmox-mcp/examples/clusters.example.json",
        VARIABLES,
    ):
        if not debian.exists(path):
            raise AssertionError(f"{path} is not installed")
    debian.run("bash", "-n", "/usr/share/bash-completion/completions/proxmox-mcp")
    folder = os.stat(debian.path("/etc/proxmox-mcp"))
    expect("owner of the folder", (folder.st_uid, folder.st_gid), debian.user())
    expect("mode of the folder", oct(folder.st_mode & 0o777), "0o750")
    links = [path for path in debian.files() if path.startswith("/etc/systemd") and "proxmox" in path]
    expect("units that the package enables", links, [])


def setup(debian, demo, *arguments):
    """Runs `setup` as root in the Debian, against a simulated cluster outside of it."""
    url, password = re.search(r"--url (\S+), as root@pam with the password (\S+)", demo.output()).groups()
    return debian.run("proxmox-mcp", "setup", *arguments, "--url", url, "--yes", input=f"root@pam\n{password}\n")


def wait_for(server, text):
    pause = threading.Event()
    for _ in range(1000):
        if text in server.output():
            return
        pause.wait(0.02)
    raise AssertionError(f"the log has no {text!r}:\n{server.output()}")


def check_service(debian):
    """Starts the server as the unit does, and changes its configuration."""
    unit = debian.read("/lib/systemd/system/proxmox-mcp.service")
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    variable, _, path = settings["Environment"].partition("=")
    command = ("chroot", f"--userspec={settings['User']}:{settings['Group']}", debian.root, "env", f"{variable}={path}",
               settings["ExecStart"], "--listen", "127.0.0.1:0")  # fmt: skip
    env = {"PATH": PATH}
    # chroot and env replace themselves by the server, so its pid is that of the process.
    with Server(command, env=env) as server:
        debian.run("proxmox-mcp", "health", "--listen", server.url.split("//")[1])
        config = json.loads(debian.read(CONFIG))
        name = next(iter(config["clusters"]))
        config["clusters"][name]["protect"] = [100]
        with open(debian.path(CONFIG), "w") as file:
            json.dump(config, file)
        server.send(signal.SIGHUP)
        wait_for(server, f"cluster {name} changed")
    print(f"the user {settings['User']} reads {path}, and a change of it is reloaded")


def check_kept(debian, kept, event):
    """Compares files with their contents before. The contents have secrets, so that they are not printed."""
    for path, text in kept.items():
        expect(f"{path} is unchanged after the {event}", debian.read(path) == text, True)


def main():
    binary = os.path.abspath(sys.argv[1])
    version = run(binary, "--version").split()[1]
    with tempfile.TemporaryDirectory() as folder:
        first, second = (build(binary, f"{folder}/packages", revision) for revision in (1, 2))
        again = build(binary, f"{folder}/again", 1)
        expect("the same package twice", open(first, "rb").read() == open(again, "rb").read(), True)
        check_package(first)
        debian = Debian(clean_debian(folder))
        before = debian.files()
        debian.install(first)
        check_installed(debian, version)
        with Server([binary, "--demo", "--listen", "127.0.0.1:0"]) as demo:
            setup(debian, demo, "lab", "--access", "operate")
            config = os.stat(debian.path(CONFIG))
            expect("owner of clusters.json", (config.st_uid, config.st_gid), debian.user())
            expect("mode of clusters.json", oct(config.st_mode & 0o777), "0o600")
            check_service(debian)
            kept = {path: debian.read(path) for path in (CONFIG,)}
            debian.write(VARIABLES, "PROXMOX_MCP_LISTEN=127.0.0.1:9000\n")
            kept[VARIABLES] = debian.read(VARIABLES)
            debian.install(second)
            installed = debian.run("dpkg-query", "--show", "--showformat=${Version}", "proxmox-mcp")
            expect("version after the upgrade", installed, os.path.basename(second).split("_")[1])
            check_kept(debian, kept, "upgrade")
            check_installed(debian, version)
            setup(debian, demo, "lab", "--remove")
            setup(debian, demo, "lab")
        kept[CONFIG] = debian.read(CONFIG)
        debian.run("dpkg", "--remove", "proxmox-mcp")
        check_kept(debian, kept, "removal")
        left = debian.files() - before
        expect("files after the removal", sorted(left), ["/etc/default/proxmox-mcp", "/etc/proxmox-mcp", CONFIG])
        debian.run("dpkg", "--purge", "proxmox-mcp")
        expect("files after the purge", sorted(debian.files() ^ before), [])
        expect("user after the purge", debian.user(), None)
        # A folder of an earlier setup by hand.
        os.mkdir(debian.path("/etc/proxmox-mcp"))
        debian.write(CONFIG, kept[CONFIG], 0o600)
        debian.install(first)
        found = os.stat(debian.path(CONFIG))
        expect("owner of clusters.json", (found.st_uid, found.st_gid), debian.user())
        debian.run("dpkg", "--purge", "proxmox-mcp")
        expect("files after another purge", sorted(debian.files() ^ before), [])


main()
