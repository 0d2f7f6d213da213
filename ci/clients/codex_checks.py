"""Codex CLI: what the model gets."""

import json
import os
import re
import sys
import tempfile

from clients import calls
from clients.codex import Codex
from clients.model_api import SERVER, ModelApi
from clients.transports import TOKEN, recorded_demo

HERE = os.path.dirname(os.path.abspath(__file__))


def reads(texts, _is_error):
    """The client sends the time of the call before the texts of a result."""
    wanted = "\n".join(texts)
    return lambda text: re.sub(r"^Wall time: [\d.]+ seconds\nOutput:\n", "", text) == wanted


def every_tool(binary):
    with recorded_demo(binary, TOKEN) as (_, recorder), ModelApi(calls.every_tool) as model:
        server = f'[mcp_servers.{SERVER}]\nurl = "{recorder.url}/mcp"\nbearer_token_env_var = "PROXMOX_MCP_TOKEN"'
        with Codex(model.url, server, PROXMOX_MCP_TOKEN=TOKEN) as codex:
            codex.ask("look around")
        note = calls.compare(model, recorder.messages(), reads)
        return f"protocol {', '.join(recorder.protocols())}: {note}"


def stdio(binary):
    with tempfile.TemporaryDirectory() as folder, ModelApi(calls.every_tool) as model:
        log = f"{folder}/messages"
        arguments = [f"{HERE}/stdio_recorder.py", log, binary, "stdio", "--demo"]
        # A list of texts in JSON is one in TOML too.
        server = f'[mcp_servers.{SERVER}]\ncommand = "{sys.executable}"\nargs = {json.dumps(arguments)}'
        with Codex(model.url, server) as codex:
            codex.ask("look around")
        with open(log) as file:
            return calls.compare(model, calls.paired(file), reads)


# Each check has a name and takes the binary. Its result is printed.
CHECKS = [
    ("every tool, http", every_tool),
    ("every tool, stdio", stdio),
]
