"""Codex CLI, with a stand-in for its model API."""

from clients import tools
from clients.home import Home

VERSION = "0.171.0"
SETTINGS = """
model = "gpt-5"
model_provider = "stand-in"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.stand-in]
name = "stand-in"
base_url = "{model_url}/v1"
wire_api = "responses"

{server}
"""


def command():
    # Its start script needs a current Node.
    return [*tools.node(), f"{tools.npm(f'@openai/codex@{VERSION}')}/.bin/codex"]


class Codex(Home):
    """`with Codex(model_url, server) as codex:` prepares a home. `server` is TOML."""

    def __init__(self, model_url, server, **variables):
        super().__init__(command(), variables)
        self.write(".codex/config.toml", SETTINGS.format(model_url=model_url, server=server))

    def ask(self, prompt):
        """Runs a conversation without a terminal. Tools run without a question."""
        return self.run("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", prompt)
