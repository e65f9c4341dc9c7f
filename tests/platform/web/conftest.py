"""Somebody who is signed in."""

from __future__ import annotations

import pytest

from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor


@pytest.fixture
def reader(live: LivePlatform) -> Visitor:
    """Return a visitor who is signed in."""
    reader = Visitor(live.parts.url)
    reader.sign_in(live.refresh_token)
    return reader
