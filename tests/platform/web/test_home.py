from __future__ import annotations

import re
from typing import Any

import pytest

from deploy_action.platform.live.keeping.keeper import Keeper
from deploy_action.platform.storage.records import Progress, State, VersionStatus, Wanted
from tests.support.page_models import add_model, add_version, put_life, put_report, running_model
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import wait_for

NOTHING = "Nothing needs attention"
HOSTILE = [
    "<script>alert(1)</script>", "abc\u202efed", "x" * 255, "../x", "two\nlines", "\x1b[31mred",
    '" onmouseover="alert(1)', "{{ 7 * 7 }}", "&lt;b&gt;",
]  # fmt: skip


def _home(reader: Visitor, query: str = "") -> str:
    return reader.get(f"/{query}").text


def _urgent(html: str) -> str:
    """Return the text of the section on what needs attention, blank without one."""
    found = re.search(r'(?s)<section aria-labelledby="attention">.*?</section>', html)
    return text_of(found[0]) if found else ""


def test_an_empty_server_says_how_to_deploy(live: LivePlatform, reader: Visitor) -> None:
    text = text_of(_home(reader))

    assert f"blankly-deploy deploy PATH/TO/MODEL --create-new --api-url {live.parts.url}" in text
    assert NOTHING not in text


def test_an_order_without_real_money_is_marked_where_that_is_known(
    live: LivePlatform, reader: Visitor
) -> None:
    model = running_model(live.parts.store)
    for number, (is_test, shown) in enumerate(
        ((True, "OAK no real money ,"), (False, "OAK,"), (None, "OAK,")), 1
    ):
        order = {"symbol": "OAK", "side": "buy", "size": 1, "exchange": "a", "testAccount": is_test}
        put_report(live.parts.store, model, "order", order, name=f"{number}")
        assert f"Last order buy 1 {shown}" in text_of(_home(reader))
        html = reader.get(f"/p-1/{model.id}/orders/{number}").text
        is_told = "in which no real money is" in text_of(html)
        assert is_told is bool(is_test)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("stop", "because a stop was asked for."),
        ("replace", "because another version took its place."),
        ("shutdown", "because this server was shut down."),
        (None, ""),
    ],
)
def test_an_order_of_a_teardown_says_why_that_ran(
    live: LivePlatform, reader: Visitor, reason: str | None, said: str
) -> None:
    model = running_model(live.parts.store)
    order = {"symbol": "OAK", "side": "sell", "size": 1, "exchange": "a", "tornDownFor": reason}
    put_report(live.parts.store, model, "order", order, name="1")
    text = text_of(reader.get(f"/p-1/{model.id}/orders/1").text)
    assert ("It was sent while the teardown of its version ran," in text) is bool(said)
    assert said in text


