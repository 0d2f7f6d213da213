"""Adapter for PyPI's mcp 2.x. Its Client asks for the newest protocol first and falls back."""

import sys

import anyio
from lines import serve
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.types import ElicitResult

TRANSPORTS = {
    # The Client takes a URL for HTTP.
    "http": str,
    "sse": sse_client,
    "stdio": lambda command, *args: StdioServerParameters(command=command, args=args),
}


async def agree(context, params):
    """Accepts every question, as a user would."""
    return ElicitResult(action="accept", content={"confirm": True})


async def main(transport, *target):
    async with Client(TRANSPORTS[transport](*target), elicitation_callback=agree) as client:
        await serve(client.server_info.name, client.protocol_version, client.list_tools, client.call_tool)


anyio.run(main, *sys.argv[1:])
