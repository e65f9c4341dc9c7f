"""The mode that posts the reports of another run on its pull request.

It is for pull requests of forks, whose own runs may not write. Nothing of their code runs here, and
nothing that they wrote decides where to post: the event and the forge say that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.errors import InvalidInputError, Problem, RefusedError, Severity
from deploy_action.inputs.definitions import Comment
from deploy_action.outcome.ending import Ending, Status
from deploy_action.outcome.forwarding import Forwarding, Origin
from deploy_action.records import dataclass, replace

if TYPE_CHECKING:
    from deploy_action.console import Console
    from deploy_action.github.comment import Message
    from deploy_action.github.event import Event
    from deploy_action.github.finished_run import FinishedRun
    from deploy_action.github.pull_request import Place
    from deploy_action.inputs.settings import Settings
    from deploy_action.interruption import Deadline

# Of one run; each is a comment of its own.
_MOST_REPORTS: Final = 10
_MOST_SECONDS: Final = 60.0
_OF_JOB: Final = ("GITHUB_WORKFLOW", "GITHUB_JOB")
_HOW: Final = (
    "Use it in a workflow on `workflow_run`, as `examples/workflows/fork-comment.yml` does."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commenting:
    """Posts the reports at `report-path`; `on_forwarding` gets what it found and posted."""

    settings: Settings
    environ: Mapping[str, str]
    console: Console
    deadline: Deadline
    pause: Callable[[float], None]
    on_forwarding: Callable[[Forwarding], None]

    def run(self) -> Ending:
        """Find the pull request, read the reports, and post them."""
        from deploy_action.github.event import read_event
        from deploy_action.github.finished_run import why_not

        event = read_event(self.environ)
        run = self._finished_run(event)
        if (problem := why_not(run)) is not None:
            return _nothing(problem)
        forwarding = Forwarding(origin=_origin(event, run, self.console.redact))
        with self.console.group("Find the pull request and read the reports"):
            place = self._find_place(run)
            if isinstance(place, Problem):
                self.on_forwarding(forwarding)
                return _nothing(place)
            number = None if place is None else place.number
            forwarding = self._read(replace(forwarding, pull_request=number))
            self.on_forwarding(forwarding)
        if place is None or self.settings.dry_run:
            return self._would(place, forwarding)
        with self.console.group(f"Comment on pull request #{place.number}"):
            return self._post(place, forwarding)

    def _finished_run(self, event: Event) -> FinishedRun:
        from deploy_action.github.finished_run import read_finished_run

        if event.name != "workflow_run":
            raise InvalidInputError.of(
                message=f"`mode: comment` posts for the run of a `workflow_run` event, and this is "
                f"{f'`{event.name}`' if event.name else 'no event'}.",
                hint=_HOW,
            )
        run = read_finished_run(event.payload, event.repository_url)
        if run is None:
            raise RefusedError.of(
                message="The event does not say which run it is about, or of which commit.",
                hint="The repository of that run may have been deleted.",
            )
        return run

    def _find_place(self, run: FinishedRun) -> Place | Problem | None:
        """Return the pull request; None without a token, which only a dry run does without."""
        from deploy_action.github.finished_run import find_pull_request
        from deploy_action.github.pull_request import Place, find_repository

        found = find_repository(self.environ)
        if isinstance(found, Problem):
            raise InvalidInputError(replace(found, severity=Severity.ERROR))
        if self.settings.github_token is None:
            return None
        api_url, repository = found
        place = Place(api_url=api_url, repository=repository, number=0, run=run.run)
        return find_pull_request(
            run, place, self.settings.github_token, self.deadline, pause=self.pause
        )

    def _read(self, forwarding: Forwarding) -> Forwarding:
        from deploy_action.stages.reports.files import find_reports, read_reports, report_directory

        path = report_directory(self.settings.report_path or "", self.environ)
        names = find_reports(path)
        redact = self.console.redact
        reports = tuple(
            replace(
                one,
                name=redact(one.name),
                run=None if one.run is None else one.run.redacted(redact),
                problem=redact(one.problem),
            )
            for one in read_reports(path, names[:_MOST_REPORTS], redact)
        )
        for one in reports:
            self.console.info(f"{one.name}: {one.problem or 'read'}")
        return replace(forwarding, reports=reports, left_out=len(names) - len(reports))

    def _would(self, place: Place | None, forwarding: Forwarding) -> Ending:
        from deploy_action.report.forwarded import is_wrong

        where = forwarding.pull_request and f" on pull request #{forwarding.pull_request}"
        steps = [
            f"post {one.name}{where or ' on the pull request of the run'}"
            for one in forwarding.reports
            if one.run is not None
        ]
        surplus = [] if place is None else self._find_surplus(place, len(forwarding.reports) + 1)
        if isinstance(surplus, Problem):
            raise RefusedError(replace(surplus, severity=Severity.ERROR))
        if not forwarding.reports and is_wrong(forwarding.origin, None):
            steps.append(f"say{where or ' on the pull request of the run'} that it left no report")
            surplus = [number for number in surplus if number > 1]
        steps += [
            f"say in comment {number} of an earlier run{where} that it has no report any more"
            for number in surplus
        ]
        return Ending(status=Status.DRY_RUN, would_do=tuple(steps))

    def _post(self, place: Place, forwarding: Forwarding) -> Ending:
        from deploy_action.github.comment import keep_comment

        numbers = range(1, (len(forwarding.reports) or 1) + 1)
        surplus = self._find_surplus(place, numbers.stop)
        problems, errors = [*_left_out(forwarding)], list[Problem]()
        unknown = surplus if isinstance(surplus, Problem) else None
        if isinstance(surplus, Problem):
            surplus = []
        urls = dict[int, str]()
        for number in (*numbers, *surplus):
            kept = keep_comment(
                place,
                self._token,
                self._message(forwarding, number),
                pause=self.pause,
                seconds=self._seconds(),
            )
            if kept.problem is not None:
                (problems if kept.url else errors).append(kept.problem)
            self.console.info(kept.url or "No comment was written.")
            urls[number] = kept.url
        reports = tuple(
            replace(one, url=urls[number]) for number, one in enumerate(forwarding.reports, 1)
        )
        url = next(filter(None, urls.values()), "")
        self.on_forwarding(replace(forwarding, reports=reports, url=url))
        if (error := _in_one(errors) or unknown) is not None:
            raise RefusedError(replace(error, severity=Severity.ERROR))
        status = Status.COMMENTED if url else Status.UNCHANGED
        return Ending(status=status, problems=tuple(problems))

    def _find_surplus(self, place: Place, first: int) -> list[int] | Problem:
        """Return the numbers from `first` that have a comment: an earlier run left more reports.

        Their comments would go on telling how an older commit did.
        """
        from deploy_action.github.comment import find_written

        keys = {number: self._key(number) for number in range(first, _MOST_REPORTS + 1)}
        written = find_written(
            place, self._token, keys.values(), pause=self.pause, seconds=self._seconds()
        )
        if isinstance(written, Problem):
            return written
        return [number for number, key in keys.items() if key in written]

    @property
    def _token(self) -> str:
        return self.settings.github_token or ""

    def _seconds(self) -> float:
        return min(_MOST_SECONDS, self.deadline.remaining())

    def _key(self, number: int) -> str:
        """Return what tells a comment from others.

        Nothing of a report is in it: it could name another comment, or ever new ones. Names of
        files and artifacts are the fork's, too, which leaves the position.
        """
        of_job = (self.environ.get(one, "") for one in _OF_JOB)
        return json.dumps(["reports", self.settings.comment_key or "", number, *of_job])

    def _message(self, forwarding: Forwarding, number: int) -> Message:
        from deploy_action.github.comment import LARGEST_BODY, Message
        from deploy_action.github.runners import runner_of
        from deploy_action.report.document import to_markdown
        from deploy_action.report.forwarded import (
            build_forwarded,
            build_without_report,
            is_wrong,
        )

        origin, key = forwarding.origin, self.settings.comment_key or ""
        report = next(iter(forwarding.reports[number - 1 : number]), None)
        document = (
            build_without_report(forwarding, number)
            if report is None
            else build_forwarded(forwarding, number, f"comment-key: {key}" if key else "")
        )
        is_failed = is_wrong(origin, report)
        is_warned = report is not None and report.run is not None and report.run.is_problematic
        is_quiet = report is None or self.settings.comment is Comment.ON_PROBLEM
        is_surplus = report is None and number > 1
        return Message(
            key=self._key(number),
            body=to_markdown(document, largest=LARGEST_BODY),
            is_failed=is_failed,
            is_update=is_surplus or (is_quiet and not is_failed and not is_warned),
            run_url=origin.run_url if runner_of(self.environ).has_pages_of_attempts else "",
        )


def _left_out(forwarding: Forwarding) -> Iterator[Problem]:
    if forwarding.left_out:
        message = (
            f"{forwarding.left_out:,} of {forwarding.count:,} reports were left out: "
            f"one run has {_MOST_REPORTS}."
        )
        yield Problem(message=message, severity=Severity.NOTICE)


def _in_one(errors: Sequence[Problem]) -> Problem | None:
    """Return the first of several errors, and how many more: the forge is the same for all."""
    if not errors:
        return None
    first, more = errors[0], len(errors) - 1
    if not more:
        return first
    others = f"{more} other comments were" if more > 1 else "Another comment was"
    return replace(first, message=f"{first.message} {others} not written either.")


def _origin(event: Event, run: FinishedRun, redact: Callable[[str], str]) -> Origin:
    return Origin(
        repository=redact(run.repository),
        commit=run.commit,
        commit_url=event.commit_url(run.commit),
        conclusion=redact(run.conclusion),
        is_fork=run.is_fork,
        run_url=run.url,
    )


def _nothing(problem: Problem) -> Ending:
    return Ending(status=Status.UNCHANGED, problems=(problem,))
