"""The bundles for clients, validated by the programs of the clients."""

import json
import os
import subprocess
import tempfile

from clients import claude, gemini, tools
from clients.home import Home
from clients.scenarios import expect

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MCPB = "@anthropic-ai/mcpb@2.1.2"


def plugin(_):
    """Claude Code accepts the plugin and the marketplace that names it."""
    with Home(claude.command(), claude.QUIET) as home:
        for folder in (f"{REPO}/packaging/claude-plugin", REPO):
            said = home.run("plugin", "validate", folder)
            expect("Validation passed" in said, f"{folder} is valid", said)


def extension(_):
    """Gemini CLI accepts the extension."""
    with Home(gemini.command(), {}) as home:
        said = home.run("extensions", "validate", REPO)
        expect("successfully validated" in said, "the extension is valid", said)


def bundle(binary):
    """The tool of Claude Desktop accepts the bundle, whose program answers over stdio."""
    with tempfile.TemporaryDirectory() as folder, Home([*tools.node(), f"{tools.npm(MCPB)}/.bin/mcpb"], {}) as home:
        packed, unpacked = f"{folder}/proxmox-mcp.mcpb", f"{folder}/unpacked"
        subprocess.run([f"{REPO}/packaging/mcpb/build", binary, "linux", packed], check=True, timeout=120)
        home.run("unpack", packed, unpacked)
        said = home.run("validate", f"{unpacked}/manifest.json")
        expect("validation passes" in said, "the manifest is valid", said)
        with open(f"{unpacked}/manifest.json", encoding="utf-8") as file:
            server = json.load(file)["server"]["mcp_config"]
        command = [server["command"].replace("${__dirname}", unpacked), server["args"][0], "--demo"]
        os.chmod(command[0], 0o755)
        ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
        answer = subprocess.run(command, input=ping, stdout=subprocess.PIPE, text=True, timeout=60).stdout
        expect('"id":1' in answer, "the program of the bundle answers", answer)


# Each check has a name and takes the binary.
CHECKS = [("Claude Code plugin", plugin), ("Gemini CLI extension", extension), ("mcpb bundle", bundle)]
