"""Gemini CLI. `gemini mcp list` connects to each server, without a login or the internet."""

import json
import os
import subprocess
import tempfile

SECONDS = 120


def connects(command, url, kind):
    """Makes `gemini mcp list` connect to a server of type `kind` ("http", "sse")."""
    settings = {
        "mcpServers": {"proxmox": {"type": kind, "url": url}},
        # In an untrusted folder it shows the server as disabled.
        "security": {"folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
    }
    with tempfile.TemporaryDirectory() as home:
        os.makedirs(f"{home}/.gemini")
        os.makedirs(f"{home}/work")
        with open(f"{home}/.gemini/settings.json", "w") as file:
            json.dump(settings, file)
        # An empty environment: no login, no proxy, no settings of another session.
        done = subprocess.run(
            [*command, "mcp", "list"], cwd=f"{home}/work", env={"HOME": home, "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        )  # fmt: skip
    # The exit code is 0 even if it could not connect.
    if f"proxmox: {url} ({kind}) - Connected" not in done.stdout:
        raise AssertionError(f"gemini mcp list says:\n{done.stdout}")
