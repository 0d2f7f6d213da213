"""A program in a terminal: a pseudo-terminal with a screen that pyte draws."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pyte

ROWS, COLUMNS = 50, 140
SECONDS = 60
# Questions of a program to its terminal, with the answers of xterm.
QUESTIONS = {b"\x1b[6n": b"\x1b[1;1R", b"\x1b[c": b"\x1b[?62;c"}


class Terminal:
    """`with Terminal(command, environment, folder) as terminal:` runs a program. Leaving the block ends it."""

    def __init__(self, command, environment, folder):
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._file, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # setsid makes it the controlling terminal, so that the program's children end with it.
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder
        )
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._file)

    def lines(self):
        """The visible lines."""
        return [line.rstrip() for line in self._screen.display]

    def text(self):
        return "\n".join(self.lines()).strip("\n")

    def send(self, keys):
        os.write(self._file, keys.encode())

    def wait_for(self, condition, what):
        """Waits until the visible text meets a condition, or contains a text, and returns it."""
        if isinstance(condition, str):
            wanted, condition = condition, lambda text: wanted in text
        end = time.monotonic() + SECONDS
        while not condition(self.text()):
            if time.monotonic() > end:
                raise AssertionError(f"expected: {what}; the screen shows:\n{self.text()}")
            self._read(0.1)
        return self.text()

    def wait_until(self, condition, what):
        """Draws the screen until a condition holds that does not concern it."""
        self.wait_for(lambda _: condition(), what)

    def press(self, keys, condition, what):
        """Sends keys until a condition holds, with a pause that doubles from one second.

        Programs ignore keys in the first moment of a question, so that none answers it by accident.
        """
        pause, end = 1, time.monotonic() + SECONDS
        while time.monotonic() < end:
            self.send(keys)
            until = time.monotonic() + pause
            while time.monotonic() < until:
                if condition(self.text()):
                    return
                self._read(0.1)
            pause *= 2
        raise AssertionError(f"expected: {what}; the screen shows:\n{self.text()}")

    def _read(self, seconds):
        if not select.select([self._file], [], [], seconds)[0]:
            return
        try:
            output = os.read(self._file, 1 << 16)
        except OSError:
            raise AssertionError(f"the program ended:\n{self.text()}") from None
        for question, answer in QUESTIONS.items():
            if question in output:
                os.write(self._file, answer)
        self._stream.feed(output)
