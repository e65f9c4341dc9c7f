"""Parsers of what others write, each with a valid example that chance spoils.

Each function here reads hostile input once. It passes on all that may be printed of that: problems,
and texts. Errors that are documented are caught, and any other fails the test.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from deploy_action.backtest.wire import WrongResultError, parse_result, parse_run
from deploy_action.bundle.ignore_rules import compile_rules
from deploy_action.errors import DeployActionError, Problem, read_problems
from deploy_action.gates.grammar import parse_gates
from deploy_action.github.commands import mask_commands
from deploy_action.github.event import describe, read_event
from deploy_action.github.finished_run import read_finished_run, why_not
from deploy_action.github.pull_request import find_place
from deploy_action.inputs.secrets import secrets_of, too_short_to_mask
from deploy_action.inputs.settings import parse_settings
from deploy_action.model.manifest import load_manifest
from deploy_action.outcome.forwarding import EarlierReport, Forwarding, Origin
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import to_markdown
from deploy_action.report.forwarded import build_forwarded
from deploy_action.report.html_page import Written, build_page
from deploy_action.report.json_report import build_report
from deploy_action.report.reading import WrongReportError, read_report
from tests.support.backtests import a_market, an_order, raw_result
from tests.support.decisions import decisions
from tests.support.hostile import changed, hostile_name, hostile_text, spoiled, with_hostile_texts
from tests.support.judges import judge_log, judge_markdown, judge_page
from tests.support.model_checks import check, sound_model
from tests.support.outcomes import backtests

Said = Iterator[Problem | str]

# What decides about the form of a report: with another value of it, it is none.
KEPT: Final = (
    *("format", "text", "state", "status", "sha256", "trades_sha256"),
    *("severity", "axes", "values"),
)
LINKS: Final = ("https://forge.example/",)
_COMMIT: Final = "81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e"
_INPUTS: Final = {
    "mode": "backtest",
    "api-url": "local",
    "model-path": "bots/a",
    "project-id": "p1",
    "model-name": "Trend",
    "version-description": "Faster",
    "create-new": "true",
    "plan": "nano",
    "python-version": "3.10",
    "backtest-args": "{to: 1y, initial_values: {USD: 1000}}",
    "windows": "bull: 2020-01-01..2021-01-01\n2022-01-01..2023-01-01  # the fall",
    "sweep": "env.FAST: [5, 10]\nuse_price: [open, close]",
    "shard": "1/3",
    "model-env": "# mine\nTOKEN='abc'\nCHAT = 12",
    "include": "libs/common => shared\nutil.py",
    "ignore": "*.csv\n!/prices/**/[a-z]?.csv\n\\#x",
    "keys-json": '{"alpaca": {"main": {"API_KEY": "PKX", "sandbox": true}}}',
    "gates": "worst sharpe >= base - 10%  # mine\nmax_drawdown <= 20%\nidentical",
    "comment": "on-problem",
    "compare-with": "origin/main",
    "timeout-minutes": "2.5",
}
GATES: Final = b"worst sharpe >= base - 10%\nmax_drawdown <= 20%  # mine\ncagr > hold\nidentical"
PATTERNS: Final = b"*.csv\n!/prices/**/[[:alpha:]-z]?.csv\n\\#x\na/**/b/\n[!a-]]*\\ "
MANIFEST: Final = {
    "main_script": "./bot.py",
    "python_version": "3.10",
    "requirements": "./requirements.txt",
    "working_directory": ".",
    "ignore_files": ["price_caches", "*.csv"],
    "backtest_args": {"to": "1y", "initial_values": {"USD": 10_000.5}},
    "type": "screener",
    "screener": {"schedule": "*/15 9-16 * * 1-5", "formatter": "./format.py"},
    "model_name": "Trend",
    "plan": "nano",
    "project_id": "p",
    "api_key": "*****",
}
REQUIREMENTS: Final = (
    b"# -*- coding: utf-8 -*-\n-r more.txt\n-c limits.txt\n--extra-index-url https://u:p@x.example/\n"
    b"numpy[extra]==1.26.4 ; python_version<'3.12' --hash=sha256:ab\\\n  --hash=sha256:cd\n"
    b"blankly @ git+https://github.com/x/y.git@main#egg=y\n-e ./local\n${NAME}_x>=1.*  # mine\n"
)
_SCRIPT: Final = (
    b"#!/usr/bin/env python\n# coding: utf-8\nimport os, blankly\nKEY = os.environ['KEY']\n\n\n"
    b"def bar(price, symbol, state):\n    state.interface.market_order(symbol, 'buy', 1)\n\n\n"
    b"exchange = blankly.Alpaca()\nstrategy = blankly.Strategy(exchange)\n"
    b"strategy.add_price_event(bar, symbol='A', resolution='1d')\n"
    b"strategy.backtest(to='1y', initial_values={'USD': 1})\n"
)
_NOTEBOOK: Final = {
    "cells": [{"cell_type": "code", "source": ["!pip install x\n"], "outputs": [], "metadata": {}}],
    "metadata": {"kernelspec": {"name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
_PROJECT: Final = (
    b'[project]\nname = "x"\ndependencies = ["numpy>=1", "ta"]\ndynamic = []\n[tool.uv.sources]\n'
)
_SETTINGS: Final = {"settings": {"alpaca": {"use_sandbox_websockets": False}, "use_sandbox": True}}
EVENT: Final = {
    "ref": "refs/heads/main",
    "before": "0" * 40,
    "head_commit": {"id": _COMMIT, "message": "Buy later\n\n* less"},
    "pull_request": {"title": "Faster", "number": 7, "head": {"sha": _COMMIT}},
    "issue": {"number": 3, "pull_request": {}},
    "release": {"name": "One", "tag_name": "v1"},
    "merge_group": {"head_commit": {"message": "Merge"}},
    "workflow_run": {
        "id": 400,
        "run_attempt": 1,
        "name": "Backtest",
        "event": "pull_request",
        "conclusion": "success",
        "head_branch": "faster",
        "head_sha": _COMMIT,
        "head_repository": {"id": 77, "full_name": "mallory/models"},
        "pull_requests": [{"number": 7, "base": {"repo": {"id": 1}}}],
        "head_commit": {"message": "Run"},
    },
    "repository": {"id": 1, "full_name": "trader/models", "default_branch": "main"},
}
_EVENTS: Final = ("push", "pull_request", "release", "merge_group", "workflow_run", "schedule")
RESULT: Final = raw_result(
    (10_000.0, 10_400.0, 9_900.0, 12_900.0),
    [an_order("buy", 3.0, 32.0), an_order("sell", 3.0, 30.0, type="limit", executed_time=1.7e9)],
    market=a_market({"OAK-USD": [32.0, 33.0, 30.0, 31.0]}),
)
_RUN: Final = {
    "python": "3.11.7",
    "wantedPython": "3.10",
    "blankly": "1.18.25b0",
    "constraints": ["numpy<2"],
    "environmentSeconds": 2.1,
    "modelSeconds": 1.8,
    "callbackCalls": 541,
    "schedule": [{"kind": "bar_event", "symbol": "OAK-USD", "resolution": 86400.0}],
    "exchanges": ["keyless"],
    "symbols": ["OAK-USD"],
    "bundleSha256": "ab" * 32,
    "arguments": {"to": "1y"},
    "argumentSources": {"to": "script"},
    "pinned": {"hashSeed": 0, "now": "2026-01-02T03:04:05Z"},
    "parallel": 2,
}
_PROBLEM: Final = {
    "severity": "warning",
    "message": "Odd.",
    "hint": "Even it.",
    "path": "bot.py",
    "line": 3,
    "column": 7,
}


def inputs(chance: Random) -> Said:
    """Read all inputs of the action at once."""
    given = {
        name: hostile_text(chance) if chance.random() < 0.3 else _varied(chance, text)
        for name, text in _INPUTS.items()
        if chance.random() < 0.8
    }
    log = "\n".join(line for one in secrets_of(given) for line in mask_commands(one))
    judge_log(log)
    yield from filter(None, [too_short_to_mask(given)])
    try:
        settings = parse_settings(given, lambda: 1.8e9)
    except DeployActionError as error:
        yield from error.problems
    else:
        yield from settings.warnings


def _varied(chance: Random, text: str) -> str:
    if chance.random() < 0.5:
        return text
    return spoiled(chance, text.encode()).decode("utf-8", "surrogateescape").replace("\0", "")


def gates(chance: Random) -> Said:
    """Read lines of gates."""
    found, problems = parse_gates(spoiled(chance, GATES).decode("utf-8", "replace"))
    yield from problems
    yield from map(str, found)


def patterns(chance: Random) -> Said:
    """Read patterns of what is not packed."""
    lines = spoiled(chance, PATTERNS).decode("utf-8", "surrogateescape").split("\n")
    rules, invalid = compile_rules(lines)
    for _ in range(3):
        name = hostile_name(chance).decode("utf-8", "surrogateescape")
        rules.deciding(f"a/{name}", name, is_directory=chance.random() < 0.5)
    for text, reason in invalid:
        yield f"{text}: {reason}"


def manifests(chance: Random) -> Said:
    """Read a `blankly.json` with other values, or other bytes."""
    with tempfile.TemporaryDirectory() as folder:
        data = json.dumps(changed(chance, MANIFEST), indent=1).encode("utf-8", "surrogatepass")
        if chance.random() < 0.5:
            data = spoiled(chance, data)
        Path(folder, "blankly.json").write_bytes(data)
        manifest, problems = load_manifest(Path(folder))
    yield from problems
    yield from filter(None, [manifest and manifest.model_name, manifest and manifest.schedule])


def models(chance: Random) -> Said:
    """Check scripts, requirements, settings, keys, and files of any name."""
    with tempfile.TemporaryDirectory() as folder:
        model = sound_model(Path(folder, "model"))
        others = {
            "bot.py": _SCRIPT,
            "requirements.txt": REQUIREMENTS,
            "more.txt": REQUIREMENTS,
            "settings.json": json.dumps(_SETTINGS).encode(),
            "backtest.json": b'{"settings": {"GUI_output": false}}',
            "keys.json": b'{"alpaca": {"main": {"API_KEY": "aB12cd34EF56", "sandbox": true}}}',
            "notify.json": b'{"email": {"password": "x9Kd02mmA", "port": 465}}',
            "analysis.ipynb": json.dumps(_NOTEBOOK).encode(),
            "pyproject.toml": _PROJECT,
            ".env": b"API_SECRET=x9Kd02mmAq1\nexport B='c'\n",
        }
        chosen = chance.sample(sorted(others), chance.randint(1, 6))
        for name in chosen:
            data = others[name]
            Path(model, name).write_bytes(spoiled(chance, data) if chance.random() < 0.7 else data)
        _strange_files(chance, model)
        keys: dict[str, Any] = {}
        if chance.random() < 0.4:
            keys = {**MANIFEST, "main_script": chance.choice(chosen)}
        yield from check(model, **keys)


def _strange_files(chance: Random, model: Path) -> None:
    """Add some files and links with hostile names."""
    for _ in range(chance.randint(0, 4)):
        path = bytes(model) + b"/" + hostile_name(chance)
        name = path.decode("utf-8", "surrogateescape")
        place = Path(name)
        if place.exists() or place.is_symlink():
            continue
        if chance.random() < 0.3:
            place.symlink_to(hostile_name(chance).decode("utf-8", "surrogateescape"))
        else:
            place.write_bytes(b"x")


def events(chance: Random) -> Said:
    """Read the event of a run, and the runner's variables."""
    data = json.dumps(changed(chance, EVENT, 6)).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "event.json")
        path.write_bytes(spoiled(chance, data) if chance.random() < 0.2 else data)
        event = read_event(
            {
                "GITHUB_EVENT_NAME": chance.choice((*_EVENTS, hostile_text(chance))),
                "GITHUB_EVENT_PATH": str(path),
                "GITHUB_SERVER_URL": "https://forge.example",
                "GITHUB_REPOSITORY": chance.choice(("trader/models", hostile_text(chance))),
                "GITHUB_REF": chance.choice(("refs/pull/7/merge", hostile_text(chance))),
                "GITHUB_WORKFLOW": hostile_text(chance),
            }
        )
    yield describe(event, lambda: hostile_text(chance))
    yield from (event.scope, event.commit, event.before, event.ref, event.actor)
    run = read_finished_run(event.payload, event.repository_url)
    yield from filter(None, [run and why_not(run)])
    found = find_place({"GITHUB_API_URL": hostile_text(chance)}, event.payload)
    if isinstance(found, Problem):
        yield found


