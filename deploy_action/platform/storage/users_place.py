"""Where a platform keeps its data if nobody says so."""

from __future__ import annotations

from pathlib import Path


def of_user() -> Path:
    """Return the directory of a platform that a user's runs on a terminal share."""
    from platformdirs import user_data_path

    return user_data_path("blankly-deploy", appauthor=False) / "platform"
