"""Prints what a run says, to a runner's log or to a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from deploy_action.errors import Problem, Severity
from deploy_action.github import commands
from deploy_action.github.runners import Runner
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import defused
from deploy_action.text.quantities import size
from deploy_action.text.redaction import lines_of, redacted
from deploy_action.text.terminal import Style, Terminal

_SECONDS_BETWEEN_LINES: Final = 10.0
_SECONDS_BETWEEN_FRAMES: Final = 0.1
_LEAST_FOR_SPEED: Final = 1.0  # seconds
_BAR_WIDTH: Final = 24
_STYLES: Final = {
    Severity.ERROR: Style.BAD,
    Severity.WARNING: Style.DOUBTFUL,
    Severity.NOTICE: Style.NOTICE,
}


@dataclass(slots=True)
class Console:
    """Prints lines without secrets, and without workflow commands in what others wrote.

    With `for_runner` it prints workflow commands, otherwise text for people. It uses one stream:
    the runner reads two in an uncertain order.
    """

    stream: TextIO
    for_runner: bool
    terminal: Terminal = Terminal()  # frozen
    verbose: bool = False
    runner: Runner = Runner.GITHUB
    path_in_workspace: Callable[[str], str] = str
    clock: Callable[[], float] = time.monotonic
    _secrets: dict[str, None] = field(default_factory=dict, repr=False)
    _open_bar: bool = False
    _bar_is_full: bool = False
    # The progress of a backtest comes from another thread.
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    is_cut_off: bool = False

    def mask(self, secrets: Iterable[str]) -> None:
        """Hide these secrets from now on. On a runner, they are hidden in later steps too."""
        for secret in secrets:
            if secret in self._secrets:
                continue
            lines = lines_of(secret)
            with self._lock:
                self._secrets |= dict.fromkeys((secret, *lines))
            if self.for_runner:
                # The runner masks it in base64, JSON, URLs and XML, too.
                taken = filter(self.runner.takes_mask, lines)
                for line in commands.mask_commands("\n".join(taken)):
                    self._print(line)

    def redact(self, text: str, *, keep_lines: bool = False) -> str:
        """Return `text` with every known secret replaced; see `redacted`."""
        with self._lock:  # another thread may be signing in
            known = tuple(self._secrets)
        return redacted(text, known, keep_lines=keep_lines)

    def info(self, text: str, style: Style = Style.PLAIN) -> None:
        """Print text that everybody should see."""
        self._print(self.terminal.painted(self._harmless(text), style))

    def page(self, text: str) -> None:
        """Print what was rendered from values without secrets, such as tables, as it is.

        With colours, whoever rendered it has removed all other escape sequences.
        """
        self._print(text if self.terminal.has_colours else defused(text))

    def debug(self, text: str) -> None:
        """Print text only if `RUNNER_DEBUG` is set."""
        if not self.verbose:
            return
        if self.for_runner:
            self._print(commands.command("debug", self._harmless(text)))
        else:
            self.info(text)

    def section(self, title: str) -> None:
        """End the open group and begin another: groups in a runner's log do not nest."""
        with self._lock:
            self._end_group()
            self._begin_group(title)

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Fold the lines printed inside, on a runner."""
        self._begin_group(title)
        try:
            yield
        finally:
            self._end_group()

    def _begin_group(self, title: str) -> None:
        shown = self._harmless(title)
        group = commands.command("group", shown)
        self._print(group if self.for_runner else self.terminal.painted(shown, Style.TITLE))

    def _end_group(self) -> None:
        self._end_bar()
        if self.for_runner:
            self._print("::endgroup::")

    def problem(self, problem: Problem) -> None:
        """Print a problem: as an annotation on a runner, else as text with its place first."""
        text = problem.text()
        file = self.path_in_workspace(problem.path) if problem.path else None
        if self.for_runner:
            line = commands.annotation(
                problem.severity,
                self._harmless(text),
                file=self._harmless(file) if file else None,
                line=problem.line,
                column=problem.column,
            )
            self._print(line)
        else:
            self._print(self._for_people(problem, file))

    def _for_people(self, problem: Problem, file: str | None) -> str:
        shown = file and self._harmless(file)
        place = ":".join(str(part) for part in (shown, problem.line, problem.column) if part)
        severity = f"{problem.severity}:"
        message = self._harmless(problem.message)
        lines = [f"{severity} {f'{place}: ' if place else ''}{message}"]
        if problem.hint:
            lines.append(f"  → {self._harmless(problem.hint)}")
        text = "\n".join(self.terminal.wrapped(line, indent=4) for line in lines)
        painted = self.terminal.painted(severity, _STYLES[problem.severity])
        return painted + text.removeprefix(severity)

    def progress(self, title: str) -> Callable[[int, int], None]:
        """Return a callback for (bytes done, bytes in all) that shows progress.

        A terminal gets a bar, a log gets a line every ten seconds.
        """
        started = self.clock()
        show = self.share_progress(title)

        def report(done: int, total: int) -> None:
            seconds = self.clock() - started
            speed = f", {done / seconds / 1e6:.1f} MB/s" if seconds >= _LEAST_FOR_SPEED else ""
            show(done / total if total else 1.0, f" of {size(total)}{speed}")

        return report

    def share_progress(self, title: str) -> Callable[[float, str], None]:
        """Return a callback for (share done, text after it), as `progress` does."""
        redraws = self.terminal.can_redraw
        interval = _SECONDS_BETWEEN_FRAMES if redraws else _SECONDS_BETWEEN_LINES
        last = float("-inf") if redraws else self.clock()
        is_done = False

        def report(share: float, detail: str) -> None:
            nonlocal last, is_done
            now = self.clock()
            ends = redraws and share >= 1  # a bar that is full stays, so it is drawn whenever
            if is_done or (now - last < interval and not ends):
                return
            last, is_done = now, share >= 1
            self._show_progress(title, share, detail)

        return report

    def _show_progress(self, title: str, share: float, detail: str) -> None:
        text = f"{share:4.0%}{detail}"
        if not self.terminal.can_redraw:
            self._print(f"{title}: {text.strip()}")
            return
        filled = round(share * _BAR_WIDTH)
        with self._lock:
            self._write(f"\r{title} {'█' * filled}{'░' * (_BAR_WIDTH - filled)} {text}\x1b[K")
            self._open_bar, self._bar_is_full = True, share >= 1

    def _harmless(self, text: str) -> str:
        return defused(self.redact(text))

    def _end_bar(self) -> None:
        """Leave a bar as it is, and go on below it."""
        if self._open_bar:
            self._open_bar = False
            self._write("\n")

    def _print(self, line: str) -> None:
        with self._lock:
            if self._open_bar and not self._bar_is_full:
                self._open_bar = False
                self._write("\r\x1b[K")  # the next progress draws it again, below the line
            self._end_bar()
            self._write(line + "\n")

    def _write(self, text: str) -> None:
        """Write and flush. If nobody reads the stream any more, the run goes on in silence."""
        if self.is_cut_off:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            self.is_cut_off = True
