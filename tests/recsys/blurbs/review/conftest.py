"""One shop for all tests of the review, written once and copied for each."""

import shutil
from pathlib import Path

import pytest
import structlog

from tests.recsys.blurbs.review.reviewed_shop import write_shop


@pytest.fixture(scope="package")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    return write_shop(tmp_path_factory.mktemp("shop"), "review_sample = 1.0\nreview_doubles = 1.0")


@pytest.fixture
def shop(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "shop"))
