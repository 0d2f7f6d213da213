"""Claude Code: what the model and its user get."""

import contextlib
import json
import os
import re
import sys
import tempfile

from clients import calls
from clients.claude import Claude
from clients.model_api import SERVER, Call, ModelApi, Say
from clients.scenarios import expect
from clients.transports import TOKEN, recorded_demo

# The last one is Ctrl+U.
ENTER, DOWN, ERASE = "\r", "\x1b[B", "\x15"
BACKUP = Call(
    "proxmox_api_call",
    {"method": "POST", "path": "/nodes/pve1/vzdump", "data": {"vmid": 100, "storage": "nas"}, "wait": True},
)
NO_MODEL = "http://127.0.0.1:9"
HERE = os.path.dirname(os.path.abspath(__file__))
# The parts of its question that a user must see.
QUESTION = [f'Delete VM 106 "{calls.GUEST}"', "can't be undone"]


def reads(texts, _is_error):
    """The client sends the texts of a result as they are."""
    return lambda text: text == "\n".join(texts)


@contextlib.contextmanager
def conversation(binary, script):
    """Starts a demo behind a recorder, a model and a client of both."""
    with (
        recorded_demo(binary) as (server, recorder),
        ModelApi(script) as model,
        Claude(model.url) as claude,
    ):
        claude.add_http(f"{recorder.url}/mcp")
        yield server, recorder, model, claude


def every_tool(**environment):
    def check(binary):
        with (
            recorded_demo(binary, TOKEN) as (_, recorder),
            ModelApi(calls.every_tool) as model,
            Claude(model.url, **environment) as claude,
        ):
            claude.add_http(f"{recorder.url}/mcp", TOKEN)
            claude.ask("look around")
            return calls.compare(model, recorder.messages(), reads)

    return check


def stdio(binary):
    with tempfile.TemporaryDirectory() as folder, ModelApi(calls.every_tool) as model, Claude(model.url) as claude:
        log = f"{folder}/messages"
        claude.add_stdio([sys.executable, f"{HERE}/stdio_recorder.py", log, binary, "stdio", "--demo"])
        claude.ask("look around")
        with open(log) as file:
            return calls.compare(model, calls.paired(file), reads)


def deletes():
    """Deletes a guest, which the user must confirm."""
    yield Call("proxmox_api_call", {"method": "DELETE", "path": f"/qemu/{calls.GUEST}"})
    yield Say("done")


def sent(server):
    """Returns the operations of the changes that were sent, as the audit has them."""
    records = [line.partition(" audit ")[2] for line in server.output().splitlines()]
    events = [json.loads(record) for record in records if record.startswith("{")]
    return [event["operation"] for event in events if event["event"] == "begin"]


def declines_by_itself(binary):
    """Without a terminal the client declines by itself. The text says so, and nothing is sent."""
    with conversation(binary, deletes) as (server, _, model, claude):
        claude.ask("delete it")
        text = model.results[0].text
        expect("can't show questions" in text, "the text says that the client did not ask its user", text)
        expect(sent(server) == [], "nothing is sent", sent(server))
        return text.partition("\n")[0]


def question(button):
    """The user sees the guest's name in the question, and the answer decides."""

    def check(binary):
        with conversation(binary, deletes) as (server, _, model, claude), claude.open("delete it") as terminal:
            screen = terminal.wait_for(lambda text: "Accept" in text and "Decline" in text, "the question")
            shown = screen.partition("requests your input")[2]
            for part in QUESTION:
                expect(part in shown, f"the question shows {part!r}", screen)
            expect(sent(server) == [], "nothing is sent before the answer", sent(server))
            if f"❯ {button}" not in screen:
                terminal.press(DOWN, lambda text: f"❯ {button}" in text, f"{button} selected")
            terminal.press(ENTER, lambda _: model.results, "the result of the call")
            operations = ["DELETE /nodes/pve2/qemu/106"] if button == "Accept" else []
            expect(sent(server) == operations, f"{operations} is sent", sent(server))
            text = model.results[0].text
            told = "UPID:" if button == "Accept" else "Nothing was sent"
            expect(told in text, f"the model reads {told!r}", text)
            return next(line for line in shown.splitlines() if calls.GUEST in line).strip()

    return check


def backs_up():
    """Makes a backup, whose end comes as a message of the client."""
    yield BACKUP
    yield Say("it runs")
    yield Say("done")


def background_task(binary):
    """A call that waits becomes a task, whose result the model gets later. Nothing else waits for it."""
    with conversation(binary, backs_up) as (_, recorder, model, claude), claude.open("back it up") as terminal:
        terminal.wait_until(lambda: model.results, "the first result of the call")
        text = model.results[0].text
        expect("moved to the background" in text and "OK:" not in text, "the call becomes a task", text)
        terminal.wait_until(lambda: notifications(model), "a notification of the end")
        notified = notifications(model)[0]
        answers = [answered["result"] for asked, answered in recorder.messages() if asked["method"] == "tasks/get"]
        expect(answers and answers[-1]["status"] == "completed", "the client polls until the end", answers)
        result = "\n".join(part["text"] for part in answers[-1]["result"]["content"])
        expect(result in notified, f"the notification has the result: {result}", notified)
        return f"{len(answers)} polls, {result.partition(chr(10))[0]}"


def stops():
    """Makes a backup and stops it with the client's own tool."""
    turn = yield BACKUP
    task = re.search(r'TaskStop with task_id "(\w+)"', turn.results[0].text)[1]
    yield {"type": "tool_use", "name": "ToolSearch", "input": {"query": "select:TaskStop"}}
    yield {"type": "tool_use", "name": "TaskStop", "input": {"task_id": task}}
    yield Say("done")


