import json
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.registry import fingerprint, names
from recsys.cli import run
from recsys.errors import ConfigError, DataError, LeakageError
from recsys.lightgbm_alone import lightgbm
from recsys.model_import import FeatureDescription, import_ranker
from recsys.registry import Registry
from recsys.schema import AS_OF, DAY_MS, EVENT_TYPE, ITEM_ID, QUERY_ID, SOURCES, USER_ID
from recsys.workspace import Workspace
from serving.loading import load_pipeline
from tests.conftest import Trained
from tests.tiny_shop import CUT, CUT_MS, TEST_DAYS
from training.feature_table import ExportedFeatures, export_features
from training.labels import LABEL, gains

TO_MS = CUT_MS + TEST_DAYS * DAY_MS
KEYS = [QUERY_ID, USER_ID, ITEM_ID, AS_OF, LABEL, SOURCES]
VERBS = [EntryPoint("features", "training.features_export:features", "recsys.commands")]


@pytest.fixture(scope="module")
def exported(later: Workspace, tmp_path_factory: pytest.TempPathFactory) -> ExportedFeatures:
    """The test window of the tiny shop."""
    return export_features(later, CUT_MS, TO_MS, tmp_path_factory.mktemp("table") / "table.parquet")


@pytest.fixture(scope="module")
def table(exported: ExportedFeatures) -> pl.DataFrame:
    return pl.read_parquet(exported.output)


def test_every_feature_is_a_column_beside_the_keys(table: pl.DataFrame, trained: Trained) -> None:
    assert table.columns == [*KEYS, *names(trained.config.state)]
    assert set(table.dtypes[len(KEYS) :]) == {pl.Float32()}
    assert table[AS_OF].unique().to_list() == [CUT]


def test_the_summary_counts_the_rows(table: pl.DataFrame, exported: ExportedFeatures) -> None:
    assert (exported.rows, exported.queries) == (table.height, table[QUERY_ID].n_unique())
    assert exported.positives == (table[LABEL] > 0).sum() > 0
    assert table[QUERY_ID].is_sorted()
    assert table.select(QUERY_ID, USER_ID).n_unique() == exported.queries
    assert table.select(QUERY_ID, ITEM_ID).n_unique() == table.height


def test_a_label_is_what_the_user_did_in_the_window(
    table: pl.DataFrame, trained: Trained, exported: ExportedFeatures
) -> None:
    grades = gains(trained.config)
    bought = trained.shop.future.filter(pl.col(EVENT_TYPE) == "purchase").select(USER_ID, ITEM_ID).unique()
    found = table.filter(pl.col(LABEL) == grades.index(1.0)).select(USER_ID, ITEM_ID)
    assert found.join(bought, on=[USER_ID, ITEM_ID], how="anti").is_empty()
    assert found.height + exported.lost == bought.height
    assert set(table[LABEL].unique()) <= {0, grades.index(0.1), grades.index(1.0)}


def test_sources_say_who_offered_the_row(table: pl.DataFrame, trained: Trained) -> None:
    user_id, regular = next(iter(trained.shop.regular.items()))
    mine = table.filter(pl.col(USER_ID) == user_id)
    own = mine.filter(pl.col(SOURCES).list.contains("own"))[ITEM_ID].to_list()
    assert set(regular) <= set(own)
    assert trained.shop.withheld[user_id] not in own
    assert (table[SOURCES].list.len() > 0).all()


def test_the_served_ranker_orders_the_positives_first(table: pl.DataFrame, later: Workspace) -> None:
    """The columns are the ranker's input: fed to it, they separate what was bought from what was not."""
    pipeline = load_pipeline(later, at_ms=CUT_MS)
    matrix = table.select(pipeline.bundle.manifest.feature_names).to_numpy().astype(np.float32)
    scored = table.with_columns(score=pl.Series(pipeline.bundle.ranker("all").scores(matrix)))
    best = scored.sort("score", descending=True).group_by(QUERY_ID).first()
    assert best.filter(pl.col(LABEL) > 0).height > 0.9 * best.height


def test_only_what_is_new_to_the_user_can_be_asked_for(
    later: Workspace, tmp_path: Path, trained: Trained
) -> None:
    made = export_features(later, CUT_MS, TO_MS, tmp_path / "new.parquet", orders="new")
    table = pl.read_parquet(made.output)
    assert not table[SOURCES].list.contains("own").any()
    positive = table.filter(pl.col(LABEL) > 0).select(USER_ID, ITEM_ID)
    assert set(positive.iter_rows()) <= set(trained.shop.withheld.items())
    assert positive.height == made.positives > 0


def test_a_model_trained_on_the_table_can_be_imported(
    table: pl.DataFrame, exported: ExportedFeatures, trained: Trained, tmp_path: Path
) -> None:
    described = FeatureDescription.model_validate_json(exported.description.read_bytes())
    assert described.feature_names == names(trained.config.state)
    assert described.fingerprint == fingerprint(trained.config.state)
    sizes = table.group_by(QUERY_ID, maintain_order=True).len()["len"].to_list()
    gain = json.loads(exported.description.read_text())["label_gain"]
    data = lightgbm.Dataset(
        table.select(described.feature_names).to_numpy(), table[LABEL].to_numpy(), group=sizes
    )
    parameters = {"objective": "lambdarank", "label_gain": gain, "verbosity": -1}
    lightgbm.train(parameters, data, 5).save_model(tmp_path / "model.txt")
    workspace = Workspace(tmp_path / "workspace")
    registry = Registry(workspace.registry)
    registry.path(trained.version).parent.mkdir(parents=True)
    registry.path(trained.version).symlink_to(Registry(trained.workspace.registry).path(trained.version))
    registry.promote(trained.version)
    made = import_ranker(workspace, tmp_path / "model.txt", exported.description)
    pipeline = load_pipeline(workspace, version=made.version)
    assert pipeline.bundle.manifest.fitted_until_ms == TO_MS


def test_a_window_that_the_bundle_has_seen_is_refused_with_what_to_do(
    later: Workspace, tmp_path: Path
) -> None:
    from_ms = CUT_MS - 7 * DAY_MS
    with pytest.raises(LeakageError, match="run: recsys train --until 2024-05-27T00:00:00Z"):
        export_features(later, from_ms, TO_MS, tmp_path / "table.parquet")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_window_and_a_wrong_placement_are_refused(later: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with pytest.raises(ConfigError, match="--from must lie before --to"):
        export_features(later, TO_MS, CUT_MS, path)
    for placement in ("basement", "similar_items"):
        with pytest.raises(ConfigError, match=f"'{placement}' that starts from a user; there are: home"):
            export_features(later, CUT_MS, TO_MS, path, placement=placement)
    with pytest.raises(DataError, match="choose another window"):
        export_features(later, TO_MS + DAY_MS, TO_MS + 2 * DAY_MS, path)


def test_the_command_writes_both_files(
    later: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    window = ["--from", "2024-06-03", "--to", "2024-06-17", "--output", str(tmp_path / "table.parquet")]
    command = ["features", "export", *window, "--workspace", str(later.root)]
    assert run([*command, "--json"], VERBS) == 0
    made = json.loads(capsys.readouterr().out)
    assert made.keys() == {"output", "description", "queries", "rows", "positives", "lost"}
    assert pl.read_parquet(made["output"]).height == made["rows"]
    assert Path(made["description"]).name == "table.features.json"
    assert run(command, VERBS) == 0
    assert "next: recsys models import" in capsys.readouterr().out
