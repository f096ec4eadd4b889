"""An S3 server on loopback: moto's, from an environment of its own, for its packages are older."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.processes import until
from tests.serving.running import free_port

PROGRAM = Path(sys.prefix) / "moto" / "bin" / "moto_server"
BUCKET = "shop"


@dataclass(frozen=True)
class S3Server:
    """A server with one empty bucket."""

    endpoint: str
    scheme = "s3"
    secret = "a-secret-that-no-output-may-show"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to speak to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
        }

    def is_there(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=5).close()  # loopback
        except OSError:
            return False
        return True

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Know no key while the block runs; otherwise it takes any."""
        try:
            self._let_in(b"0")
            yield
        finally:
            self._let_in(b"inf")

    def _let_in(self, num_calls: bytes) -> None:
        """How many calls are let in before keys are looked at."""
        where, kind = f"{self.endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        request = urllib.request.Request(where, num_calls, kind, method="POST")
        urllib.request.urlopen(request, timeout=5).close()


@contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """Run a server until the block ends."""
    assert PROGRAM.exists(), f"{PROGRAM} is not there; run: make test-distributed"
    port = free_port()
    server = S3Server(f"http://127.0.0.1:{port}")
    with (directory / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [str(PROGRAM), "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={name: of for name, of in os.environ.items() if not name.startswith("AWS_")},
        )
        try:
            until(lambda: process.poll() is not None or server.is_there(), what="an S3 server")
            assert process.poll() is None, (directory / "s3.log").read_text(encoding="utf-8")
            request = urllib.request.Request(f"{server.endpoint}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=5).close()
            yield server
        finally:
            process.terminate()
            process.wait()
