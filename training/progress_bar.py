"""Shows Lightning's training steps on the project's own progress bar."""

from contextlib import ExitStack

import pytorch_lightning as lightning

from recsys.progress import progress


class StepBar(lightning.Callback):
    """A bar over training steps, with nothing else on it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._stack = ExitStack()

    def on_train_start(self, *_: object, **__: object) -> None:
        """Open the bar."""
        self._advance = self._stack.enter_context(progress("tuning the encoder", self._total))

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        """Advance by one step."""
        self._advance(1)

    def teardown(self, *_: object, **__: object) -> None:
        """Close the bar, on an error or an interrupt too."""
        self._stack.close()
