"""The shop with a known answer, ingested and trained once for all tests that need a model."""

import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings

from recsys.config import Config
from recsys.file_lock import exclusive
from recsys.workspace import Workspace
from tests.tiny_shop import TinyShop, ingest_shop, tiny_config, tiny_shop

settings.register_profile("suite", max_examples=40, deadline=None)
settings.load_profile("suite")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RECSYS_TRY_MODELS"] = "false"  # seconds for every model; tests/faults and test_model_trial do try
os.environ["OMP_NUM_THREADS"] = "1"  # the models are tiny: threads would only wait for each other


_LONGEST = (
    "training/test_tune.py",
    "serving/test_supervisor.py",  # trains nothing, while the other worker trains the shop
    "end_to_end/test_interrupts.py",
    "training/test_ablations.py",
    "training/test_recipe.py",
    "training/test_evaluation.py",
    "training/test_take_over.py",
    "training/test_hold_out.py",
    "end_to_end/test_awkward_shops.py",
    "end_to_end/test_known_answer.py",
    "training/test_encoder_fit.py",
    "training/test_report.py",
    "test_architecture.py",
    "serving/test_bootstrap.py",
    "recsys/blurbs/test_labelled.py",
    "features/test_leakage.py",
    "features/test_parity.py",
)
"""Files that come first: whichever comes last keeps one worker busy while the other has nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and leave the rest in the order they are in."""
    here = Path(__file__).parent
    order = {here / name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@dataclass(frozen=True)
class Trained:
    """A workspace with a bundle; nobody may write to it."""

    workspace: Workspace
    config: Config
    shop: TinyShop
    version: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The tiny shop's history, ingested and trained on to its end, once for all processes of a run.

    ``RECSYS_TEST_SHOP`` names the directory where several runs share it.
    """
    from tests.tiny_encoder import make_tiny_encoder
    from training.recipe import train

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    root = Path(os.environ.get("RECSYS_TEST_SHOP", shared)) / "tiny-shop"
    root.mkdir(parents=True, exist_ok=True)
    shop, done = tiny_shop(), root / "version.txt"
    with exclusive(root / "lock"):
        if not done.exists():
            make_tiny_encoder(root / "encoder", shop.items["title"].to_list())
            workspace = ingest_shop(root, shop.items, shop.history)
            done.write_text(train(workspace, config=tiny_config(root / "encoder")).version)
    return Trained(Workspace(root / "workspace"), tiny_config(root / "encoder"), shop, done.read_text())


@pytest.fixture(scope="session")
def later(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same shop and model, with the events of the test window in its log too; nobody may write to it."""
    events = pl.concat([trained.shop.history, trained.shop.future])
    workspace = ingest_shop(tmp_path_factory.mktemp("later"), trained.shop.items, events)
    workspace.registry.symlink_to(trained.workspace.registry)
    return workspace
