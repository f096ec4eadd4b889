"""The LightningModule that fine-tunes the text encoder and its towers on what users touch next."""

import copy
import math
from dataclasses import dataclass

import pytorch_lightning as lightning
import torch
from jaxtyping import Float, Int
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from recsys.config import EncoderConfig
from recsys.encoder import TextEncoder, Towers, encode_states, pad_states
from training.losses import sampled_softmax
from training.next_items import NextItemBatch


@dataclass
class TextTable:
    """Every distinct text of the catalogue, as far as the frozen layers carry it."""

    states: list[Float[Tensor, "_ width"]]
    """Hidden states after the frozen layers, one matrix per text."""
    base: Float[Tensor, "texts width"]
    """Base vectors as of the last refresh."""
    log_frequency: Float[Tensor, " texts"]
    """Logarithm of each text's share of the positives."""
    used: Int[Tensor, " used"]
    """Texts that occur in the events: the classes of the validation loss."""


class EncoderModule(lightning.LightningModule):
    """Trains the heads over frozen base vectors first, then the upper layers of the transformer too.

    Histories are read from the table of base vectors; in the second phase the batch's positives go through
    the upper layers, and the table is refreshed before every validation.
    """

    def __init__(self, encoder: TextEncoder, towers: Towers, table: TextTable, config: EncoderConfig) -> None:
        super().__init__()
        self.upper = encoder.upper
        self.towers = towers
        self.config = config
        self.best_loss = math.inf
        self.curve: list[tuple[int, float]] = []
        """Validation loss by step."""
        self._encoder = [encoder]  # in a list: the frozen layers are no part of this module's weights
        self._table = table
        self._best: dict[str, Tensor] = {}
        self._class_of_text = torch.full((len(table.states),), -1)
        self._class_of_text[table.used] = torch.arange(len(table.used))

    def on_fit_start(self) -> None:
        """Put the table and the whole encoder where the trained weights are."""
        self._move_table(self.device)
        self._encoder[0].to(self.device)

    def on_fit_end(self) -> None:
        """Bring them back to the CPU, where Lightning brings the weights."""
        self._move_table(torch.device("cpu"))
        self._encoder[0].cpu()

    def _move_table(self, device: torch.device) -> None:
        table = self._table
        table.base, table.log_frequency = table.base.to(device), table.log_frequency.to(device)
        table.used, self._class_of_text = table.used.to(device), self._class_of_text.to(device)

    @property
    def tunes_layers(self) -> bool:
        """Whether the current step trains transformer layers."""
        return self.config.strategy == "last_n" and self.global_step >= self.config.num_head_steps

    def user_vectors(self, batch: NextItemBatch) -> Float[Tensor, "users dim"]:
        """Interest vectors of a batch's users."""
        history = self.towers.item(self._table.base[batch.history_texts])
        vectors: Tensor = self.towers.user(
            history, batch.event_types, batch.age_days, batch.counts, batch.mask
        )
        return vectors

    def text_vectors(self, texts: Int[Tensor, " texts"]) -> Float[Tensor, "texts dim"]:
        """Item vectors of texts, through the upper layers when they are being trained."""
        if not self.tunes_layers:
            return self._item_vectors(self._table.base[texts])
        states, mask = pad_states([self._table.states[text] for text in texts.tolist()])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            base = self._encoder[0].base_vectors(states.to(self.device), mask.to(self.device))
        return self._item_vectors(base.float())

    def _item_vectors(self, base: Float[Tensor, "texts width"]) -> Float[Tensor, "texts dim"]:
        vectors: Tensor = self.towers.item(base)
        return vectors

    def training_step(self, batch: NextItemBatch, _: int) -> Tensor:
        """In-batch sampled softmax over the batch's distinct positive texts."""
        texts, target = torch.unique(batch.pair_text, return_inverse=True)
        users = self.user_vectors(batch)
        logits = self.towers.log_scale.exp() * users[batch.pair_user] @ self.text_vectors(texts).T
        is_positive = torch.zeros(len(users), len(texts), dtype=torch.bool, device=logits.device)
        is_positive[batch.pair_user, target] = True
        others = is_positive[batch.pair_user].scatter(1, target[:, None], value=False)
        loss = sampled_softmax(logits, target, self._table.log_frequency[texts], others)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(batch.pair_user))
        return loss

    def on_validation_start(self) -> None:
        """Refresh the base vectors when the layers under them have moved."""
        if self.tunes_layers and not self.trainer.sanity_checking:
            states = [self._table.states[text] for text in self._table.used.tolist()]
            self._table.base[self._table.used] = encode_states(self._encoder[0], states).to(self.device)

    def validation_step(self, batch: NextItemBatch, _: int) -> None:
        """Exact softmax cross-entropy over every text that occurs in the data."""
        vectors = self.towers.item(self._table.base[self._table.used])
        logits = self.towers.log_scale.exp() * self.user_vectors(batch) @ vectors.T
        log_probabilities = functional.log_softmax(logits, dim=1)
        target = self._class_of_text[batch.pair_text]
        loss = -log_probabilities[batch.pair_user, target].mean()
        self.log("val_loss", loss, prog_bar=True, batch_size=len(batch.pair_user))

    def on_validation_end(self) -> None:
        """Keep the best weights in memory: a checkpoint file would be a pickle."""
        if self.trainer.sanity_checking:
            return
        loss = float(self.trainer.callback_metrics["val_loss"])
        self.curve.append((self.global_step, loss))
        if loss < self.best_loss:
            self.best_loss, self._best = loss, copy.deepcopy(self.state_dict())

    def restore_best(self) -> None:
        """Go back to the weights with the lowest validation loss."""
        if self._best:
            self.load_state_dict(self._best)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW; the heads warm up and decay over all steps, the layers over the second phase alone."""
        config = self.config
        groups = [
            {"params": list(self.towers.parameters()), "lr": config.learning_rate},
            {"params": list(self.upper.parameters()), "lr": config.encoder_learning_rate},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        total = num_steps(config)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            [
                lambda step: _warm_cosine(step, total),
                lambda step: _warm_cosine(step - config.num_head_steps, max(config.num_tuning_steps, 1)),
            ],
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def num_steps(config: EncoderConfig) -> int:
    """Training steps of both phases."""
    return config.num_head_steps + (config.num_tuning_steps if config.strategy == "last_n" else 0)


def _warm_cosine(step: int, total: int, warm: int = 20) -> float:
    if step < 0:
        return 0.0
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
