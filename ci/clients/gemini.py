"""Gemini CLI, by its list of servers: it connects to each, and needs neither a login nor the internet for that."""

import json
import os
import subprocess
import tempfile

SECONDS = 120


def connects(command, url, kind):
    """Has `gemini mcp list` connect to a server of type `kind` ("http", "sse")."""
    settings = {
        "mcpServers": {"proxmox": {"type": kind, "url": url}},
        # In a folder nobody has called trusted it would show the server as disabled.
        "security": {"folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
    }
    with tempfile.TemporaryDirectory() as home:
        os.makedirs(f"{home}/.gemini")
        os.makedirs(f"{home}/work")
        with open(f"{home}/.gemini/settings.json", "w") as file:
            json.dump(settings, file)
        # Nothing of the caller's environment: no login, no proxy, no setting of another session.
        done = subprocess.run(
            [*command, "mcp", "list"], cwd=f"{home}/work", env={"HOME": home, "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        )  # fmt: skip
    # Its exit code is 0 whether it could connect or not.
    if f"proxmox: {url} ({kind}) - Connected" not in done.stdout:
        raise AssertionError(f"gemini mcp list says:\n{done.stdout}")
