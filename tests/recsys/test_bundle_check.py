"""Parts that fit each other pass; one wrong number in any of them is found."""

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recsys.bundle_check import check_parts
from recsys.errors import BundleError
from recsys.moment import Parts
from tests.recsys.small_catalogue import greengrocer, parts_without_encoder, shopping, small_config


@pytest.fixture(scope="module")
def parts() -> Parts:
    return parts_without_encoder(shopping(greengrocer()), small_config())


def with_table(parts: Parts, table: str, **arrays: Any) -> Parts:
    changed = copy(getattr(parts.tables, table))
    for name, array in arrays.items():  # as a file may hold it: not what the constructor would take
        object.__setattr__(changed, name, array)
    return replace(parts, tables=replace(parts.tables, **{table: changed}))


def test_parts_as_they_were_fitted_fit(parts: Parts) -> None:
    check_parts(parts)


@pytest.mark.parametrize("table", ["co_occurrence", "following", "ease"])
def test_neighbours_lead_to_items(parts: Parts, table: str) -> None:
    found = getattr(parts.tables, table)
    beyond, behind = found.targets.copy(), found.targets.copy()
    beyond[0], behind[-1] = len(parts.catalogue), -1
    infinite = found.weights.copy()
    infinite[0] = np.inf
    for arrays in (
        {"targets": beyond},
        {"targets": behind},
        {"targets": found.targets.astype(np.float32)},
        {"weights": infinite},
        {"weights": found.weights[:-1]},
        {"starts": found.starts[::-1].copy()},
        {"starts": found.starts[:-1]},
    ):
        with pytest.raises(BundleError, match=table):
            check_parts(with_table(parts, table, **arrays))


def test_factors_and_histories_are_as_many_as_the_items(parts: Parts) -> None:
    history, als = parts.tables.history, parts.tables.als
    for table, arrays in (
        ("history", {"price": history.price[1:]}),
        ("history", {"adoption": history.adoption * np.float32(np.nan)}),
        ("history", {"gap_days": history.gap_days + np.float32(np.inf)}),
        ("als", {"vectors": als.vectors * np.float32(np.nan)}),
        ("als", {"inner": als.inner[1:]}),
    ):
        with pytest.raises(BundleError):
            check_parts(with_table(parts, table, **arrays))


def test_weights_of_the_tower_and_the_calibration_are_finite(parts: Parts) -> None:
    with pytest.raises(BundleError, match="calibration"):
        check_parts(replace(parts, calibration=replace(parts.calibration, slope=float("nan"))))
    before = parts.user_tower.mix.bias[0].item()
    try:
        with torch.no_grad():
            parts.user_tower.mix.bias[0] = torch.nan
        with pytest.raises(BundleError, match="user tower"):
            check_parts(parts)
    finally:
        with torch.no_grad():
            parts.user_tower.mix.bias[0] = before
