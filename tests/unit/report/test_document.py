from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy_action.report.document import (
    LARGEST_MARKDOWN,
    Block,
    Bullets,
    Chart,
    Code,
    Details,
    Heading,
    Line,
    Link,
    Paragraph,
    Quote,
    Table,
    prose,
    to_markdown,
    to_text,
)
from deploy_action.text.harmless import cut, one_line, plain
from tests.support.nasty import nasty_text
from tests.support.rendered import LIVE, Element, render

NOTHING = "\u2013"


def page(*blocks: Block) -> Element:
    return render(to_markdown(blocks))


def letters(text: str) -> str:
    """Return what a sentence must keep: everything except blanks and backticks."""
    return re.sub(r"[\s`]", "", text)


def shown(text: str) -> str:
    """Return how a code span shows a text."""
    return cut(one_line(text), 300) or NOTHING


@given(nasty_text)
@example("`")
@example("a`` `b")
@example("\\")
@example("```")
@example("``` \n```\n# x")
def test_code_shows_any_text_whole_and_nothing_else(text: str) -> None:
    body = page(Paragraph([Code(text)]))
    assert body.tags() == ({"p", "code"} if one_line(text) else {"p"})
    assert body.all("p")[0].text() == shown(text)


@given(nasty_text)
@example("```\n</details>\n````")
@example("~~~\n~~~")
@example("\t- a\n\n\n\n    b")
def test_a_quote_is_one_block_of_the_text_as_it_is(text: str) -> None:
    body = page(Paragraph(["before"]), Quote(text), Paragraph(["after"]))
    assert [one.tag for one in body.children if isinstance(one, Element)] == ["p", "pre", "p"]
    assert body.all("pre")[0].text() == plain(text).strip("\n") + "\n"


@given(nasty_text)
@example("(www.e.vil)")
@example("c0ffee1漢")
@example("- a")
@example("1. a")
@example("===")
@example("@a`b`")
@example("`a``b`")
@example("$`x`$")
@example("` `")
@example("`x`www.e.vil")
@example("see bot.py:100:5")
@example("CVE-2021-44228")
@example("(cve-2021-44228)")
@example("GHSA-jfh8-c2jp-5v3q, ghsa-cfgh-jmpq-rvwx!")
@example("JIRA-123 and x/TICKET-7.")
@example("1234567")
def test_prose_makes_no_markup_of_what_others_wrote(text: str) -> None:
    body = page(Bullets([prose(text), ["last"]]))
    assert body.tags() <= {"ul", "li", "code"}
    first, last = body.all("li")
    assert last.text() == "last"
    assert letters(first.text()) == letters(one_line(text))
    assert not LIVE.search(first.text(without="code"))


@given(nasty_text, nasty_text)
def test_prose_stays_prose_beside_other_code(before: str, text: str) -> None:
    body = page(Paragraph([Code(before), *prose(text)]), Paragraph([Code(before), Code(text)]))
    first, second = body.all("p")
    assert letters(first.text()) == letters(shown(before) + one_line(text))
    assert letters(second.text()) == letters(shown(before) + shown(text))
    assert body.tags() <= {"p", "code"}


def test_sentences_read_as_they_were_written() -> None:
    sentence = 'Input `plan` is `x y`: it\'s 3.5 %, (see `a.py`), or "none" — 2 of 3. A-B/c → d?'
    body = page(Paragraph(prose(sentence)))
    assert [one.text() for one in body.all("code")] == ["plan", "x y", "a.py"]
    assert body.text().strip() == sentence.replace("`", "")


def test_the_full_stop_after_an_address_is_not_part_of_it() -> None:
    body = page(Paragraph(prose("Look at https://e.vil/a?b=1. Or ask @octocat!")))
    assert [one.text() for one in body.all("code")] == ["https://e.vil/a?b=1", "@octocat"]


@pytest.mark.parametrize(
    "word",
    [
        *("CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q", "GHSA-cfgh-jmpq-rvwx", "CWE-79", "JIRA-123"),
        *("GH-12", "#12", "org/name#12", "@octocat", "@org/team", "a@b.co", "www.e.vil", ":tada:"),
        *("https://e.vil", "c0ffee1", "1234567", "0123456789" * 4, "org/name@c0ffee1"),
    ],
)
def test_what_github_links_stays_plain_text(word: str) -> None:
    for sentence in (word, f"see ({word})!", f"{word}, or not", f"漢{word}漢"):
        body = page(Paragraph(prose(sentence)), Bullets([prose(sentence)]))
        for one in body.all("p", "li"):
            assert word.strip(":") not in one.text(without="code")
            assert letters(one.text()) == letters(sentence)
        assert body.tags() <= {"p", "ul", "li", "code"}


def test_long_sentences_and_spans_are_cut() -> None:
    body = page(Paragraph(prose("word " * 1_000)), Paragraph([Code("漢" * 1_000)]))
    sentence, span = body.all("p")
    assert len(sentence.text()) <= 1_000
    assert sentence.text().endswith("…")
    assert span.text() == "漢" * 299 + "…"


