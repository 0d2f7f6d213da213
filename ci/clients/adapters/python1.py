"""Adapter for PyPI's mcp 1.x: a transport and a ClientSession around it."""

import sys

import anyio
from lines import serve
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

TRANSPORTS = {
    "http": streamable_http_client,
    "sse": sse_client,
    "stdio": lambda command, *args: stdio_client(StdioServerParameters(command=command, args=args)),
}


async def main(transport, *target):
    # Over HTTP there is a third value: a function that returns the session's id.
    async with TRANSPORTS[transport](*target) as (read, write, *_), ClientSession(read, write) as session:
        hello = await session.initialize()
        await serve(hello.serverInfo.name, hello.protocolVersion, session.list_tools, session.call_tool)


anyio.run(main, *sys.argv[1:])
