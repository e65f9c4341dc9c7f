"""The comment on a pull request: one for each subject, found again and kept up to date."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from secrets import token_hex
from typing import Final

from deploy_action.errors import DeadlineError, Problem, RefusedError, Severity
from deploy_action.github.forge import Forge, ForgeComment, PassingForgeError, is_same_user
from deploy_action.github.pull_request import Place, RunNumber
from deploy_action.http.exchange import Retries
from deploy_action.interruption import Deadline, deadline_as_error
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field

# GitHub's limit, in characters; it answers 422 to more ("body is too long").
_LARGEST_COMMENT: Final = 65_536
_LONGEST_BEGINNING: Final = 2_000
LARGEST_BODY: Final = _LARGEST_COMMENT - _LONGEST_BEGINNING
"""How many characters of Markdown fit into a comment, besides what it begins with."""

_MOST_SECONDS: Final = 30.0
_ATTEMPTS: Final = 3
_ROUNDS: Final = 8
# Another run may list the comments before we write, and write after us. We find its comment if we
# look again after this time, which is several times as long as a request takes.
_SETTLING_SECONDS: Final = 1.0
_KEY_LENGTH: Final = 32
_LEG_LENGTH: Final = 16
_MOST_SAID: Final = 20
_MOST_NAMED: Final = 3
_SAID: Final = lazy_regex(r"([0-9]{1,9})\.([0-9a-f]{8})\.(ok|failed)")
_MARK: Final = lazy_regex(
    rf"leg=([0-9a-f]{{16}}) run=([0-9]{{1,19}}) said=({_SAID.pattern}(?:,{_SAID.pattern})*) -->"
)
_SUMMARY_HINT: Final = "The job's summary says the same as the comment would."


@dataclass(frozen=True, slots=True)
class Outcome:
    """The page of the comment (blank if unknown), and a notice for the user, if any."""

    url: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What a step says about a subject, in Markdown.

    `key` says which comment it is for, such as the model's path and the job. Legs of a matrix with
    the same key differ in `leg`, and have comments of their own. `is_update` is for a message that
    is not worth a comment, but edits one that is there. `run_url` is the run's page, below which
    its attempts have theirs, or blank.
    """

    key: str
    body: str
    leg: str = ""
    is_failed: bool = False
    is_update: bool = False
    run_url: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """Which step wrote a comment, and whether it failed. `step` is a random number in hex."""

    run: RunNumber
    step: str
    is_failed: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A comment of this action.

    `said` begins with the step whose message it has; the others are of the same workflow run, and
    had this comment before.
    """

    number: int
    leg: str
    said: tuple[Said, ...]
    body: str
    url: str = ""

    @property
    def run(self) -> RunNumber:
        """The run whose message it has."""
        return self.said[0].run


@dataclass(frozen=True, slots=True)
class Step:
    """What to do: write `body`, if any, to `keeper` or a new comment; delete `removed`."""

    keeper: Note | None
    body: str | None
    removed: tuple[Note, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to do."""
        return self.body is None and not self.removed


@dataclass(frozen=True, slots=True)
class Draft:
    """A message and the step that says it."""

    message: Message
    said: Said

    def everything_said(self, others: Iterable[Said]) -> tuple[Said, ...]:
        """Return what the comment has to know: this step first, and failures before the rest."""
        return (self.said, *sorted(others, key=lambda one: not one.is_failed))[:_MOST_SAID]

    def text(self, others: Iterable[Said] = ()) -> str:
        """Return the whole comment; `others` are steps of the same workflow run."""
        said = self.everything_said(others)
        trace = "".join(f"{line}\n\n" for line in _trace(said, self.message.run_url))
        marker = marker_of(self.message.key, self.message.leg, said)
        return f"{marker}\n{trace}{self.message.body}"


def keep_comment(
    place: Place,
    token: str,
    message: Message,
    *,
    pause: Callable[[float], None] = time.sleep,
    seconds: float = _MOST_SECONDS,
    step: str | None = None,
) -> Outcome:
    """Write a message to the one comment for its key and leg.

    If several runs write it, the newest one wins, whatever their order; what failed earlier in the
    same workflow run is still told. Failures of the network or the forge are not raised but
    returned as a notice. Ends within `seconds`. Tests inject `pause` and `step`.
    """
    if not re.fullmatch(r"[!-~]+", token):
        return _not_written(
            place, "there is no token, or it is not one word", "Leave `github-token` at its default"
        )
    if len(message.body) > LARGEST_BODY:
        return _not_written(
            place,
            f"it has {len(message.body):,} characters, more than the {LARGEST_BODY:,} allowed",
        )
    draft = Draft(message, Said(place.run, step or token_hex(4), message.is_failed))
    forge = _forge(place, token, pause, seconds)
    keeper = _Keeper(forge, place, draft)
    try:
        with deadline_as_error(forge.retries.deadline), closing(forge):
            return keeper.keep()
    except DeadlineError:
        reason, hint = f"it took longer than {seconds:g} s", ""
    except RefusedError as error:
        reason, hint = error.problems[0].message, error.problems[0].hint
    return keeper.written or _not_written(place, reason, hint, is_in_doubt=keeper.is_in_doubt)


