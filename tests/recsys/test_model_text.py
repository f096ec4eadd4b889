import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import BundleError
from recsys.lightgbm_alone import lightgbm
from recsys.model_text import read_model_text

NAMES = ("count", "price", "recency")


def trained(
    parameters: dict[str, object],
    names: tuple[str, ...] = (),
    num_trees: int = 2,
    *,
    categories: tuple[int, ...] = (),
) -> bytes:
    """A model over two columns, or as many as are named."""
    matrix = np.random.default_rng(0).integers(0, 30, size=(400, len(names) or 2)).astype(float)
    dataset = lightgbm.Dataset(
        matrix,
        matrix[:, 0] % 3 + matrix.sum(axis=1),
        feature_name=list(names) or "auto",
        categorical_feature=list(categories) or "auto",
    )
    booster = lightgbm.train({"num_leaves": 4, "verbosity": -1} | parameters, dataset, num_trees)
    return bytes(booster.model_to_string(), "ascii")


MODEL = trained({"num_leaves": 7}, NAMES, 5).decode()


def changed(before: str, after: str) -> bytes:
    """The model with the first occurrence of some words replaced, and the sizes of its trees corrected."""
    assert before in MODEL
    text = MODEL.replace(before, after, 1)
    trees = text[text.index("Tree=0") : text.index("end of trees")]
    starts = [i for i in range(len(trees)) if trees.startswith("Tree=", i)]
    ends = [*starts[1:], len(trees)]
    sizes = " ".join(str(end - start) for start, end in zip(starts, ends, strict=True))
    first = text.index("tree_sizes=")
    return (text[:first] + f"tree_sizes={sizes}" + text[text.index("\n", first) :]).encode()


def line_of(field: str) -> str:
    """The first line of a field, in the first tree or the header."""
    return next(line for line in MODEL.split("\n") if line.startswith(f"{field}="))


def with_first(field: str, value: str) -> bytes:
    """The model with another first number in the first tree's array of that name."""
    words = line_of(field).split(" ")
    return changed(line_of(field), " ".join([f"{field}={value}", *words[1:]]))


def test_a_model_that_lightgbm_wrote_is_whole() -> None:
    model = read_model_text(MODEL.encode())
    assert model.text == MODEL
    assert (model.feature_names, model.num_trees, model.is_unnamed) == (NAMES, 5, False)


def test_a_tree_without_a_split_and_a_constrained_model_are_whole() -> None:
    assert read_model_text(trained({"min_data_in_leaf": 1_000})).num_trees == 1
    assert read_model_text(trained({"monotone_constraints": [1, -1]})).num_trees == 2


def test_a_model_of_a_bare_matrix_can_be_given_names() -> None:
    model = read_model_text(trained({}))
    assert (model.feature_names, model.is_unnamed) == (("Column_0", "Column_1"), True)
    named = model.named(("size", "age"))
    assert read_model_text(named.text.encode()).feature_names == ("size", "age")
    assert lightgbm.Booster(model_str=named.text).feature_name() == ["size", "age"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_refused(share: float) -> None:
    end = MODEL.index("end of parameters")
    with pytest.raises(BundleError):
        read_model_text(MODEL[: int(share * end)].encode())


@pytest.mark.parametrize(
    "raw", [b"no trees here\n", b"\x89PNG\r\n", "tree\nversion=v4\n\u00e4".encode(), b"{}"]
)
def test_other_files_are_no_models(raw: bytes) -> None:
    with pytest.raises(BundleError, match="not a LightGBM model"):
        read_model_text(raw)


def test_the_text_that_is_rebuilt_without_a_change_is_accepted() -> None:
    assert read_model_text(changed("Tree=0", "Tree=0")).num_trees == 5


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("left_child", "1000000", "not a tree"),  # ends the process when LightGBM follows it
        ("left_child", "0", "not a tree"),  # never ends
        ("split_feature", "99999", "feature that does not exist"),
        ("split_feature", "-1", "feature that does not exist"),
        ("leaf_value", "nan", "no number"),
        ("leaf_value", "1e999", "infinite"),
        ("threshold", "1,5", "no number"),
        ("threshold", "nan", "no number"),
        ("internal_value", "inf", "no number"),
        ("decision_type", "1", "unknown kind of split"),
        ("leaf_value", "0.1 0.2", "where 7 belong"),
        ("num_leaves", "9999", "impossible number of leaves"),
        ("num_leaves", "6", "where 6 belong"),
        ("num_cat", "1", "categorical"),
        ("max_feature_idx", "7", "number of features"),
        ("num_class", "3", "one score per row"),
        ("feature_names", "count count", "distinct"),
        ("feature_names", 'cou"nt', "distinct"),
        ("feature_names", "cou\tnt", "distinct"),
        ("feature_infos", "1:2:3", "ranges"),
        ("feature_infos", "[0:1e999]", "ranges"),
        ("objective", "", "objective"),  # ends the process that loads it
    ],
)
def test_what_would_mislead_lightgbm_is_refused(field: str, value: str, problem: str) -> None:
    with pytest.raises(BundleError, match=problem):
        read_model_text(with_first(field, value))


