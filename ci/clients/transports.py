"""The ways from a client to the server. Each starts the server itself, or gives the client the means to.

`with TRANSPORT(binary, options) as (adapter_transport, target, log):` gives what an adapter is started with (see
session.py), and a function that tells what the server has logged, if it isn't the client who sees that.
"""

import contextlib
import tempfile

from clients import tools
from clients.recorder import Recorder
from server import Server

LISTEN = ["--listen", "127.0.0.1:0"]
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


def mcp_remote(strategy, path):
    """Through mcp-remote, which speaks stdio with the client and, by its strategy, HTTP or SSE with the server."""

    @contextlib.contextmanager
    def transport(binary, options):
        command = [*tools.node(), f"{tools.npm(MCP_REMOTE)}/.bin/mcp-remote"]
        with (
            Server([binary, *options, *LISTEN]) as server,
            Recorder(server.url) as recorder,
            tempfile.TemporaryDirectory() as home,
        ):
            remote = [*command, f"{recorder.url}{path}", "--allow-http", "--transport", strategy]
            yield "stdio", ["env", f"HOME={home}", *remote], server.output
            streams = {exchange.path for exchange in recorder.exchanges if exchange.method == "GET"} & {"/mcp", "/sse"}
            # Its strategies fall back, unless they end in "only".
            if streams != {path}:
                raise AssertionError(f"mcp-remote {strategy} asked for {streams}")

    return transport


TRANSPORTS = {
    "stdio": stdio,
    "sse": sse,
    "http": http,
    "mcp-remote http-first": mcp_remote("http-first", "/mcp"),
    "mcp-remote sse-only": mcp_remote("sse-only", "/sse"),
}
