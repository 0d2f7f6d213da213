"""A connection of a real client to the server, through an adapter process that reads and writes JSON lines.

An adapter is a small program around one client library. It is started as

    ADAPTER TRANSPORT TARGET…

The target is a URL, or the words of a command that uses stdio. The adapter connects, and prints
`{"server": NAME, "protocol": VERSION}`. Then it answers each input line with a line:

    {"list": true}                        {"tools": [NAME, …]}
    {"call": NAME, "arguments": {…}}      {"text": TEXT, "structured": {…} or null, "is_error": BOOLEAN}

At the end of its input it closes the connection and exits with 0. So the scenarios are written once, in scenarios.py,
for clients in every language.
"""

import json
import os
import queue
import re
import subprocess
import tempfile
import threading
from dataclasses import dataclass

ANSWER_SECONDS = 60


@dataclass
class Answer:
    """The result of a tool call."""

    text: str
    structured: dict
    is_error: bool

    def rows(self):
        """The rows of the tables in the text, each as a dict by column. A blank line ends a table."""
        rows = []
        for part in self.text.split("\n\n"):
            lines = [line.split("\t") for line in part.splitlines() if "\t" in line]
            rows += [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
        return rows

    def data(self):
        """The `data` of an unchanged answer of Proxmox. Notes of the server may be before and after it."""
        start = re.search(r"^[{\[]", self.text, re.MULTILINE).start()
        value, _ = json.JSONDecoder().raw_decode(self.text[start:])
        return value["data"] if isinstance(value, dict) and "data" in value else value

    def upid(self):
        """The task that a change started."""
        return re.search(r"UPID:[^\s\"]+", self.text)[0]


class Session:
    """`with Session(command, "sse", [url]) as session:` runs one adapter."""

    def __init__(self, command, transport, target):
        # All output of the adapter. scenarios.py searches it for secrets.
        self.transcript = ""
        self._lines = queue.Queue()
        self._err = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [*command, transport, *target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._err, text=True
        )
        # A queue has a read with a time limit, a pipe has not.
        threading.Thread(target=self._drain, daemon=True).start()
        try:
            self.peer = self._next()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _drain(self):
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _next(self):
        try:
            line = self._lines.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise AssertionError(f"the client gave no answer within {ANSWER_SECONDS} s:\n{self.errors()}") from None
        if line is None:
            raise AssertionError(f"the client ended with {self._process.wait()}:\n{self.errors()}")
        self.transcript += line
        return json.loads(line)

    def errors(self):
        """The output to stderr. Over stdio it has the server's log too."""
        # pread leaves the file's offset alone, which the adapter shares.
        return os.pread(self._err.fileno(), 1 << 26, 0).decode(errors="replace")

    def _ask(self, **request):
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._next()

    def tools(self):
        """The names in tools/list."""
        return self._ask(list=True)["tools"]

    def call(self, name, **arguments):
        """Calls a tool. Fails if the result is an error."""
        answer = self.try_call(name, **arguments)
        if answer.is_error:
            raise AssertionError(f"{name} {arguments} failed: {answer.text}")
        return answer

    def try_call(self, name, **arguments):
        """Calls a tool, and returns errors too. Fails if there is more than text: clients would drop the text."""
        answer = Answer(**self._ask(call=name, arguments=arguments))
        if answer.structured is not None:
            raise AssertionError(f"{name} {arguments} has structuredContent: {answer.structured}")
        return answer

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._process.stdin.close()
        try:
            code = self._process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if kind is None and code != 0:
            raise AssertionError(f"the client ended with {code} at the end of its input:\n{self.errors()}")
