"""A small document, rendered as Markdown for a job summary or as text for a terminal.

Strings in a document are ours and may hold Markdown. What others wrote (commit messages, file
names, answers of a server) goes in as `Code`: nothing in a code span or a fenced block becomes a
link, a mention, an image or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final
from unicodedata import east_asian_width

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass
from deploy_action.text.harmless import cut, excerpt, one_line, plain
from deploy_action.text.terminal import WIDTH_WITHOUT_TERMINAL, Style, wrapped

# Of a summary over 1 MiB, the runner shows nothing.
LARGEST_MARKDOWN: Final = 1_000_000
_CUT: Final = "_The rest is left out: it is too long for this place._\n\n"
LONGEST_SPAN: Final = 300
_LONGEST_SENTENCE: Final = 1_000
_NARROWEST_TEXT: Final = 40
_LONGEST_CELL: Final = 64
# A dash, because a hyphen could start a list.
NOTHING: Final = "\u2013"
_BOLD: Final = lazy_regex(r"\*\*[^*]+\*\*")
_STYLES_BY_MARK: Final = {"✅": Style.GOOD, "❌": Style.BAD, "⚠": Style.DOUBTFUL}


@dataclass(frozen=True, slots=True)
class Code:
    """Text that others wrote, shown as code."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link. We made the address; anybody may have written the text."""

    text: str
    url: str


Inline = str | Code | Link
Line = Sequence[Inline]


@dataclass(frozen=True, slots=True)
class Heading:
    """A second-level heading."""

    line: Line


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text."""

    line: Line


@dataclass(frozen=True, slots=True)
class Quote:
    """Lines that others wrote, unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `right` names the columns that hold numbers. A header may have no words.

    `is_sortable` lets the reader of a page sort it.
    """

    header: Sequence[Line]
    rows: Sequence[Sequence[Line]]
    right: frozenset[int] = frozenset()
    is_sortable: bool = False


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks folded under a title. A terminal shows them first."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Chart:
    """Pictures as Mermaid sources, and the same as characters; both made by us.

    Markdown gets both, with the characters folded, because not every forge renders Mermaid. A
    terminal gets the characters. `legend` explains the colours of the pictures.
    """

    pictures: Sequence[str]
    text: str
    legend: Line = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Blocks for which a page in HTML may have something better, by this name: a live chart."""

    name: str
    blocks: Sequence[Block]


Block = Heading | Paragraph | Quote | Bullets | Table | Details | Chart | Place
Document = Sequence[Block]


def _without_places(document: Document) -> Iterator[Block]:
    for block in document:
        yield from block.blocks if isinstance(block, Place) else [block]


_NOT_IN_ADDRESSES: Final = lazy_regex(r"[^A-Za-z0-9:/?#@!$*+,;=%~._-]+")
# Characters without blanks. A code span counts as one character.
_TOKENS: Final = lazy_regex(r"\s+|(?:`\s*[^`\s][^`]*`|[^\s`]|`)+")
_CODE_SPANS: Final = lazy_regex(r"(`\s*[^`\s][^`]*`)")
_PUNCTUATION: Final = ".,;:!?)"
# Words of only these characters are shown as they are; no character beyond ASCII is markup. Every
# other word becomes code: what GitHub links (addresses, mentions, commits, vulnerabilities, issues,
# such as `GH-1`, and what repositories make links of, such as `JIRA-1`), emoji by name, and
# everything that contains Markdown or HTML markup.
_PLAIN_WORD: Final = lazy_regex(
    r"(?!.*(?:www\.|ghsa-|(?<![a-z0-9])(?!sha-|utf-)[a-z][a-z0-9]+[./+=-]+[0-9]|(?<![0-9a-z])[0-9a-f]{7,40}(?![0-9a-z])))"
    r"(?:[^\x00-\x7f]|[A-Za-z0-9.,;!?()'\"%/+=-])*",
    re.IGNORECASE,
)
# At the start of a line, these make a list, a rule or a heading.
_BLOCK_MARK: Final = lazy_regex(r"[-+=]+|\d+[.)]")


def prose(text: str) -> Line:
    """Return one of our sentences, which may quote what others wrote, so that it is safe to show.

    Code spans stay, and words that could be markup become code. The sentence is cut at 1,000
    characters.
    """
    parts: list[Inline] = []
    for token in _TOKENS.findall(excerpt(text, _LONGEST_SENTENCE)):
        if token.isspace():
            parts.append(token)
        elif not parts and _BLOCK_MARK.fullmatch(token):
            parts.append(Code(token))
        else:
            parts += _token(token)
    return parts


