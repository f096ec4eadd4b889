"""A slice of the fuzz run, see ``tests.serving.fuzz``; the whole of it is ``make fuzz``."""

import asyncio
from datetime import timedelta
from pathlib import Path

from tests.serving.fuzz import fuzz, undocumented
from tests.serving.running import PATIENCE_SECONDS, free_port, running_server
from tests.serving.test_server import SERVING, health_of


def test_nonsense_gets_documented_codes_only(tmp_path: Path) -> None:
    admin = free_port()
    with running_server(tmp_path, admin_port=admin, catalogue_stale_after=timedelta(minutes=10)) as where:
        fuzzing = fuzz(where, 500, 7, PATIENCE_SECONDS, lambda _steps: None, admin=f"127.0.0.1:{admin}")
        codes = asyncio.run(fuzzing)
        assert health_of(where, "") == SERVING
    assert not undocumented(codes), codes
    assert codes["OK"] > 50
    assert codes["INVALID_ARGUMENT"] > 50
