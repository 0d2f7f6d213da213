"""Claude Code, by its list of servers: it connects to each, and needs neither a login nor the internet for that."""

import os
import subprocess
import tempfile

SECONDS = 120
# It would report and update itself otherwise, or try to.
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}


def connects(command, url):
    """Adds a server of type http as the README says, and has `claude mcp list` connect to it."""
    with tempfile.TemporaryDirectory() as home:
        os.makedirs(f"{home}/work")
        # Nothing of the caller's environment: no login, no proxy, no setting of another session.
        environment = {"HOME": home, "PATH": os.environ["PATH"], **QUIET}
        said = ""
        for arguments in (["add", "--transport", "http", "proxmox", url], ["list"]):
            done = subprocess.run(
                [*command, "mcp", *arguments], cwd=f"{home}/work", env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
            )  # fmt: skip
            said += done.stdout
    # Its exit code is 0 whether it could connect or not.
    if f"proxmox: {url} (HTTP) - ✔ Connected" not in said:
        raise AssertionError(f"claude says:\n{said}")
