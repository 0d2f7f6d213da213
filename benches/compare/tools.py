"""The programs of a comparison. Missing ones are built and installed, below BENCH_DIR."""

import os
import re
import resource
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
# Not in the temporary folder: other users could put programs there.
WORK = os.path.abspath(os.environ.get("BENCH_DIR") or os.path.join(REPO, "target", "compare"))
# The target folder of this workspace.
TARGET = os.path.join(WORK, "target")
MUSL = f"{os.uname().machine}-unknown-linux-musl"
ORIGINAL = ("mcp==1.30.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0", "proxmoxer==2.3.0",
            "requests==2.34.2")  # fmt: skip


def run(*command, **options):
    """Runs a command and returns its output. Fails with its output and errors if the command fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def say(text):
    print(text, file=sys.stderr, flush=True)


def _need(command, package):
    """Returns the path of the command. Installs the Debian package if the command is missing."""
    # nginx is in a folder that only root's PATH contains.
    found = shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin")
    if found:
        return found
    say(f"installing {package}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "-qq", "update")
    run("apt-get", "-qq", "install", "-y", "--no-install-recommends", package, env=quiet)
    return _need(command, package)


class Tools:
    """All programs, and the static binary of the product: the given one, or built from this tree."""

    def __init__(self, binary=None):
        os.makedirs(WORK, exist_ok=True)
        # A thousand sessions need two thousand sockets. Started processes inherit the limit.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.nginx = _need("nginx", "nginx-light")
        self.openssl = _need("openssl", "openssl")
        say("building the peer and the load")
        manifest = f"{HERE}/Cargo.toml"
        run("cargo", "build", "--locked", "--release", "--manifest-path", manifest, "--target-dir", TARGET)
        self.load, self.peer = f"{TARGET}/release/load", f"{TARGET}/release/peer"
        self.python = self._python()
        self.binary = os.path.abspath(binary or self._static())

    @staticmethod
    def _python():
        """Returns an interpreter with the packages of the original. An interrupted installation is repeated."""
        folder = os.path.join(WORK, "python-" + "+".join(ORIGINAL))
        if not os.path.exists(folder):
            say("installing the original's packages")
            unfinished = f"{folder}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            run(sys.executable, "-m", "venv", unfinished)
            run(f"{unfinished}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *ORIGINAL)
            os.rename(unfinished, folder)
        return f"{folder}/bin/python"

    @staticmethod
    def _static():
        say("building the static binary")
        run("bash", f"{REPO}/.ci/run", "static")
        target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(REPO, "target")
        return os.path.join(target, MUSL, "release", "proxmox-mcp")

    def versions(self):
        """The versions of all programs."""
        with open(f"{HERE}/Cargo.lock", encoding="utf-8") as file:
            locked = dict(re.findall(r'name = "(\S+)"\nversion = "(\S+)"', file.read()))
        nginx = subprocess.run([self.nginx, "-v"], stderr=subprocess.PIPE, text=True, check=True).stderr
        packages = " ".join(package.replace("==", " ") + "," for package in ORIGINAL[:-1]).rstrip(",")
        return {
            "product": run(self.binary, "--version").strip(),
            "sdk": ", ".join(f"{name} {locked[name]}" for name in ("rmcp", "axum", "reqwest")),
            "original": f"{packages} on {run(self.python, '--version').strip()}",
            "node": nginx.strip().rpartition(": ")[2].replace("/", " "),
            "machine": f"{os.uname().sysname} {os.uname().machine}, {os.cpu_count()} cores",
        }
