"""The transports between a client and the server. Each starts the server, or returns the command that the client runs.

`with TRANSPORT(binary, options) as (adapter_transport, target, log):` returns the arguments of an adapter (see
session.py), and a function that returns the server's log. Over stdio the client has the log.
"""

import contextlib
import os
import tempfile

from clients import tools
from clients.recorder import Recorder
from server import Server

LISTEN = ["--listen", "127.0.0.1:0"]
# The token that a server demands, if a check wants one.
TOKEN = "pmcp_6369-2d74-6f6b-656e-0123456789abcdef0123456789abcdef"
MCP_REMOTE = "mcp-remote@0.15.1"


@contextlib.contextmanager
def stdio(binary, options):
    yield "stdio", [binary, "stdio", *options], lambda: ""


@contextlib.contextmanager
def sse(binary, options):
    with Server([binary, *options, *LISTEN]) as server:
        yield "sse", [f"{server.url}/sse"], server.output


@contextlib.contextmanager
def http(binary, options):
    with Server([binary, *options, *LISTEN]) as server:
        yield "http", [f"{server.url}/mcp"], server.output


def mcp_remote_command():
    return [*tools.node(), f"{tools.npm(MCP_REMOTE)}/.bin/mcp-remote"]


def mcp_remote(strategy, path):
    """Returns a transport through mcp-remote: stdio to the client, and HTTP or SSE to the server, by `strategy`."""

    @contextlib.contextmanager
    def transport(binary, options):
        with (
            Server([binary, *options, *LISTEN]) as server,
            Recorder(server.url) as recorder,
            tempfile.TemporaryDirectory() as home,
        ):
            remote = [*mcp_remote_command(), f"{recorder.url}{path}", "--allow-http", "--transport", strategy]
            yield "stdio", ["env", f"HOME={home}", *remote], server.output
            streams = {exchange.path for exchange in recorder.exchanges if exchange.method == "GET"} & {"/mcp", "/sse"}
            # Strategies fall back to the other transport, unless their name ends in "only".
            if streams != {path}:
                raise AssertionError(f"mcp-remote {strategy} asked for {streams}")

    return transport


@contextlib.contextmanager
def recorded_demo(binary, token=None):
    """Starts a demo behind a recorder. With a token, it answers only clients that send it."""
    variables = {"MCP_AUTH_TOKEN": token} if token else {}
    with (
        Server([binary, "--demo", *LISTEN], env={**os.environ, **variables}) as server,
        Recorder(server.url) as recorder,
    ):
        yield server, recorder


TRANSPORTS = {
    "stdio": stdio,
    "sse": sse,
    "http": http,
    "mcp-remote http-first": mcp_remote("http-first", "/mcp"),
    "mcp-remote sse-only": mcp_remote("sse-only", "/sse"),
}