@given(st.lists(st.tuples(nasty_text, nasty_text, nasty_text), min_size=1, max_size=4))
@example([("a|b", "\\|", "\\\\|"), ("|", "||", "`|`"), ("a\\", "\\", "x\\")])
def test_a_table_keeps_its_cells_whatever_is_in_them(rows: list[tuple[str, str, str]]) -> None:
    cells: list[list[Line]] = [
        [[Code(a)], [Link(b, "https://own.example/x")], prose(c)] for a, b, c in rows
    ]

    body = page(Table([["A"], ["B"], ["C"]], cells, right=frozenset({1})))

    assert body.tags() <= {"table", "thead", "tbody", "tr", "th", "td", "code", "a"}
    assert [one.text() for one in body.all("th")] == ["A", "B", "C"]
    lines = [one.all("td") for one in body.all("tr")[1:]]
    assert [len(line) for line in lines] == [3] * len(rows)
    for (a, b, c), (first, second, third) in zip(rows, lines, strict=True):
        assert first.text() == shown(a)
        assert letters(second.text()) == letters(one_line(b) or NOTHING)
        assert letters(third.text()) == letters(one_line(c))
        assert not LIVE.search(third.text(without="code"))
        assert [one.attributes["href"] for one in second.all("a")] == ["https://own.example/x"]
        assert not [*first.all("a"), *third.all("a")]
        assert second.attributes["align"] == "right"


@given(nasty_text, nasty_text)
def test_no_text_changes_the_address_of_a_link(text: str, end: str) -> None:
    body = page(Paragraph(["at ", Link(text, f"https://own.example/{end}"), "."]))
    (link,) = body.all("a")
    assert letters(link.text()) == letters(one_line(text) or NOTHING)
    assert not LIVE.search(link.text(without="code"))
    href = link.attributes["href"] or ""
    assert href.startswith("https://own.example/")
    assert not re.search(r"[\s<>\"'`|()\[\]\\]", href)
    assert body.all("p")[0].text() == f"at {link.text()}."


@given(nasty_text, nasty_text)
def test_details_close_after_what_they_hold(name: str, quoted: str) -> None:
    inner: list[Block] = [
        Table([["File"]], [[[Code(name)]]]),
        Quote(quoted),
        Bullets([prose(name)]),
    ]
    body = page(Details("Largest files", inner), Paragraph(["after"]))
    blocks = [one for one in body.children if isinstance(one, Element)]
    assert [one.tag for one in blocks] == ["details", "p"]
    assert blocks[0].all("summary")[0].text() == "Largest files"
    assert blocks[0].all("td")[0].text() == shown(name)
    assert blocks[0].all("pre")[0].text() == plain(quoted).strip("\n") + "\n"


@given(st.lists(nasty_text, min_size=1, max_size=5))
def test_any_document_can_be_written_as_utf_8(texts: list[str]) -> None:
    blocks: list[Block] = [Bullets([[Code(text)], prose(text)]) for text in texts]
    blocks += [Quote(text) for text in texts]
    assert to_markdown(blocks).encode("utf-8")
    assert to_text(blocks).encode("utf-8")


def test_a_document_is_cut_between_blocks_and_says_so() -> None:
    """The runner shows nothing of a summary over its limit."""
    blocks = [Quote("漢字\n" * 10_000) for _ in range(40)]
    markdown = to_markdown([Heading(["Title"]), *blocks])
    assert len(markdown.encode()) <= LARGEST_MARKDOWN + 100 < 1 << 20
    body = render(markdown)
    assert body.tags() == {"h2", "pre", "code", "p", "em"}
    assert len(body.all("pre")) == LARGEST_MARKDOWN // 70_013
    assert "left out" in body.all("p")[-1].text()


def test_a_document_is_cut_for_a_smaller_place_and_keeps_its_last_line() -> None:
    """A comment has at most 65,536 characters, and ends with a link to the rest."""
    last = Paragraph([Link("the whole run", "https://own.example/")])
    blocks: list[Block] = [Heading(["Title"]), *([Quote("漢字" * 500)] * 100)]
    cut_short = to_markdown([*blocks, last], largest=65_536)
    assert 62_000 < len(cut_short.encode()) <= 65_536
    body = render(cut_short)
    assert "left out" in body.all("p")[-2].text()
    assert body.all("a")[0].text() == "the whole run"
    assert "left out" not in to_markdown([blocks[0], last], largest=65_536)


@given(
    st.lists(st.integers(1, 400), max_size=9),
    st.integers(600, 2_000),
    st.sampled_from([["last"], []]),
)
def test_a_cut_document_is_the_start(sizes: list[int], largest: int, last: list[str]) -> None:
    blocks: list[Block] = [Quote("x" * size) for size in sizes]
    blocks += [Paragraph(last)] if last else []
    markdown = to_markdown(blocks, largest=largest)
    assert len(markdown) <= largest
    assert ("left out" in markdown) == (len(to_markdown(blocks)) > largest)
    assert markdown.endswith("last\n\n") == bool(last)
    start = markdown.partition("_The rest")[0]
    assert to_markdown(blocks).startswith(start)


