"""The comment on a pull request: one for each model, found again and kept up to date."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from deploy_action.errors import DeadlineError, Problem, RefusedError, Severity
from deploy_action.github.forge import Forge, ForgeComment, PassingForgeError, is_same_user
from deploy_action.github.pull_request import Place, RunNumber
from deploy_action.http.exchange import Retries
from deploy_action.interruption import Deadline, deadline_as_error

# GitHub's limit, in characters; it answers 422 to more ("body is too long").
_LARGEST_COMMENT: Final = 65_536
_LONGEST_MARKER: Final = 120
LARGEST_BODY: Final = _LARGEST_COMMENT - _LONGEST_MARKER
"""How many characters of Markdown fit into a comment, besides the marker."""

_MOST_SECONDS: Final = 30.0
_ATTEMPTS: Final = 3
_ROUNDS: Final = 8
# Another run may list the comments before we write, and write after us. We find its comment if we
# look again after this time, which is several times as long as a request takes.
_SETTLING_SECONDS: Final = 1.0
_KEY_LENGTH: Final = 32
_RUN: Final = re.compile(r"run=([0-9]{1,19})\.([0-9]{1,9}) -->")
_SUMMARY_HINT: Final = "The job's summary says the same as the comment would."


@dataclass(frozen=True, slots=True)
class Outcome:
    """The page of the comment (blank if unknown), and a notice for the user, if any."""

    url: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A comment of this action, and the run that wrote it."""

    number: int
    run: RunNumber
    body: str
    url: str = ""


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


def keep_comment(
    place: Place,
    token: str,
    key: str,
    body: str,
    *,
    pause: Callable[[float], None] = time.sleep,
    seconds: float = _MOST_SECONDS,
) -> Outcome:
    """Write `body` (Markdown) to the one comment for `key`, such as a model's path.

    If several runs write it, the newest one wins, whatever their order. Failures of the network or
    the forge are not raised but returned as a notice. Ends within `seconds`. Tests inject `pause`.
    """
    if not re.fullmatch(r"[!-~]+", token):
        return _not_written(
            place, "there is no token, or it is not one word", "Leave `github-token` at its default"
        )
    text = f"{marker_of(key, place.run)}\n{body}"
    if len(text) > _LARGEST_COMMENT:
        return _not_written(
            place, f"it has {len(text):,} characters, more than the {_LARGEST_COMMENT:,} allowed"
        )
    deadline = Deadline.after(seconds / 60)
    retries = Retries(deadline, _ATTEMPTS, pause=pause, jitter=lambda: 0.0)
    forge = Forge(place.api_url, place.repository, token, retries)
    keeper = _Keeper(forge, place, key, text)
    try:
        with deadline_as_error(deadline), closing(forge):
            return keeper.keep()
    except DeadlineError:
        return keeper.written or _not_written(place, f"it took longer than {seconds:g} s")
    except RefusedError as error:
        reason = error.problems[0]
        return keeper.written or _not_written(place, reason.message, reason.hint)


def marker_of(key: str, run: RunNumber) -> str:
    """Return the first line of a comment, an HTML comment that Markdown does not show."""
    return f"{_prefix_of(key)}run={run.run}.{run.attempt} -->"


def next_step(notes: Sequence[Note], run: RunNumber, text: str, written: int | None) -> Step:
    """Return the step that leaves one comment of `notes`, with the body of the newest run.

    `text` is the comment of `run`, and `written` the number of the comment to which this run wrote
    it already. The oldest comment stays, so that all runs choose the same one at any time.
    """
    if not notes:
        return Step(None, text)
    keeper = min(notes, key=lambda note: note.number)
    newest = max(notes, key=lambda note: (note.run, note is keeper))
    if newest.run > run:
        body = None if keeper.run == newest.run else newest.body
    else:
        body = None if keeper.run == run and keeper.number == written else text
    return Step(keeper, body, tuple(note for note in notes if note is not keeper))


@dataclass(slots=True)
class _Keeper:
    """Lists the comments, writes, and lists them again until the comment is as it should be."""

    forge: Forge
    place: Place
    key: str
    text: str
    # Reported if a later request fails: the comment was written all the same.
    written: Outcome | None = field(default=None, init=False)
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
            step = next_step(notes, self.place.run, self.text, self._written_to)
            if step.keeper is not None and step.is_settled:
                return self._outcome(step.keeper)
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
        notes = list(_notes_of(comments, self.key, user))
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
        if keeper is None:
            made = self.forge.create_comment(self.place.number, body)
            keeper = Note(made.number, self.place.run, body, made.url)
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
            found = _RUN.match(comment.body, len(prefix))
            run = RunNumber(int(found[1]), int(found[2])) if found else RunNumber(0, 0)
            yield Note(comment.number, run, comment.body, comment.url)


def _prefix_of(key: str) -> str:
    digest = sha256(key.encode("utf-8", "replace")).hexdigest()[:_KEY_LENGTH]
    return f"<!-- blankly-deploy model={digest} "


def _not_written(place: Place, reason: str, hint: str = "") -> Outcome:
    message = f"The comment on pull request #{place.number} was not written: {reason}."
    hint = f"{hint.rstrip('.')}. {_SUMMARY_HINT}" if hint else _SUMMARY_HINT
    return Outcome(problem=Problem(message=message, hint=hint, severity=Severity.NOTICE))
