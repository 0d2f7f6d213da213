"""Claude Code. `claude mcp list` connects to each server, without a login or the internet."""

import os
import subprocess
import tempfile

SECONDS = 120
# Without these it tries to send reports and to update itself.
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}


def connects(command, url):
    """Adds a server of type http as docs/clients.md says, and makes `claude mcp list` connect to it."""
    with tempfile.TemporaryDirectory() as home:
        os.makedirs(f"{home}/work")
        # An empty environment: no login, no proxy, no settings of another session.
        environment = {"HOME": home, "PATH": os.environ["PATH"], **QUIET}
        said = ""
        for arguments in (["add", "--transport", "http", "proxmox", url], ["list"]):
            done = subprocess.run(
                [*command, "mcp", *arguments], cwd=f"{home}/work", env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
            )  # fmt: skip
            said += done.stdout
    # The exit code is 0 even if it could not connect.
    if f"proxmox: {url} (HTTP) - ✔ Connected" not in said:
        raise AssertionError(f"claude says:\n{said}")
