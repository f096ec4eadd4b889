"""A ranker's first run, in a process of its own: whatever a model does to it, the caller goes on.

``python -m recsys.ranker_trial MODEL`` reads rows in NumPy's format from standard input and writes a
``TrialResult`` as JSON.
"""

import io
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ValidationError

from recsys.errors import BundleError

_SECONDS: Final = 120.0


class TrialResult(BaseModel):
    """What a model answered."""

    scores: list[float]
    """Raw margins of the rows."""
    gain: dict[str, float]
    """Total split gain by feature, in column order."""


def try_ranker(
    model: Path, rows: Float32[np.ndarray, "rows features"], *, seconds: float = _SECONDS
) -> TrialResult:
    """Load a model, score rows and explain them in a child process.

    Args:
        model: A model in LightGBM's text format.
        rows: Ranker input.
        seconds: How long the child may take.

    Raises:
        BundleError: The model cannot be loaded, crashes or hangs, or does not give a finite score per row.
    """
    given = io.BytesIO()
    np.save(given, rows, allow_pickle=False)
    command = [sys.executable, "-P", "-m", "recsys.ranker_trial", str(model)]
    try:
        ran = subprocess.run(
            command, input=given.getvalue(), capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{model.name} took more than {seconds:g} s to score {len(rows)} rows") from error
    if ran.returncode < 0:
        raise BundleError(
            f"{model.name} crashes LightGBM ({signal.Signals(-ran.returncode).name}); save it anew"
        )
    if ran.returncode:
        words = ran.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise BundleError(f"{model.name} cannot be used: {words}")
    try:
        result = TrialResult.model_validate_json(ran.stdout.split(b"\n")[-1])
    except ValidationError as error:
        raise BundleError(f"{model.name} gives no finite scores; save it anew") from error
    if len(result.scores) != len(rows) or not np.isfinite(result.scores).all():
        raise BundleError(f"{model.name} gives no finite scores; save it anew")
    return result


def main(model: Path) -> None:
    """The child's part."""
    from recsys.lightgbm_alone import lightgbm
    from recsys.ranker import Ranker

    rows = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    try:
        ranker = Ranker(lightgbm.Booster(model_file=str(model)))
        ranker.contributions(rows)
        result = TrialResult(scores=ranker.scores(rows).tolist(), gain=ranker.gain())
    except (ValueError, lightgbm.basic.LightGBMError) as error:  # parameters that make no JSON
        sys.exit(str(error).split("\n")[0])
    sys.stdout.write(f"\n{result.model_dump_json()}")  # LightGBM may have written lines before


if __name__ == "__main__":
    main(Path(sys.argv[1]))
