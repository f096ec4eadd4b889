"""Which weights of the text encoder each strategy trains, and the low-rank adapters of ``lora``."""

from typing import TYPE_CHECKING

from recsys.config import EncoderConfig
from recsys.encoder import TextEncoder
from recsys.errors import ConfigError

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel

_QUERY_AND_VALUE = ["query", "value", "q_lin", "v_lin", "q", "v"]
"""What BERT and RoBERTa, DistilBERT, and MPNet call the two projections of attention."""


def num_upper_layers(config: EncoderConfig) -> int:
    """Layers above the cut: those whose output training changes."""
    return {"frozen": 0, "last_n": config.num_trained_layers, "lora": 10_000, "full": 10_000}[config.strategy]


def state_budget(config: EncoderConfig) -> int:
    """Bytes of states worth keeping: none where there are no layers below the cut, or all are trained."""
    return config.state_cache_mb * 2**20 if config.strategy == "last_n" else 0


def prepare(encoder: TextEncoder, config: EncoderConfig) -> "LoraModel | None":
    """Let the strategy's weights be trained and no other; the adapters, when the strategy has them.

    Source: Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022; on the query and value
        projections, as in its section 4.2, with a scale of 2.

    Raises:
        ConfigError: The strategy is ``lora`` and the package for it is not installed.
    """
    encoder.requires_grad_(requires_grad=False)
    if config.strategy == "full":
        encoder.requires_grad_(requires_grad=True)
    elif config.strategy == "last_n":
        encoder.upper.layer.requires_grad_(requires_grad=True)
    elif config.strategy == "lora":
        return _adapters(encoder, config.lora_rank)
    return None


def merge(adapters: "LoraModel") -> None:
    """Add the adapters to the weights they adapt, and take them away."""
    adapters.merge_and_unload(progressbar=False)


def _adapters(encoder: TextEncoder, rank: int) -> "LoraModel":
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ModuleNotFoundError as error:
        raise ConfigError(
            'encoder.strategy = "lora" needs a package that is not installed: pip install ".[lora]", '
            'or take strategy = "last_n"'
        ) from error
    given = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=_QUERY_AND_VALUE)
    return LoraModel(encoder.upper, given, "default")
