"""Tests of ranking groups."""

from tests.training.small_window import bought, collect, configured


def test_decisions_of_windows_are_joined_group_by_group() -> None:
    first = collect([bought("user-0", "leek"), bought("user-0", "gone")], configured())
    second = collect([bought("user-1", "beet"), bought("user-2", "beet")], configured())
    both = first + second
    assert both.groups.tolist() == [*first.groups.tolist(), *second.groups.tolist()]
    assert both.labels.tolist() == [*first.labels.tolist(), *second.labels.tolist()]
    assert len(both.matrix) == both.groups.sum()
