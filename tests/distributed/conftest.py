"""What the tests of faults use, for these tests too."""

from tests.faults.conftest import figure, forge, serve, shop

__all__ = ["figure", "forge", "serve", "shop"]
