"""Tries bundles in forks of a process that has imported everything: ``python -m tests.faults.trial_forge``.

It reads a directory per line and answers with JSON: how the fork ended, and what it said. What is tried is
what ``serving.model_trial`` tries, which starts a process instead, as a server with threads has to.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

_SECONDS = 60


def tried(directory: Path) -> dict[str, Any]:
    """Try a bundle in a fork."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os._exit(_try(directory, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        words = said.read().decode(errors="replace")
    return {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "words": words}


def _try(directory: Path, writer: int) -> int:
    from recsys.errors import RecsysError
    from serving.model_trial import ask_bundle

    signal.alarm(_SECONDS)
    try:
        ask_bundle(directory)
    except RecsysError as error:
        os.write(writer, str(error).encode()[:2000])
        return 3
    except BaseException as error:  # noqa: BLE001  # what the product did not mean
        os.write(writer, repr(error).encode()[:2000])
        return 1
    return 0


def main() -> None:
    """Answer until there are no more orders."""
    from transformers import AutoModel, AutoTokenizer, BertModel  # noqa: F401

    import recsys.pretrained  # noqa: F401
    from features.registry import OnlineFeatures  # noqa: F401
    from recsys.bundle import load_bundle  # noqa: F401
    from recsys.pipeline import Pipeline  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    for line in sys.stdin:
        answers.write(json.dumps(tried(Path(line.strip()))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
