"""Shows summaries in a browser much as GitHub does, and measures them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.rendered import to_html

# The rules of GitHub's style sheet that decide on layout, in our words; colours are close.
_STYLE = """
:root { --text: #1f2328; --muted: #59636e; --page: #fff; --line: #d1d9e0; --code: #818b981f;
  --block: #f6f8fa; --link: #0969da; color-scheme: light }
:root[data-theme=dark] { --text: #f0f6fc; --muted: #9198a1; --page: #0d1117; --line: #3d444d;
  --code: #656c7633; --block: #151b23; --link: #4493f8; color-scheme: dark }
* { box-sizing: border-box }
body { margin: 0; padding: 16px; color: var(--text); background: var(--page);
  font: 16px/1.5 Helvetica, Arial, sans-serif;
  overflow-wrap: break-word }
main { max-width: 100% }
a { color: var(--link) }
h2 { margin: 0 0 16px; padding-bottom: .3em; border-bottom: 1px solid var(--line);
  font-size: 1.5em; line-height: 1.25; font-weight: 600 }
p, ul, table, pre, details { margin: 0 0 16px }
ul { padding-left: 2em }
li + li { margin-top: .25em }
table { display: block; width: max-content; max-width: 100%; overflow: auto;
  border-spacing: 0; border-collapse: collapse; font-variant: tabular-nums }
th { font-weight: 600 }
th, td { padding: 6px 13px; border: 1px solid var(--line) }
tr:nth-child(2n) { background: var(--block) }
code, pre { font: 85% ui-monospace, "DejaVu Sans Mono", monospace }
code { padding: .2em .4em; border-radius: 6px; background: var(--code); white-space: break-spaces }
pre { padding: 16px; overflow: auto; border-radius: 6px; background: var(--block);
  font-size: 85%; line-height: 1.45 }
pre code { padding: 0; background: none; white-space: pre; font-size: 100% }
summary { cursor: pointer }
"""

# Mermaid as forges ship it: GitHub the newest, older ones the last majors that are still about.
MERMAIDS = {
    "10": "mermaid-10/dist/mermaid.min.js",
    "11": "mermaid-11/dist/mermaid.tiny.js",
    "12": "mermaid-12/dist/mermaid.tiny.js",
}
_NODE_MODULES = Path(__file__).parents[2] / "node_modules"

# Puts a picture in the place of each fenced block, as GitHub does, and looks at what came of it: an
# error, texts that touch or are cut, the ends of the line.
_RENDER = """
mermaid.initialize({startOnLoad: false, theme: THEME});
const box = one => one.getBoundingClientRect();
const seen = one => one.textContent.replace(/[\u200b\u200c]/g, '');
const touch = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
  && a.top < b.bottom - 1 && b.top < a.bottom - 1;
const outside = (a, frame) => a.left < frame.left - 1 || a.right > frame.right + 1
  || a.top < frame.top - 1 || a.bottom > frame.bottom + 1;
const look = svg => {
  const frame = box(svg);
  const texts = [...svg.querySelectorAll('text')].filter(one => seen(one));
  const boxes = texts.map(box);
  const line = svg.querySelector('.line-plot-0 path, [class^=plot] path');
  const axis = svg.querySelector('.left-axis .axisl-line, .axisl-line, .left-axis');
  return {
    error: svg.getAttribute('aria-roledescription') === 'error',
    width: frame.width, height: frame.height,
    top: frame.top + scrollY, bottom: frame.bottom + scrollY,
    axis: axis ? box(axis).right - frame.left : null,
    texts: texts.map(seen),
    touching: texts.filter((_, i) => boxes.some((b, j) => j > i && touch(boxes[i], b))).map(seen),
    cut: texts.filter((_, i) => outside(boxes[i], frame)).map(seen),
    line: line ? line.getAttribute('d') : '',
    lines: [...svg.querySelectorAll('[class^=line-plot] path')].map(one =>
      ({colour: getComputedStyle(one).stroke, is_inside: !outside(box(one), frame)})),
    is_inside: line ? !outside(box(line), frame) : false,
  };
};
const render = async () => {
  const charts = [];
  for (const block of document.querySelectorAll('pre[lang=mermaid]')) {
    try {
      const {svg} = await mermaid.render(`chart${charts.length}`, block.textContent);
      const picture = document.createElement('p');
      picture.innerHTML = svg;
      block.replaceWith(picture);
      charts.push(look(picture.querySelector('svg')));
    } catch (error) {
      charts.push({error: String(error)});
    }
  }
  return charts;
};
"""

# What a reader would have to scroll sideways for, what shows, and what a fold hides.
_MEASURE = """
const main = document.querySelector('main');
const scrolls = one => one.closest('table, pre') !== null;
const right = one => one.getBoundingClientRect().right;
const wide = [...main.querySelectorAll('*')]
  .filter(one => !scrolls(one.parentElement) && right(one) > innerWidth - 15)
  .map(one => one.outerHTML.slice(0, 200));
const fold = [...main.querySelectorAll('details')].pop();
const height = one => one ? one.getBoundingClientRect().height : null;
const closed = height(fold);
if (fold) fold.open = true;
const opened = height(fold);
const measured = {
  charts,
  page: document.documentElement.scrollWidth, window: innerWidth, wide,
  scrolled: [...main.querySelectorAll(':scope > table')].map(
    one => one.scrollWidth - one.clientWidth),
  tables: [...main.querySelectorAll(':scope > table')].map(height),
  bottoms: [...main.querySelectorAll(':scope > h2, :scope > table')].map(
    one => one.getBoundingClientRect().bottom + scrollY),
  sentences: [...main.querySelectorAll(':scope > p')].map(
    one => [one.textContent, one.getBoundingClientRect().bottom + scrollY]),
  rows: main.querySelector('table')?.rows.length,
  closed, opened,
};
if (fold) fold.open = false;
return measured;
"""


def page(markdowns: Sequence[str], *, width: int, theme: str, mermaid: str = "11") -> str:
    """Return a page with summaries, each in a frame of this width.

    Windows have a smallest width, even without a head; frames have none.
    """
    library = (_NODE_MODULES / MERMAIDS[mermaid]).as_uri()
    mermaid_theme = json.dumps("dark" if theme == "dark" else "default")
    frames = []
    for number, markdown in enumerate(markdowns):
        script = (
            f"{_RENDER.replace('THEME', mermaid_theme)} render().then(charts => {{{_MEASURE}}})"
            ".catch(String).then(measured => {"
            f"parent.document.querySelectorAll('pre')[{number}].textContent = "
            "JSON.stringify(measured);"
            "frameElement.style.height = document.documentElement.scrollHeight + 'px'})"
        )
        inner = (
            f"<!doctype html><html data-theme={theme}><meta charset=utf-8><style>{_STYLE}</style>"
            f"<main>{to_html(markdown)}</main><script src={library}></script>"
            f"<script>{script}</script>"
        )
        frames.append(f"<pre></pre><iframe srcdoc='{html.escape(inner)}'></iframe>")
    return (
        "<!doctype html><meta charset=utf-8><style>body { margin: 0 } iframe { border: 0; "
        f"display: block; width: {width}px; height: 3000px }} pre {{ display: none }}</style>"
        + "".join(frames)
    )


def is_missing() -> str:
    """Return what is not installed but needed to show summaries; blank if nothing."""
    if browser() is None:
        return "Chromium is not installed"
    if not all((_NODE_MODULES / path).exists() for path in MERMAIDS.values()):
        return "Mermaid is not installed: `make setup`, with npm"
    return ""


def browser() -> str | None:
    """Return the path of Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def run_browser(directory: Path, *options: str) -> str:
    """Run Chromium on `page.html` of a directory and return what it prints."""
    command = [
        browser() or "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--user-data-dir={directory / 'profile'}",
        *options,
        (directory / "page.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    return done.stdout.decode()


def measure(markdown: str, directory: Path, **options: Any) -> dict[str, Any]:
    """Return the measurements of one summary; `options` are those of `page`."""
    (measured,) = measure_all([markdown], directory, **options)
    return measured


def measure_all(markdowns: Sequence[str], directory: Path, **options: Any) -> list[dict[str, Any]]:
    """Measure several summaries in one browser, because starting it takes longest."""
    (directory / "page.html").write_text(page(markdowns, **options), encoding="utf-8")
    dom = run_browser(directory, "--dump-dom", "--virtual-time-budget=60000")
    found = re.findall(r"<pre>([^<]+)</pre>", dom, re.DOTALL)
    assert len(found) == len(markdowns), dom
    return [json.loads(html.unescape(one)) for one in found]
