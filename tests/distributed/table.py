"""Prints what the tests measured: ``python -m tests.distributed.table``."""

import os
import sys

os.environ.setdefault("RECSYS_FAULTS_OUTPUT", "workspace/distributed")

if __name__ == "__main__":
    from tests.faults.figures import figures
    from tests.faults.table import table

    sys.stdout.write(table(figures()) + "\n")
