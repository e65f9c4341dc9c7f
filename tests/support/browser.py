"""Pages in Debian's Chromium: what is wrong with them, and the devices that they are seen on.

A test gets `browse` (tests/browser/conftest.py), a function that opens windows. All that goes
wrong in a window fails the test: errors in scripts, what the page's security policy refused,
requests that failed or went elsewhere, dialogs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.page import browser as chromium_path
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request

_AXE: Final = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_TELL_VIOLATIONS: Final = """
document.addEventListener('securitypolicyviolation', event =>
  console.error(`refused by the security policy: ${event.effectiveDirective} ${event.blockedURI}`));
"""
# Rules of WCAG and of good practice; impacts, from the least: minor, moderate, serious, critical.
_RUN_AXE: Final = """
async () => {
  const options = {resultTypes: ['violations'], preload: false};  // of style sheets and films
  const {violations} = await axe.run(document, options);
  return violations.map(({id, impact, help, nodes}) => ({
    impact,
    text: `${id} (${impact}): ${help}\\n` + nodes.map(node => `  ${node.html}`).join('\\n'),
  }));
}
"""
# Characters that reorder text, and those that terminals obey.
_INVISIBLE: Final = re.compile("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# What sticks out of the page to the right, but not out of a box that scrolls by itself.
_FIND_WIDE: Final = """
() => {
  const scrolls = one => {
    for (; one && one !== document.body; one = one.parentElement)
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(one).overflowX)) return true;
    return false;
  };
  const page = document.documentElement;
  const wide = [...document.body.querySelectorAll('*')].filter(one =>
    one.getBoundingClientRect().right > page.clientWidth + 1 && !scrolls(one.parentElement));
  const found = wide.map(one => one.outerHTML.slice(0, 200));
  return page.scrollWidth > page.clientWidth ? [`${page.scrollWidth} px wide`, ...found] : found;
}
"""
# What has the focus: how it is called, whether one sees that it has the focus, and where it is.
_FOCUSED: Final = """
() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const style = getComputedStyle(one), box = one.getBoundingClientRect();
  const label = one.labels && one.labels[0] ? one.labels[0].textContent : '';
  return {
    number: [...document.querySelectorAll('*')].indexOf(one),
    tag: one.tagName.toLowerCase(),
    name: (one.getAttribute('aria-label') || label || one.innerText || one.value || '').trim(),
    outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
    isShown: box.width > 0 && box.right > 0 && box.bottom + scrollY > 0,
  };
}
"""
_NOTE_FOCUSED: Final = f"""
() => {{
  const focused = {_FOCUSED};
  window.reached = [];
  document.addEventListener('focusin', () => window.reached.push(focused()));
}}
"""


class Device(Enum):
    """What a page is looked at on; the values are options of a browser's context."""

    DESK: Final = {"viewport": {"width": 1200, "height": 900}}
    TELEPHONE: Final = {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    }


