"""A hook of MkDocs: README.md is the first page, and links to other files lead to the repository.

The pages are written to be read on GitHub, too, where a link such as `../action.yml` just works.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

_RELATIVE = re.compile(r"""(\]\(|\bsrc="|\bsrcset=")(?![a-z]+:|#)([^)"\s]+)""")
_OUTSIDE = re.compile(r"\]\(\.\./([^)\s#]+)")


def as_a_page(readme: str) -> str:
    """Return the text of README.md with its links as from a page in docs/."""

    def from_docs(link: re.Match[str]) -> str:
        inside = link[2].removeprefix("docs/")
        return link[1] + (inside if inside != link[2] else f"../{inside}")

    return _RELATIVE.sub(from_docs, readme)


def to_the_repository(page: str, repository: str) -> str:
    """Return a page whose links out of docs/ lead to `repository`, a URL.

    A link to a file that does not exist stays as it is: MkDocs tells of it.
    """

    def on_github(link: re.Match[str]) -> str:
        path = ROOT / link[1]
        if not path.exists():
            return link[0]
        return f"]({repository}/{'tree' if path.is_dir() else 'blob'}/main/{link[1]}"

    return _OUTSIDE.sub(on_github, page)


def on_files(files: Files, /, *, config: MkDocsConfig) -> Files:
    """Add README.md as the first page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=as_a_page(readme)))
    return files


def on_page_markdown(markdown: str, /, *, config: MkDocsConfig, **_: object) -> str:
    """Let links out of docs/ lead to the repository."""
    return to_the_repository(markdown, config.repo_url or "")
