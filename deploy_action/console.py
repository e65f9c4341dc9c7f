"""Prints what a run says, to a runner's log or to a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TextIO

from deploy_action.errors import Problem
from deploy_action.github import commands
from deploy_action.text.harmless import defused
from deploy_action.text.redaction import SHORTEST_KEY, redacted

_SECONDS_BETWEEN_LINES: Final = 10.0
_SECONDS_BETWEEN_FRAMES: Final = 0.1
_BAR_WIDTH: Final = 24


@dataclass(slots=True)
class Console:
    """Prints lines without secrets, and without workflow commands in what others wrote.

    With `for_runner` it prints workflow commands, otherwise text for people. It uses one stream:
    the runner reads two in an uncertain order.
    """

    stream: TextIO
    for_runner: bool
    verbose: bool = False
    problem_prefix: str = ""
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
            lines = [line.strip() for line in secret.splitlines()]
            if len(lines) > 1:  # the last line of a private key may have one character
                lines = [line for line in lines if len(line) >= SHORTEST_KEY]
            with self._lock:
                self._secrets |= dict.fromkeys((secret, *lines))
            if self.for_runner:
                # The runner masks it in base64, JSON, URLs and XML, too.
                for line in commands.mask_commands("\n".join(lines)):
                    self._print(line)

    def redact(self, text: str) -> str:
        """Return `text` with every known secret replaced."""
        with self._lock:  # another thread may be signing in
            known = tuple(self._secrets)
        return redacted(text, known)

    def info(self, text: str) -> None:
        """Print text that everybody should see."""
        self._print(self._harmless(text))

    def page(self, text: str) -> None:
        """Print what was rendered from values without secrets, such as tables, as it is."""
        self._print(defused(text))

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
        self._print(commands.command("group", shown) if self.for_runner else shown)

    def _end_group(self) -> None:
        self._end_bar()
        if self.for_runner:
            self._print("::endgroup::")

    def problem(self, problem: Problem) -> None:
        """Print a problem: as an annotation on a runner, else as text with its place first."""
        text = problem.text()
        file = self.problem_prefix + problem.path if problem.path else None
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
        hint = f"\n  → {self._harmless(problem.hint)}" if problem.hint else ""
        message = self._harmless(problem.message)
        return f"{problem.severity}: {f'{place}: ' if place else ''}{message}{hint}"

    def progress(self, title: str) -> Callable[[int, int], None]:
        """Return a callback for (bytes done, bytes in all) that shows progress.

        A terminal gets a bar, a log gets a line every ten seconds.
        """
        started = self.clock()
        show = self.share_progress(title)

        def report(done: int, total: int) -> None:
            seconds = self.clock() - started
            speed = done / seconds / 1e6 if seconds > 0 else 0.0
            show(done / total if total else 1.0, f" of {total / 1e6:.1f} MB, {speed:.1f} MB/s")

        return report

    def share_progress(self, title: str) -> Callable[[float, str], None]:
        """Return a callback for (share done, text after it), as `progress` does."""
        last = float("-inf") if self._is_terminal else self.clock()

        def report(share: float, detail: str) -> None:
            nonlocal last
            now = self.clock()
            interval = _SECONDS_BETWEEN_FRAMES if self._is_terminal else _SECONDS_BETWEEN_LINES
            if now - last < interval and not (self._open_bar and share >= 1):
                return
            last = now
            self._show_progress(title, share, detail)

        return report

    def _show_progress(self, title: str, share: float, detail: str) -> None:
        text = f"{share:4.0%}{detail}"
        if not self._is_terminal:
            self._print(f"{title}: {text.strip()}")
            return
        filled = round(share * _BAR_WIDTH)
        with self._lock:
            self._write(f"\r{title} {'█' * filled}{'░' * (_BAR_WIDTH - filled)} {text}\x1b[K")
            self._open_bar, self._bar_is_full = True, share >= 1

    @property
    def _is_terminal(self) -> bool:
        return not self.for_runner and self.stream.isatty()

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
