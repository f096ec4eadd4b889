"""What spares the tests of training work that others test."""

import pytest


@pytest.fixture
def without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their charts, which take longer to draw than the rest; other tests do draw them."""
    monkeypatch.setattr("training.report_page.charts", lambda _report, _curves: [])
