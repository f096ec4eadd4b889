"""A slice of the fuzz run, see ``tests.serving.fuzz``; the whole of it is ``make fuzz``."""

import asyncio
from pathlib import Path

from tests.serving.fuzz import DOCUMENTED, fuzz
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.test_server import SERVING, health_of


def test_nonsense_gets_documented_codes_only(tmp_path: Path) -> None:
    with running_server(tmp_path) as where:
        codes = asyncio.run(fuzz(where, 500, seed=7, seconds=PATIENCE_SECONDS, advance=lambda _steps: None))
        assert health_of(where, "") == SERVING
    assert set(codes) <= DOCUMENTED, codes
    assert codes["OK"] > 50
    assert codes["INVALID_ARGUMENT"] > 50
