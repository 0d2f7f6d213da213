"""A stand-in for the APIs of model vendors: Messages of Anthropic, generateContent of Google, Responses of OpenAI.

A client that is told its address runs without an account. The stand-in follows a script: a generator that yields a
`Call` or a `Say` for each request of the conversation, and receives the `Turn` of the next one. A dict is a block of
the API itself, for the client's own tools:

    def script():
        turn = yield Call("list_nodes", {})
        yield Say(f"the model read {turn.results[0].text}")

    with ModelApi(script) as model:
        …                               # run a client with model.url
        model.turns                     # what the model was sent, in order

The first step is the answer to the first request. After the end of the script the model says "done".
"""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from clients.scenarios import expect

# Name of the server in the clients' settings. It is a part of the tools' names.
SERVER = "proxmox"
# A client connects in parallel to its first request, so that it may not know a tool at first.
SEARCHES = 50


@dataclass
class Call:
    """The model calls a tool of the server."""

    tool: str
    arguments: dict


@dataclass
class Say:
    """The model says a text and ends its turn."""

    text: str


@dataclass
class Result:
    """The result of a call, as the model reads it. `block` is the part of the request."""

    tool: str
    text: str
    block: dict


@dataclass
class Turn:
    """The newest part of a request: results of tools, and the texts of the user and the client."""

    body: dict
    results: list = field(default_factory=list)
    texts: list = field(default_factory=list)

    @property
    def text(self):
        return "\n".join(self.texts)


class Anthropic:
    """POST /v1/messages, as an event stream or as a message."""

    def __init__(self):
        self._searches = 0

    @staticmethod
    def is_conversation(path, body):
        """Returns false for the client's own questions, such as one for a title. These have no tools."""
        return path == "/v1/messages" and any("mcp__" in name or name == "ToolSearch" for name in _names(body))

    @staticmethod
    def turn(body):
        """Reads the messages after the last one of the model."""
        messages = body["messages"]
        last = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
        calls = {
            block["id"]: block["name"]
            for message in messages
            if message["role"] == "assistant"
            for block in _blocks(message["content"])
            if block["type"] == "tool_use"
        }
        turn = Turn(body)
        for message in messages[last + 1 :]:
            for block in _blocks(message["content"]):
                if block["type"] == "tool_result":
                    texts = [part["text"] for part in _blocks(block["content"]) if part["type"] == "text"]
                    tool = calls[block["tool_use_id"]].removeprefix(f"mcp__{SERVER}__")
                    turn.results.append(Result(tool, "\n".join(texts), block))
                elif block["type"] == "text":
                    turn.texts.append(block["text"])
        return turn

    def load(self, body, step, turn):
        """Returns a call of ToolSearch if the client has not sent the tool's schema yet."""
        name = f"mcp__{SERVER}__{step.tool}"
        if name in _names(body):
            return None
        self._searches += 1
        expect(self._searches < SEARCHES, f"the client offers {name}", (_names(body), turn.results))
        return {"type": "tool_use", "name": "ToolSearch", "input": {"query": f"select:{name}"}}

    @staticmethod
    def answer(body, step, number):
        """Returns the content type and the response."""
        block = step
        if isinstance(step, Call):
            block = {"type": "tool_use", "name": f"mcp__{SERVER}__{step.tool}", "input": step.arguments}
        elif isinstance(step, Say):
            block = {"type": "text", "text": step.text}
        stop = {"stop_reason": "end_turn", "stop_sequence": None}
        start = {**block, "text": ""}
        delta = {"type": "text_delta", "text": block.get("text")}
        if block["type"] == "tool_use":
            stop["stop_reason"] = "tool_use"
            block["id"] = f"toolu_{number:04}"
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        message = {
            "id": f"msg_{number:04}", "type": "message", "role": "assistant", "model": body["model"],
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }  # fmt: skip
        if not body.get("stream"):
            return "application/json", json.dumps({**message, "content": [block], **stop})
        events = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ]
        return "text/event-stream", _stream(events)


class Google:
    """POST /v1beta/models/MODEL:streamGenerateContent and :generateContent."""

    @staticmethod
    def is_conversation(path, body):
        return any(name.startswith("mcp_") for name in _names(body))

    @staticmethod
    def turn(body):
        turn = Turn(body)
        for part in body["contents"][-1]["parts"]:
            if "functionResponse" in part:
                answer = part["functionResponse"]
                tool = answer["name"].removeprefix(f"mcp_{SERVER}_")
                response = answer["response"]
                turn.results.append(Result(tool, response.get("output", response.get("error")), part))
            elif "text" in part:
                turn.texts.append(part["text"])
        return turn

    @staticmethod
    def load(body, step, turn):
        name = f"mcp_{SERVER}_{step.tool}"
        expect(name in _names(body), f"the client offers {name}", _names(body))

    @staticmethod
    def answer(body, step, number):
        if isinstance(step, Call):
            part = {"functionCall": {"name": f"mcp_{SERVER}_{step.tool}", "args": step.arguments}}
        else:
            part = {"text": step.text}
        counts = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        return "text/event-stream", f"data: {json.dumps({'candidates': [candidate], 'usageMetadata': counts})}\n\n"