def test_a_model_that_runs_is_shown_with_what_is_known(live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model = running_model(store, callback_errors=3, problem="A callback failed: x")
    order = {"symbol": "BTC-USD", "side": "buy", "size": 0.25, "exchange": "x (simulated)"}
    put_report(store, model, "order", order, name="1", time=live.clock.now - 7_200)
    live.clock.now += 60

    html = _home(reader)
    text = text_of(html)

    for part in (
        "Project p-1",
        "Golden cross Running",
        "2023-11-14 22:13 ( 1 min ago )",
        "0123456 Buy",
        "buy 0.25 BTC-USD simulated , 2 h ago",
        "3 callbacks failed; whether one has succeeded since is not known",
        NOTHING,
    ):
        assert part in text
    assert f'href="/p-1/{model.id}/overview"' in html


def test_the_order_that_was_sent_last_is_shown(live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model, other = running_model(store), running_model(store, "Other")
    for name, side in (("1", "buy"), ("2", "sell")):
        document = {"symbol": "A", "side": side, "funds": 10, "exchange": "x"}
        put_report(store, model, "order", document, name=name)
    put_report(store, model, "order", {"symbol": "B", "side": "buy", "size": 1}, name="1")
    put_report(store, other, "event", {"type": "x"})

    text = text_of(_home(reader))

    assert "sell for 10 A" in text
    assert "1 B" not in text
    assert text.count("none reported") == 1


@pytest.mark.parametrize(
    ("kind", "state", "changes", "reason"),
    [
        (
            "strategy",
            State.FAILED,
            {"problem": "bot.py, line 3: No"},
            "bot.py, line 3: No. Nothing runs",
        ),
        (
            "strategy",
            State.RESTARTING,
            {"problem": "It was killed."},
            "It was killed. It is started again",
        ),
        (
            "strategy",
            State.RUNNING,
            {"restarts": 2, "problem": "Killed."},
            "2 times in a row. Killed.",
        ),
        (
            "strategy",
            State.STOPPED,
            {"problem": "Its teardown failed."},
            "It was stopped. Its teardown failed.",
        ),
        (
            "strategy",
            State.STOPPED,
            {"wanted": Wanted.RUNNING},
            "It should run, and nothing of it does.",
        ),
        (
            "strategy",
            State.FINISHED,
            {"problem": "It ended at once.", "exit_code": 0},
            "It ended at once.",
        ),
        ("strategy", State.FINISHED, {"exit_code": 3}, "is not run again"),
        ("screener", State.SCHEDULED, {"problem": "It raised."}, "Its last run failed. It raised."),
        ("screener", State.SCHEDULED, {"exit_code": 1}, "Its last run failed."),
    ],
)
def test_what_needs_attention_comes_first_with_its_reason(
    kind: str,
    state: State,
    changes: dict[str, Any],
    reason: str,
    live: LivePlatform,
    reader: Visitor,
) -> None:
    store = live.parts.store
    running_model(store, "Fine")
    model = add_model(store, "Trouble", kind=kind)
    put_life(store, model, state, version_id=add_version(store, model).id, **changes)

    html = _home(reader)

    assert reason in _urgent(html)
    assert "Fine" not in _urgent(html)
    assert NOTHING not in text_of(html)
    assert text_of(html).count("Trouble") == 1


@pytest.mark.parametrize(
    ("kind", "state", "changes"),
    [
        ("strategy", State.RUNNING, {}),
        ("strategy", State.PREPARING, {}),
        ("strategy", State.STOPPING, {}),
        ("strategy", State.STOPPED, {}),
        ("strategy", State.FINISHED, {"exit_code": 0}),
        ("screener", State.SCHEDULED, {"exit_code": 0}),
        ("screener", State.RUNNING, {}),
    ],
)
def test_what_is_as_it_should_be_needs_none(
    kind: str, state: State, changes: dict[str, Any], live: LivePlatform, reader: Visitor
) -> None:
    model = add_model(live.parts.store, kind=kind)
    version = add_version(live.parts.store, model)
    put_life(live.parts.store, model, state, version_id=version.id, **changes)

    text = text_of(_home(reader))

    assert NOTHING in text
    assert "It does not see positions or open orders" in text


def test_callbacks_that_fail_need_attention_until_one_succeeds(
    live: LivePlatform, reader: Visitor
) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id)
    problem = {"severity": "error", "message": "KeyError: 'close'"}
    live.instance.report("callback_error", count=1, fails=True, problem=problem)
    wait_for(lambda: live.live(model_id)["callbacksFail"])

    assert "no callback has succeeded since the latest one failed" in _urgent(_home(reader))
    assert "KeyError: 'close'" in _urgent(_home(reader)).replace("&#39;", "'")

    live.instance.report("callbacks_work")
    wait_for(lambda: not live.live(model_id)["callbacksFail"])
    assert not _urgent(_home(reader))
    assert "1 callback failed; one has succeeded since the latest one" in text_of(_home(reader))


def test_callbacks_fail_since_the_first_of_them_and_not_since_the_start(
    live: LivePlatform, reader: Visitor
) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id)
    live.clock.now += 120
    problem = {"severity": "error", "message": "KeyError: 'close'"}
    live.instance.report("callback_error", count=1, fails=True, problem=problem)
    wait_for(lambda: live.live(model_id)["callbacksFail"])
    live.clock.now += 60

    home = text_of(_home(reader))
    assert "Since 2023-11-14 22:15 ( 1 min ago )" in home
    assert "It has run since 2023-11-14 22:13 (UTC)" in home
    page = text_of(reader.get(f"/{live.user_id}/{model_id}/log").text)
    assert "Callbacks fail since 2023-11-14 22:15 ( 1 min ago )" in page
    assert live.live(model_id)["callbacksFailSince"] == "2023-11-14T22:15:20+00:00"


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.FINISHED])
def test_what_is_down_and_may_hold_a_position_needs_attention(
    state: State, live: LivePlatform, reader: Visitor
) -> None:
    """Nobody looks after the position."""
    store = live.parts.store
    model = add_model(store)
    put_life(store, model, state, version_id=add_version(store, model).id)
    order = {"symbol": "OAK", "side": "buy", "size": 50, "exchange": "alpaca"}
    put_report(store, model, "order", order, name="1")
    said = "it may hold a position: 50 OAK more bought than sold (alpaca), if all were filled."
    other = add_model(store, "Ended")
    put_life(store, other, State.FINISHED, version_id=add_version(store, other).id, exit_code=1)
    urgent = _urgent(_home(reader))
    assert said in urgent
    assert urgent.index("Golden cross") < urgent.index("Ended")

    put_report(store, model, "order", {**order, "side": "sell"}, name="2")
    assert "it may hold" not in text_of(_home(reader))


