"""Adapter for PyPI's mcp 1.x: a transport and a ClientSession around it."""

import sys

import anyio
from lines import serve
from mcp import ClientSession
from mcp.client.sse import sse_client

TRANSPORTS = {"sse": sse_client}


async def main(transport, target):
    async with TRANSPORTS[transport](target) as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        await serve(hello.serverInfo.name, hello.protocolVersion, session.list_tools, session.call_tool)


anyio.run(main, *sys.argv[1:])
