"""The pages of the documentation on the site say what they say on GitHub."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import markdown  # type: ignore[import-untyped]  # it has no stubs
import pytest
from mkdocs.config import load_config

from tests.support.rendered import Element, render, tree
from tools.docs_site import as_a_page, to_the_repository

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REPOSITORY = "https://forge.example/people/action"

SHOWN = ("h1", "h2", "h3", "p", "ul", "ol", "li", "table", "td", "pre", "code", "a", "strong", "em")


def on_the_site(text: str) -> Element:
    """Render a page with the extensions of mkdocs.yml, without what they add to it."""
    settings = load_config(str(ROOT / "mkdocs.yml"))
    options = dict(settings.mdx_configs)
    options["toc"] = {**options["toc"], "permalink": False}
    options["pymdownx.highlight"] = {"use_pygments": False}
    return tree(
        markdown.markdown(
            text, extensions=list(settings.markdown_extensions), extension_configs=options
        )
    )


def shown(page: Element) -> list[tuple[str, str]]:
    """Return the elements of a page that have text, each with it."""
    texts = ((one.tag, " ".join(one.text().split())) for one in page.all(*SHOWN))
    return [(tag, text) for tag, text in texts if text]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_reads_on_the_site_as_on_github(path: Path) -> None:
    """The two Markdowns differ in lists within lists and in bars within tables, among others."""
    text = path.read_text(encoding="utf-8")
    assert shown(on_the_site(text)) == shown(render(text))


def test_the_links_of_the_first_page_start_in_docs() -> None:
    page = as_a_page(
        '[a](docs/a.md#b) [c](examples/c.yml) [d](#d) [e](https://e.example) <img src="docs/f.png">'
    )
    assert page == (
        '[a](a.md#b) [c](../examples/c.yml) [d](#d) [e](https://e.example) <img src="f.png">'
    )


def test_links_out_of_the_pages_lead_to_the_repository() -> None:
    page = to_the_repository("[a](../action.yml#L3) [b](../examples/models) [c](c.md)", REPOSITORY)
    assert page == (
        f"[a]({REPOSITORY}/blob/main/action.yml#L3) [b]({REPOSITORY}/tree/main/examples/models) "
        "[c](c.md)"
    )


def test_a_dead_link_out_of_the_pages_is_left_for_mkdocs_to_tell() -> None:
    assert to_the_repository("[a](../gone.yml)", REPOSITORY) == "[a](../gone.yml)"


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"^ +- (\S+\.md)$", text, re.MULTILINE))
    assert named == {"index.md", *(path.name for path in PAGES[1:])}


def test_dead_links_fail_the_build(tmp_path: Path) -> None:
    """With the command of `make docs`: `--quiet` would hide them, and pass."""
    for name in ("docs", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("README.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "docs" / "gates.md").write_text("[a](gone.md) [b](prices.md#gone) [c](../gone.yml)")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (options,) = re.findall(r"/mkdocs (build .*)$", makefile, re.MULTILINE)
    command = [str(Path(sysconfig.get_path("scripts")) / "mkdocs"), *options.split()]

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    for link in ("gone.md", "#gone", "../gone.yml"):
        assert f"'{link}'" in done.stderr
