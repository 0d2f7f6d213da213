"""Starts and stops a proxmox-mcp under test, on a free port."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

FIRST_LINE = re.compile(r"proxmox-mcp \S+ listening on (https?://\S+)")
# Long enough for a busy machine.
START_SECONDS = 20
STOP_SECONDS = 20

# SIGTERM unwinds, so that the started processes are ended too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class Server:
    """`with Server([binary, "--demo", "--listen", "127.0.0.1:0"]) as server:` starts a server at `server.url`.

    Leaving the block sends SIGTERM, like a service manager, and fails unless the server exits with 0.
    `pid_of` maps the started process to the pid to signal, for a server that a wrapper started. `first_line` and `end`
    are for programs other than the product.
    """

    def __init__(self, command, pid_of=lambda process: process.pid, first_line=FIRST_LINE, end=0, **popen):
        # Files, not pipes: the server never blocks on them, and they can be read after its end.
        self._out = tempfile.TemporaryFile()
        self._err = tempfile.TemporaryFile()
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, **popen)
        self._pid_of = pid_of
        self._first_line = first_line
        self._end = end
        try:
            self.url = self._wait_for_address()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _wait_for_address(self):
        pause = threading.Event()
        for _ in range(START_SECONDS * 50):
            line = self._read(self._out).partition("\n")
            if line[1]:
                found = self._first_line.fullmatch(line[0])
                if not found:
                    raise AssertionError(f"the server's first line is {line[0]!r}")
                return found[1]
            if self._process.poll() is not None:
                raise AssertionError(f"the server ended with {self._process.returncode}:\n{self.output()}")
            pause.wait(0.02)
        raise AssertionError(f"the server named no address within {START_SECONDS} s:\n{self.output()}")

    @staticmethod
    def _read(file):
        # pread leaves the file's offset alone, which the server shares.
        return os.pread(file.fileno(), 1 << 26, 0).decode(errors="replace")

    def output(self):
        """The output so far: stdout, then stderr."""
        return self._read(self._out) + self._read(self._err)

    def send(self, number):
        """Sends a signal to the server."""
        os.kill(self._pid_of(self._process), number)

    def _stop(self):
        if self._process.poll() is None:
            self.send(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        code = self._stop()
        if kind is not None:
            print(f"The end of the server's output:\n{self.output()[-4000:]}")
        if kind is None and code != self._end:
            raise AssertionError(f"after SIGTERM the server ended with {code} (None: it did not end):\n{self.output()}")
