"""Fuzzes one target, or all in turn: ``python -m tests.fuzz.run [TARGET ...] --seconds 60``.

libFuzzer drives the target through ``atheris`` in a child process, with the corpus beside this file as seeds.
What it finds new stays in a temporary directory; an input that breaks a target is written there, and named.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
_INSTRUMENTED = ["recsys", "features", "serving", "lark", "json", "tomllib", "pydantic"]
_MEGABYTES = 4096
_LONGEST_INPUT = 16384
_SLOWEST_SECONDS = 20


def fuzz(target: str, seconds: int, found: Path) -> int:
    """Fuzz in a child process; its exit code, 0 for nothing found."""
    seeds = CORPUS / target
    seeds.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz.run", "--child", target),
        *(str(found), str(seeds)),
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST_INPUT}",
        f"-timeout={_SLOWEST_SECONDS}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-artifact_prefix={found}/broken-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = [line for line in (ran.stdout + ran.stderr).splitlines() if not line.startswith("INFO: ")]
    runs = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "?")
    sys.stdout.write(
        f"{target}: {runs} inputs in {seconds} s, {'nothing' if not ran.returncode else 'BROKEN'}\n"
    )
    if ran.returncode:
        sys.stdout.write("\n".join(lines[-60:]) + "\n")
    sys.stdout.flush()
    return ran.returncode


def child(target: str, options: list[str]) -> None:
    """Run libFuzzer in this process; it does not return."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED, enable_loader_override=False):
        from recsys.errors import RecsysError
        from tests.fuzz.targets import TARGETS

    read = TARGETS[target]

    def one_input(data: bytes) -> None:
        try:
            read(data)
        except RecsysError:
            return

    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


def main() -> int:
    """Fuzz what is named, or everything; 1 when anything broke."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__)
    names = sorted(
        (
            "request",
            "item_filter",
            "tokens",
            "rows",
            "model_text",
            "manifest",
            "pointers",
            "store",
            "toml",
            "arrays",
        )
    )
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(names)}; default: all of them")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="where new inputs go; default: a temporary directory")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(names):
        parser.error(f"expected targets of {', '.join(names)}, got {', '.join(sorted(unknown))}")
    root = given.keep or Path(tempfile.mkdtemp(prefix="recsys-fuzz-"))
    broken = 0
    for target in given.targets or names:
        (root / target).mkdir(parents=True, exist_ok=True)
        broken += fuzz(target, given.seconds, root / target) != 0
    sys.stdout.write(f"inputs are in {root}\n")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
