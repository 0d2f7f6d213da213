"""Gemini CLI: what the model and its user get."""

import contextlib
import json
import os
import sys
import tempfile

from clients import calls
from clients.gemini import Gemini
from clients.model_api import SERVER, ModelApi, Say
from clients.scenarios import expect
from clients.transports import TOKEN, recorded_demo

HERE = os.path.dirname(os.path.abspath(__file__))
NO_MODEL = "http://127.0.0.1:9"


def http(url, token=None):
    """Returns the settings of a server as docs/clients.md has them."""
    headers = {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
    return {"type": "http", "url": url, **headers}


def reads(texts, is_error):
    """The client marks each text of a result as untrusted. Of an error it sends the whole result, as JSON."""
    if is_error:
        return lambda text: all(json.dumps(part, ensure_ascii=False) in text for part in texts)
    wanted = "\n".join(f"<untrusted_context>\n{text}\n</untrusted_context>" for text in texts)
    return lambda text: text == wanted


def every_tool(binary):
    with (
        recorded_demo(binary, TOKEN) as (_, recorder),
        ModelApi(calls.every_tool) as model,
        Gemini(model.url, http(f"{recorder.url}/mcp", TOKEN)) as gemini,
    ):
        gemini.ask("look around")
        return calls.compare(model, recorder.messages(), reads)


def stdio(binary):
    with tempfile.TemporaryDirectory() as folder, ModelApi(calls.every_tool) as model:
        log = f"{folder}/messages"
        arguments = [f"{HERE}/stdio_recorder.py", log, binary, "stdio", "--demo"]
        with Gemini(model.url, {"command": sys.executable, "args": arguments}) as gemini:
            gemini.ask("look around")
        with open(log) as file:
            return calls.compare(model, calls.paired(file), reads)


@contextlib.contextmanager
def first_turn(binary, prompt):
    """Sends one prompt of the user."""

    def says():
        yield Say("done")

    with recorded_demo(binary) as (_, recorder), ModelApi(says) as model:
        with Gemini(model.url, http(f"{recorder.url}/mcp")) as gemini:
            gemini.ask(prompt)
        yield recorder, model.turns[0]


def prompt(line):
    def check(binary):
        with first_turn(binary, line) as (recorder, turn):
            got = [answered["result"] for asked, answered in recorder.messages() if asked["method"] == "prompts/get"]
            expect(len(got) == 1, "the client gets one prompt", recorder.methods())
            # The client takes the first message only, and sends its text as JSON.
            text = got[0]["messages"][0]["content"]["text"]
            expect(len(got[0]["messages"]) == 1, "the prompt has one message", got[0])
            expect(json.dumps(text, ensure_ascii=False) in turn.text, f"the message has the prompt: {text}", turn.text)
            return f"{len(text.encode())} bytes"

    return check


def resource(binary):
    with first_turn(binary, f"look at @{SERVER}:pve://demo now") as (recorder, turn):
        reads = [answered["result"] for asked, answered in recorder.messages() if asked["method"] == "resources/read"]
        expect(len(reads) == 1, "the client reads the resource", recorder.methods())
        text = reads[0]["contents"][0]["text"]
        expect(text in turn.texts, f"the message has the resource: {text}", turn.texts)
        return f"{len(text.encode())} bytes"


def connects(kind, path):
    def check(binary):
        with recorded_demo(binary) as (_, recorder):
            url = f"{recorder.url}{path}"
            with Gemini(NO_MODEL, {"type": kind, "url": url}) as gemini:
                said = gemini.run("mcp", "list")
            # The exit code is 0 even if it could not connect.
            expect(f"{SERVER}: {url} ({kind}) - Connected" in said, "the client connects", said)
            return f"protocol {', '.join(recorder.protocols())}"

    return check


# Each check has a name and takes the binary. Its result is printed.
CHECKS = [
    ("mcp list, sse", connects("sse", "/sse")),
    ("mcp list, http", connects("http", "/mcp")),
    ("every tool, http", every_tool),
    ("every tool, stdio", stdio),
    ("prompt", prompt("/health")),
    ("prompt with an argument", prompt(f"/troubleshoot --guest={calls.GUEST}")),
    ("resource", resource),
]
