"""Sends messages about deployed models to people, through Apprise.

A message is sent on a thread of its own: whoever sends one neither waits nor learns of a failure,
which is in the server's log. Each title has an allowance of its own, so that a model that talks
without end delays nobody else's messages.
"""

from __future__ import annotations

import heapq
import logging
import re
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from deploy_action.errors import InvalidInputError, Problem
from deploy_action.platform.allowance import Allowance
from deploy_action.platform.bounded_requests import bounded_requests
from deploy_action.platform.live.surroundings import NoticeKind
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import cut, excerpt, plain
from deploy_action.text.quantities import count
from deploy_action.text.redaction import SHORTEST, beginning, redacted

if TYPE_CHECKING:
    import apprise

_LONGEST_TITLE: Final = 150
_LONGEST_NAME: Final = 40  # of the server
_LONGEST_TEXT: Final = 1_500  # some services refuse more than 2,000 characters
# Before it is redacted.
_LONGEST_READ: Final = 16_000
_LONGEST_REASON: Final = 300
_MOST_TITLES: Final = 1_000
_MOST_RETRIES: Final = 500
_MOST_SECONDS: Final = 60.0  # that one try may take
_LARGEST_ANSWER: Final = 1 << 20
_FORMAT: Final = "text"  # so that a service with another format escapes it
_SERVICE: Final = re.compile(r"([a-z0-9]{1,20})://")


