"""Scoring with a trained LightGBM ranker."""

from pathlib import Path

import numpy as np
import structlog
from jaxtyping import Float32, Float64

from recsys.errors import BundleError, FeatureMismatchError
from recsys.lightgbm_alone import lightgbm
from recsys.model_text import read_model_text
from recsys.scorer import Scorer, fastest_scorer, lightgbm_scorer, probes
from recsys.tree_paths import TreePaths

_log = structlog.get_logger(__name__)

_TOLERANCE = 1e-9


class Ranker:
    """A forest over a fixed list of features; its margins order a list."""

    def __init__(
        self, booster: lightgbm.Booster, scorer: Scorer | None = None, paths: TreePaths | None = None
    ) -> None:
        self._booster = booster
        self._scorer = scorer or lightgbm_scorer(booster)
        self._paths = paths
        self.feature_names: tuple[str, ...] = tuple(booster.feature_name())

    @classmethod
    def load(cls, path: Path, feature_names: tuple[str, ...]) -> "Ranker":
        """Read a model in LightGBM's text format.

        The text is checked first, see ``recsys.model_text``: LightGBM may crash on a damaged one.

        Raises:
            BundleError: The file is no whole model.
            FeatureMismatchError: The model was trained on other features, or in another order.
        """
        try:
            booster = lightgbm.Booster(model_str=read_model_text(path.read_bytes()).text)
        except (BundleError, OSError, ValueError, lightgbm.basic.LightGBMError) as error:
            # LightGBM's own reader of the parameters raises ValueError where they make no JSON
            raise BundleError(f"{path.name} is not a LightGBM model: {error}") from error
        if tuple(booster.feature_name()) != feature_names:
            different = sorted(set(booster.feature_name()) ^ set(feature_names)) or ["the order"]
            raise FeatureMismatchError(
                f"the ranker was trained on other features; different: {', '.join(different)}; train again"
            )
        return cls(booster, fastest_scorer(path, booster), _paths(path, booster))

    def save(self, path: Path) -> None:
        """Write LightGBM's text format.

        Raises:
            BundleError: The model would be refused when it is read again.
        """
        text = self._booster.model_to_string()
        read_model_text(text.encode())
        path.write_text(text)

    def scores(self, matrix: Float32[np.ndarray, "items features"]) -> Float64[np.ndarray, " items"]:
        """Raw margins; larger ranks higher. Features are finite or NaN."""
        return self._scorer(matrix)

    def contributions(
        self, matrix: Float32[np.ndarray, "items features"]
    ) -> Float64[np.ndarray, "items features_and_base"]:
        """What every feature adds to the base value, then the base value; a row sums to its score.

        A ranker that was read from a file follows the rows' paths, see ``recsys.tree_paths``: a request that
        asks for explanations cannot wait for TreeSHAP. One fresh from training has TreeSHAP's.

        Source: Lundberg et al., "From local explanations to global understanding with explainable AI for
            trees", 2020, for TreeSHAP.
        """
        if self._paths is not None:
            return self._paths.contributions(matrix)
        values: Float64[np.ndarray, "items features_and_base"] = np.asarray(
            self._booster.predict(matrix, pred_contrib=True, num_threads=1)
        )
        return values

    def thresholds(self) -> list[Float64[np.ndarray, " splits"]]:
        """Distinct split thresholds by feature, ascending."""
        found: list[set[float]] = [set() for _ in self.feature_names]
        nodes = [tree["tree_structure"] for tree in self._booster.dump_model()["tree_info"]]
        while nodes:
            node = nodes.pop()
            if "split_feature" in node:
                found[node["split_feature"]].add(node["threshold"])
                nodes += (node["left_child"], node["right_child"])
        return [np.asarray(sorted(values), np.float64) for values in found]

    def gain(self) -> dict[str, float]:
        """Total split gain by feature."""
        return dict(
            zip(self.feature_names, map(float, self._booster.feature_importance("gain")), strict=True)
        )


def _paths(path: Path, booster: lightgbm.Booster) -> TreePaths | None:
    """The model's paths, if they add up to its scores; ``None`` leaves explanations to LightGBM."""
    try:
        paths = TreePaths.read(path, booster.num_feature())
    except (KeyError, ValueError) as error:
        _log.warning("explanations take longer: the trees cannot be followed", reason=str(error))
        return None
    rows = probes(path, booster.num_feature())
    difference = np.abs(paths.contributions(rows).sum(1) - lightgbm_scorer(booster)(rows)).max()
    if not difference <= _TOLERANCE:
        _log.warning("explanations take longer: the paths do not add up to the scores", difference=difference)
        return None
    return paths
