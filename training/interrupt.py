"""Ctrl-C during training."""

import pytorch_lightning as lightning


class LetInterruptsThrough(lightning.Callback):
    """Hands a Ctrl-C on to the caller at once.

    Lightning would close its loggers first, with further Ctrl-C ignored, and exit with a code of its own; a
    TensorBoard writer that was interrupted while it wrote may then never close.
    """

    def on_exception(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """Raise the interrupt again."""
        if isinstance(exception, KeyboardInterrupt):
            raise exception
