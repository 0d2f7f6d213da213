"""mcp-remote without the server's token. The transports of every client run through it too."""

from clients.home import Home
from clients.scenarios import expect
from clients.transports import TOKEN, mcp_remote_command, recorded_demo


def missing_token(binary):
    """Without its token, it says what the server needs, and ends."""
    with recorded_demo(binary, TOKEN) as (_, recorder), Home(mcp_remote_command(), {}) as home:
        said = home.run(f"{recorder.url}/mcp", "--allow-http", code=1)
        expect("Authorization: Bearer" in said, "the output names the header", said)


# Each check has a name and takes the binary.
CHECKS = [("missing token", missing_token)]
