"""What pages say of a version, and of a start of it, in every state of its model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import (
    Progress,
    State,
    Version,
    VersionStatus,
    Wanted,
)
from deploy_action.platform.web.views.model_states import StateWords
from deploy_action.platform.web.views.versions.words import Start, became, place_of, start_of

STATE = StateWords("Stopped", "", "It was stopped.")
CURRENT = Version("current-1", "p", "m", VersionStatus.DEPLOYED, "Now", "3.11", "nano", None,
                  "0" * 64, 1, 1, 0.0, progress=Progress.RAN)  # fmt: skip
OTHER = replace(CURRENT, id="other-12", status=VersionStatus.STOPPED)


def _status(state: State = State.RUNNING, **changes: object) -> LiveStatus:
    stopped = state in {State.STOPPED, State.STOPPING}
    wanted = Wanted.STOPPED if stopped else Wanted.RUNNING
    status = LiveStatus(
        state=state, wanted=wanted, version=CURRENT, since=0.0, restarts=0, exit_code=None,
        problem=None, callback_errors=0, callbacks_fail_since=None, callbacks_work=False,
        last_output_at=None, strategy_started=True, start_id="current-1", previous_id=None,
        next_id=None, next_run_at=None,
    )  # fmt: skip
    return replace(status, **changes)  # type: ignore[arg-type]  # of its fields


def _effects(version: Version, status: LiveStatus | None) -> str:
    start = start_of(version, status, ["KEY"])
    assert isinstance(start, Start)
    return " ".join(start.effects)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "Nothing of this model runs now."),
        (_status(State.STOPPED), "Nothing of this model runs now."),
        (_status(State.FAILED), "Nothing of this model runs now."),
        (_status(State.FINISHED), "Nothing of this model runs now."),
        (_status(State.STOPPING), "The model is being stopped."),
        (
            _status(),
            'version id current- is stopped: its teardown is called with the reason "replace"',
        ),
        (_status(State.RESTARTING), "of which no teardown is called"),
        (
            _status(State.PREPARING),
            "Version id current- is being prepared now, and this one takes its",
        ),
        (
            _status(next_id="third-123"),
            "The version that is being prepared is not started any more.",
        ),
    ],
)
def test_a_start_says_what_happens_to_what_runs(status: LiveStatus | None, words: str) -> None:
    effects = _effects(OTHER, status)

    assert words in effects
    assert "KEY" in effects
    assert ("teardown" in effects) == (words not in {
        "Nothing of this model runs now.", "The model is being stopped.",
    })  # fmt: skip


def test_versions_of_the_same_commit_are_told_apart() -> None:
    """One was deployed again with other variables."""
    current, other = (replace(one, commit="abcdef0" * 5) for one in (CURRENT, OTHER))

    assert "version abcdef0 (id current-) is stopped" in _effects(other, _status(version=current))
    assert "version abcdef0 is stopped" in _effects(OTHER, _status(version=current))


def test_a_screener_runs_by_its_schedule() -> None:
    screener = replace(OTHER, schedule="30 9 * * 1-5")

    assert "run by 30 9 * * 1-5 from then on" in _effects(screener, _status(State.STOPPED))
    assert "this one runs by its schedule, 30 9 * * 1-5" in _effects(
        screener, _status(State.SCHEDULED)
    )


@pytest.mark.parametrize(
    ("version", "status", "words"),
    [
        (CURRENT, _status(), "It runs, or is about to."),
        (CURRENT, _status(State.PREPARING), "It runs, or is about to."),
        (CURRENT, _status(State.SCHEDULED), "It runs, or is about to."),
        (OTHER, _status(next_id="other-12"), "It is being prepared already."),
        (replace(OTHER, status=VersionStatus.BACKTEST), None, "It was uploaded for a backtest."),
    ],
)
def test_what_cannot_be_started_says_why(
    version: Version, status: LiveStatus | None, words: str
) -> None:
    found = start_of(version, status, [])

    assert isinstance(found, str)
    assert words in found


@pytest.mark.parametrize(
    ("version", "status", "label"),
    [
        (OTHER, _status(previous_id="other-12"), "Roll back to this version"),
        (OTHER, _status(), "Start this version"),
        (CURRENT, _status(State.STOPPED), "Start this version"),
        (CURRENT, _status(State.RESTARTING), "Start this version"),
        (CURRENT, _status(next_id="other-12"), "Keep this version"),
    ],
)
def test_a_start_is_called_what_it_is(version: Version, status: LiveStatus, label: str) -> None:
    found = start_of(version, status, [])

    assert isinstance(found, Start)
    assert found.label == label


@pytest.mark.parametrize("progress", list(Progress))
def test_each_progress_has_words(progress: Progress) -> None:
    """Only one that runs is said to run, and a problem is told with a failure alone."""
    version = replace(OTHER, progress=progress, problem="No such package.")

    found = became(STATE, version, _status(), ["other-12"])

    assert found.text.endswith(".")
    assert found.label != "Running"
    assert ("No such package." in found.text) == (progress == Progress.FAILED)
    assert ("ran before that" in found.text) == (progress != Progress.RAN)


def test_a_version_is_where_the_model_is() -> None:
    assert place_of(OTHER, None) == ""
    assert place_of(OTHER, _status(State.STOPPED, start_id="other-12")) == "start"
    assert place_of(OTHER, _status(start_id="other-12", previous_id="other-12")) == "previous"
    assert place_of(CURRENT, _status()) == "current"
    assert became(STATE, CURRENT, _status(State.STOPPED), []).label == "Stopped"