@dataclass
class Window:
    """A window of a browser, with its own cookies, on the server at `url`.

    `faults` are what went wrong in it so far, apart from what contains one of `allowed`.
    """

    context: BrowserContext
    page: Page
    url: str
    allowed: list[str] = field(default_factory=list)
    _seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Notice from now on what goes wrong."""
        self.context.set_default_timeout(PATIENCE * 1000)
        self.context.add_init_script(_TELL_VIOLATIONS)
        self.context.on("console", self._hear)
        self.context.on("weberror", lambda error: self._seen.append(f"a script: {error.error}"))
        self.context.on("request", self._see_request)
        self.context.on("requestfailed", self._see_failure)
        self.context.on("dialog", self._refuse_dialog)

    def open(self, path: str) -> None:
        """Load a page of the server, all of it."""
        self.page.goto(f"{self.url}{path}", wait_until="load")

    def sign_in(self, token: str) -> None:
        """Begin a session without the form."""
        form: dict[str, str | float | bool] = {"token": token, "next": "/"}
        answer = self.context.request.post(f"{self.url}/login", form=form, max_redirects=0)
        assert answer.status == 303, answer.text()

    def unfold(self) -> None:
        """Open all that is folded."""
        self.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")

    def click(self, name: str) -> None:
        """Press a button or follow a link, by the whole name that a reader sees."""
        button = self.page.get_by_role("button", name=name, exact=True)
        button.or_(self.page.get_by_role("link", name=name, exact=True)).first.click()

    def text(self) -> str:
        """Return what a reader sees, in one line."""
        return " ".join(self.page.locator("body").inner_text().split())

    def assert_accessible(self) -> None:
        """Fail if axe finds something that is more than minor."""
        if not self.page.evaluate("'axe' in window"):
            program = _AXE.read_text(encoding="utf-8")
            self.page.evaluate(program)
            self.context.add_init_script(program)  # for later pages: that takes a tenth of the time
        found = self.page.evaluate(_RUN_AXE)
        grave = [each["text"] for each in found if each["impact"] != "minor"]
        assert not grave, "\n".join([self.page.url, *grave])

    def assert_fits(self) -> None:
        """Fail if one has to scroll the page sideways."""
        wide = self.page.evaluate(_FIND_WIDE)
        assert not wide, "\n".join([self.page.url, *wide])

    def assert_harmless(self) -> None:
        """Fail if text that others wrote became markup, or can reorder what is around it."""
        made = self.page.locator("i, u, s, img, script:not([src]):not([type='application/json'])")
        assert made.count() == 0, made.first.evaluate("one => one.outerHTML")
        assert not _INVISIBLE.findall(self.page.content()), self.page.url

    def tab(self, *, backwards: bool = False) -> dict[str, Any] | None:
        """Go to the next control with the keyboard; return what is known of it, None at the end."""
        self.page.keyboard.press("Shift+Tab" if backwards else "Tab")
        found: dict[str, Any] | None = self.page.evaluate(_FOCUSED)
        return found

    def tab_through(self, least: int) -> list[dict[str, Any]]:
        """Go from control to control until the first comes again; return what is known of each.

        There may be more than the `least`, or none.
        """
        self.page.evaluate(_NOTE_FOCUSED)
        numbers: list[int] = []
        while True:
            for _ in range(max(1, least + 1 - len(numbers))):
                self.page.keyboard.press("Tab")
            reached: list[dict[str, Any]] = self.page.evaluate("window.reached")
            before, numbers = len(numbers), [one["number"] for one in reached]
            again = [number for at, number in enumerate(numbers) if number in numbers[:at]]
            if again or len(numbers) == before:
                return reached[: len(set(numbers))]

    def tab_to(self, name: str) -> None:
        """Go on with the keyboard until a control of this name has the focus."""
        passed = []
        while found := self.tab():
            assert found["outline"] >= 1, f"the focus is not seen on {found}"
            assert found["isShown"], f"{found} has the focus, and is not seen"
            if found["name"] == name:
                return
            passed.append(found["name"])
        raise AssertionError(f"the keyboard does not lead to {name!r}, only to {passed}")

    def picture(self, path: Path) -> None:
        """Save what the whole page looks like."""
        self.page.screenshot(path=path, full_page=True)

    @property
    def faults(self) -> list[str]:
        """What went wrong so far."""
        return [one for one in self._seen if not any(each in one for each in self.allowed)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._seen.append(f"the console: {message.text} ({message.location.get('url')})")

    def _see_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:", "blob:", "file:", "about:")):
            self._seen.append(f"a request to somebody else: {request.url}")

    def _see_failure(self, request: Request) -> None:
        # A page that is left stops what it was loading.
        if request.failure != "net::ERR_ABORTED":
            self._seen.append(f"a failed request: {request.url}: {request.failure}")

    def _refuse_dialog(self, dialog: Dialog) -> None:
        self._seen.append(f"a dialog: {dialog.message}")
        dialog.dismiss()


def is_missing() -> str:
    """Return what is not installed but needed; blank if nothing."""
    if chromium_path() is None:
        return "Chromium is not installed"
    if not _AXE.exists():
        return "axe is not installed: `make setup`, with npm"
    return ""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium. While it runs, this thread has an event loop that runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=[*_FLAGS])
        try:
            yield browser
        finally:
            browser.close()


def open_window(
    browser: Browser,
    url: str,
    device: Device = Device.DESK,
    *,
    is_dark: bool = False,
    has_scripts: bool = True,
) -> Window:
    """Open a window that knows nothing of the others; its `context` has to be closed."""
    context = browser.new_context(
        **device.value,
        color_scheme="dark" if is_dark else "light",
        java_script_enabled=has_scripts,
        locale="en-GB",
    )
    return Window(context, context.new_page(), url)
