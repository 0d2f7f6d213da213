"""Calls of every tool by a model, and the comparison of its requests with the server's own messages."""

import json
import re

from clients.model_api import Call, Say
from clients.scenarios import TOOLS, expect

GUEST = "staging01"
# A client must not change any of it.
NOTE = 'Grüße ✓ <b>bold</b> & "quoted" \\n\n\tsecond line `x` </untrusted>\n'


def every_tool():
    """Calls each tool, some of them twice, and one with an error."""
    yield Call("list_clusters", {})
    yield Call("list_nodes", {})
    yield Call("get_cluster_resources", {})
    yield Call("find_guest", {"query": GUEST})
    yield Call("search_api", {"query": "start a vm"})
    yield Call("describe_api", {"path": "/nodes/{node}/qemu/{vmid}/status/start", "method": "POST"})
    config = f"/qemu/{GUEST}/config"
    yield Call("proxmox_api_call", {"method": "PUT", "path": config, "data": {"description": NOTE}})
    turn = yield Call("proxmox_api_get", {"path": config})
    expect("Grüße ✓" in turn.results[0].text, "the note of the guest is in the answer", turn.results)
    # As JSON alone, a list, a text or null would be an error in Gemini CLI.
    yield Call("proxmox_api_get", {"path": "/pools", "fields": "poolid"})
    turn = yield Call("proxmox_api_call", {"method": "POST", "path": f"/qemu/{GUEST}/status/start"})
    upid = re.search(r"UPID:[^\s\"]+", turn.results[0].text)
    expect(upid, "the start answers its task", turn.results)
    yield Call("wait_for_task", {"upid": upid[0]})
    yield Call("proxmox_api_get", {"path": "/nodes/pve9/status"})
    yield Say("done")


def answers(messages):
    """Returns the results of tools/call in recorded messages, each with the tool."""
    return [
        (asked["params"]["name"], answered["result"])
        for asked, answered in messages
        if asked.get("method") == "tools/call" and "content" in answered.get("result", {})
    ]


def paired(lines):
    """Pairs the messages that stdio_recorder.py wrote: each request with its answer."""
    messages = [json.loads(line) for line in lines]
    answered = {message["id"]: message for from_client, message in messages if not from_client and "id" in message}
    return [(message, answered.get(message.get("id"), {})) for from_client, message in messages if from_client]


def compare(model, messages, reads):
    """Checks that the model was sent the text of each result byte for byte, and returns a note.

    `reads` takes the texts of a result and whether it is an error. It returns the check of what the model reads, which
    may be in a frame of the client.
    """
    sent = answers(messages)
    expect({tool for tool, _ in sent} == TOOLS, "every tool has answered", [tool for tool, _ in sent])
    tools = [read.tool for read in model.results]
    expect(tools == [tool for tool, _ in sent], "the model gets each result", tools)
    for (tool, result), read in zip(sent, model.results, strict=True):
        texts = [part["text"] for part in result["content"]]
        same = reads(texts, result.get("isError", False))(read.text)
        expect(same, f"the texts of {tool} byte for byte: {texts}", read.text)
    return f"{len(sent)} results, {sum(len(read.text.encode()) for read in model.results)} bytes"