def _token(token: str) -> Line:
    pieces = [piece for piece in _CODE_SPANS.split(token) if piece]
    is_code = [_CODE_SPANS.fullmatch(piece) is not None for piece in pieces]
    if all(map(_is_plain, pieces, is_code)):
        return [
            Code(piece[1:-1]) if code else piece
            for piece, code in zip(pieces, is_code, strict=True)
        ]
    core = token.rstrip(_PUNCTUATION) or token
    return [Code(core), token[len(core) :]]


def _is_plain(piece: str, is_code: bool) -> bool:  # noqa: FBT001  # for `map`
    return is_code or _PLAIN_WORD.fullmatch(piece.rstrip(_PUNCTUATION)) is not None


def to_markdown(document: Document, *, largest: int = LARGEST_MARKDOWN) -> str:
    """Return GitHub-flavoured Markdown of at most `largest` bytes in UTF-8.

    A longer document is cut between blocks, and says so. A paragraph at its end stays: it may say
    where the rest is.
    """
    document = list(_without_places(document))
    parts = [_markdown(block) + "\n\n" for block in document]
    if sum(map(_bytes, parts)) <= largest:
        return "".join(parts)
    last = parts[-1:] if isinstance(document[-1], Paragraph) else []
    ending = "".join([_CUT, *last])
    room = largest - _bytes(ending)
    sizes = accumulate(map(_bytes, parts[: len(parts) - len(last)]))
    fitting = sum(1 for size in sizes if size <= room)
    return "".join([*parts[:fitting], ending])


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _markdown(block: Block) -> str:
    match block:
        case Heading(line):
            return f"## {_markdown_line(line)}"
        case Paragraph(line):
            return _markdown_line(line)
        case Quote(text):
            return _fenced(text)
        case Bullets(items):
            return "\n".join(f"- {_markdown_line(item)}" for item in items)
        case Table():
            return _markdown_table(block)
        case Details() | Chart() | Place():
            return _markdown_of_several(block)


def _markdown_of_several(block: Details | Chart | Place) -> str:
    if not isinstance(block, Chart):
        inner = "\n\n".join(map(_markdown, block.blocks))
        return _folded(block.title, inner) if isinstance(block, Details) else inner
    shown = [f"```mermaid\n{picture}\n```" for picture in block.pictures]
    legend = [_markdown_line(block.legend)] if block.legend else []
    return "\n\n".join([*legend, *shown, _folded("The same in characters", _fenced(block.text))])


def _folded(title: str, inner: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{inner}\n\n</details>"


def _markdown_line(line: Line, *, in_table: bool = False) -> str:
    shown: list[str] = []
    for part in line:
        text = _markdown_inline(part, in_table=in_table)
        # Code spans that touch would read as one with a longer fence.
        touching = shown and shown[-1].endswith("`") and text.startswith("`")
        shown += [" ", text] if touching else [text]
    return "".join(shown)


def _markdown_inline(part: Inline, *, in_table: bool) -> str:
    match part:
        case str():
            return part
        case Code(text):
            return _code_span(text, in_table=in_table)
        case Link(text, url):
            shown = _markdown_line(prose(text), in_table=in_table)
            return f"[{shown or NOTHING}]({_address(url)})"


def _address(url: str) -> str:
    """Percent-encode what would end a link's address or is Markdown."""
    return _NOT_IN_ADDRESSES.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace")), url
    )


def _code_span(text: str, *, in_table: bool) -> str:
    """Return a code span whose fence is longer than any run of backticks in the text."""
    line = one_line(text)
    if not line:
        return NOTHING
    line = cut(line, LONGEST_SPAN)
    fence = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    # In a table a bar ends the cell, even in code. GitHub removes only this one backslash.
    shown = line.replace("|", "\\|") if in_table else line
    return f"{fence}{pad}{shown}{pad}{fence}"


def _fenced(text: str) -> str:
    clean = plain(text).strip("\n")
    fence = "`" * max(3, _longest_run(clean) + 1)
    return f"{fence}text\n{clean}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _markdown_table(table: Table) -> str:
    rules = ["---:" if index in table.right else ":---" for index in range(len(table.header))]
    header, *rows = (
        [_markdown_line(cell, in_table=True) for cell in row] for row in (table.header, *table.rows)
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rules, *rows))


