import ast
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from recsys.cli import run

_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(document: Path, language: str) -> list[str]:
    return [body for name, body in _BLOCK.findall(document.read_text(encoding="utf-8")) if name == language]


def _command_lines() -> list[str]:
    documents = (_ROOT / "README.md", *(_ROOT / "docs").glob("*.md"))
    lines = (line for document in documents for block in _blocks(document, "") for line in block.splitlines())
    return sorted({line.split("#")[0].strip() for line in lines if line.startswith("recsys ")})


def test_the_documents_show_commands() -> None:
    assert len(_command_lines()) >= 7


@pytest.mark.parametrize("line", _command_lines())
def test_every_documented_command_exists_with_its_flags(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = line.split()[1:]
    flags = [word.split("=")[0] for word in words if word.startswith("-")]
    verbs = words[: next((i for i, word in enumerate(words) if word.startswith("-")), len(words))]
    assert run([*verbs, "--help"], list(entry_points(group="recsys.commands"))) == 0
    known = capsys.readouterr().out
    assert all(flag in known for flag in flags), known


def test_python_in_the_readme_parses_and_imports() -> None:
    for block in _blocks(_ROOT / "README.md", "python"):
        tree = ast.parse(block)
        imports: list[ast.stmt] = [
            node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        exec(compile(ast.Module(list(imports), []), "README.md", "exec"), {})


def test_make_targets_in_the_readme_exist() -> None:
    named = set(re.findall(r"^make (\w+)", (_ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named <= targets