@dataclass(frozen=True, slots=True)
class Pace:
    """How many messages are sent, and how often one is tried; all in seconds but `burst`.

    Of each title, `burst` messages are sent at once, and then one every `interval`. Two messages
    are `gap` apart. What cannot be sent is tried again after each of the `pauses`.
    """

    burst: int = 5
    interval: float = 120
    gap: float = 1
    pauses: Sequence[float] = (5, 30, 120)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where messages go; `name` tells it apart without anything secret."""

    name: str
    service: apprise.Apprise = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(slots=True)
class _Title:
    """The messages of one title: those that wait, and how many may be sent."""

    allowance: Allowance
    waiting: deque[tuple[str, NoticeKind]] = field(default_factory=deque)
    held: int = 0
    kind: NoticeKind = "info"  # of the latest one


@dataclass(frozen=True, slots=True)
class _Message:
    """What is sent; the services show the kind as a colour or a symbol."""

    title: str
    text: str
    kind: NoticeKind


@dataclass(frozen=True, slots=True, order=True)
class _Delivery:
    """A message that is to be tried again, when it is `due`."""

    due: float
    number: int  # of those that are due at once, the first comes first
    tries: int = field(compare=False)
    target: _Target = field(compare=False)
    message: _Message = field(compare=False)


class Notifier:
    """Sends messages to Apprise URLs. Without one, they are only in the server's log."""

    def __init__(
        self,
        urls: Iterable[str],
        *,
        log: Callable[[str], None],
        name: str = "",
        secrets: Callable[[], Iterable[str]] = tuple,
        pace: Pace = Pace(),  # noqa: B008  # frozen
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to send to `urls`; `log` gets every message, and what could not be sent.

        Titles begin with the `name` of the server: people may have several.
        `secrets` returns what must not be in a message; it is called for each, on the thread that
        sends. Raises `InvalidInputError` for URLs that Apprise cannot use.
        """
        self._targets = _open_targets([url.strip() for url in urls if url.strip()])
        self._log = log
        self._name = f"{excerpt(name, _LONGEST_NAME)}: " if name else ""
        self._secrets = secrets
        self._pace = pace
        self._monotonic = monotonic
        self._titles: dict[str, _Title] = {}
        self._retries: list[_Delivery] = []
        self._number = 0
        self._changed = threading.Condition()
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, title: str, text: str, kind: NoticeKind) -> None:
        """Send a message some time soon, or count it where there were too many of its title."""
        # One more than is read, which says that it was cut.
        title, text = f"{self._name}{title}"[: _LONGEST_READ + 1], text[: _LONGEST_READ + 1]
        with self._changed:
            if self._is_closing.is_set():
                return
            known = self._titles.get(title)
            if known is None:
                self._forget_titles()
                if len(self._titles) >= _MOST_TITLES:
                    self._log(f"a message is given up: those of {_MOST_TITLES:,} titles wait")
                    return
                pace = self._pace
                allowance = Allowance(pace.burst, 1 / pace.interval, self._monotonic)
                known = self._titles[title] = _Title(allowance)
            known.kind = kind
            if known.allowance.left < 1 or known.held:
                known.held += 1
            else:
                known.allowance.use(1)
                known.waiting.append((text, kind))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="notices", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, seconds: float = 5) -> None:
        """Send what waits, each once and within so many seconds, and stop."""
        with self._changed:
            self._is_closing.set()
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _forget_titles(self) -> None:
        if len(self._titles) >= _MOST_TITLES:
            burst = self._pace.burst
            self._titles = {
                name: title
                for name, title in self._titles.items()
                if title.waiting or title.held or title.allowance.left < burst
            }

    def _work(self) -> None:
        while (job := self._wait_for_job()) is not None:
            try:
                if isinstance(job, _Delivery):
                    self._deliver(job)
                else:
                    self._send_to_all(job)
            except Exception as error:  # noqa: BLE001  # a service's bug must not end the thread
                self._log(f"a notification failed: {type(error).__name__}")
            self._is_closing.wait(self._pace.gap if self._targets else 0)

    def _wait_for_job(self) -> _Delivery | _Message | None:
        """Return what to do next, as soon as there is something; None at the end."""
        with self._changed:
            while True:
                now = self._monotonic()
                if (message := self._next_message()) is not None:
                    return message
                if self._is_closing.is_set():
                    return None
                if self._retries and self._retries[0].due <= now:
                    return heapq.heappop(self._retries)
                self._changed.wait(self._seconds_to_wait(now))

    def _next_message(self) -> _Message | None:
        """Return a message to send; the titles take turns."""
        for name, title in self._titles.items():
            if title.waiting:
                text, kind = title.waiting.popleft()
            elif title.held and (title.allowance.left >= 1 or self._is_closing.is_set()):
                text, kind = _held_back(title.held, self._pace), title.kind
                title.held = 0
                title.allowance.use(1)
            else:
                continue
            self._titles[name] = self._titles.pop(name)  # goes to the end
            return _Message(name, text, kind)
        return None

    def _seconds_to_wait(self, now: float) -> float | None:
        due = [one.due - now for one in self._retries[:1]]
        due += [each.allowance.seconds_until(1) for each in self._titles.values() if each.held]
        return max(0.01, min(due)) if due else None

    def _send_to_all(self, message: _Message) -> None:
        redact = partial(redacted, secrets=tuple(self._secrets()))
        title = excerpt(beginning(message.title, redact, _LONGEST_READ), _LONGEST_TITLE)
        text = cut(plain(beginning(message.text, redact, _LONGEST_READ)).strip(), _LONGEST_TEXT)
        self._log(f"notice: {title}: {excerpt(text, _LONGEST_TEXT)}")
        for target in self._targets:
            self._deliver(_Delivery(0, 0, 0, target, _Message(title, text, message.kind)))

    def _deliver(self, delivery: _Delivery) -> None:
        target, tries, message = delivery.target, delivery.tries + 1, delivery.message
        with _apprise_log() as lines:
            try:
                with bounded_requests(_MOST_SECONDS, _LARGEST_ANSWER):
                    sent = _notify(target, message)
            except Exception as error:  # noqa: BLE001  # whatever a service's code raises
                lines.append(f"{type(error).__name__}: {error}")
                sent = False
        if sent:
            return
        said = redacted(" ".join(lines), (*target.secrets, *self._secrets()))
        reason = excerpt(said or "the service does not say why", _LONGEST_REASON)
        shown = f"`{message.title}` could not be sent to {target.name} ({reason})"
        if tries > len(self._pace.pauses) or self._is_closing.is_set():
            self._log(f"{shown}, and is given up after {count(tries, 'attempt')}")
            return
        pause = self._pace.pauses[tries - 1]
        with self._changed:
            if len(self._retries) >= _MOST_RETRIES:
                self._log(f"{shown}, and is given up: {_MOST_RETRIES} others wait")
                return
            self._number += 1
            again = (self._monotonic() + pause, self._number, tries)
            heapq.heappush(self._retries, _Delivery(*again, target, message))
        self._log(f"{shown}; trying again in {pause:g} s")


def _notify(target: _Target, message: _Message) -> bool:
    kind = message.kind
    sent = target.service.notify(message.text, message.title, notify_type=kind, body_format=_FORMAT)
    return bool(sent)


def _held_back(number: int, pace: Pace) -> str:
    more = count(number, "more message")
    verb = "was" if number == 1 else "were"
    return (
        f"{more} of this kind {verb} held back: after {pace.burst} at once, one is sent every "
        f"{pace.interval:g} s. The model's log and events have more."
    )


def _open_targets(urls: Sequence[str]) -> tuple[_Target, ...]:
    """Return the targets of Apprise URLs; raises `InvalidInputError`, which shows none of them."""
    if not urls:
        return ()
    try:
        import apprise
    except ImportError as error:
        raise InvalidInputError.of(
            message="Notifications need the package `apprise`, which is not installed.",
            hint="Install `blankly-deploy-action[server]`, or leave out `--notify`.",
        ) from error
    # What is secret in a URL may be sent in a header or a body, which would follow a redirect.
    asset = apprise.AppriseAsset(async_mode=False, http_redirects=False)
    targets, problems = [], []
    for number, url in enumerate(urls, start=1):
        found = _SERVICE.match(url)
        name = f"notification target {number}" + (f" ({found[1]})" if found else "")
        with _apprise_log(), warnings.catch_warnings():
            # It loads all services, one of which imports a module that Python will drop.
            warnings.simplefilter("ignore", DeprecationWarning)
            service = apprise.Apprise(asset=asset)
            is_added = found is not None and service.add(url)
        if not is_added:
            problems.append(_wrong_url(number, found[0] if found else ""))
        else:
            targets.append(_Target(name, service, tuple(_secrets_in(url))))
    if problems:
        raise InvalidInputError(*problems)
    return tuple(targets)


def _wrong_url(number: int, begins: str) -> Problem:
    shown = f", which begins with `{begins}`," if begins else ""
    return Problem(
        message=f"Notification URL {number}{shown} cannot be used: Apprise knows no such service, "
        "or the rest does not fit it. It is not shown, because it may contain a password.",
        hint="Apprise's documentation lists the services and their URLs, such as "
        "`tgram://TOKEN/CHAT` and `mailto://USER:PASSWORD@HOST`. A `/` or `@` within a password is "
        "written `%2F` or `%40`.",
    )


def _secrets_in(url: str) -> Iterator[str]:
    """Yield all that may be secret in an Apprise URL: nearly every part of it, for some service."""
    rest = url.partition("://")[2]
    yield from (url, rest)
    for part in re.split(r"[/?&=@:#,]+", rest):
        yield from (one for one in (part, unquote(part)) if len(one) >= SHORTEST)


@contextmanager
def _apprise_log() -> Iterator[list[str]]:
    """Yield what Apprise logs as warnings and errors meanwhile, and let nobody else print it."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage()[:_LONGEST_READ])

    logger, handler = logging.getLogger("apprise"), Keeper(logging.WARNING)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