Paint = Callable[[str, Style], str]
_Styled = tuple[Style, str]


def _unpainted(text: str, _style: Style) -> str:
    return text


def to_text(
    document: Document, *, width: int = WIDTH_WITHOUT_TERMINAL, paint: Paint = _unpainted
) -> str:
    """Return the document as text, wrapped at `width` columns, but never at fewer than 40.

    What a page folds away comes first: on a terminal, the reader sees the end. `paint` puts a line
    in a style; whatever others wrote has no escape sequences by then.
    """
    width = max(width, _NARROWEST_TEXT)
    blocks = sorted(_without_places(document), key=lambda one: not isinstance(one, Details))
    return "\n\n".join(_painted(_text(block, width), paint) for block in blocks) + "\n"


def _painted(parts: Iterable[_Styled], paint: Paint) -> str:
    return "\n".join(
        paint(plain(line), style) for style, text in parts for line in text.split("\n")
    )


def _text(block: Block, width: int) -> Iterator[_Styled]:
    match block:
        case Heading(line):
            title = wrapped(text_of(line), width)
            yield _STYLES_BY_MARK.get(title[:1], Style.TITLE), title
            yield Style.ASIDE, "─" * min(max(map(_width, title.split("\n"))), width)
        case Paragraph(line):
            yield _style_of(line), wrapped(text_of(line), width)
        case Quote(text):
            lines = plain(text).strip("\n").split("\n")
            yield Style.PLAIN, "\n".join(f"  │ {line}" for line in lines)
        case Bullets(items):
            for item in items:
                yield Style.PLAIN, wrapped(f"  • {text_of(item)}", width, indent=4)
        case Table():
            yield from _text_table(block, width)
        case Details() | Place():
            yield from _text_of_several(block, width)
        case Chart():
            lines = plain(block.text).split("\n")
            yield Style.PLAIN, "\n".join(f"  {line}".rstrip() for line in lines)


def _text_of_several(block: Details | Place, width: int) -> Iterator[_Styled]:
    if isinstance(block, Details):
        yield Style.TITLE, _unmarked(block.title)
    for one in block.blocks:
        yield from _text(one, width)


def _style_of(line: Line) -> Style:
    return Style.TITLE if is_title(line) else Style.PLAIN


def is_title(line: Line) -> bool:
    """Whether a paragraph is in bold, and so the title of what follows it."""
    return len(line) == 1 and isinstance(line[0], str) and _BOLD.fullmatch(line[0]) is not None


def text_of(line: Line) -> str:
    """Return a line as text, without our own marks."""
    shown: dict[type, Callable[..., str]] = {
        str: _unmarked,
        Code: lambda code: one_line(code.text) or NOTHING,
        Link: lambda link: f"{one_line(link.text)} <{link.url}>",
    }
    return "".join(shown[type(part)](part) for part in line)


def _unmarked(text: str) -> str:
    """Return our own Markdown without its marks."""
    return re.sub(r"[*`]|</?\w+>|(?<!\w)_|_(?!\w)", "", text.replace("<br>", "\n    "))


def _text_table(table: Table, width: int) -> Iterator[_Styled]:
    """Yield the lines of a table; one that is too wide goes on below, with its first column."""
    rows = [[_text_cell(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    parts: list[list[int]] = [[]]
    for index in range(1, len(widths)):
        if parts[-1] and sum(widths[one] + 2 for one in (0, *parts[-1], index)) > width:
            parts.append([])
        parts[-1].append(index)
    for part in parts:
        for number, row in enumerate(rows):
            if not any(row):
                continue  # a header without words
            cells = [(row[one], widths[one], one in table.right) for one in (0, *part)]
            yield Style.PLAIN if number else Style.TITLE, _aligned(cells)


def _text_cell(line: Line) -> str:
    """Return a cell. Long texts of others are cut, to keep the columns on the screen."""
    return text_of(
        [Code(cut(part.text, _LONGEST_CELL)) if isinstance(part, Code) else part for part in line]
    )


def _width(text: str) -> int:
    """Return how many columns a text takes on a terminal: emoji and ideographs take two each."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def _aligned(cells: Iterable[tuple[str, int, bool]]) -> str:
    """Return a row of cells, each with the width of its column, and whether it stands right."""
    shown = []
    for cell, width, is_right in cells:
        blanks = " " * (width - _width(cell))
        shown.append(blanks + cell if is_right else cell + blanks)
    return ("  " + "  ".join(shown)).rstrip()
