import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from recsys.mapped import mapped_arrays, new_arrays


def test_arrays_are_what_was_written_and_cannot_be_written_to(tmp_path: Path) -> None:
    written: dict[str, np.ndarray] = {
        "codes": np.arange(12, dtype=np.uint8).reshape(3, 4),
        "none": np.empty((0, 4), np.float32),
        "numbers": np.asarray([[1.5, np.nan]]),
        "yes": np.asarray([True, False]),
    }
    save_file(written, tmp_path / "arrays.safetensors")
    found = mapped_arrays(tmp_path / "arrays.safetensors")
    assert found.keys() == written.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    with pytest.raises(ValueError, match="read-only"):
        found["codes"][0] = 0


def test_arrays_outlive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    save_file({"numbers": np.arange(100_000)}, path)
    numbers = mapped_arrays(path)["numbers"][10:]
    path.unlink()
    assert numbers.sum() == np.arange(10, 100_000).sum()


def test_numbers_of_another_type_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"half": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "half").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(ValueError, match="holds F16"):
        mapped_arrays(tmp_path / "half")


def test_a_file_written_piece_by_piece_is_read_by_any_reader(tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    shapes: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
        "codes": (np.dtype(np.uint8), (5, 3)),
        "at": (np.dtype(np.int64), (4,)),
        "empty": (np.dtype(np.int32), (0,)),
    }
    arrays = new_arrays(path, **shapes)
    arrays["codes"][2:] = 7
    arrays["at"][:] = np.arange(4)
    expected = {name: array.copy() for name, array in arrays.items()}
    del arrays
    for found in (load_file(path), mapped_arrays(path)):
        assert found.keys() == shapes.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