def stopped_task(binary):
    """Stopping the background task stops the task on the cluster."""
    with conversation(binary, stops) as (server, recorder, model, claude), claude.open("back it up") as terminal:
        terminal.wait_until(lambda: "tasks/cancel" in recorder.methods(), "a request to stop the task")
        terminal.wait_until(lambda: len(sent(server)) > 1, "a second change")
        stopped = sent(server)[1]
        expect(stopped.startswith("DELETE /nodes/pve1/tasks/UPID:"), "the task is stopped", stopped)


def notifications(model):
    return [text for turn in model.turns for text in turn.texts if "<task-notification>" in text]


def says():
    yield Say("done")


def prompts(binary):
    """The prompts are in the list behind "/", and fill the first message."""
    with conversation(binary, says) as (_, recorder, model, claude):
        with claude.open() as terminal:
            terminal.wait_for("❯", "the line for input")
            # The client draws the list once, with what it knows then. Erasing the line draws it again.
            terminal.press(f"{ERASE}/health", lambda text: f"/{SERVER}:health (MCP)" in text, "the prompt in the list")
            terminal.press(ENTER, lambda _: model.turns, "the message with the prompt")
        return prompt_text(recorder, model)


def prompt_with_argument(binary):
    with conversation(binary, says) as (_, recorder, model, claude):
        claude.ask(f"/mcp__{SERVER}__troubleshoot {calls.GUEST}")
        text = prompt_text(recorder, model)
        expect(calls.GUEST in model.turns[0].text, "the prompt has the guest", model.turns[0].text)
        return text


def prompt_text(recorder, model):
    """Checks that the texts of the prompt are in the first message byte for byte."""
    got = [answered["result"] for asked, answered in recorder.messages() if asked["method"] == "prompts/get"]
    expect(len(got) == 1, "the client gets one prompt", recorder.methods())
    texts = [message["content"]["text"] for message in got[0]["messages"]]
    missing = [text for text in texts if text not in model.turns[0].texts]
    expect(texts and not missing, "the message has the texts of the prompt", (missing, model.turns[0].texts))
    return f"{sum(len(text.encode()) for text in texts)} bytes"


def resource(binary):
    """A resource that the user mentions is in the message."""
    with conversation(binary, says) as (_, recorder, model, claude):
        with claude.open() as terminal:
            terminal.wait_for("❯", "the line for input")
            # The list has room for five lines, in an order of the client.
            terminal.press(f"{ERASE}@pve", lambda text: f"◇ {SERVER}:pve://" in text, "resources in the list")
            terminal.press(
                f"{ERASE}@{SERVER}:pve://demo/",
                lambda _: "completion/complete" in recorder.methods(),
                "a request to complete the address",
            )
            line = f"look at @{SERVER}:pve://demo now"
            terminal.press(f"{ERASE}{line}", lambda text: line in text, "the line as typed")
            terminal.press(ENTER, lambda _: model.turns, "the message with the resource")
        reads = [answered["result"] for asked, answered in recorder.messages() if asked["method"] == "resources/read"]
        expect(len(reads) == 1, "the client reads the resource", recorder.methods())
        text = reads[0]["contents"][0]["text"]
        expect(text in model.turns[0].text, f"the message has the resource: {text}", model.turns[0].text)
        return f"{len(text.encode())} bytes"


def missing_token(binary):
    """Without its token, `claude mcp list` says what the server needs."""
    with recorded_demo(binary, TOKEN) as (_, recorder), Claude(NO_MODEL) as claude:
        claude.add_http(f"{recorder.url}/mcp")
        said = claude.run("mcp", "list")
        expect("Authorization: Bearer" in said, "the output names the header", said)
        return said.strip().splitlines()[-1]


def connects(binary):
    """Claude Code starts with protocol 2026-07-28 and stays there: it never sends `initialize`."""
    with recorded_demo(binary) as (_, recorder), Claude(NO_MODEL) as claude:
        claude.add_http(f"{recorder.url}/mcp")
        # The exit code is 0 even if it could not connect.
        said = claude.run("mcp", "list")
        expect(f"{SERVER}: {recorder.url}/mcp (HTTP) - ✔ Connected" in said, "the client connects", said)
        first = recorder.exchanges[0]
        expect(first.asked()["method"] == "server/discover", "the first request is server/discover", first)
        versions = first.answered()["result"]["supportedVersions"]
        expect(first.status == 200 and versions == ["2026-07-28"], "the server answers it", first)
        methods = recorder.methods()
        listed = "tools/list" in methods and "initialize" not in methods
        expect(listed, "the client lists the tools without initialize", methods)
        return f"protocol {', '.join(recorder.protocols())}: {', '.join(methods)}"


# Each check has a name and takes the binary. Its result is printed.
CHECKS = [
    ("mcp list, http", connects),
    ("mcp list, http, missing token", missing_token),
    ("every tool, http", every_tool()),
    ("every tool, http, without tool search", every_tool(ENABLE_TOOL_SEARCH="false")),
    ("every tool, stdio", stdio),
    ("question, without a terminal", declines_by_itself),
    ("question, accepted", question("Accept")),
    ("question, declined", question("Decline")),
    ("task in the background", background_task),
    ("task in the background, stopped", stopped_task),
    ("prompt", prompts),
    ("prompt with an argument", prompt_with_argument),
    ("resource", resource),
]
