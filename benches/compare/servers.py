"""The servers of a comparison, as processes."""

import json
import os
import subprocess

from nodes import free_port, wait_for_port
from tools import HERE

OURS, SDK, ORIGINAL = "ours", "sdk", "original"


def command(tools, who, port, clusters, *flags):
    if who == OURS:
        return [tools.binary, "--config", clusters, "--listen", f"127.0.0.1:{port}", "--log", "error", *flags]
    if who == SDK:
        return [tools.peer, str(port), clusters]
    return [tools.python, f"{HERE}/original.py", str(port), clusters]


def environment():
    """An environment without variables that a server reads."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in keep if name in os.environ}


class Server:
    """`with Server(tools, OURS, clusters) as server:` starts a server at `server.address`."""

    def __init__(self, tools, who, clusters, *flags):
        self._load = tools.load
        port = free_port()
        self.who, self.address = who, f"127.0.0.1:{port}"
        self._process = subprocess.Popen(
            command(tools, who, port, clusters, *flags), env=environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.pid = self._process.pid
        try:
            wait_for_port(port, self._process)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def resident_mb(self):
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) / 1000 * 1.024 for line in file if line.startswith("VmRSS:"))

    def calls(self, mode, sessions, seconds, tool, expected, arguments=None):
        """The figures of `load calls`."""
        plan = ("calls", mode, self.address, sessions, seconds, self.pid, tool, json.dumps(arguments or {}), expected)
        return load(self._load, *plan)

    def call_in_background(self, mode, sessions, tool, arguments):
        """Starts sessions that call until the returned process is ended."""
        plan = ("calls", mode, self.address, sessions, 600, self.pid, tool, json.dumps(arguments), "result")
        return subprocess.Popen(
            [self._load, *map(str, plan)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def hold(self, sessions):
        """Starts a process that keeps this many SSE sessions open, until its stdin is closed."""
        command = [self._load, "hold", self.address, str(sessions)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if json.loads(holder.stdout.readline() or "{}") != {"open": sessions}:
            holder.kill()
            holder.wait()
            raise RuntimeError(f"{self.who} does not hold {sessions} sessions")
        return holder


def load(program, *arguments):
    """Runs the load generator and returns its figures."""
    arguments = [program, *map(str, arguments)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)