def test_a_split_on_missing_values_alone_is_accepted() -> None:
    """LightGBM writes it with the threshold ``inf``."""
    values = np.where(np.arange(400) % 4 == 0, np.nan, np.arange(400) % 3)
    dataset = lightgbm.Dataset(values[:, None], np.isnan(values).astype(float))
    booster = lightgbm.train({"num_leaves": 2, "verbosity": -1}, dataset, 1)
    text = booster.model_to_string()
    assert "\nthreshold=inf\n" in text
    assert read_model_text(text.encode()).num_trees == 1


def test_two_nodes_that_lead_to_each_other_are_no_tree() -> None:
    """Every number occurs once, but the root does not lead to all of them."""
    tree = read_model_text(trained({})).text
    left, right = (
        next(line for line in tree.split("\n") if line.startswith(f"{side}_child="))
        for side in ("left", "right")
    )
    cycle = tree.replace(left, "left_child=-1 1 -3").replace(right, "right_child=-2 2 -4")
    assert len(left.split(" ")) == 3
    with pytest.raises(BundleError):
        read_model_text(cycle.encode())


@pytest.mark.parametrize("line", ["threshold", "shrinkage"])
def test_a_field_that_is_missing_or_twice_is_refused(line: str) -> None:
    for again in (0, 2):
        with pytest.raises(BundleError, match="lacks or repeats"):
            read_model_text(changed(f"{line_of(line)}\n", f"{line_of(line)}\n" * again))


def test_categorical_splits_and_linear_leaves_are_not_supported() -> None:
    with pytest.raises(BundleError, match="categorical"):
        read_model_text(trained({"min_data_per_group": 1}, categories=(0,)))
    with pytest.raises(BundleError, match="linear leaves"):
        read_model_text(trained({"linear_tree": True}))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_accepted_is_read_by_lightgbm(data: st.DataObject) -> None:
    """One character of a tree is replaced; a text that passes scores every row."""
    first, last = MODEL.index("Tree=0"), MODEL.index("end of trees") - 1
    at = data.draw(st.integers(first, last))
    letter = data.draw(st.sampled_from("0123456789-. =e\n"))
    raw = (MODEL[:at] + letter + MODEL[at + 1 :]).encode()
    try:
        model = read_model_text(raw)
    except BundleError:
        return
    rows = np.random.default_rng(1).exponential(size=(20, 3))
    assert np.isfinite(lightgbm.Booster(model_str=model.text).predict(rows)).all()


def test_a_second_model_among_the_parameters_is_refused() -> None:
    middle = MODEL.index("[", MODEL.index("parameters:")) + len("[boos")
    with pytest.raises(BundleError, match="what follows its trees"):
        read_model_text((MODEL[:middle] + MODEL[300:]).encode())
