"""What a training run takes over from the stable bundle instead of fitting it anew.

``only="ranker"`` keeps the encoder: new events reach the item tables and the rankers within minutes, and the
bundle's encoder goes on as it is. Its end of data must lie before the run's first label window, because the
rankers would learn from text scores that had seen their labels.

``only="encoder"`` trains the encoder and everything behind it. A ranker must never see text scores of an
encoder that it was not trained on, so the rankers are fitted again too; what is taken over is their number of
trees, and with it the search for one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from recsys.calibration import Calibration, Reliability, ReliabilityBin
from recsys.catalogue import Catalogue
from recsys.config import Config, EncoderConfig
from recsys.encoder import TextEncoder, Towers, encode_texts
from recsys.errors import ConfigError, LeakageError
from recsys.manifest import Manifest, read_manifest, verify_files
from recsys.pretrained import model_path
from recsys.progress import progress
from recsys.registry import Registry
from training.encoder_fit import FittedEncoder
from training.ranker_fit import Settled

Only = Literal["encoder", "ranker"]
"""The part that is trained; the other one is taken over as far as that is right."""


@dataclass(frozen=True, eq=False)
class TakenOver:
    """Parts that a run does not fit."""

    encoder: FittedEncoder | None = None
    """Used in place of training one."""
    settled: Mapping[str, Settled] = field(default_factory=dict)
    """Plan and boosting rounds by ranker; they are searched for where this says nothing."""

    def require_before(self, window_start_ms: int) -> None:
        """Check that the encoder saw nothing of the first label window or later.

        Raises:
            LeakageError: It did.
        """
        if self.encoder is not None and self.encoder.fitted_until_ms > window_start_ms:
            raise LeakageError(
                f"expected an encoder that was fitted before the first label window, got one that saw "
                f"{(self.encoder.fitted_until_ms - window_start_ms) / 3_600_000:.1f} hours of it; train "
                "without --only, or up to a later --until"
            )


def take_over(registry: Registry, only: Only | None, catalogue: Catalogue, config: Config) -> TakenOver:
    """Read from the stable bundle what a run for ``only`` does not fit; nothing when that is ``None``.

    Raises:
        BundleError: There is no stable bundle, or it does not verify.
        ConfigError: The encoder is to be kept, but the configuration asks for another one.
    """
    if only is None:
        return TakenOver()
    manifest = read_manifest(registry.stable())
    if only == "ranker":
        return TakenOver(encoder=kept_encoder(registry, manifest, catalogue, config.encoder))
    rankers = manifest.training.get("rankers", {})
    return TakenOver(
        settled={
            name: Settled(ranker.get("plan", "whole"), int(ranker["num_trees"]))
            for name, ranker in rankers.items()
        }
    )


def kept_encoder(
    registry: Registry, manifest: Manifest, catalogue: Catalogue, wanted: EncoderConfig
) -> FittedEncoder:
    """A bundle's encoder, with the vectors of every text of today's catalogue.

    Args:
        registry: Where the bundle lies.
        manifest: The bundle's.
        catalogue: The items; texts that the bundle does not know are read like the others.
        wanted: The run's settings, which must be those the encoder was trained with.

    Raises:
        BundleError: The bundle does not verify.
        ConfigError: The settings differ.
    """
    settings = manifest.config.encoder
    if settings != wanted:
        ours, theirs = settings.model_dump(), wanted.model_dump()
        different = [name for name in ours if ours[name] != theirs[name]]
        raise ConfigError(
            f"bundle {manifest.version} has an encoder that was trained with other settings than the "
            f"configuration's: encoder.{', encoder.'.join(different)}; set them back to keep it, or train "
            "without --only"
        )
    directory = registry.path(manifest.version)
    verify_files(directory, manifest)
    encoder = TextEncoder(directory / "encoder", 0, settings.max_tokens)
    base = _vectors(encoder, catalogue, "reading texts")
    frozen_base = base
    if settings.strategy != "frozen":
        untrained = TextEncoder(model_path(settings.model), 0, settings.max_tokens)
        frozen_base = _vectors(untrained, catalogue, "reading texts as they were before training")
    described = manifest.training["encoder"]
    return FittedEncoder(
        encoder=encoder,
        towers=Towers.load(directory / "encoder" / "towers.safetensors", encoder.width, settings),
        base=base,
        frozen_base=frozen_base,
        fitted_until_ms=manifest.parts_fitted_until_ms["encoder"],
        calibration=Calibration(**json.loads((directory / "calibration.json").read_text(encoding="utf-8"))),
        reliability=_reliability(described["reliability"]),
        curve=[(int(step), float(loss)) for step, loss in described["curve"]],
        num_moments=described["moments"],
        num_lists=described["lists"],
    )


def _vectors(encoder: TextEncoder, catalogue: Catalogue, label: str) -> Float[Tensor, "texts width"]:
    with progress(label, len(catalogue.texts)) as advance:
        return encode_texts(encoder, catalogue.texts, advance).clone()


def _reliability(described: Mapping[str, Any]) -> Reliability:
    bins = tuple(ReliabilityBin(**one) for one in described["bins"])
    return Reliability(described["expected_calibration_error"], bins)