def results(chance: Random) -> Said:
    """Read what a server answers about a backtest."""
    data = json.dumps(changed(chance, RESULT, 4)).encode()
    if chance.random() < 0.3:
        data = spoiled(chance, data)
    try:
        result = parse_result(data)
    except WrongResultError as wrong:
        yield str(wrong)
        return
    yield from (result.exchange, result.quote_asset, *result.symbols)
    yield from (f"{one.id} {one.display_name} {one.reason}" for one in result.metrics)
    yield json.dumps(dict(result.analysis.metrics), allow_nan=False)
    run = parse_run(changed(chance, _RUN, 4))
    assert run is None or isinstance(run.python, str)
    yield from read_problems(changed(chance, [_PROBLEM, _PROBLEM], 4))


REPORTS: Final = {
    name: json.loads("".join(build_report(outcome)))
    for name, outcome in {**backtests(), **decisions()}.items()
    if name in {"gain", "windows", "stopped", "sweep with failures", "identical", "not computed"}
}


def reports(chance: Random) -> Said:
    """Read an artifact of a fork, which becomes a comment and a page."""
    valid = REPORTS[chance.choice(sorted(REPORTS))]
    document = with_hostile_texts(chance, valid, chance.random() ** 2, kept=KEPT)
    if chance.random() < 0.5:
        document = changed(chance, document, 3)
    data = json.dumps(document).encode()
    if chance.random() < 0.2:
        data = spoiled(chance, data)
    name = hostile_name(chance).decode("utf-8", "surrogateescape")
    try:
        run = read_report(data)
    except WrongReportError as wrong:
        yield str(wrong)
        report = EarlierReport(name=name, problem=str(wrong))
    else:
        report = EarlierReport(name=name, run=run)
        judge_run(run)
    origin = Origin(
        repository="mallory/models",
        commit=_COMMIT,
        commit_url=f"{LINKS[0]}commit/{_COMMIT}",
        conclusion=hostile_text(chance),
        is_fork=True,
        run_url=f"{LINKS[0]}actions/runs/1",
    )
    several = (report,) * chance.randint(1, 2)
    forwarding = Forwarding(origin=origin, reports=several)
    comment = build_forwarded(forwarding, 1, hostile_text(chance))
    judge_markdown(to_markdown(comment), LINKS)


def judge_run(run: RunOutcome) -> None:
    """Judge the page of a run, and its report, which is read back."""
    page = build_page(run, Written(1.7e9, "report.json"))
    judge_page(page, ("https://github.com/blankly-community/",))
    read_report("".join(build_report(run)).encode())


PARSERS: Final = (inputs, gates, patterns, manifests, models, events, results, reports)
