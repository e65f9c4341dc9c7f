"""A document as HTML: what others wrote stays text, and nothing is lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from markupsafe import Markup

from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import (
    Block,
    Bullets,
    Code,
    Details,
    Heading,
    Line,
    Link,
    Paragraph,
    Place,
    Quote,
    Table,
    to_markdown,
)
from deploy_action.report.markup import to_html
from deploy_action.report.summary import build_summary
from deploy_action.text.harmless import cut, one_line, plain
from tests.support.nasty import nasty_text
from tests.support.outcomes import backtests, outcomes
from tests.support.rendered import Element, render, tree


def page(*blocks: Block) -> Element:
    return tree(to_html(blocks, {}))


def words(text: str) -> str:
    return re.sub(r"\s+", "", text)


@given(nasty_text)
@example("</code><script>alert(1)</script>")
@example("</pre><img src=x onerror=alert(1)>")
def test_what_others_wrote_is_text_wherever_it_stands(text: str) -> None:
    blocks: list[Block] = [
        Heading([Code(text)]),
        Paragraph([Code(text), " and ", Link(text, "https://forge.example/")]),
        Quote(text),
        Bullets([[Code(text)]]),
        Table([[Code(text)], ["b"], ["c"]], [[[Code(text)], ["1"], ["2"]]]),
        Details(text, []),
    ]
    seen = page(*blocks)
    known = {"h1", "h2", "code", "p", "a", "pre", "ul", "li", "section", "strong"}
    assert seen.tags() <= known | {"div", "table", "thead", "tbody", "tr", "th", "td"}
    line = cut(one_line(text), 300) or "\u2013"
    assert [one.text() for one in seen.all("code")] == [line] * 5
    assert seen.all("a")[0].text() == line
    assert seen.all("pre")[0].text() == plain(text).strip("\n")


@given(nasty_text)
@example("javascript:alert(1)")
@example('https://x/" onclick="alert(1)')
def test_only_addresses_of_the_web_become_links(url: str) -> None:
    seen = page(Paragraph([Link("here", url)]))
    for link in seen.all("a"):
        assert link.attributes == {"href": url, "rel": "noopener noreferrer"}
        assert url.startswith(("https://", "http://"))
    assert len(seen.all("a", "code")) == 1


def test_our_marks_become_elements_and_bold_text_may_go_on_in_the_next_part() -> None:
    line: Line = ["**Gate ", Code("a**b"), " failed**: see `sharpe >= 1**`.<br>Two < three"]
    seen = page(Paragraph(line))
    assert seen.all("strong")[0].text() == "Gate a**b failed"
    assert [one.text() for one in seen.all("code")] == ["a**b", "sharpe >= 1**"]
    assert len(seen.all("br")) == 1
    assert seen.text() == "Gate a**b failed: see sharpe >= 1**.Two < three"


def test_a_paragraph_in_bold_is_a_heading() -> None:
    title = Paragraph(["**Warnings**"])
    seen = page(title, Details("Orders", [title]))
    assert [(one.tag, one.text()) for one in seen.all("h2", "h3")] == [
        ("h2", "Warnings"),
        ("h2", "Orders"),
        ("h3", "Warnings"),
    ]


def test_dates_are_kept_together() -> None:
    seen = page(Paragraph(["from 2023-03-01 to 2023-03-02 07:30, 12023-03-01"]))
    assert [one.text() for one in seen.all("time")] == ["2023-03-01", "2023-03-02 07:30"]


def test_a_table_without_a_header_is_a_list_of_facts() -> None:
    seen = page(Table([[""], [""]], [[["**Commit**"], [Code("5f2c9e8")]]]))
    assert [one.text() for one in seen.all("dt", "dd")] == ["Commit", "5f2c9e8"]


def test_numbers_stand_right() -> None:
    seen = page(Table([["Name"], ["Size"]], [[["a"], ["1"]]], right=frozenset({1})))
    kinds = [one.attributes.get("class") for one in seen.all("th", "td")]
    assert kinds == [None, "number", None, "number"]


def test_a_place_has_what_is_given_for_it_and_else_its_blocks() -> None:
    document = [Details("Orders", [Place("orders", [Paragraph(["the first ten"])])])]
    assert tree(to_html(document, {})).text().split() == ["Orders", "the", "first", "ten"]
    seen = tree(to_html(document, {"orders": lambda first: first + Markup(" <p>and all</p>")}))
    assert seen.text().split() == ["Orders", "the", "first", "ten", "and", "all"]


@pytest.mark.parametrize("outcome", [*outcomes().values(), *backtests().values()])
def test_the_summary_says_the_same_in_html_as_in_markdown(outcome: RunOutcome) -> None:
    document = [block for block in build_summary(outcome) if not isinstance(block, Place)]
    marked = render(to_markdown(document))
    assert words(tree(to_html(document, {})).text()) == words(marked.text())