def test_a_document_that_just_fits_is_not_cut() -> None:
    room = LARGEST_MARKDOWN - len(to_markdown([Quote("a")])) + 1
    assert len(to_markdown([Quote("a" * room)])) == LARGEST_MARKDOWN
    assert "left out" in to_markdown([Quote("a" * (room + 1))])


@pytest.mark.parametrize(
    "text",
    [
        "." * 100_000 + "@",
        "` " * 100_000,
        "`" * 100_000,
        "x`" * 100_000,
        ":" * 100_000,
        "\\" * 100_000,
    ],
    ids=["stops", "ticks apart", "ticks", "words and ticks", "colons", "backslashes"],
)
def test_long_runs_of_a_mark_take_linear_time(text: str) -> None:
    """Time grows with the length of a server's answer, not with its square."""
    markdown = to_markdown([Paragraph(prose(text)), Paragraph([Code(text)]), Quote(text)])
    assert len(markdown) < 4 * len(text)


def test_a_terminal_shows_the_same_document_as_text() -> None:
    text = to_text(
        [
            Heading(["Title"]),
            Paragraph(["**Bold** and `code`: ", Code("a_b*c\n"), Code("")]),
            Quote("one\n two\n"),
            Bullets([["first<br>**More:** it"], [Link("page", "https://own.example/")]]),
            Table([["**Name**"], [Code("x|y")]], []),
            Details(
                "Files",
                [Table([["File"], ["Size"]], [([Code("b.py")], ["9 bytes"])], frozenset({1}))],
            ),
        ]
    )

    assert text == (
        "Files\n  File     Size\n  b.py  9 bytes\n\n"
        "Title\n─────\n\n"
        "Bold and code: a_b*c\u2013\n\n"
        "  │ one\n  │  two\n\n"
        "  • first\n    More: it\n  • page <https://own.example/>\n\n"
        "  Name  x|y\n"
    )


def test_a_chart_is_a_picture_or_text() -> None:
    chart = Chart(["xychart-beta\n  line [1, 2]", "xychart-beta\n  line [2, 1]"], "▁█\n\n█▁ ")
    body = render(to_markdown([chart]))
    pictures = [one for one in body.all("pre") if one.attributes.get("lang") == "mermaid"]
    assert [one.text() for one in pictures] == [f"{picture}\n" for picture in chart.pictures]
    assert body.all("details")[0].all("pre")[0].text() == "▁█\n\n█▁ \n"
    assert to_text([chart]) == "  ▁█\n\n  █▁\n"


def test_only_pictures_have_a_legend() -> None:
    chart = Chart(["xychart-beta\n  line [1, 2]"], "▁█", ["🔵 now: ", Code("main")])
    body = render(to_markdown([chart]))
    assert body.all("p")[0].text() == "🔵 now: main"
    assert to_text([chart]) == "  ▁█\n"


def test_a_terminal_gives_emoji_and_ideographs_two_columns() -> None:
    """So that the next columns stay aligned."""
    rows: list[list[Line]] = [
        [["✅ passed"], ["1"]],
        [[Code("均值")], ["22"]],
        [["e\u2013"], ["333"]],
    ]
    text = to_text([Table([["Result"], ["No."]], rows, frozenset({1}))])
    assert text == ("  Result     No.\n  ✅ passed    1\n  均值        22\n  e\u2013         333\n")


@pytest.mark.parametrize(("width", "wrapped_at"), [(50, 50), (150, 150), (1, 40)])
def test_a_terminal_of_another_width_wraps_there(width: int, wrapped_at: int) -> None:
    """Fewer than 40 columns would be unreadable."""
    words = " ".join(["word"] * 90)
    blocks: list[Block] = [Heading([words]), Paragraph([words]), Bullets([[words]])]
    text = to_text([*blocks, Details("Folded", blocks)], width=width)
    assert wrapped_at - 5 < max(map(len, text.splitlines())) <= wrapped_at


def test_a_terminal_wraps_sentences_and_cuts_what_would_push_columns_away() -> None:
    words = " ".join(["word"] * 30)
    url = f"https://own.example/{'x' * 120}"
    text = to_text(
        [
            Heading(["T" * 200]),
            Paragraph([words]),
            Bullets([[f"{words}<br>**More:** {words}"], [Link("page", url)]]),
            Table([["a"], ["b"]], [([Code("y" * 200)], ["1"])]),
        ]
    )

    lines = text.split("\n")
    assert lines[1] == "─" * 96
    assert [line for line in lines[2:] if len(line) > 96] == [f"    <{url}>"]
    assert [line[:6] for line in lines if "word" in line] == [
        *("word w", "word w"),
        *("  • wo", "    wo", "    Mo", "    wo"),
    ]
    assert f"{'y' * 63}…  1" in text
