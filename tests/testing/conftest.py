"""The fixtures for authors of plugins, as authors get them."""

from tdbwatch.testing.fixtures import *  # noqa: F403
