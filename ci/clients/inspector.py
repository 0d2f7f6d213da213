"""MCP Inspector's command line. It opens a connection per request, and checks the tools' schemas strictly."""

import json
import os
import subprocess
import tempfile

from clients import tools
from clients.scenarios import TOOLS, expect

VERSION = "2.12.0"
SECONDS = 120


def command():
    return [*tools.node(), f"{tools.npm(f'@modelcontextprotocol/inspector@{VERSION}')}/.bin/mcp-inspector"]


def asks(transport, target, era):
    """Lists the tools and calls one, in a generation of the protocol (`era`: "legacy", "auto")."""

    def ask(*question):
        options = ["--protocol-era", era, "--transport", transport]
        with tempfile.TemporaryDirectory() as home:
            # An empty environment, with a home that the Inspector can write to.
            done = subprocess.run(
                [*command(), "--cli", *target, *options, "--method", *question], cwd=home,
                env={"HOME": home, "PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, timeout=SECONDS,
            )  # fmt: skip
        if done.returncode:
            said = (done.stdout + done.stderr)[-4000:]
            raise AssertionError(f"{question} ended with {done.returncode}:\n{said}")
        return json.loads(done.stdout)

    # The exit code reports a schema that some clients reject.
    names = {tool["name"] for tool in ask("tools/list", "--strict")["tools"]}
    expect(TOOLS <= names, "every tool is listed", names)
    content = ask("tools/call", "--tool-name", "list_nodes")["content"]
    expect(any("pve1\tonline" in part["text"] for part in content), "the demo's nodes are listed", content)
