"""Judges of what a run printed and wrote: what others wrote may be text in it, and nothing else.

The runner's grammar is in `runner_protocol.py`, the Markdown of GitHub in `rendered.py`.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import yaml

from deploy_action.console import Console
from deploy_action.errors import Problem
from deploy_action.report.document import (
    Block,
    Bullets,
    Code,
    Heading,
    Paragraph,
    Quote,
    prose,
    to_markdown,
    to_text,
)
from tests.support.rendered import LIVE, Element, render
from tests.support.runner_protocol import commands_in, read_entries

ROOT: Final = Path(__file__).parents[2]
OUTPUTS: Final = frozenset(yaml.safe_load((ROOT / "action.yml").read_text())["outputs"])
_OURS: Final = frozenset({"add-mask", "debug", "endgroup", "error", "group", "notice", "warning"})
_ANNOTATIONS: Final = frozenset({"error", "notice", "warning"})
_PLACES: Final = frozenset({"file", "line", "col", "title"})
_TITLE: Final = re.compile(r"Blankly deploy(?: failed| warning)?")
# Of GitHub's allow-list, what we use.
_TAGS: Final = frozenset(
    {
        *("h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
        *("code", "pre", "strong", "em", "br", "a", "!--"),
    }
)
_ATTRIBUTES: Final = {"a": {"href"}, "th": {"align"}, "td": {"align"}, "pre": {"lang"}}
_MERMAID: Final = re.compile(
    r"---|config:|  .*|xychart-beta|    .*|\s*(?:title|x-axis|y-axis|line|bar) .*|\}|%%\{.*\}%%"
)
_IN_PAGE: Final = frozenset(
    {
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "img",
        "audio",
        "video",
        "svg",
        "math",
        "template",
    }
)


def judge_log(log: str) -> None:
    """Fail if somebody else issued a command, or hid or moved a part of the log."""
    for command in commands_in(log):
        assert command.name in _OURS, command
        if command.name in _ANNOTATIONS:
            assert command.properties.keys() <= _PLACES, command
            assert _TITLE.fullmatch(command.properties.get("title", "")), command
        else:
            assert not command.properties, command
    # The runner prints no mask.
    assert_visible(re.sub("(?m)^::add-mask::.*$", "", log))


def assert_visible(text: str) -> None:
    """Fail if a text has characters that control a terminal, or reorder what is around them."""
    hidden = {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert hidden <= set("\n\t\u200c\u200d"), hidden


def judge_outputs(path: Path) -> dict[str, str]:
    """Return the outputs; fail if the runner would fail, or read others than the action has."""
    outputs = read_entries(path)
    assert outputs.keys() <= OUTPUTS, outputs
    return outputs


def judge_markdown(markdown: str, links: Sequence[str] = ()) -> Element:
    """Return the page; fail if there is markup on it, or a link, that is not ours.

    Ours begin with one of `links`.
    """
    markdown.encode()
    assert_visible(re.sub("(?s)```mermaid\n.*?\n```", "", markdown))
    page = render(markdown)
    for one in page.descendants():
        assert one.tag in _TAGS, one
        assert one.attributes.keys() <= _ATTRIBUTES.get(one.tag, set()), one
        if one.tag == "a":
            href = one.attributes["href"] or ""
            assert href.startswith(tuple(links)), href
        if one.tag == "!--":
            assert re.fullmatch(r" blankly-deploy[^<>]* ", one.text()), one
        if one.attributes.get("lang") == "mermaid":
            _judge_picture(one.text())
        else:
            assert one.attributes.get("lang") in {None, "text"}, one
    # Figures are ours, and have many digits.
    text = re.sub(r"(?<!\w)\d[\d,]*\.\d+(?!\w)", "", _loose_text(page))
    found = LIVE.search(text)
    assert not found, text[max(0, found.start() - 60) : found.end() + 60]
    return page


def _judge_picture(source: str) -> None:
    for line in source.splitlines():
        assert _MERMAID.fullmatch(line), line


def _loose_text(page: Element) -> str:
    """Return the text in which GitHub looks for mentions, addresses, issues, commits and emoji."""
    parts = []
    for child in page.children:
        if isinstance(child, str):
            parts.append(child)
        elif child.tag not in {"code", "pre", "a", "!--"}:
            parts.append(_loose_text(child))
    return (
        " ".join(parts) if page.tag in {"table", "tr", "ul", "body", "details"} else "".join(parts)
    )


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def judge_page(html: str, links: Sequence[str] = ()) -> None:
    """Fail if a page that a run leaves would load, run or lead to what others chose."""
    html.encode()
    page = _Page()
    page.feed(html)
    page.close()
    for tag, attributes in page.found:
        assert tag not in _IN_PAGE, (tag, attributes)
        assert not {"src", "srcset", "style", "srcdoc", "action"} & attributes.keys(), attributes
        assert not any(name.startswith("on") for name in attributes), attributes
        if tag == "a":
            href = attributes.get("href") or ""
            assert href.startswith(("#", *links)), href
        if tag == "link":
            assert (attributes["href"] or "").startswith("data:image/svg+xml;base64,"), attributes


def judge_problems(problems: Iterable[Problem]) -> None:
    """Print problems as a run does, to a log, a terminal and a page, and judge each of them."""
    for problem in problems:
        assert problem.message
        log = io.StringIO()
        console = Console(log, for_runner=True)
        console.problem(problem)
        (command,) = commands_in(log.getvalue())
        assert command.name == problem.severity
        judge_log(log.getvalue())
        people = io.StringIO()
        Console(people, for_runner=False).problem(problem)
        assert commands_in(people.getvalue()) == []
        assert_visible(people.getvalue())
        blocks: list[Block] = [
            Bullets(
                [[Code(problem.path or ""), ": ", *prose(problem.message)], prose(problem.hint)]
            )
        ]
        judge_markdown(to_markdown(blocks))
        assert_visible(to_text(blocks))


def judge_texts(texts: Iterable[str]) -> None:
    """Print texts of others wherever a run does, and judge that."""
    for text in texts:
        log = io.StringIO()
        console = Console(log, for_runner=True, verbose=True)
        console.info(text)
        console.section(text)
        console.debug(text)
        judge_log(log.getvalue())
        assert {one.name for one in commands_in(log.getvalue())} <= {"group", "endgroup", "debug"}
        blocks: list[Block] = [Heading([Code(text)]), Paragraph(prose(text)), Quote(text)]
        judge_markdown(to_markdown(blocks))
