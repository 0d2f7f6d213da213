"""Claude Code, with a stand-in for its model API."""

import json

from clients import tools
from clients.home import Home
from clients.model_api import SERVER
from clients.terminal import Terminal

VERSION = "2.1.332"
KEY = "no-key"
# Without these it tries to send reports and to update itself.
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
# Otherwise the user is asked before each call.
ALLOWED = ["--allowedTools", f"mcp__{SERVER}"]


def command():
    return [f"{tools.npm(f'@anthropic-ai/claude-code@{VERSION}')}/.bin/claude"]


class Claude(Home):
    """`with Claude(model_url) as claude:` prepares a home, in which the first questions have been answered."""

    def __init__(self, model_url, **variables):
        model = {"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": KEY}
        super().__init__(command(), {"TERM": "xterm-256color", **model, **QUIET, **variables})
        settings = {
            "hasCompletedOnboarding": True,
            "customApiKeyResponses": {"approved": [KEY], "rejected": []},
            "projects": {self.work: {"hasTrustDialogAccepted": True}},
        }
        self.write(".claude.json", json.dumps(settings))

    def add_http(self, url, token=None):
        """Adds the server as docs/clients.md says."""
        header = ["--header", f"Authorization: Bearer {token}"] if token else []
        self.run("mcp", "add", "--transport", "http", SERVER, url, *header)

    def add_stdio(self, command):
        self.run("mcp", "add", SERVER, "--", *command)

    def ask(self, prompt):
        """Runs a conversation without a terminal."""
        return self.run("-p", prompt, *ALLOWED)

    def open(self, *prompt):
        """Returns a terminal with a conversation."""
        return Terminal([*self.command, *ALLOWED, "--", *prompt], self.environment, self.work)
