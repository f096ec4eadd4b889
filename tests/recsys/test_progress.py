import pytest

from recsys.progress import progress


def test_without_a_terminal_one_closing_line_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("reading [texts]", 3) as advance:
        for _ in range(3):
            advance(1)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("reading [texts]: ")
    assert written.err.endswith(" s\n")
    assert written.err.count("\n") == 1


def test_the_number_of_steps_need_not_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("searching") as advance:
        advance(5)
    assert capsys.readouterr().err.startswith("searching: ")


def test_work_that_failed_is_not_said_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress("tuning", 2):
        raise KeyboardInterrupt
    assert "tuning:" not in capsys.readouterr().err


def test_on_a_terminal_a_bar_counts_the_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress("tuning", 2) as advance:
        advance(1)
    written = capsys.readouterr()
    assert written.out == ""
    assert "2/2" in written.err
