"""A blob server of Azure's on loopback: Azurite, Microsoft's own emulator, which npm installs."""

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.faults.processes import until
from tests.serving.running import free_port

PROGRAM = Path(sys.prefix) / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
CONTAINER = "shop"
_ACCOUNT, _VERSION = "account", "2021-12-02"


@dataclass(frozen=True)
class AzureServer:
    """A server with one empty container."""

    endpoint: str
    scheme = "az"
    secret = base64.b64encode(b"a secret that no output may show").decode()

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to speak to it."""
        return {
            "AZURE_STORAGE_ENDPOINT": f"{self.endpoint}/{_ACCOUNT}",
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": self.secret,
        }

    def is_there(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=5).close()  # loopback
        except urllib.error.HTTPError:  # it answers, if only that nobody said who asks
            return True
        except OSError:
            return False
        return True

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Give another account's key while the block runs."""
        known = AzureServer.secret
        AzureServer.secret = base64.b64encode(b"of another account").decode()
        try:
            yield
        finally:
            AzureServer.secret = known

    def create_container(self) -> None:
        """Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key."""
        stamps = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
        said = "".join(f"{name}:{value}\n" for name, value in stamps.items())
        what = f"/{_ACCOUNT}/{_ACCOUNT}/{CONTAINER}\nrestype:container"
        to_sign = "PUT" + "\n" * 12 + said + what
        signed = hmac.new(base64.b64decode(self.secret), to_sign.encode(), hashlib.sha256).digest()
        login = f"SharedKey {_ACCOUNT}:{base64.b64encode(signed).decode()}"
        request = urllib.request.Request(
            f"{self.endpoint}/{_ACCOUNT}/{CONTAINER}?restype=container",
            method="PUT",
            headers=stamps | {"Authorization": login, "Content-Length": "0"},
        )
        urllib.request.urlopen(request, timeout=5).close()


@contextmanager
def azure_server(directory: Path) -> Iterator[AzureServer]:
    """Run a server until the block ends."""
    node = shutil.which("node")
    if node is None or not PROGRAM.exists():
        pytest.skip("Azurite is not installed: make test-distributed does so where there are node and npm")
    port = free_port()
    server = AzureServer(f"http://127.0.0.1:{port}")
    with (directory / "azure.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(node, str(PROGRAM), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
                *("--inMemoryPersistence", "--disableTelemetry", "--silent"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=os.environ | {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{server.secret}"},
        )
        try:
            until(lambda: process.poll() is not None or server.is_there(), what="an Azure server")
            assert process.poll() is None, (directory / "azure.log").read_text(encoding="utf-8")
            server.create_container()
            yield server
        finally:
            process.terminate()
            process.wait()
