"""Gemini CLI, with a stand-in for its model API."""

import json

from clients import tools
from clients.home import Home
from clients.model_api import SERVER

VERSION = "0.61.0"
# Named, since otherwise another model is asked which one to take.
MODEL = "gemini-2.5-flash"
SETTINGS = {
    # In an untrusted folder it shows the server as disabled.
    "security": {"folderTrust": {"enabled": False}, "auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False},
}


def command():
    return [*tools.node(), f"{tools.npm(f'@google/gemini-cli@{VERSION}')}/.bin/gemini"]


class Gemini(Home):
    """`with Gemini(model_url, server) as gemini:` prepares a home, with the settings of one server."""

    def __init__(self, model_url, server):
        super().__init__(command(), {"GOOGLE_GEMINI_BASE_URL": model_url, "GEMINI_API_KEY": "no-key"})
        self.write(".gemini/settings.json", json.dumps({"mcpServers": {SERVER: server}, **SETTINGS}))

    def ask(self, prompt):
        """Runs a conversation without a terminal. Tools run without a question."""
        return self.run("--approval-mode", "yolo", "--model", MODEL, "--prompt", prompt)