class OpenAi:
    """POST /v1/responses, as an event stream."""

    @staticmethod
    def is_conversation(_path, body):
        return f"mcp__{SERVER}" in _names(body)

    @staticmethod
    def turn(body):
        """Reads the items after the last one of the model."""
        calls = {item["call_id"]: item["name"] for item in body["input"] if item["type"] == "function_call"}
        turn = Turn(body)
        for item in reversed(body["input"]):
            if item["type"] == "function_call_output":
                texts = [part["text"] for part in _blocks(item["output"])]
                turn.results.insert(0, Result(calls[item["call_id"]], "\n".join(texts), item))
            elif item["type"] == "message" and item["role"] == "user":
                turn.texts[:0] = [part["text"] for part in _blocks(item["content"])]
            else:
                break
        return turn

    @staticmethod
    def load(body, step, turn):
        offered = next(tool["tools"] for tool in body["tools"] if tool.get("name") == f"mcp__{SERVER}")
        names = {tool["name"] for tool in offered}
        expect(step.tool in names, f"the client offers {step.tool}", names)

    @staticmethod
    def answer(_body, step, number):
        if isinstance(step, Call):
            called = {"namespace": f"mcp__{SERVER}", "name": step.tool, "arguments": json.dumps(step.arguments)}
            item = {"type": "function_call", "call_id": f"call_{number}", **called}
        else:
            item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": step.text}]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        events = [
            {"type": "response.created", "response": {"id": f"resp_{number}"}},
            {"type": "response.output_item.done", "output_index": 0, "item": {**item, "id": f"item_{number}"}},
            {"type": "response.completed", "response": {"id": f"resp_{number}", "usage": usage}},
        ]
        return "text/event-stream", _stream(events)


def _stream(events):
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def _blocks(content):
    """Content of a message is a text or a list of blocks."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _names(body):
    """Returns the names of the tools that a request offers to the model."""
    tools = body.get("tools") or []
    return {tool["name"] for tool in tools if "name" in tool} | {
        declared["name"] for tool in tools for declared in tool.get("functionDeclarations") or []
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            kind, text = self.server.api.answer(self.path.partition("?")[0], body)
            status = 200
        except Exception as error:
            # The client reports it, and `ModelApi` at its end.
            self.server.api.errors.append(error)
            kind, text, status = "application/json", json.dumps({"error": {"message": repr(error)}}), 400
        self._send(status, kind, text.encode())

    def do_HEAD(self):
        self._send(200, "application/json", b"")

    def do_GET(self):
        self._send(404, "application/json", b"{}")

    def _send(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Ignores errors: clients close connections at their end."""


class ModelApi:
    """`with ModelApi(script) as model:` starts the stand-in at `model.url`."""

    def __init__(self, script):
        self._script = script()
        self._next = next(self._script)
        self._loading = None
        self._number = 0
        self._changed = threading.Condition()
        self._dialects = {"/v1/messages": Anthropic(), "/v1beta/": Google(), "/v1/responses": OpenAi()}
        self.turns = []
        self.errors = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind, *_):
        self._server.shutdown()
        self._server.server_close()
        if kind is None and self.errors:
            raise AssertionError(f"the stand-in for the model failed: {self.errors}")

    @property
    def results(self):
        """All results of tools so far."""
        return [result for turn in self.turns for result in turn.results]

    def wait_for_turn(self, condition, what, seconds):
        """Returns the first turn that meets the condition, and waits for it."""
        with self._changed:
            found = self._changed.wait_for(lambda: next(filter(condition, self.turns), None), seconds)
        expect(found, what, [(turn.texts, turn.results) for turn in self.turns])
        return found

    def answer(self, path, body):
        """Returns the content type and the response to one request."""
        if path.endswith(("/count_tokens", ":countTokens")):
            return "application/json", json.dumps({"input_tokens": 1, "totalTokens": 1})
        dialect = next((dialect for start, dialect in self._dialects.items() if path.startswith(start)), None)
        expect(dialect, "a path of a model API", path)
        with self._changed:
            self._number += 1
            if not dialect.is_conversation(path, body):
                return dialect.answer(body, Say("{}"), self._number)
            turn = dialect.turn(body)
            if self._loading:
                # The answer of ToolSearch is not a part of the script.
                step, self._loading = self._loading, None
            else:
                step = self._step(turn)
            loading = dialect.load(body, step, turn) if isinstance(step, Call) else None
            if loading:
                self._loading = step
            return dialect.answer(body, loading or step, self._number)

    def _step(self, turn):
        """Records the turn and returns the next step of the script."""
        first = not self.turns
        self.turns.append(turn)
        self._changed.notify_all()
        if not first:
            try:
                self._next = self._script.send(turn)
            except StopIteration:
                self._next = Say("done")
        return self._next
