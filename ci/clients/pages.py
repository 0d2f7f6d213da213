"""The code blocks of docs/clients.md: each is run with its client, or compared with the keys that the client knows.

The server is a real one with a fake node. `claude`, `npx` and `proxmox-mcp` in the blocks are the clients of CI_CACHE
and the binary under test.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

from clients import claude, codex, gemini, inspector, node, tools
from clients.home import Home
from clients.model_api import SERVER, Call, ModelApi, Say
from clients.scenarios import expect
from clients.session import Session
from clients.tools import CLIENT2, PYTHON1, PYTHON2, SDK1
from clients.transports import LISTEN, MCP_REMOTE, TOKEN, mcp_remote_command
from server import Server

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ADDRESS, CONFIG = "http://127.0.0.1:8000", "/path/to/clusters.json"
# The name of the fake node, in each answer of list_nodes.
ANSWER = "alpha1"


def blocks():
    """Returns the code blocks, each as (line, heading, language, text)."""
    with open(f"{ROOT}/docs/clients.md") as file:
        page = file.read()
    headings = list(re.finditer(r"^## (.+)$", page, re.MULTILINE))
    return [
        (
            page.count("\n", 0, block.start()) + 1,
            next(heading[1] for heading in reversed(headings) if heading.start() < block.start()),
            block[1],
            block[2],
        )
        for block in re.finditer(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ]


class World:
    """A server with a configuration, and a folder of commands."""

    def __init__(self, binary, folder, url, config):
        self.url = url
        self._config = config
        self.bin = f"{folder}/bin"
        os.makedirs(self.bin)
        os.symlink(binary, f"{self.bin}/proxmox-mcp")
        commands = {
            "claude": claude.command(),
            "npx": [sys.executable, f"{folder}/npx.py"],
        }
        packages = {"mcp-remote": mcp_remote_command(), "@modelcontextprotocol/inspector": inspector.command()}
        with open(f"{folder}/npx.py", "w") as file:
            file.write(f"import os, sys\ncommand = {packages}[sys.argv[1]] + sys.argv[2:]\nos.execv(command[0], command)\n")
        for name, command in commands.items():
            with open(f"{self.bin}/{name}", "w") as file:
                file.write(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            os.chmod(f"{self.bin}/{name}", 0o755)

    def fill_in(self, text):
        """Replaces what the page tells the reader to replace."""
        return re.sub(r"\bTOKEN\b", TOKEN, text.replace(ADDRESS, self.url).replace(CONFIG, self._config))


@contextlib.contextmanager
def world(binary, block):
    """Starts a server for a block. It demands a token if the block has one."""
    variables = {"MCP_AUTH_TOKEN": TOKEN} if re.search(r"TOKEN\b", block) else {}
    with node.Node() as up, tempfile.TemporaryDirectory() as folder:
        config = f"{folder}/clusters.json"
        token = {"user": node.USER, "token_id": node.TOKEN_ID, "token_secret": node.TOKEN_SECRET}
        with open(os.open(config, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump({"clusters": {"alpha": {"url": up.url, **token}}}, file)
        with Server([binary, "--config", config, *LISTEN], env={**os.environ, **variables}) as server:
            yield World(binary, folder, server.url, config)


def lists_nodes():
    yield Call("list_nodes", {})
    yield Say("done")


def run_claude(here, text):
    """The command adds the server, and `claude mcp list` connects to it."""
    home = claude.Claude("http://127.0.0.1:9")
    with home:
        home.environment["PATH"] = f"{here.bin}:{home.environment['PATH']}"
        home.command = shlex.split(text)
        home.run()
        home.command = claude.command()
        said = home.run("mcp", "list")
        expect(f"{SERVER}: " in said and "✔ Connected" in said, "the client connects", said)


def run_gemini(here, text):
    settings = json.loads(text)["mcpServers"][SERVER]
    with ModelApi(lists_nodes) as model, gemini.Gemini(model.url, settings) as home:
        home.environment["PATH"] = f"{here.bin}:{home.environment['PATH']}"
        home.ask("list the nodes")
        expect(ANSWER in model.results[0].text, "the model reads the nodes", model.results)


def run_codex(here, text):
    with ModelApi(lists_nodes) as model, codex.Codex(model.url, text, PROXMOX_MCP_TOKEN=TOKEN) as home:
        home.environment["PATH"] = f"{here.bin}:{home.environment['PATH']}"
        home.ask("list the nodes")
        expect(ANSWER in model.results[0].text, "the model reads the nodes", model.results)


def run_stdio_entry(here, text):
    """Starts the command of the configuration, as a client does, with an SDK."""
    entry = json.loads(text)["mcpServers"][SERVER]
    adapter = f"{os.path.dirname(os.path.abspath(__file__))}/adapters/sdk1.mjs"
    variables = [f"{name}={value}" for name, value in entry.get("env", {}).items()]
    with tempfile.TemporaryDirectory() as home:
        environment = ["env", f"HOME={home}", f"PATH={here.bin}:{os.environ['PATH']}", *variables]
        client = ["env", f"NODE_MODULES={tools.npm(SDK1)}", *tools.node(), adapter]
        with Session(client, "stdio", [*environment, entry["command"], *entry["args"]]) as session:
            answer = session.call("list_nodes")
    expect(ANSWER in answer.text, "the nodes are listed", answer)


def run_command(here, text):
    with Home([], {"PATH": f"{here.bin}:{os.environ['PATH']}"}) as home:
        said = home.run(*shlex.split(text))
    expect('"list_nodes"' in said, "the tools are listed", said)


def run_program(command, name, link=None):
    """Returns a function that runs a block as a program, which lists the nodes."""

    def run(here, text):
        with Home(command(), {"PATH": f"{here.bin}:{os.environ['PATH']}"}) as home:
            home.write(f"work/{name}", text)
            if link:
                os.symlink(link(), f"{home.work}/node_modules")
            said = home.run(name)
        expect(ANSWER in said, "the nodes are listed", said)

    return run


def has_shape(top, transport, strict_type):
    """Returns a function that compares a configuration with the keys that the client documents."""

    def run(_, text):
        settings = json.loads(text)
        expect(set(settings) <= {top, "inputs"}, f"the keys {top} and inputs", settings)
        entry = settings[top][SERVER]
        kind = "stdio" if "command" in entry else transport
        expect(entry.get("type", None if strict_type else kind) == kind, f"the type {kind}", entry)
        keys = {"stdio": {"command", "args", "env"}}.get(kind, {"url", "headers"})
        expect(set(entry) - {"type"} <= keys, f"only keys of {kind}", entry)
        inputs = {wanted["id"] for wanted in settings.get("inputs", [])}
        asked = set(re.findall(r"\$\{input:([\w-]+)\}", text))
        expect(inputs == asked, "an input for each variable", (inputs, asked))

    return run


def checks_token(here, text):
    done = subprocess.run(
        shlex.split(text, comments=True), env={"PATH": here.bin}, stdout=subprocess.PIPE, text=True, timeout=60
    )
    expect(done.returncode == 0 and "Authorization: Bearer pmcp_" in done.stdout, "a new token", done)


RUNNERS = {
    ("Claude Code", "sh"): run_claude,
    ("Claude Desktop", "json"): run_stdio_entry,
    ("Gemini CLI", "json"): run_gemini,
    ("Codex CLI", "toml"): run_codex,
    ("Cursor", "json"): has_shape("mcpServers", "http", strict_type=False),
    ("VS Code", "json"): has_shape("servers", "http", strict_type=True),
    ("mcp-remote", "json"): run_stdio_entry,
    ("MCP Inspector", "sh"): run_command,
    ("Python", "python"): run_program(lambda: tools.python(PYTHON2), "agent.py"),
    ("TypeScript", "js"): run_program(tools.node, "agent.mjs", lambda: tools.npm(CLIENT2)),
    ("Tokens", "sh"): checks_token,
}


def check_block(heading, language, text):
    def check(binary):
        runner = RUNNERS.get((heading, language))
        expect(runner, "a check for each code block", (heading, language))
        with world(binary, text) as here:
            runner(here, here.fill_in(text))

    return check


def readme(_binary):
    """The README connects a client with a command of docs/clients.md, which is run."""
    with open(f"{ROOT}/README.md") as file:
        commands = re.findall(r"^claude mcp add .*$", file.read(), re.MULTILINE)
    run = {text.strip() for _, heading, _, text in blocks() if heading == "Claude Code"}
    expect(commands and run.issuperset(commands), f"commands among {run}", commands)


def versions(_binary):
    """The table names the versions that run here."""
    with open(f"{ROOT}/docs/clients.md") as file:
        rows = re.findall(r"^\| \[(.+?)\]\(#.*?\).*? \| (.+?) \|", file.read(), re.MULTILINE)
    named = {client: version for client, version in rows if version != "not tried"}
    run = {
        "Claude Code": claude.VERSION,
        "Gemini CLI": gemini.VERSION,
        "Codex CLI": codex.VERSION,
        "mcp-remote": version(MCP_REMOTE),
        "MCP Inspector": inspector.VERSION,
        "Python": f"{version(PYTHON2)}, {version(PYTHON1)}",
        "TypeScript": f"{version(CLIENT2)}, {version(SDK1)}",
    }
    expect(named == run, f"the versions {run}", named)


def version(package):
    return re.split("@|==", package)[-1]


# Each check has a name and takes the binary.
CHECKS = [
    *((f"{heading}, block of line {line}", check_block(heading, *block)) for line, heading, *block in blocks()),
    ("README", readme),
    ("versions", versions),
]
