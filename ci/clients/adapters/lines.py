"""Common code of the adapters in Python. session.py describes the lines."""

import json
import sys

import anyio


def _say(**line):
    print(json.dumps(line), flush=True)


async def serve(server, protocol, list_tools, call_tool):
    """Answers input lines until the input ends. Accepts the results of both versions of the package."""
    _say(server=server, protocol=protocol)
    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        request = json.loads(line)
        if "list" in request:
            _say(tools=[tool.name for tool in (await list_tools()).tools])
            continue
        # By the names in the protocol: both versions share these, but not the names of the attributes.
        result = (await call_tool(request["call"], request["arguments"])).model_dump(by_alias=True, mode="json")
        text = "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
        _say(text=text, structured=result.get("structuredContent"), is_error=bool(result.get("isError")))
