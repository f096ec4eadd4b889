"""The LightningModule that fine-tunes the text encoder and its towers on what users touch next."""

import math
from typing import Any

import pytorch_lightning as lightning
import torch
from jaxtyping import Float, Int
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from recsys.config import EncoderConfig
from recsys.encoder import TextEncoder, Towers
from training.all_processes import classes_of_all, mean_of_all
from training.history import HistoryBatch
from training.impressions import ShownBatch
from training.losses import InterestLoss, anchoring, sampled_softmax
from training.next_items import NextItemBatch
from training.schedule import optimisation
from training.steps import TrainingBatch
from training.text_table import TextTable


class EncoderModule(lightning.LightningModule):
    """Trains the heads over frozen base vectors first, then the strategy's layers of the transformer too.

    Histories are read from the table of base vectors; in the second phase the batch's own texts go through
    the trained layers, each once, and the table is refreshed before every validation.
    """

    strict_loading = False  # a checkpoint holds the trained weights alone

    def __init__(
        self, encoder: TextEncoder, towers: Towers, table: TextTable, config: EncoderConfig, rate: float = 0.0
    ) -> None:
        """Put together what is trained.

        Args:
            encoder: The text encoder; those of its weights that require a gradient are trained.
            towers: The towers on it.
            table: The texts.
            config: Settings.
            rate: Share of shown items that were engaged with.
        """
        super().__init__()
        self.encoder = encoder
        self.towers = towers
        self.interest = InterestLoss(rate)
        self.config = config
        self.table = table
        self.best_loss = math.inf
        self.curve: list[tuple[int, float]] = []
        """Validation loss by step."""
        self.resumed_step = 0
        """The step of the checkpoint that this process went on from."""
        self._best: dict[str, Tensor] = {}
        self._held_out: dict[str, list[tuple[float, int]]] = {}
        self._class_of_text = torch.full((len(table.base),), -1)
        self._class_of_text[table.used] = torch.arange(len(table.used))

    def on_fit_start(self) -> None:
        """Put the table where the weights are."""
        self._move_table(self.device)

    def on_train_start(self) -> None:
        """After a resumption, bring the base vectors up to the weights."""
        self._refresh()

    def on_train_end(self) -> None:
        """Go back to the best weights, here, where every process of a distributed run passes."""
        self.restore_best()

    def on_fit_end(self) -> None:
        """Bring the table back to the CPU, where Lightning brings the weights."""
        self._move_table(torch.device("cpu"))

    def _move_table(self, device: torch.device) -> None:
        self.table.to(device)
        self._class_of_text = self._class_of_text.to(device)

    @property
    def tunes_layers(self) -> bool:
        """Whether the current step trains transformer layers."""
        return self.config.strategy != "frozen" and self.global_step >= self.config.num_head_steps

    def user_vectors(self, history: HistoryBatch) -> Float[Tensor, "users dim"]:
        """Interest vectors of users."""
        vectors: Tensor = self.towers.user(
            self._item_vectors(self.table.base[history.texts]),
            history.event_types,
            history.age_days,
            history.counts,
            history.mask,
        )
        return vectors

    def base_vectors(self, texts: Int[Tensor, " texts"]) -> Float[Tensor, "texts width"]:
        """Base vectors of texts, through the trained layers while they are being trained."""
        if not self.tunes_layers:
            return self.table.base[texts]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.table.states.vectors(texts.tolist()).float()

    def _item_vectors(self, base: Float[Tensor, "*texts width"]) -> Float[Tensor, "*texts dim"]:
        vectors: Tensor = self.towers.item(base)
        return vectors

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        """The losses of next items, of shown lists and of moving away, over the batch's distinct texts."""
        assert batch.next_items is not None
        shown = batch.shown.shown_text if batch.shown else batch.next_items.pair_text[:0]
        texts, place = torch.unique(torch.cat((batch.next_items.pair_text, shown)), return_inverse=True)
        base = self.base_vectors(texts)
        vectors = self._item_vectors(base)
        num_pairs = len(batch.next_items.pair_text)
        loss = self._next_item_loss(batch.next_items, texts, vectors, place[:num_pairs])
        self.log("train_loss", loss, prog_bar=True, batch_size=num_pairs)
        if batch.shown:
            bce = self._shown_loss(batch.shown, vectors[place[num_pairs:]])
            self.log("train_bce", bce, batch_size=len(shown))
            loss = loss + self.config.impression_weight * bce
        if self.config.anchor_weight and self.tunes_layers:
            loss = loss + self.config.anchor_weight * anchoring(base, self.table.frozen_base[texts])
        return loss

    def _next_item_loss(
        self,
        batch: NextItemBatch,
        texts: Int[Tensor, " texts"],
        vectors: Float[Tensor, "texts dim"],
        place: Int[Tensor, " pairs"],
    ) -> Float[Tensor, ""]:
        """In-batch sampled softmax over the distinct positive texts of all processes' batches."""
        positive = torch.unique(place)
        classes, of_classes = classes_of_all(texts[positive], vectors[positive])
        target = torch.searchsorted(classes, texts[place])
        users = self.user_vectors(batch.history)
        logits = self.towers.log_scale.exp() * users[batch.pair_user] @ of_classes.T
        is_positive = torch.zeros(len(users), len(classes), dtype=torch.bool, device=logits.device)
        is_positive[batch.pair_user, target] = True
        others = is_positive[batch.pair_user].scatter(1, target[:, None], value=False)
        return sampled_softmax(logits, target, self.table.log_frequency[classes], others)

    def _shown_loss(self, batch: ShownBatch, vectors: Float[Tensor, "shown dim"]) -> Float[Tensor, ""]:
        """Cross-entropy of engaging with each shown item."""
        users = self.user_vectors(batch.history)[batch.shown_user]
        loss: Tensor = self.interest((users * vectors).sum(1), batch.engaged)
        return loss

    def _refresh(self) -> None:
        """Bring the base vectors up to date when the layers under them have moved."""
        if self.tunes_layers:
            read = self.table.read
            self.table.base[read] = self.table.states.encode(read.tolist()).to(self.device)

    def on_validation_start(self) -> None:
        """Refresh the base vectors."""
        self._move_table(self.device)
        self._refresh()
        self._held_out = {}

    def validation_step(self, batch: TrainingBatch, _: int) -> None:
        """Exact softmax cross-entropy over every text that occurs in the data, and that of shown lists."""
        if batch.next_items is not None:
            vectors = self._item_vectors(self.table.base[self.table.used])
            logits = self.towers.log_scale.exp() * self.user_vectors(batch.next_items.history) @ vectors.T
            log_probabilities = functional.log_softmax(logits, dim=1)
            target = self._class_of_text[batch.next_items.pair_text]
            loss = -log_probabilities[batch.next_items.pair_user, target].mean()
            self._held_out.setdefault("softmax", []).append((loss.item(), len(target)))
        if batch.shown is not None:
            shown = self._item_vectors(self.table.base[batch.shown.shown_text])
            bce = self._shown_loss(batch.shown, shown)
            self._held_out.setdefault("bce", []).append((bce.item(), len(shown)))

    def on_validation_epoch_end(self) -> None:
        """Add the two up, weighted as in training, and keep the best weights in memory.

        Layers whose training has not lowered the loss by half of their steps are left as they were.
        """
        means = {
            name: sum(loss * count for loss, count in parts) / sum(count for _, count in parts)
            for name, parts in self._held_out.items()
        }
        loss = mean_of_all(means["softmax"] + self.config.impression_weight * means.get("bce", 0.0))
        self.log("val_loss", loss, sync_dist=True)
        for name in means if len(means) > 1 else ():
            self.log(f"val_{name}", means[name], sync_dist=True)
        self.curve.append((self.global_step, loss))
        if loss < self.best_loss:
            self.best_loss, self._best = loss, self.trained_weights()
        if self.tunes_layers and self.config.num_tuning_steps:
            stops = self.trainer.strategy.reduce_boolean_decision(self._layers_do_not_help(), all=False)
            self.trainer.should_stop = self.trainer.should_stop or stops

    def _layers_do_not_help(self) -> bool:
        best_step, _ = min(self.curve, key=lambda point: point[1])
        tuned = self.global_step - self.config.num_head_steps
        return best_step <= self.config.num_head_steps and tuned >= self.config.num_tuning_steps / 2

    def trained_weights(self) -> dict[str, Tensor]:
        """Copies of the weights that training changes, by name."""
        return {
            name: weight.detach().clone() for name, weight in self.named_parameters() if weight.requires_grad
        }

    def restore_best(self) -> None:
        """Go back to the weights with the lowest validation loss."""
        self.load_state_dict(self._best, strict=False)

    def get_extra_state(self) -> dict[str, Any]:
        """What must come back with the weights from processes that were forked to train."""
        return {"curve": self.curve}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take it in."""
        self.curve = [(int(step), float(loss)) for step, loss in state["curve"]]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put in what a resumed run goes on with, and the trained weights alone."""
        checkpoint["state_dict"] = self.trained_weights()
        checkpoint["best"] = {"loss": self.best_loss, "weights": self._best, "curve": self.curve}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take out what ``on_save_checkpoint`` put in."""
        self.resumed_step = int(checkpoint["global_step"])
        best = checkpoint["best"]
        self.best_loss, self._best = best["loss"], best["weights"]
        self.curve = [(int(step), float(loss)) for step, loss in best["curve"]]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over the towers, the trained layers, and the two numbers of the interest loss."""
        layers = [weight for weight in self.encoder.parameters() if weight.requires_grad]
        return optimisation(
            self.config, list(self.towers.parameters()), layers, list(self.interest.parameters())
        )
