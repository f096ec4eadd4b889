"""Generate ``recsys/v1`` from the protos: ``python -m tests.contracts.generate_proto OUT``.

``OUT`` is the root under which ``recsys/v1`` is written; the repository's own root updates what is checked
in.
"""

import subprocess
import sys
from pathlib import Path

PROTO_ROOT = Path(__file__).parents[2] / "proto"


def generate(out: Path) -> None:
    """Write messages, services and their type stubs for every proto file under ``out``.

    Raises:
        CalledProcessError: The compiler refused; its own words are on stderr.
    """
    bin_dir = Path(sys.executable).parent
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"--plugin=protoc-gen-mypy={bin_dir / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={bin_dir / 'protoc-gen-mypy_grpc'}",
        f"--proto_path={PROTO_ROOT}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *(str(path.relative_to(PROTO_ROOT)) for path in sorted(PROTO_ROOT.rglob("*.proto"))),
    ]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
