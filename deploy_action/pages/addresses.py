"""The addresses of the server's pages: the server answers them, and runs link to them."""

from __future__ import annotations

from urllib.parse import quote, unquote


def model_path(project_id: str, model_id: str) -> str:
    """Return where the pages of a model begin, such as `/PROJECT/MODEL`."""
    return f"/{path_part(project_id)}/{path_part(model_id)}"


def path_part(text: str) -> str:
    """Return an id, which may be any text but a blank one, as a part of a page's path.

    What has a meaning in a path, such as `/` and `..`, is escaped twice, because servers undo it
    once before they look for the route; `in_path` undoes the rest.
    """
    # Browsers take a part `..` for the way up, also as `%2e%2e`.
    return quote(quote(text, safe=""), safe="") if text.strip(".") else "%252E" * len(text)


def in_path(part: str) -> str:
    """Return the id in a part of a path that was asked for."""
    return unquote(part)
