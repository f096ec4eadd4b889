from pathlib import Path

import pytest
import torch

from training.checkpoint import Checkpoints, SafetensorsIO


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    given = {
        "step": 7,
        "loss": float("inf"),
        "nothing": None,
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(3.0), "sum": torch.arange(4)}}, "names": []}
        ],
        "random": torch.get_rng_state(),
    }
    io = SafetensorsIO("mine")
    io.save_checkpoint(given, tmp_path / "new" / "a.safetensors")
    found = io.load_checkpoint(tmp_path / "new" / "a.safetensors")
    assert found["step"] == 7
    assert found["loss"] == float("inf")
    assert found["nothing"] is None
    state = found["optimizer_states"][0]["state"]
    assert state.keys() == {0}
    assert torch.equal(state[0]["sum"], torch.arange(4))
    assert state[0]["step"].dtype == torch.float32
    assert torch.equal(found["random"], given["random"])  # type: ignore[arg-type]  # the dict's values are mixed


def test_only_a_checkpoint_with_the_own_fingerprint_is_found(tmp_path: Path) -> None:
    mine, other = Checkpoints(tmp_path, "mine"), Checkpoints(tmp_path, "other")
    assert mine.found() is None
    mine.io.save_checkpoint({"step": 1}, mine.path)
    assert mine.found() == mine.path
    assert other.found() is None
    mine.remove()
    assert mine.found() is None
    assert not tmp_path.exists()


@pytest.mark.parametrize("content", [b"", b"cut short", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_checkpoint_is_ignored(tmp_path: Path, content: bytes) -> None:
    checkpoints = Checkpoints(tmp_path, "mine")
    checkpoints.path.write_bytes(content)
    assert checkpoints.found() is None


def test_what_lies_beside_a_checkpoint_stays(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    Checkpoints(tmp_path, "mine").remove()
    assert (tmp_path / "notes").exists()


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "mine")
    state = checkpoints.state_dict()
    expected = torch.rand(3)
    torch.manual_seed(99)
    checkpoints.load_state_dict(state)
    checkpoints.on_train_batch_start()
    assert torch.equal(torch.rand(3), expected)
    checkpoints.on_train_batch_start()  # once is enough
    assert not torch.equal(torch.rand(3), expected)
