from pathlib import Path

import pytest

from recsys.workspace import Workspace, atomic_path


def test_everything_lies_below_the_root(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    directories = [
        space.items,
        space.users,
        space.events,
        space.rejects,
        space.registry,
        space.state,
        space.reports,
    ]
    assert {path.parent for path in directories} == {tmp_path}
    assert len(set(directories)) == 7
    assert space.config == tmp_path / "recsys.toml"


def test_a_file_appears_whole_and_leaves_no_scratch(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    with atomic_path(target) as partial:
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with atomic_path(target) as partial:
        (partial / "inner").mkdir(parents=True)
        (partial / "inner" / "file").write_text("x")
    assert (target / "inner" / "file").read_text() == "x"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_leaves_the_old_content(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def interrupted() -> None:
        with atomic_path(target) as partial:
            partial.write_text("half of the n")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
