from collections.abc import Mapping
from typing import Any

import pytest

from features.registry import names
from recsys.catalogue import Catalogue
from recsys.ingest import read_items
from recsys.manifest import read_manifest
from recsys.registry import Registry
from recsys.workspace import Workspace
from tests.conftest import Trained
from training.ablations import VARIANTS, taken_by, variant_config
from training.evaluation import evaluate
from training.take_over import kept_encoder

pytestmark = pytest.mark.timeout(300)  # four trainings, in whichever test comes first


@pytest.fixture(scope="module")
def blocks(later: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    page = tmp_path_factory.mktemp("report") / "r.html"
    report = evaluate(later, html_path=page, ablations=True).report
    assert report["timings_seconds"]["ablations"] > 0
    assert "What the text source alone finds" in page.read_text(encoding="utf-8")
    return report["ablations"]  # type: ignore[no-any-return]  # JSON


def test_a_variant_lacks_the_features_and_sources_of_what_it_is_without(trained: Trained) -> None:
    no_text, no_behaviour = (variant_config(trained.config, name) for name in ("no_text", "no_behaviour"))
    assert not {"interest", "words_mean"} & set(names(no_text.state))
    assert {"user_item_7d", "ease", "price"} <= set(names(no_text.state))
    assert not {"text", "words"} & set(no_text.placements["home"].sources)
    assert no_behaviour.placements["home"].sources == ("text", "words")
    assert {"interest", "words_mean", "price_level"} <= set(names(no_behaviour.state))
    assert not {"user_item_7d", "ease", "item_7d", "taste"} & set(names(no_behaviour.state))
    frozen, heads = (variant_config(trained.config, name) for name in ("frozen_text", "heads_only"))
    assert frozen.encoder.strategy == heads.encoder.strategy == "frozen"
    assert frozen.encoder.num_head_steps == 0 < heads.encoder.num_head_steps
    assert frozen.state == trained.config.state


def test_a_constraint_on_a_feature_that_is_left_out_goes_with_it(trained: Trained) -> None:
    ranker = trained.config.ranker.model_copy(update={"monotone": {"interest": 1, "ease": 1}})
    config = trained.config.model_copy(update={"ranker": ranker})
    assert variant_config(config, "no_text").ranker.monotone == {"ease": 1}
    assert variant_config(config, "no_behaviour").ranker.monotone == {"interest": 1}


def test_without_text_the_pretrained_vectors_are_blank_for_all_that_read_them(trained: Trained) -> None:
    registry = Registry(trained.workspace.registry)
    manifest = read_manifest(registry.stable())
    catalogue = Catalogue(read_items(trained.workspace))
    kept = kept_encoder(registry, manifest, catalogue, trained.config.encoder)
    assert kept.frozen_base.any()
    blank, whole = (taken_by(name, kept).encoder for name in ("no_text", "no_behaviour"))
    assert blank is not None
    assert not blank.frozen_base.any()
    assert whole is kept
    assert taken_by("frozen_text", kept).encoder is None


def test_every_variant_is_compared_with_the_tuned_model(blocks: Mapping[str, Mapping[str, Any]]) -> None:
    assert blocks.keys() == {"tuned_text", *VARIANTS}
    tuned = blocks["tuned_text"]["ndcg@10"]["value"]
    for name in VARIANTS:
        assert blocks[name]["slices"].keys() == blocks["tuned_text"]["slices"].keys()
        difference = blocks[name]["slices"]["all"]["difference"]["value"]
        assert difference == pytest.approx(tuned - blocks[name]["ndcg@10"]["value"])
    assert blocks["tuned_text"]["slices"]["all"]["difference"]["value"] == 0.0
    assert {"recall@500", "difference"} <= blocks["tuned_text"].keys()


def test_behaviour_alone_solves_the_shop_too(blocks: Mapping[str, Mapping[str, Any]]) -> None:
    assert blocks["no_text"]["ndcg@10"]["value"] > 0.95
    assert blocks["no_behaviour"]["ndcg@10"]["value"] > 0.5  # the words tell the group, and no more


def test_the_variants_leave_nothing_behind(
    blocks: Mapping[str, Mapping[str, Any]], trained: Trained, later: Workspace
) -> None:
    assert blocks
    assert not list(later.reports.glob(".ablation.*"))
    assert not (later.reports / "training").exists()
    assert [path.name for path in (trained.workspace.registry / "bundles").iterdir()] == [trained.version]