def find_written(
    place: Place,
    token: str,
    keys: Iterable[str],
    *,
    pause: Callable[[float], None] = time.sleep,
    seconds: float = _MOST_SECONDS,
) -> set[str] | Problem:
    """Return those of the keys that have a comment on the pull request, whatever the leg.

    A notice says why the forge does not tell. Ends within `seconds`.
    """
    forge = _forge(place, token, pause, seconds)
    try:
        with deadline_as_error(forge.retries.deadline), closing(forge):
            user = forge.find_user()
            comments = forge.list_comments(place.number)
    except DeadlineError:
        reason, hint = f"it took longer than {seconds:g} s", ""
    except RefusedError as error:
        reason, hint = error.problems[0].message, error.problems[0].hint
    else:
        return {key for key in keys if any(_notes_of(comments, key, user))}
    message = (
        f"Comments on pull request #{place.number} may still tell of an earlier run: {reason}."
    )
    return Problem(message=message, hint=hint, severity=Severity.NOTICE)


def _forge(place: Place, token: str, pause: Callable[[float], None], seconds: float) -> Forge:
    deadline = Deadline.after(seconds / 60)
    retries = Retries(deadline, _ATTEMPTS, pause=pause, jitter=lambda: 0.0)
    return Forge(place.api_url, place.repository, token, retries)


def marker_of(key: str, leg: str, said: Sequence[Said]) -> str:
    """Return the first line of a comment, an HTML comment that Markdown does not show."""
    listed = ",".join(
        f"{one.run.attempt}.{one.step}.{'failed' if one.is_failed else 'ok'}" for one in said
    )
    return (
        f"{_prefix_of(key)}leg={_digest(leg, _LEG_LENGTH)} run={said[0].run.run} said={listed} -->"
    )


def next_step(notes: Sequence[Note], draft: Draft, written: int | None) -> Step:
    """Return the step that leaves one comment for the draft's leg, with the newest run's message.

    `notes` are the comments for the draft's key, and `written` the number of the one to which this
    step wrote already. The oldest comment stays, so that all runs choose the same one at any time.
    A leg without a comment takes over the key's only one if that is of an earlier workflow run:
    then the workflow was changed. It makes none if the key has one of a later run.
    """
    now, leg = draft.said, _digest(draft.message.leg, _LEG_LENGTH)
    ours = [note for note in notes if note.leg == leg]
    if not ours:
        latest = max(notes, key=lambda note: note.run, default=None)
        if latest is not None and latest.run.run > now.run.run:
            return Step(latest, None)
        if latest is None or len(notes) > 1 or latest.run.run == now.run.run:
            return Step(None, None if draft.message.is_update else draft.text())
        ours = [latest]
    keeper = min(ours, key=lambda note: note.number)
    newest = max(ours, key=lambda note: (note.run, note is keeper))
    if newest.run > now.run:
        body = None if keeper.run == newest.run else newest.body
    else:
        others = _others(ours, now)
        known = {one.step for one in keeper.said}
        is_told = all(one.step in known for one in draft.everything_said(others))
        body = None if keeper.number == written and is_told else draft.text(others)
    return Step(keeper, body, tuple(note for note in ours if note is not keeper))


def _others(notes: Iterable[Note], now: Said) -> Sequence[Said]:
    """Return what other steps of the same workflow run said; none if runs have no numbers."""
    said = {one.step: one for note in notes for one in note.said if one.run.run == now.run.run}
    said.pop(now.step, None)
    return [*said.values()] if now.run.run else []


def _trace(said: Sequence[Said], run_url: str) -> Iterator[str]:
    """Yield what failed before in the same workflow run, in Markdown."""
    now, *others = said
    attempts = {one.run.attempt for one in others if one.is_failed}
    if now.run.attempt in attempts:
        yield (
            "❌ **Another step or job of this workflow run failed**, and had this comment before. "
            "`comment-key` gives each a comment of its own."
        )
    earlier = sorted(attempts - {now.run.attempt})
    if earlier:
        named = [
            f"[attempt {number}]({run_url}/attempts/{number})" if run_url else f"attempt {number}"
            for number in earlier[-_MOST_NAMED:]
        ]
        if (left := len(earlier) - len(named)) > 0:
            named.insert(0, f"{left} more")
        yield (
            f"❌ **Earlier in this workflow run, {' and '.join(named)} failed.** "
            f"This is attempt {now.run.attempt}, of the same commit."
        )


