"""A document as HTML, for the page that a run leaves behind.

As in Markdown, our own sentences may hold the marks of bold text, of code and of a line break.
Everything is escaped first, so nothing that others wrote becomes an element or an attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from markupsafe import Markup, escape

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.report.document import (
    LONGEST_SPAN,
    NOTHING,
    Block,
    Bullets,
    Chart,
    Code,
    Details,
    Document,
    Heading,
    Line,
    Link,
    Paragraph,
    Place,
    Quote,
    Table,
    is_title,
    text_of,
)
from deploy_action.text.harmless import cut, one_line, plain

Places = Mapping[str, Callable[[Markup], Markup]]
"""What stands in some places instead: made from what the summary has there."""
_NAMES_AND_VALUES: Final = 2  # columns
_LONGEST_CELL: Final = 32
# Code first: what is in it has no marks.
_MARKS: Final = lazy_regex(r"(`[^`]+`|\*\*|<br>)")
_DATE: Final = lazy_regex(r"(\b[0-9]{4}-[0-9]{2}-[0-9]{2}(?: [0-9]{2}:[0-9]{2})?\b)", re.ASCII)


def to_html(document: Document, places: Places, *, level: int = 2) -> Markup:
    """Return the document as HTML, with headings of this level below the first one.

    A fold is a section with a heading: a page has room, and what is folded is neither found by a
    search nor printed.
    """
    return Markup("\n").join(_block(block, places, level) for block in document)


def _block(block: Block, places: Places, level: int) -> Markup:
    shown: Markup
    match block:
        case Heading(line):
            shown = Markup("<h1>{}</h1>").format(_line(line))
        case Paragraph(line) if is_title(line):
            title = _line(line, has_bold=False)
            shown = Markup("<h{}>{}</h{}>").format(level, title, level)
        case Paragraph(line):
            shown = Markup("<p>{}</p>").format(_line(line))
        case Quote(text) | Chart(_, text):
            shown = Markup("<pre>{}</pre>").format(plain(text).strip("\n"))
        case Bullets(items):
            lines = (Markup("<li>{}</li>").format(_line(item)) for item in items)
            shown = Markup("<ul>{}</ul>").format(Markup("\n").join(lines))
        case Table():
            shown = _facts(block) if _is_facts(block) else _table(block)
        case Details(title, blocks):
            inner = to_html(blocks, places, level=level + 1)
            section = Markup("<section>\n<h{}>{}</h{}>\n{}\n</section>")
            shown = section.format(level, title, level, inner)
        case Place(name, blocks):
            inner = to_html(blocks, places, level=level)
            shown = places[name](inner) if name in places else inner
    return shown


def _is_facts(table: Table) -> bool:
    """Whether it is a list of names and values: two columns without a header."""
    has_header = any(part for line in table.header for part in line)
    return len(table.header) == _NAMES_AND_VALUES and not has_header


def _facts(table: Table) -> Markup:
    pair = Markup("<dt>{}</dt><dd>{}</dd>")
    rows = (pair.format(_line(name, has_bold=False), _line(value)) for name, value in table.rows)
    return Markup('<dl class="facts">\n{}\n</dl>').format(Markup("\n").join(rows))


def _table(table: Table) -> Markup:
    kinds = [_kind(index, table.right) for index in range(len(table.header))]
    begins = [Markup("<td{}>").format(kind) for kind in kinds]
    rows = "\n".join([_row(cells, begins) for cells in table.rows])
    names = Markup().join(
        Markup('<th scope="col"{}>{}</th>').format(kind, _line(line))
        for kind, line in zip(kinds, table.header, strict=True)
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="group" aria-label="Table by {}"><table{}{}>\n'
        "<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody>\n</table></div>"
    ).format(
        text_of(table.header[0]) or "name",
        Markup(' class="short"') if _is_short(table) else "",
        Markup(" data-sortable") if table.is_sortable else "",
        names,
        Markup(rows),  # noqa: S704  # each cell of it is escaped
    )


def _is_short(table: Table) -> bool:
    """Whether no cell is so long that it has to be wrapped."""
    return all(len(text_of(line)) <= _LONGEST_CELL for row in table.rows for line in row)


def _row(cells: Sequence[Line], begins: Sequence[Markup]) -> str:
    """Return a row as HTML: as plain text, which is joined ten times as fast."""
    shown = [f"{begin}{_line(line)}</td>" for begin, line in zip(begins, cells, strict=True)]
    return f"<tr>{''.join(shown)}</tr>"


def _kind(index: int, right: Collection[int]) -> Markup:
    return Markup(' class="number"') if index in right else Markup("")


def _line(line: Line, *, has_bold: bool = True) -> Markup:
    """Return a line; bold text may begin in one part of it and end in another."""
    shown: list[str] = []  # of each, what others wrote is escaped
    is_bold = False
    for part in line:
        if not isinstance(part, str):
            shown.append(_quoted(part))
            continue
        for piece in _MARKS.split(part):
            if piece == "**":
                is_bold = not is_bold
                shown.append(("</strong>", "<strong>")[is_bold] if has_bold else "")
            else:
                shown += _without_bold(piece)
    shown.append("</strong>" if is_bold and has_bold else "")
    return Markup("".join(shown))  # noqa: S704  # as it says above


def _without_bold(text: str) -> Iterator[str]:
    """Yield the parts of a piece of one of our sentences, in which dates are kept together.

    Of marks it has only a code span or a line break.
    """
    if text == "<br>":
        yield text
    elif len(text) > 1 and text[0] == text[-1] == "`":
        yield f"<code>{escape(text[1:-1])}</code>"
    else:
        for number, piece in enumerate(_DATE.split(text)):
            yield f"<time>{piece}</time>" if number % 2 else escape(plain(piece))


def _quoted(part: Code | Link) -> Markup:
    shown = cut(one_line(part.text), LONGEST_SPAN) or NOTHING
    if isinstance(part, Link) and re.match(r"https?://", part.url):
        link = Markup('<a href="{}" rel="noopener noreferrer">{}</a>')
        return link.format(part.url, shown)
    return Markup("<code>{}</code>").format(shown)
