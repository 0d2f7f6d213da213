"""What the adapters in Python have in common: see session.py for the lines."""

import json
import sys

import anyio


def _say(**line):
    print(json.dumps(line), flush=True)


async def serve(server, protocol, list_tools, call_tool):
    """Answers lines until the input ends; results are those of either version of the package."""
    _say(server=server, protocol=protocol)
    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        request = json.loads(line)
        if "list" in request:
            _say(tools=[tool.name for tool in (await list_tools()).tools])
            continue
        # By the names on the wire, which the two versions share while those of the attributes differ.
        result = (await call_tool(request["call"], request["arguments"])).model_dump(by_alias=True, mode="json")
        text = "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
        _say(text=text, structured=result.get("structuredContent"), is_error=bool(result.get("isError")))
