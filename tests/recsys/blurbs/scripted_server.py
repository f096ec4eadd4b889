"""A real HTTP server that speaks the OpenAI protocol and answers as a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, Any]]
"""HTTP status and body."""


def said(text: str, *used: str, finish: str = "stop") -> Answer:
    """An answer of the shape that is asked for."""
    return words(json.dumps({"blurb": text, "used_facts": list(used)}), finish)


def words(content: str, finish: str = "stop") -> Answer:
    """An answer with any words."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
    return 200, {"choices": [choice], "usage": {"completion_tokens": 7}}


@dataclass
class ScriptedServer:
    """Where it is, and what it was asked; the probe of a form is not counted among the requests."""

    answer: Callable[[dict[str, Any]], Answer]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    forms: tuple[str, ...] = ("json_schema", "json_object", "plain")
    """Forms of an answer that it knows."""

    def reply(self, body: dict[str, Any]) -> Answer:
        form = body.get("response_format", {}).get("type", "plain")
        is_probe = len(body["messages"]) == 1
        (self.probes if is_probe else self.requests).append(body)
        if form not in self.forms:
            return 400, {"error": f"unknown form {form}"}
        return said("a") if is_probe else self.answer(body)


@contextmanager
def scripted_server(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[ScriptedServer]:
    """Run the server on a free port of the loopback address."""
    script = ScriptedServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answered = script.reply(body)
            raw = json.dumps(answered).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
            except OSError:
                pass  # the client gave up

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