@dataclass(slots=True)
class _Keeper:
    """Lists the comments, writes, and lists them again until the comment is as it should be."""

    forge: Forge
    place: Place
    draft: Draft
    # Reported if a later request fails: the comment was written all the same.
    written: Outcome | None = field(default=None, init=False)
    # Whether a write was sent, and no answer says what became of it.
    is_in_doubt: bool = field(default=False, init=False)
    _written_to: int | None = field(default=None, init=False)
    # The forge's list may not have the new comment yet.
    _created: Note | None = field(default=None, init=False)
    _undeletable: dict[int, Problem] = field(default_factory=dict, init=False)

    def keep(self) -> Outcome:
        """Return what came of it; raise `RefusedError` if nothing was written."""
        user = self.forge.find_user()
        failure: RefusedError | None = None
        for number in range(1, _ROUNDS + 1):
            notes = self._look(user)
            step = next_step(notes, self.draft, self._written_to)
            if step.is_settled:
                return Outcome() if step.keeper is None else self._outcome(step.keeper)
            try:
                self._apply(step)
            except PassingForgeError as error:
                failure = error
                self.forge.retries.wait(number, error.again)
            else:
                self.forge.retries.pause(_SETTLING_SECONDS)
        if self.written is not None:
            return self.written
        raise failure or RefusedError.of(
            "the forge lists an earlier run's comment, but says that it does not exist",
            "Delete that comment if you can see it, and run the workflow again.",
        )

    def _look(self, user: Mapping[str, object] | None) -> list[Note]:
        comments = self.forge.list_comments(self.place.number)
        notes = list(_notes_of(comments, self.draft.message.key, user))
        if self._created and all(note.number != self._created.number for note in notes):
            notes.append(self._created)
        return [note for note in notes if note.number not in self._undeletable]

    def _apply(self, step: Step) -> None:
        if step.body is not None and not self._write(step.keeper, step.body):
            return  # the comment is gone, so another one has to be kept
        for note in step.removed:
            self._remove(note)

    def _write(self, keeper: Note | None, body: str) -> bool:
        """Write a comment; return False if it is gone."""
        was_in_doubt, self.is_in_doubt = self.is_in_doubt, True
        try:
            is_written = self._send(keeper, body)
        except DeadlineError:
            raise
        except RefusedError as error:
            self.is_in_doubt = was_in_doubt or error.may_have_acted
            raise
        self.is_in_doubt = False
        return is_written

    def _send(self, keeper: Note | None, body: str) -> bool:
        if keeper is None:
            made = self.forge.create_comment(self.place.number, body)
            leg = _digest(self.draft.message.leg, _LEG_LENGTH)
            keeper = Note(made.number, leg, (self.draft.said,), body, made.url)
            self._created = keeper
        elif not self.forge.edit_comment(keeper.number, body):
            self._forget(keeper)
            return False
        self._written_to = keeper.number
        self.written = Outcome(keeper.url)
        return True

    def _remove(self, note: Note) -> None:
        try:
            self.forge.delete_comment(note.number)
        except PassingForgeError:
            raise
        except RefusedError as error:
            self._undeletable[note.number] = error.problems[0]
        else:
            self._forget(note)

    def _forget(self, note: Note) -> None:
        if self._created and self._created.number == note.number:
            self._created = None
        if self._written_to == note.number:
            self._written_to = self.written = None

    def _outcome(self, keeper: Note) -> Outcome:
        for number, problem in self._undeletable.items():
            message = f"Comment {number} for the same model could not be deleted: {problem.message}"
            return Outcome(keeper.url, Problem(message=f"{message}.", severity=Severity.NOTICE))
        if keeper.run > self.place.run:
            message = f"The comment was left as a later run, number {keeper.run.run}, wrote it."
            return Outcome(keeper.url, Problem(message=message, severity=Severity.NOTICE))
        return Outcome(keeper.url)


def _notes_of(
    comments: Iterable[ForgeComment], key: str, user: Mapping[str, object] | None
) -> Iterable[Note]:
    """Yield the comments with the marker for `key` that were written with our token."""
    prefix = _prefix_of(key)
    for comment in comments:
        if comment.body.startswith(prefix) and is_same_user(comment.user, user):
            leg, said = _read_mark(comment.body[len(prefix) :])
            yield Note(comment.number, leg, said, comment.body, comment.url)


def _read_mark(text: str) -> tuple[str, tuple[Said, ...]]:
    """Return the leg and what was said; a broken marker counts as older than all others."""
    if (found := _MARK.match(text)) is None:
        return "", (Said(RunNumber(0, 0), "", is_failed=False),)
    said = (
        Said(RunNumber(int(found[2]), int(attempt)), step, ending == "failed")
        for attempt, step, ending in _SAID.findall(found[3])
    )
    return found[1], tuple(said)


def _prefix_of(key: str) -> str:
    return f"<!-- blankly-deploy model={_digest(key, _KEY_LENGTH)} "


def _digest(text: str, length: int) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:length]


def _not_written(
    place: Place, reason: str, hint: str = "", *, is_in_doubt: bool = False
) -> Outcome:
    what = f"The comment on pull request #{place.number}"
    message = f"{what} was not written: {reason}."
    if is_in_doubt:
        message = f"{what} may be written or not: {reason}."
    hint = f"{hint.rstrip('.')}. {_SUMMARY_HINT}" if hint else _SUMMARY_HINT
    return Outcome(problem=Problem(message=message, hint=hint, severity=Severity.NOTICE))