def test_the_orders_of_what_is_down_are_read_once(live: LivePlatform, reader: Visitor) -> None:
    """But a status that comes later counts after some minutes."""
    store = live.parts.store
    model = add_model(store)
    put_life(store, model, State.STOPPED, version_id=add_version(store, model).id)
    order = {"symbol": "OAK", "side": "buy", "size": 50, "exchange": "alpaca"}
    put_report(store, model, "order", order, name="1")
    counts: list[int] = []
    for _ in range(3):
        statements: list[str] = []
        for connection in store.database._idle:  # noqa: SLF001  # to watch it
            connection.set_trace_callback(statements.append)
        assert "it may hold a position: 50 OAK" in _urgent(_home(reader))
        counts.append(len(statements))
    assert counts[0] > counts[1] == counts[2]

    put_report(store, model, "order", {**order, "status": "canceled"}, name="1")
    live.clock.now += 601
    assert "it may hold" not in text_of(_home(reader))


def test_a_newer_version_that_could_not_run_needs_attention(
    live: LivePlatform, reader: Visitor
) -> None:
    model = running_model(live.parts.store)
    live.clock.now += 1
    add_version(
        live.parts.store,
        model,
        status=VersionStatus.STOPPED,
        progress=Progress.FAILED,
        problem="no such package nunpy",
    )

    reason = "What was deployed last could not run, so an older version does. no such package nunpy"
    assert reason in _urgent(_home(reader))


def test_all_that_is_wrong_with_a_model_is_said(live: LivePlatform, reader: Visitor) -> None:
    """A bot that cannot trade, after a deploy that would have mended it."""
    model = running_model(live.parts.store)
    put_report(live.parts.store, model, "exchange", {}, name="keyless")
    live.clock.now += 1
    add_version(
        live.parts.store,
        model,
        status=VersionStatus.STOPPED,
        progress=Progress.FAILED,
        problem="no such package nunpy",
    )

    urgent = _urgent(_home(reader))
    assert "Running, cannot trade" in urgent
    assert "It opened a KeylessExchange, which cannot trade" in urgent
    assert "What was deployed last could not run, so an older version does." in urgent
    assert urgent.count("no such package nunpy") == 1


def test_of_what_is_stopped_no_older_version_is_said_to_run(
    live: LivePlatform, reader: Visitor
) -> None:
    store = live.parts.store
    model = add_model(store)
    put_life(store, model, State.STOPPED, version_id=add_version(store, model).id)
    live.clock.now += 1
    add_version(store, model, status=VersionStatus.STOPPED, progress=Progress.FAILED)

    assert "What was deployed last could not run. Its log says why." in _urgent(_home(reader))


@pytest.mark.parametrize("progress", [one for one in Progress if one is not Progress.FAILED])
def test_a_newer_version_that_did_not_fail_needs_none(
    progress: Progress, live: LivePlatform, reader: Visitor
) -> None:
    model = running_model(live.parts.store)
    live.clock.now += 1
    add_version(live.parts.store, model, status=VersionStatus.UPLOADED, progress=progress)

    assert not _urgent(_home(reader))


