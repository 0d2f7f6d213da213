"""Runs real MCP clients against the server. Each check starts a new server.

    python3 ci/real_clients.py BINARY [WORD…]

With words, runs only the checks whose name contains all of them. The clients are installed in CI_CACHE.
"""

import contextlib
import os
import sys
import time
import traceback

from clients import claude, gemini, inspector, scenarios, tools
from clients.recorder import Recorder
from clients.session import Session
from clients.transports import LISTEN, TRANSPORTS
from server import Server

ADAPTERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients", "adapters")


def python(package, adapter):
    return lambda: [*tools.python(package), f"{ADAPTERS}/{adapter}"]


def javascript(package, adapter):
    return lambda: ["env", f"NODE_MODULES={tools.npm(package)}", *tools.node(), f"{ADAPTERS}/{adapter}"]


SDK1 = javascript("@modelcontextprotocol/sdk@1.32.2", "sdk1.mjs")
LEGACY = {"stdio": "2025-11-25", "sse": "2025-11-25", "http": "2025-11-25"}
MODERN = {"stdio": "2026-07-28", "sse": "2026-07-28", "http": "2026-07-28"}
# Name, command, and the expected protocol version per transport.
CLIENTS = [
    ("PyPI mcp 1.30.0", python("mcp==1.30.0", "python1.py"), LEGACY),
    ("PyPI mcp 2.3.0", python("mcp==2.3.0", "python2.py"), MODERN),
    ("npm sdk 1.32.2", SDK1, LEGACY),
    ("npm client 2.4.0", javascript("@modelcontextprotocol/client@2.4.0", "client2.mjs"), MODERN),
    ("npm sdk 1.32.2", SDK1, {"mcp-remote http-first": "2025-11-25", "mcp-remote sse-only": "2025-11-25"}),
]


def scenario_check(command, transport, protocol, options, ask):
    def check(binary):
        with options() as chosen, TRANSPORTS[transport](binary, chosen) as (kind, target, log):
            with Session(command(), kind, target) as session:
                spoken = session.peer["protocol"]
                scenarios.expect(spoken == protocol, f"the client speaks {protocol}", spoken)
                ask(session)
            scenarios.keeps_the_secret(session, log() + session.errors())
        return f"protocol {protocol}"

    return check


def inspector_check(transport, era):
    def check(binary):
        command = [*tools.node(), f"{tools.npm('@modelcontextprotocol/inspector@2.12.0')}/.bin/mcp-inspector"]
        with TRANSPORTS[transport](binary, ["--demo"]) as (kind, target, _):
            inspector.asks(command, kind, target, era)

    return check


def gemini_check(kind, path):
    def check(binary):
        command = [*tools.node(), f"{tools.npm('@google/gemini-cli@0.61.0')}/.bin/gemini"]
        with recorded_demo(binary) as recorder:
            gemini.connects(command, f"{recorder.url}{path}", kind)
            return f"protocol {', '.join(recorder.protocols())}"

    return check


def claude_check(binary):
    """Claude Code starts with protocol 2026-07-28 and stays there: it never sends `initialize`."""
    with recorded_demo(binary) as recorder:
        claude.connects([f"{tools.npm('@anthropic-ai/claude-code@2.1.330')}/.bin/claude"], f"{recorder.url}/mcp")
        first = recorder.exchanges[0]
        scenarios.expect(first.asked()["method"] == "server/discover", "the first request is server/discover", first)
        versions = first.answered()["result"]["supportedVersions"]
        scenarios.expect(first.status == 200 and versions == ["2026-07-28"], "the server answers it", first)
        methods = recorder.methods()
        listed = "tools/list" in methods and "initialize" not in methods
        scenarios.expect(listed, "the client lists the tools without initialize", methods)
        return f"protocol {', '.join(recorder.protocols())}: {', '.join(methods)}"


@contextlib.contextmanager
def recorded_demo(binary):
    with Server([binary, "--demo", *LISTEN]) as server, Recorder(server.url) as recorder:
        yield recorder


# Each check has a name and takes the binary. Its result is printed, an exception fails it.
CHECKS = [
    (f"{client}, {transport}, {scenario}", scenario_check(command, transport, protocol, *parts))
    for client, command, protocols in CLIENTS
    for transport, protocol in protocols.items()
    for scenario, parts in scenarios.SCENARIOS.items()
] + [
    (f"MCP Inspector 2.12.0, {transport}, {era}", inspector_check(transport, era))
    for transport in ("stdio", "sse", "http")
    for era in ("legacy", "auto")
] + [
    ("gemini mcp list 0.61.0, sse", gemini_check("sse", "/sse")),
    ("gemini mcp list 0.61.0, http", gemini_check("http", "/mcp")),
    ("claude mcp list 2.1.330, http", claude_check),
]  # fmt: skip


def main(binary, *words):
    passed = failed = 0
    for name, check in CHECKS:
        if not all(word in name for word in words):
            continue
        begun = time.monotonic()
        try:
            note = check(os.path.abspath(binary))
        except Exception as error:
            failed += 1
            # Other exceptions than assertions need their place too.
            why = error if isinstance(error, AssertionError) else traceback.format_exc()
            print(f"FAILED  {name}: {why}\n", flush=True)
        else:
            passed += 1
            print(f"ok  {time.monotonic() - begun:5.1f} s  {name}" + (f" ({note})" if note else ""), flush=True)
    print(f"clients: {passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
