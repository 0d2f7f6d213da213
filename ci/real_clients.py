"""Runs real MCP clients against the server. Each check starts a new server.

    python3 ci/real_clients.py BINARY [WORD…]

With words, runs only the checks whose name contains all of them. The clients are installed in CI_CACHE. Python needs
the packages of ci/clients.txt.
"""

import os
import sys
import time
import traceback

from clients import bundles, claude, claude_checks, codex, codex_checks, gemini, gemini_checks, inspector
from clients import mcp_remote_checks, pages, scenarios, tools
from clients.session import Session
from clients.transports import TRANSPORTS

ADAPTERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients", "adapters")


def python(package, adapter):
    return lambda: [*tools.python(package), f"{ADAPTERS}/{adapter}"]


def javascript(package, adapter):
    return lambda: ["env", f"NODE_MODULES={tools.npm(package)}", *tools.node(), f"{ADAPTERS}/{adapter}"]


SDK1 = javascript(tools.SDK1, "sdk1.mjs")
LEGACY = {"stdio": "2025-11-25", "sse": "2025-11-25", "http": "2025-11-25"}
MODERN = {"stdio": "2026-07-28", "sse": "2026-07-28", "http": "2026-07-28"}
# Name, command, and the expected protocol version per transport.
CLIENTS = [
    (f"PyPI {tools.PYTHON1}", python(tools.PYTHON1, "python1.py"), LEGACY),
    (f"PyPI {tools.PYTHON2}", python(tools.PYTHON2, "python2.py"), MODERN),
    (f"npm {tools.SDK1}", SDK1, LEGACY),
    (f"npm {tools.CLIENT2}", javascript(tools.CLIENT2, "client2.mjs"), MODERN),
    (f"npm {tools.SDK1}", SDK1, {"mcp-remote http-first": "2025-11-25", "mcp-remote sse-only": "2025-11-25"}),
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
        with TRANSPORTS[transport](binary, ["--demo"]) as (kind, target, _):
            inspector.asks(kind, target, era)

    return check


# Each check has a name and takes the binary. Its result is printed, an exception fails it.
CHECKS = [
    (f"{client}, {transport}, {scenario}", scenario_check(command, transport, protocol, *parts))
    for client, command, protocols in CLIENTS
    for transport, protocol in protocols.items()
    for scenario, parts in scenarios.SCENARIOS.items()
] + [
    (f"MCP Inspector {inspector.VERSION}, {transport}, {era}", inspector_check(transport, era))
    for transport in ("stdio", "sse", "http")
    for era in ("legacy", "auto")
] + [
    (f"{client}, {name}", check)
    for client, checks in [
        (f"Claude Code {claude.VERSION}", claude_checks.CHECKS),
        (f"Gemini CLI {gemini.VERSION}", gemini_checks.CHECKS),
        (f"Codex CLI {codex.VERSION}", codex_checks.CHECKS),
        ("mcp-remote", mcp_remote_checks.CHECKS),
        ("docs/clients.md", pages.CHECKS),
        ("bundles", bundles.CHECKS),
    ]
    for name, check in checks
]


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