def test_a_model_that_is_not_watched_over_is_said(
    live: LivePlatform, reader: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_model(live.parts.store)
    monkeypatch.setattr(live.parts.live, "fault", lambda: "1 models are not watched over any more")

    text = text_of(_home(reader))

    assert "Of this server: 1 models are not watched over any more" in text
    assert NOTHING not in text


def test_what_was_never_deployed_is_not_said_to_be_fine(
    live: LivePlatform, reader: Visitor
) -> None:
    model = add_model(live.parts.store, "Elsewhere bot")
    add_model(live.parts.store, "Only backtested")
    put_report(live.parts.store, model, "lifecycle", {"message": "All <b>good</b>"}, name="")

    text = text_of(_home(reader))

    assert "Not deployed" in text
    assert "Elsewhere" in text
    assert NOTHING not in text


def test_many_models_are_found_by_name_and_state(live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    for number in range(11):
        running_model(store, f"Bot {number:02}")
    model = add_model(store, "Broken")
    put_life(store, model, State.FAILED, version_id=add_version(store, model).id)

    assert "running (11)" in text_of(_home(reader))
    assert "1 model found" in text_of(_home(reader, "?name=bOT+03"))
    by_state = text_of(_home(reader, "?name=&state=failed"))
    assert "1 model found" in by_state
    assert "Broken" in by_state
    assert "1 model found" in text_of(_home(reader, "?state=attention"))
    hidden = text_of(_home(reader, "?name=Bot"))
    assert "11 models found" in hidden
    assert "1 model needs attention" in hidden
    assert "0 models found" in text_of(_home(reader, "?name=%3Cb%3E"))


def test_few_models_have_no_filter(live: LivePlatform, reader: Visitor) -> None:
    running_model(live.parts.store)

    assert "<select" not in _home(reader)


def test_a_page_has_a_hundred_models_at_most(live: LivePlatform, reader: Visitor) -> None:
    for number in range(201):
        add_model(live.parts.store, f"Bot {number:03}")

    pages = [_home(reader, f"?page={page}&name=bot") for page in (1, 2, 3)]

    assert [page.count('class="card"') for page in pages] == [100, 100, 1]
    assert "Page 2 of 3" in text_of(pages[1])
    assert 'href="?page=3&amp;name=bot&amp;state="' in pages[1]


def test_models_are_listed_by_project(live: LivePlatform, reader: Visitor) -> None:
    for name, project in (("One", "p-1"), ("Two", "p-2"), ("Three", "p-1")):
        add_model(live.parts.store, name, project=project)

    text = text_of(_home(reader))

    places = [text.index(part) for part in ("Project p-1", "One", "Three", "Project p-2", "Two")]
    assert places == sorted(places)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_messages_stay_text(name: str, live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model = add_model(store, name)
    version = add_version(store, model, name)
    put_life(store, model, State.FAILED, version_id=version.id, problem=name)
    put_report(store, model, "order", {"symbol": name, "side": name}, name="1")

    html = _home(reader)

    for harm in ("<script>alert", "\u202e", '" onmouseover', "\x1b", ">49<", '&lt;b&gt;"'):
        assert harm not in html
    assert html.count('class="card attention"') == 1
    assert f'href="/p-1/{model.id}/overview"' in html


def test_the_queries_do_not_grow_with_the_models(live: LivePlatform, reader: Visitor) -> None:
    counts: list[int] = []
    for _ in range(2):
        for number in range(5):
            running_model(live.parts.store, f"Bot {number}")
        statements: list[str] = []
        for connection in live.parts.store.database._idle:  # noqa: SLF001  # to watch it
            connection.set_trace_callback(statements.append)
        assert text_of(_home(reader)).count("Bot ") == len(counts) * 5 + 5
        counts.append(len(statements))

    assert 5 < counts[0] == counts[1]


def test_the_states_of_all_models_are_those_of_each(live: LivePlatform) -> None:
    for state in State:
        model = running_model(live.parts.store, f"Bot {state}")
        put_life(
            live.parts.store,
            model,
            state,
            version_id=add_version(live.parts.store, model).id,
            next_id=add_version(live.parts.store, model).id,
            keep=state is not State.FAILED,
        )
    live.run_a_version(live.create_model())

    with live.parts.store.snapshot() as snapshot:
        every = live.parts.live.statuses(snapshot)
        single = {key: live.parts.live.status(snapshot, *key) for key in every}

    assert len(every) == len(State) + 1
    assert every == single


@pytest.mark.parametrize(("kind", "is_told"), [("strategy", True), ("screener", False)])
def test_a_strategy_that_cannot_trade_needs_attention(
    kind: str, *, is_told: bool, live: LivePlatform, reader: Visitor
) -> None:
    store = live.parts.store
    model = add_model(store, kind=kind)
    put_life(store, model, State.RUNNING, version_id=add_version(store, model).id)
    put_report(store, model, "exchange", {}, name="keyless")
    base = f"/{model.project_id}/{model.id}"
    for path in ("/", f"{base}/overview", f"{base}/log", f"{base}/versions", f"{base}/backtests"):
        html = reader.get(path).text
        assert ("It opened a KeylessExchange" in text_of(html)) is is_told
        assert ("badge state warn" in html) is is_told
        assert "badge state good" not in html


def test_a_model_that_is_not_watched_over_has_no_green_badge(
    live: LivePlatform, reader: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at home, nor on its own pages, nor beside its version."""
    model_id = live.create_model()
    live.run_a_version(model_id)
    base = f"/{live.user_id}/{model_id}"
    pages = ("/", f"{base}/overview", f"{base}/versions")
    for path in pages:
        assert 'class="badge state good">Running</span>' in reader.get(path).text
    monkeypatch.setattr(Keeper, "is_alive", False)

    for path in pages:
        html = reader.get(path).text
        assert "badge state good" not in html
        assert 'class="badge state bad">Running?</span>' in html
    assert "does not know what it does now" in text_of(_home(reader))
