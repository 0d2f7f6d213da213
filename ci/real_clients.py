"""Real MCP clients against the server, each check with a fresh one.

    python3 ci/real_clients.py BINARY [WORD…]

With words, only the checks whose name contains all of them. CI_CACHE is where the clients are installed.
"""

import os
import sys
import time
import traceback

from clients import gemini, scenarios, tools
from clients.session import Session

ADAPTERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients", "adapters")


def python(package, adapter):
    return lambda: [*tools.python(package), f"{ADAPTERS}/{adapter}"]


def javascript(package, adapter):
    return lambda: ["env", f"NODE_MODULES={tools.npm(package)}", *tools.node(), f"{ADAPTERS}/{adapter}"]


# A client, how it is started, and the transports it is tried over.
CLIENTS = [
    ("PyPI mcp 1.30.0", python("mcp==1.30.0", "python1.py"), ["sse"]),
    ("PyPI mcp 2.3.0", python("mcp==2.3.0", "python2.py"), ["sse"]),
    ("npm sdk 1.32.2", javascript("@modelcontextprotocol/sdk@1.32.2", "sdk1.mjs"), ["sse"]),
]
TARGETS = {"sse": lambda server: f"{server.url}/sse"}


def scenario_check(command, transport, serve, ask):
    def check(binary):
        client = command()
        with serve(binary) as server, Session(client, transport, TARGETS[transport](server)) as session:
            ask(session)
            return f"protocol {session.peer['protocol']}"

    return check


def gemini_check(kind):
    def check(binary):
        command = [*tools.node(), f"{tools.npm('@google/gemini-cli@0.61.0')}/.bin/gemini"]
        with scenarios.demo_server(binary) as server:
            gemini.connects(command, TARGETS[kind](server), kind)

    return check


# Every check has a name and takes the binary; what it returns is printed, what it raises fails it.
CHECKS = [
    (f"{client}, {transport}, {scenario}", scenario_check(command, transport, serve, ask))
    for client, command, transports in CLIENTS
    for transport in transports
    for scenario, (serve, ask) in scenarios.SCENARIOS.items()
] + [
    ("gemini mcp list 0.61.0, sse", gemini_check("sse")),
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
            # An assertion tells what was wrong; of anything else the place is needed too.
            why = error if isinstance(error, AssertionError) else traceback.format_exc()
            print(f"FAILED  {name}: {why}\n", flush=True)
        else:
            passed += 1
            print(f"ok  {time.monotonic() - begun:5.1f} s  {name}" + (f" ({note})" if note else ""), flush=True)
    print(f"clients: {passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
