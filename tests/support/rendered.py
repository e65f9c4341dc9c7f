"""Markdown as GitHub's own parser renders it, as a tree of elements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import cmarkgfm  # type: ignore[import-untyped]  # it has no stubs
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]  # as above

# What GitHub makes a link or a picture of, outside code.
LIVE = re.compile(
    r"@|#\d|\b(?!sha-|utf-)(?:[a-z]{2,}-\d|ghsa-)|://|www\.|:[\w+-]+:|\$"
    r"|(?<![0-9a-z])[0-9a-f]{7,40}(?![0-9a-z])",
    re.IGNORECASE,
)
_VOID = frozenset({"br", "hr", "img", "input", "source"})


@dataclass(slots=True)
class Element:
    """An element of a page: its tag, its attributes, and what is in it."""

    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    def text(self, *, without: str = "") -> str:
        """Return the text inside, save for that of elements with the tag `without`."""
        return "".join(
            child if isinstance(child, str) else child.text(without=without)
            for child in self.children
            if isinstance(child, str) or child.tag != without
        )

    def all(self, *tags: str) -> list[Element]:
        """Return the elements with one of these tags, at any depth, in order."""
        return [one for one in self.descendants() if one.tag in tags]

    def tags(self) -> set[str]:
        """Return the tags of all elements inside."""
        return {one.tag for one in self.descendants()}

    def descendants(self) -> Iterator[Element]:
        """Yield all elements inside, in order."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.descendants()


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("body")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        last = self.open.pop()
        assert last.tag == tag, f"<{last.tag}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        self.open[-1].children.append(Element("!--", children=[data]))

    def handle_decl(self, decl: str) -> None:
        self.open[-1].children.append(Element("!", children=[decl]))


def to_html(markdown: str) -> str:
    """Render Markdown as GitHub does, raw HTML included."""
    html: str = cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE)
    return html


def render(markdown: str) -> Element:
    """Return the Markdown, rendered as GitHub does, as a tree."""
    return tree(to_html(markdown))


def tree(html: str) -> Element:
    """Return a piece of HTML as a tree; it fails where elements are not closed in order."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert len(builder.open) == 1, f"<{builder.open[-1].tag}> is not closed"
    return builder.open[0]
