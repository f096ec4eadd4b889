"""Builds ``shim.c``, which breaks system calls of a server that is started with it."""

import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(
    COMPILER is None, reason="NOT TESTED: breaking system calls needs a C compiler; install gcc"
)


def build(directory: Path) -> Path:
    """The shared library, for ``LD_PRELOAD``."""
    assert COMPILER is not None
    library, source = directory / "shim.so", Path(__file__).with_name("shim.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
    return library
