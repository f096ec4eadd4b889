import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from recsys.registry import Registry
from tests.tiny_encoder import make_tiny_encoder
from tests.tiny_shop import ingest_shop, tiny_shop

_LONG_TRAINING = """
[encoder]
model = "{model}"
num_head_steps = 100000
dimension = 16
validate_every = 100000
max_tokens = 16
batch_size = 96
history_length = 20
"""


def _train(root: Path) -> subprocess.Popen[str]:
    # A test run that was started in the background hands on an ignored Ctrl-C.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}; from recsys.cli import main; main()", "train"]
    command.append(f"--workspace={root}")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_a_training_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    shop = tiny_shop()
    workspace = ingest_shop(tmp_path, shop.items, shop.history)
    encoder = make_tiny_encoder(tmp_path / "encoder", shop.items["title"].to_list())
    workspace.config.write_text(_LONG_TRAINING.format(model=encoder))
    with _train(workspace.root) as process:
        deadline = time.monotonic() + 60
        while not list((workspace.reports / "training").rglob("events.out*")) and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list((workspace.registry / "bundles").glob("*")) == []
    assert Registry(workspace.registry).pointers().stable is None
