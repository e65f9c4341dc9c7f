"""What a run has to come to after one fault: the rules of `docs/failures.md`, written once more."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from tests.support.faults.cases import NO_JSON, Case, Sense

SIGN_IN: Final = "POST /auth/token"
PROJECTS: Final = "GET /project/list"
TEAMS: Final = "GET /project/teams"
CREATE_PROJECT: Final = "POST /project/create"
PLANS: Final = "POST /project/plans"
DESCRIPTION: Final = "GET /openapi.json"
MODELS: Final = "POST /model/list"
CREATE_MODEL: Final = "POST /model/create-model"
DETAILS: Final = "POST /model/details"
DEPLOY: Final = "POST /model/deploy"
BACKTEST: Final = "POST /model/backtest"
RUN: Final = "POST /model/run"
KILL: Final = "POST /model/kill"
LOGS: Final = "POST /model/logs"

UPLOADS: Final = frozenset({DEPLOY, BACKTEST})
CHANGES: Final = UPLOADS | {CREATE_PROJECT, CREATE_MODEL, RUN}
_MAY_BE_MISSING: Final = frozenset({DESCRIPTION, DETAILS, LOGS, TEAMS, PLANS, MODELS, CREATE_MODEL})
_NEED_NO_ID_TOKEN: Final = frozenset({SIGN_IN, DESCRIPTION})
_NOTHING_DONE: Final = frozenset({Sense.BUSY, Sense.REFUSED, Sense.LATER, Sense.MISSING})


@dataclass(frozen=True, slots=True)
class Expected:
    """The exit codes that a run may have, and what its error says.

    `sent` is how often the request is sent then; None: it depends. `doubts`: whether the error says
    that something may or may not have been made; None: it may.
    """

    codes: AbstractSet[int]
    words: str = ""
    sent: int | None = None
    doubts: bool | None = False


_WORKS: Final = Expected({0})
_TRIES: Final = 4
_UPLOADS: Final = 3


def expected(route: str, case: Case, *, always: bool, hides: bool = False) -> Expected:
    """Return what comes of a run in which one request has a fault, or each for this route.

    `hides`: the server does not tell what it has of a model.
    """
    sense, words = case.sense, case.words.replace("ROUTE", route)
    in_doubt = None if route in CHANGES else False
    is_missing = sense in {Sense.MISSING, Sense.PAGE}
    is_wanted = sense is Sense.PAGE and route in {MODELS, TEAMS}  # to be sure that nothing is there
    is_broken = NO_JSON in words and not case.name.startswith("200 with a list")
    passes = case.passes and sense is not Sense.LATER
    found = (
        (sense is Sense.FINE, _WORKS),
        (sense is Sense.ENDLESS, Expected({1}, "deadline of", 1, doubts=in_doubt)),
        (case.name.startswith("gone"), Expected({1}, words, doubts=None)),
        (sense is Sense.EXPIRED, _after_expiry(route, case, always=always)),
        (is_wanted, Expected({1}, words, 1)),
        (is_missing and route in _MAY_BE_MISSING, _WORKS),
        (route in UPLOADS and hides, _after_lost(case, words, always=always)),
        (route in CHANGES, _after_change(route, case, words, always=always)),
        # What is asked for before an upload is asked for once, and not waited for.
        (route in {DETAILS, LOGS}, _WORKS),
        (passes and always, Expected({1}, words, _TRIES)),
        (passes, Expected({0}, sent=2)),
        (route == DESCRIPTION and sense is not Sense.LATER and not is_broken, _WORKS),
        # It is a good answer of a server with other plans.
        (route == PLANS and "any JSON" in case.name, Expected({1}, "has no plan `nano`", 1)),
        (True, Expected({1}, words, 1)),
    )
    return next(result for is_so, result in found if is_so)


def _after_expiry(route: str, case: Case, *, always: bool) -> Expected:
    if case.acted and route in _NEED_NO_ID_TOKEN:
        return _WORKS
    if route == SIGN_IN:
        return Expected({1}, "does not accept the token", 1)
    return Expected({1}, rf"refuses `{route}`", 2) if always else _WORKS


def _after_lost(case: Case, words: str, *, always: bool) -> Expected:
    """Return what comes of an upload to a server that does not tell what it made."""
    found = (
        (case.sense is Sense.BUSY and not always, Expected({0}, sent=2)),
        (case.sense is Sense.BUSY, Expected({1}, words, _TRIES)),
        (case.sense in _NOTHING_DONE, Expected({1}, words, 1)),
        (case.sense is Sense.BROKEN, Expected({1} if always else {0, 1}, words, doubts=None)),
        (True, Expected({1}, words, 1, doubts=True)),
    )
    return next(result for is_so, result in found if is_so)


def _after_change(route: str, case: Case, words: str, *, always: bool) -> Expected:
    sense, is_upload = case.sense, route in UPLOADS
    is_lost = Expected({1}, "The result of the backtest .* was lost", 1)
    # Where the server lists nothing new, an upload is sent again.
    is_cut = is_upload and sense in {Sense.CUT, Sense.BROKEN}
    found = (
        (case.acted and route == BACKTEST, is_lost),
        (case.acted, Expected({0}, sent=1)),
        (sense is Sense.BUSY and not always, Expected({0}, sent=2)),
        (sense is Sense.BUSY, Expected({1}, words, _TRIES)),
        (sense in _NOTHING_DONE, Expected({1}, words, 1)),
        (is_cut and not always, Expected({0}, sent=2)),
        (sense is Sense.BROKEN, Expected({1} if always else {0, 1}, words, doubts=None)),
        (is_cut, Expected({1}, words, _UPLOADS, doubts=True)),
        (True, Expected({1}, words, 1, doubts=True)),
    )
    return next(result for is_so, result in found if is_so)
