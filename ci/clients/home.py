"""A client in a home of its own: without a login, a proxy or settings of another session."""

import os
import subprocess
import tempfile

from clients.scenarios import expect

SECONDS = 120


class Home:
    """`with Home(command, variables) as home:` runs commands of a client in an empty folder."""

    def __init__(self, command, variables):
        self._folder = tempfile.TemporaryDirectory()
        self.path = self._folder.name
        self.work = f"{self.path}/work"
        os.makedirs(self.work)
        self.command = command
        self.environment = {"HOME": self.path, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def write(self, path, text):
        """Writes a file below the home."""
        path = f"{self.path}/{path}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def run(self, *arguments, code=0):
        """Runs the client, and returns all that it prints."""
        done = subprocess.run(
            [*self.command, *arguments], cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        )  # fmt: skip
        expect(done.returncode == code, f"{arguments} ends with {code}", f"{done.returncode}:\n{done.stdout}")
        return done.stdout
