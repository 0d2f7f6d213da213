"""An HTTP proxy between a client and the server, which records requests and responses."""

import http.client
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Hop-by-hop headers: they are not forwarded.
HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass
class Exchange:
    """A request and its response. A stream is recorded as far as it got."""

    method: str
    path: str
    request: bytes
    status: int = None
    response: bytes = b""
    finished: bool = False

    def asked(self):
        """The posted message."""
        return json.loads(self.request) if self.request else {}

    def answered(self):
        """The message with the result: the whole response, or the last event of a stream. Empty before its end."""
        if not self.finished:
            return {}
        if self.response.startswith(b"{"):
            return json.loads(self.response)
        lines = [line for line in self.response.splitlines() if line.startswith(b"data:")]
        return json.loads(lines[-1].removeprefix(b"data:")) if lines else {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _relay(self):
        exchange = Exchange(self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.server.exchanges.append(exchange)
        upstream = http.client.HTTPConnection(self.server.upstream)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        self._pass_headers(self.headers.items(), upstream.putheader)
        upstream.endheaders(exchange.request)
        answer = upstream.getresponse()
        exchange.status = answer.status
        self.send_response_only(answer.status, answer.reason)
        self._pass_headers(answer.getheaders(), self.send_header)
        if answer.length is None:
            # A stream ends with its connection.
            self.send_header("Connection", "close")
        self.end_headers()
        while part := answer.read1(1 << 16):
            exchange.response += part
            self.wfile.write(part)
        exchange.finished = True
        upstream.close()

    do_GET = do_POST = do_DELETE = _relay

    @staticmethod
    def _pass_headers(headers, put):
        for name, value in headers:
            if name.lower() not in HOP:
                put(name, value)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Ignores errors: clients reset connections at their end, and other errors fail in the client."""


class Recorder:
    """`with Recorder(server.url) as recorder:` starts a proxy at `recorder.url`."""

    def __init__(self, upstream):
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.upstream = urlsplit(upstream).netloc
        self._server.exchanges = []
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def exchanges(self):
        """All exchanges so far, in the order of the requests."""
        return list(self._server.exchanges)

    def messages(self):
        """The posted messages, each with the message that answered it, in order."""
        posts = [exchange for exchange in self.exchanges if exchange.method == "POST"]
        return [(exchange.asked(), exchange.answered()) for exchange in posts]

    def methods(self):
        """The protocol methods of all POST requests, in order."""
        return [asked.get("method") for asked, _ in self.messages()]

    def protocols(self):
        """The protocol versions that the client named, in `params` or in `_meta`."""
        named = []
        for exchange in self.exchanges:
            parameters = exchange.asked().get("params") or {}
            meta = parameters.get("_meta") or {}
            version = parameters.get("protocolVersion") or meta.get("io.modelcontextprotocol/protocolVersion")
            if version and version not in named:
                named.append(version)
        return named
