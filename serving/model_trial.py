"""A bundle's first run, in a process of its own, before a server that answers loads it.

A hash may be right and the file still what crashes a library: whoever writes the file can write the manifest.
So the bundle is loaded, asked from every placement and asked to read a text where nothing else can be harmed.
``python -m serving.model_trial DIRECTORY`` is the child; with code 0, or its last line says what is wrong.
"""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recsys.errors import BundleError, FeatureMismatchError, RecsysError
from recsys.manifest import RANKERS, read_manifest, verify_files
from recsys.model_text import read_model_text

if TYPE_CHECKING:
    from recsys.query_encoder import QueryEncoder

_SECONDS: Final = 300.0
_NICE: Final = 10
_REFUSED: Final = 3
_SOME_ITEMS: Final = 8


def try_bundle(directory: Path, *, seconds: float = _SECONDS) -> None:
    """Verify a bundle, then load and ask it in a child process.

    Args:
        directory: The bundle.
        seconds: How long the child may take.

    Raises:
        BundleError: It does not verify, crashes or hangs a process, or gives scores that are not finite.
    """
    manifest = read_manifest(directory)
    verify_files(directory, manifest)
    for name in manifest.canary_scores:
        whole = read_model_text((directory / RANKERS[name]).read_bytes())
        if whole.feature_names != manifest.feature_names:
            raise FeatureMismatchError(
                f"bundle {directory.name}: {RANKERS[name]} was trained on other features, or in another order"
            )
    command = [sys.executable, "-P", "-m", "serving.model_trial", str(directory)]
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"bundle {directory.name} took more than {seconds:g} s to be tried") from error
    words = ran.stderr.decode(errors="replace").strip().split("\n")[-1]
    if ran.returncode < 0:
        name = signal.Signals(-ran.returncode).name
        raise BundleError(f"bundle {directory.name} crashes the process that loads it ({name}); train again")
    if ran.returncode == _REFUSED:
        raise BundleError(words)
    if ran.returncode:
        raise BundleError(f"bundle {directory.name} cannot be used: {words}")


def ask_bundle(directory: Path) -> None:
    """Load a bundle and have every placement, every ranker and the encoder answer once.

    Raises:
        RecsysError: It cannot be used.
    """
    from features.registry import OnlineFeatures, fingerprint
    from recsys.answer import Query
    from recsys.bundle import load_bundle
    from recsys.item_state import ItemState
    from recsys.pipeline import Pipeline
    from recsys.schema import EVENT_TYPE_CODES
    from recsys.user_state import UserState

    rules = read_manifest(directory).config.state
    bundle = load_bundle(directory, fingerprint(rules))
    catalogue, at_ms = bundle.parts.catalogue, bundle.manifest.fitted_until_ms
    pipeline = Pipeline(bundle, ItemState(catalogue, rules), OnlineFeatures(rules))
    shopper, some = UserState(rules.half_lives_days), tuple(catalogue.item_ids[:_SOME_ITEMS])
    for item_id in some:
        purchase = EVENT_TYPE_CODES["purchase"]
        shopper.apply(item_id, purchase, at_ms - 1, is_purchase=True, max_rows=rules.max_rows_per_user)
    for name, placement in pipeline.config.placements.items():
        words = catalogue.texts[0] if some and placement.starts_from == "query" else ""
        for user in (shopper, None):
            query = Query(at_ms, user, name, context_item_ids=some[:1], query=words, explain=True)
            _require_finite(directory, [item.score for item in pipeline.recommend(query).items])
    if some:
        ranked = pipeline.rank(Query(at_ms, shopper, explain=True), some)
        _require_finite(directory, [item.score for item in ranked.items])
    if bundle.queries is not None:
        _require_finite(directory, _read_text(directory, bundle.queries))


def _read_text(directory: Path, encoder: "QueryEncoder") -> list[float]:
    try:
        vector = encoder.vector("one text")
    except RecsysError as error:
        raise BundleError(f"bundle {directory.name} can read no text: {error}") from error
    return [] if vector is None else list(map(float, vector))


def _require_finite(directory: Path, numbers: list[float]) -> None:
    if not all(map(math.isfinite, numbers)):
        raise BundleError(f"bundle {directory.name} gives numbers that are not finite; train again")


def main(directory: Path) -> None:
    """The child's part."""
    os.nice(_NICE)  # requests go first
    try:
        ask_bundle(directory)
    except RecsysError as error:
        sys.stderr.write(f"\n{' '.join(str(error).split())}\n")
        sys.exit(_REFUSED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
