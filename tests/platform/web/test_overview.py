from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deploy_action.platform.storage.records import Model, Progress, State, VersionStatus, Wanted
from tests.support.page_models import add_model, add_version, put_life, put_report, running_model
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import wait_for

HOSTILE = [
    "<script>alert(1)</script>", "abc\u202efed", "x" * 255, "../x", "two\nlines", "\x1b[31mred",
    '" onmouseover="alert(1)', "{{ 7 * 7 }}", "</pre><img src=x onerror=alert(1)>",
]  # fmt: skip
HARM = ("<script>alert", "\u202e", '" onmouseover', "\x1b", ">49<", "<img src=x")


def _path(model: Model, page: str = "overview") -> str:
    return f"/{model.project_id}/{model.id}/{page}"


def _page(reader: Visitor, model: Model, page: str = "overview") -> str:
    answer = reader.get(_path(model, page))
    assert answer.status_code == 200, answer.text
    return answer.text


def _buttons(html: str) -> list[str]:
    """Return the labels of the switches, and where they lead."""
    forms = re.findall(r'(?s)<form method="post" action="[^"]*/(\w+)">(.*?)</form>', html)
    return [f"{action}: {text_of(form)}" for action, form in forms if action != "logout"]


def _deployed(live: LivePlatform, reader: Visitor) -> Model:
    """Return a model that was deployed by the API, and runs."""
    model_id = live.create_model()
    live.run_a_version(model_id)
    with live.parts.store.snapshot() as snapshot:
        model = snapshot.model(live.user_id, model_id)
    assert model is not None
    assert _buttons(_page(reader, model)) == ["stop: Stop"]
    return model


# ------------------------------------------------------------------ the frame


def test_the_frame_says_what_the_model_is_and_does(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id)

    page = reader.get(f"/{live.user_id}/{model_id}/overview").text

    assert "<title>Golden cross: overview</title>" in page
    assert 'class="badge state good">Running</span>' in page
    assert "a strategy was started in it" in text_of(page)
    assert f'href="/{live.user_id}/{model_id}/log"' in page
    assert f'href="/{live.user_id}/{model_id}/overview" aria-current="page"' in page


@pytest.mark.parametrize("model_id", ["..", "../x", ".", "a/b", "%2F", "a b?c=d#e", "é", "x" * 200])
def test_the_pages_of_any_model_can_be_reached(
    model_id: str, live: LivePlatform, reader: Visitor
) -> None:
    with live.parts.store.transaction() as transaction:
        transaction.add_project("p/..", name="Odd", description="")
        transaction.add_model(
            "p/..", model_id, model_type="strategy", name="Hidden", description=""
        )

    home = reader.get("/").text
    href = next(part for part in home.split('"') if part.endswith("/overview"))

    assert "Hidden" in text_of(reader.get(href).text)


# ------------------------------------------------------------------ states and their buttons


@pytest.mark.parametrize(
    ("kind", "state", "changes", "buttons"),
    [
        ("strategy", State.PREPARING, {}, ["stop: Stop"]),
        ("strategy", State.RUNNING, {}, ["stop: Stop"]),
        ("strategy", State.RESTARTING, {}, ["stop: Stop", "start: Start now"]),
        ("strategy", State.STOPPING, {}, ["stop: Stop"]),
        ("strategy", State.STOPPING, {"wanted": Wanted.STOPPED}, []),
        ("strategy", State.STOPPED, {}, ["start: Start"]),
        ("strategy", State.FAILED, {}, ["stop: Keep stopped", "start: Start"]),
        ("strategy", State.FINISHED, {}, ["stop: Keep stopped", "start: Start"]),
        ("screener", State.SCHEDULED, {}, ["stop: Stop", "run: Run now"]),
        ("screener", State.RUNNING, {}, ["stop: Stop"]),
        ("screener", State.STOPPED, {}, ["start: Start"]),
    ],
)
def test_each_state_has_the_buttons_that_make_sense(
    kind: str,
    state: State,
    changes: dict[str, Any],
    buttons: list[str],
    live: LivePlatform,
    reader: Visitor,
) -> None:
    store = live.parts.store
    model = add_model(store, kind=kind)
    put_life(store, model, state, version_id=add_version(store, model).id, **changes)

    assert _buttons(_page(reader, model)) == buttons


def test_what_was_never_deployed_has_none(live: LivePlatform, reader: Visitor) -> None:
    model = add_model(live.parts.store)

    page = _page(reader, model)

    assert _buttons(page) == []
    assert "Nothing of it was deployed to run on this server." in text_of(page)
    assert "State and version" not in page


def test_what_cannot_be_started_has_no_button_and_a_reason(
    live: LivePlatform, reader: Visitor
) -> None:
    store = live.parts.store
    model, empty = add_model(store), add_model(store)
    version = add_version(store, model)
    put_life(store, model, State.STOPPED, version_id=version.id)
    put_life(store, empty, State.STOPPED, launched=False)
    store.bundle_path(version.id).unlink()

    assert _buttons(_page(reader, model)) == []
    assert "the server keeps only newer ones" in text_of(_page(reader, model))
    assert _buttons(_page(reader, empty)) == []
    assert "There is nothing to start" in text_of(_page(reader, empty))


@pytest.mark.parametrize(
    ("kind", "state", "changes", "said"),
    [
        ("strategy", State.RUNNING, {"had_strategy": True}, "teardown runs, which may send orders"),
        ("strategy", State.RUNNING, {}, "without one, there is no teardown to call"),
        ("strategy", State.RESTARTING, {}, "no teardown is called. Look at the exchange"),
        ("strategy", State.FAILED, {}, "no teardown is called. Look at the exchange"),
        ("strategy", State.STOPPED, {}, "with real money if its exchange and its keys are real"),
        ("screener", State.SCHEDULED, {}, "Runs it once, now, beside its schedule."),
        ("screener", State.STOPPED, {}, "at the times of its schedule, 0 * * * *, in UTC"),
    ],
)
def test_a_button_says_before_what_it_does(
    kind: str,
    state: State,
    changes: dict[str, Any],
    said: str,
    live: LivePlatform,
    reader: Visitor,
) -> None:
    store = live.parts.store
    model = add_model(store, kind=kind)
    put_life(store, model, state, version_id=add_version(store, model).id, **changes)

    confirm = re.search(r'(?s)<details class="confirm">.*</details>', _page(reader, model))

    assert confirm is not None
    assert said in text_of(confirm[0])


def test_a_start_names_the_version_and_its_commit(live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model = add_model(store)
    old, new = add_version(store, model, "Old"), add_version(store, model, "New\n\nLong")
    put_life(store, model, State.STOPPED, version_id=old.id, stored_id=new.id)

    html = _page(reader, model)
    (details,) = re.findall(r'(?s)<details class="confirm">.*?</details>', html)

    assert "Starts 0123456 New , uploaded" in text_of(details)
    assert f'name="version" value="{new.id}"' in details
    assert "A start runs 0123456 New" in text_of(html)


def test_the_version_that_is_prepared_is_shown(live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model = running_model(store)
    following = add_version(store, model, "The next one", progress=Progress.PREPARING)
    with store.snapshot() as snapshot:
        life = snapshot.live.life(model.project_id, model.id)
    assert life is not None
    put_life(store, model, State.RUNNING, version_id=life.version_id, next_id=following.id)

    text = text_of(_page(reader, model))

    assert "Next version 0123456 The next one" in text
    assert "The version that is being prepared is not started." in text


# ------------------------------------------------------------------ what the buttons do


def test_stop_and_start(live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)

    answer = reader.send_form(_path(model), _path(model, "stop"))

    assert (answer.status_code, answer.headers["location"]) == (303, _path(model))
    live.wait_for_state(model.id, State.STOPPED)
    assert "Stopped" in text_of(_page(reader, model))
    answer = reader.send_form(_path(model), _path(model, "start"))
    assert answer.headers["location"] == _path(model)
    wait_for(lambda: len(live.parts.host.instances) == 2)
    live.instance.report("started")
    live.wait_for_state(model.id, State.RUNNING)


def test_it_is_told_who_asked_for_a_stop_and_a_start(live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)
    version_id = str(live.versions(model.id)[0]["versionId"])

    reader.send_form(_path(model), _path(model, "stop"))
    live.wait_for_state(model.id, State.STOPPED)
    live.post("/model/run", projectId=model.project_id, modelId=model.id, versionId=version_id)

    wait_for(
        lambda: (
            f"A start of version {version_id} was asked for through the API, from 127.0.0.1."
            in text_of(_page(reader, model))
        )
    )
    assert "A stop was asked for on a page, from 127.0.0.1." in text_of(_page(reader, model))


def test_a_form_that_is_sent_twice_acts_once(live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)
    stop = reader.form(_path(model), _path(model, "stop"))
    assert reader.post(_path(model, "stop"), **stop).headers["location"] == _path(model)
    live.wait_for_state(model.id, State.STOPPED)
    assert reader.post(_path(model, "stop"), **stop).headers["location"] == _path(model)

    start = reader.form(_path(model), _path(model, "start"))
    for _ in range(2):
        assert reader.post(_path(model, "start"), **start).headers["location"] == _path(model)
    wait_for(lambda: len(live.parts.host.instances) == 2)
    live.instance.report("started")
    live.wait_for_state(model.id, State.RUNNING)
    assert reader.post(_path(model, "start"), **start).headers["location"] == _path(model)

    assert live.live(model.id)["state"] == "running"
    assert len(live.parts.host.instances) == 2


def test_forms_that_are_sent_at_the_same_time_start_one_instance(
    live: LivePlatform, reader: Visitor
) -> None:
    model = _deployed(live, reader)
    reader.send_form(_path(model), _path(model, "stop"))
    live.wait_for_state(model.id, State.STOPPED)
    start = reader.form(_path(model), _path(model, "start"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: reader.post(_path(model, "start"), **start), range(8)))

    assert {answer.headers["location"] for answer in answers} == {_path(model)}
    wait_for(lambda: len(live.parts.host.instances) == 2)
    live.instance.report("started")
    live.wait_for_state(model.id, State.RUNNING)
    assert len(live.parts.host.instances) == 2


def test_a_stop_from_an_old_page_stops_what_was_deployed_since(
    live: LivePlatform, reader: Visitor
) -> None:
    model = _deployed(live, reader)
    form = reader.form(_path(model), _path(model, "stop"))
    live.run_a_version(model.id)

    assert reader.post(_path(model, "stop"), **form).headers["location"] == _path(model)

    live.wait_for_state(model.id, State.STOPPED)


def test_an_old_form_starts_nothing_after_a_stop(live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)
    reader.send_form(_path(model), _path(model, "stop"))
    live.wait_for_state(model.id, State.STOPPED)
    start = reader.form(_path(model), _path(model, "start"))
    reader.post(_path(model, "start"), **start)
    wait_for(lambda: len(live.parts.host.instances) == 2)
    reader.send_form(_path(model), _path(model, "stop"))
    live.wait_for_state(model.id, State.STOPPED)

    answer = reader.post(_path(model, "start"), **start)

    assert answer.headers["location"].endswith("?refused=changed")
    assert live.live(model.id)["wanted"] == "stopped"
    assert len(live.parts.host.instances) == 2


def test_what_ended_by_itself_can_still_be_stopped_from_an_old_page(
    live: LivePlatform, reader: Visitor
) -> None:
    model = _deployed(live, reader)
    form = reader.form(_path(model), _path(model, "stop"))
    live.instance.end(1)
    live.wait_for_state(model.id, State.RESTARTING)

    assert reader.post(_path(model, "stop"), **form).headers["location"] == _path(model)

    live.wait_for_state(model.id, State.STOPPED)


def test_what_failed_since_can_still_be_kept_stopped(live: LivePlatform, reader: Visitor) -> None:
    """The model was not asked for anything else, so this is what the visitor wanted."""
    model = running_model(live.parts.store)
    with live.parts.store.snapshot() as snapshot:
        life = snapshot.live.life(model.project_id, model.id)
    assert life is not None
    form = reader.form(_path(model), _path(model, "stop"))
    put_life(live.parts.store, model, State.FAILED, version_id=life.version_id)

    assert reader.post(_path(model, "stop"), **form).headers["location"] == _path(model)

    with live.parts.store.snapshot() as snapshot:
        life = snapshot.live.life(model.project_id, model.id)
    assert life is not None
    assert life.wanted == Wanted.STOPPED


def test_a_screener_runs_once_for_each_form(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model("screener")
    live.deploy(model_id, type="screener", schedule="0 0 1 1 *")
    live.wait_for_state(model_id, State.SCHEDULED)
    path = f"/{live.user_id}/{model_id}"
    form = reader.form(f"{path}/overview", f"{path}/run")
    live.clock.now += 1

    answer = reader.post(f"{path}/run", **form)

    assert answer.status_code == 303
    live.wait_for_state(model_id, State.RUNNING)
    assert reader.post(f"{path}/run", **form).headers["location"] == f"{path}/overview"
    live.instance.end(0)
    live.wait_for_state(model_id, State.SCHEDULED)
    again = reader.post(f"{path}/run", **form)
    assert again.headers["location"] == f"{path}/overview?refused=ran"
    assert "it has run" in text_of(reader.get(again.headers["location"]).text)
    assert len(live.parts.host.instances) == 1


def test_a_run_that_was_asked_for_is_said_until_it_begins(
    live: LivePlatform, reader: Visitor
) -> None:
    model = add_model(live.parts.store, kind="screener")
    version = add_version(live.parts.store, model)
    put_life(live.parts.store, model, State.SCHEDULED, version_id=version.id)
    since = repr(live.clock.now)

    assert "A run was asked for" in _page(reader, model, f"overview?asked={since}")
    assert "A run was asked for" not in _page(reader, model, "overview?asked=1.0")


@pytest.mark.parametrize("action", ["stop", "start", "run"])
def test_forged_forms_change_nothing(action: str, live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)
    form = reader.form(_path(model), _path(model, "stop"))

    for changes in ({"csrf": ""}, {"csrf": "x"}):
        fields = {**form, **changes}
        assert reader.post(_path(model, action), **fields).status_code == 403
    anybody = Visitor(live.parts.url)
    away = anybody.post(_path(model, action), **form).headers["location"]
    assert away.startswith("/login?not_done=true")
    assert reader.get(_path(model, action)).status_code == 404
    assert live.live(model.id)["wanted"] == "running"


@pytest.mark.parametrize("version", ["", "no-such", "x" * 300, "a\x00b"])
def test_a_version_that_does_not_exist_is_not_started(
    version: str, live: LivePlatform, reader: Visitor
) -> None:
    model = _deployed(live, reader)
    form = reader.form(_path(model), _path(model, "stop"))

    answer = reader.post(_path(model, "start"), **{**form, "version": version})

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert live.live(model.id)["state"] == "running"


def test_a_model_that_was_deleted_meanwhile(live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)
    form = reader.form(_path(model), _path(model, "stop"))
    live.post("/model/delete", projectId=model.project_id, modelId=model.id)

    for answer in (
        reader.post(_path(model, "stop"), **form),
        reader.post(_path(model, "start"), **{**form, "version": "x"}),
        reader.post(_path(model, "run"), **form),
        reader.get(_path(model)),
        reader.get(_path(model, "orders")),
        reader.get(_path(model, "orders/1")),
    ):
        assert answer.status_code == 404
        assert "There is no such model here." in text_of(answer.text)


def test_a_server_that_stops_keeps_the_wish(live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)
    live.parts.live.close()

    answer = reader.send_form(_path(model), _path(model, "stop"))

    assert answer.headers["location"] == _path(model)
    assert live.live(model.id)["wanted"] == "stopped"


# ------------------------------------------------------------------ what it reported


def test_where_nothing_was_reported_that_is_not_called_nothing(
    live: LivePlatform, reader: Visitor
) -> None:
    text = text_of(_page(reader, running_model(live.parts.store)))

    assert "No order was reported." in text
    assert "sent past the package, by hand or by another program is not seen here" in text
    assert "Last output none seen" in text


@pytest.mark.parametrize(
    ("state", "life", "words"),
    [
        (
            State.SCHEDULED,
            {},
            "Last run none of this version has ended since it was last deployed or started",
        ),
        (
            State.SCHEDULED,
            {},
            "Running now no run",
        ),
        (
            State.SCHEDULED,
            {},
            "Last result none was reported Next run 2023-11-14 23:00",
        ),
        (
            State.SCHEDULED,
            {"exit_code": 0},
            "which does not prove that nothing failed, 2023-11-14 22:13:20 ( 1 min ago )",
        ),
        (
            State.SCHEDULED,
            {"exit_code": 1, "problem": "KeyError: 'x'"},
            "Last run failed, with exit code 1, 2023-11-14 22:13:20 ( 1 min ago )",
        ),
        (
            State.SCHEDULED,
            {"problem": "No such package"},
            "Last run failed before anything of it ran, 2023-11-14 22:13:20",
        ),
        (
            State.RUNNING,
            {"exit_code": 2},
            "Running now a run, since 2023-11-14 22:13:20 ( 1 min ago ) Run before it",
        ),
        (
            State.RUNNING,
            {"exit_code": 2},
            "Run before it failed, with exit code 2; the events say when",
        ),
        (State.STOPPED, {"exit_code": 0}, "Next run none is planned"),
    ],
)
def test_the_runs_of_a_screener_are_told(
    live: LivePlatform, reader: Visitor, state: State, life: dict[str, Any], words: str
) -> None:
    store = live.parts.store
    model = add_model(store, kind="screener")
    version = add_version(store, model)
    planned = {} if state is State.STOPPED else {"next_run_at": 1_700_002_800.0}
    put_life(store, model, state, version_id=version.id, was_running=True, **planned, **life)
    live.clock.now += 60

    text = text_of(_page(reader, model))

    assert words in text
    assert "Restarts" not in text


def test_what_was_reported_is_shown(live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model = running_model(store, callback_errors=2, problem="A callback failed: x", exit_code=0)
    at = live.clock.now - 60
    filled = {"symbol": "A", "side": "buy", "size": 2.0, "price": 10.0, "type": "market",
              "status": "filled", "updated": True, "exchange": "kraken"}  # fmt: skip
    sent = {"symbol": "B", "side": "sell", "funds": 5.0, "type": "limit", "status": "open",
            "exchange": "kraken (simulated)", "annotation": "Too dear"}  # fmt: skip
    paper = {"symbol": "C", "side": "buy", "size": 1.0, "exchange": "alpaca", "testAccount": True}
    put_report(store, model, "order", filled, name="1", time=at)
    put_report(store, model, "order", sent, name="2", time=at)
    put_report(store, model, "order", paper, name="3", time=at)
    put_report(store, model, "note", {"type": "lifecycle", "text": "It is running."}, time=at)
    event = {"type": "rebalance", "text": "Sold half", "args": {"x": 1}, "response": None}
    put_report(store, model, "event", event, time=at)
    put_report(store, model, "variable", {"value": [1], "description": "Days"}, name="fast")
    put_report(store, model, "metric", {"value": 3, "displayName": "Spread"}, name="s")
    put_report(store, model, "lost", {"count": 12}, name="")
    put_report(store, model, "pnl", {"values": [[at, 7.5]]}, name="")

    html = _page(reader, model)
    text = text_of(html)

    for part in (
        "buy 2 A kraken market 10 filled told later",
        "sell simulated for 5 B kraken limit \u2013 open when sent Too dear",
        "buy no real money 1 C alpaca",
        "C alpaca no real money 0",
        "2023-11-14 22:12:20",
        "platform It is running.",
        "model rebalance Sold half",
        "fast [1]",
        "Spread 3",
        "12 reports of this model were not kept",
        "What is still held is not valued.",
        "The model itself says: 7.5",
        "2 since this version was started; whether one has succeeded since is not known",
        "0, which does not prove that nothing failed",
    ):
        assert part in text
    assert text.index("limit") < text.index("market"), "the newest comes first"


def test_an_exchange_that_cannot_trade_is_said(live: LivePlatform, reader: Visitor) -> None:
    model = running_model(live.parts.store)
    put_report(live.parts.store, model, "exchange", {}, name="alpaca")
    assert "cannot trade" not in _page(reader, model)
    put_report(live.parts.store, model, "exchange", {}, name="keyless")

    assert "which cannot trade" in _page(reader, model)


def test_a_screener_shows_its_results(live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model = add_model(store, kind="screener")
    put_life(store, model, State.SCHEDULED, version_id=add_version(store, model).id)
    assert "No result was reported yet" in _page(reader, model)
    for number in range(12):
        result = {"screener": f"result {number}", "status": {"A": True}}
        put_report(store, model, "screener", {"result": result})
    put_report(store, model, "screener", {"result": "x" * 20_000})

    html = _page(reader, model)

    assert "result 11" in html
    assert "result 2<" not in html
    assert "Cut: it has 20,000 characters" in text_of(html)
    assert len(html) < 60_000


def test_orders_are_read_in_pages(live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model = running_model(store)
    for number in range(205):
        put_report(store, model, "order", {"symbol": f"S{number:03}"}, name=f"{number}")

    assert "25 of 205 that are kept" in text_of(_page(reader, model))
    seen, page, pages = [], "orders", 0
    while page:
        html = _page(reader, model, page)
        seen += re.findall(r"S\d{3}", html)
        older = re.search(r'href="[^"]*/(orders\?before=\d+)" rel="next"', html)
        page, pages = (older[1] if older else ""), pages + 1

    assert seen == [f"S{number:03}" for number in reversed(range(205))]
    assert pages == 3
    assert "No older order is kept" in _page(reader, model, "orders?before=1")
    for wrong in ("orders?before=x", "orders?before=²", f"orders?before={'9' * 40}"):
        assert reader.get(_path(model, wrong)).status_code == 404


def test_orders_that_are_gone_are_said(live: LivePlatform, reader: Visitor) -> None:
    model = running_model(live.parts.store)
    put_report(live.parts.store, model, "order", {"symbol": "A"}, name="1")
    assert "not kept any more" not in _page(reader, model, "orders")
    put_report(live.parts.store, model, "pruned", {}, name="")

    assert "not kept any more" in _page(reader, model, "orders")


def _order_page(reader: Visitor, model: Model) -> str:
    found = re.search(r"/(orders/\d+)", _page(reader, model))
    assert found is not None
    return _page(reader, model, found[1])


def test_an_order_is_explained_by_what_is_known(live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)
    live.instance.listener.line("out", "fast is below slow")
    live.clock.now += 30
    live.instance.listener.line("out", "Selling now")
    fields = {"symbol": "A", "id": "1", "side": "sell", "size": 1, "exchange": "kraken"}
    live.instance.report("report", kind="live/spot-market", fields=fields)
    told = {"id": "1", "annotation": "fast < slow"}
    live.instance.report("report", kind="live/update-annotation", fields=told)
    noted = {"type": "signal", "annotation": "Crossed"}
    live.instance.report("report", kind="live/event", fields=noted)
    wait_for(lambda: "fast &lt; slow" in _page(reader, model))
    wait_for(lambda: "Crossed" in _page(reader, model))
    at = live.clock.now
    live.clock.now += 0.4
    live.instance.listener.line("out", "Buying again")
    live.clock.now += 86_400
    live.instance.listener.line("out", "The day after")
    live.sign_in()
    newer = live.run_a_version(model.id, versionDescription="Something newer")
    version_id = str(live.versions(model.id)[0]["versionId"])

    html = _order_page(reader, model)
    text = text_of(html)

    places = [
        text.index(part)
        for part in (
            "sell 1 A",
            "The model says fast &lt; slow",
            f"Version that ran id {version_id[:8]} Raise the stop",
            f"model, version id {version_id[:8]} signal Crossed",
            "fast is below slow",
            "the order was reported",
            "Selling now",
            "Buying again",
            "The day after",
        )
    ]
    assert places == sorted(places)
    assert "Something newer" not in text
    assert newer not in html
    assert f"&amp;at={at:.3f}" in html
    log = re.search(r'href="([^"]*/log\?[^"]*)"', html)
    assert log is not None
    assert "Selling now" in reader.get(log[1].replace("&amp;", "&")).text


def test_an_order_of_an_unknown_version_says_so(live: LivePlatform, reader: Visitor) -> None:
    model = running_model(live.parts.store)
    put_report(live.parts.store, model, "order", {"symbol": "A", "side": "buy"}, name="1")

    text = text_of(_order_page(reader, model))

    assert "not kept with this order" in text
    assert "nothing: it gave this order no annotation" in text
    assert "None was noted then." in text


def test_an_order_of_another_model_is_not_shown(live: LivePlatform, reader: Visitor) -> None:
    model, other = running_model(live.parts.store), running_model(live.parts.store)
    put_report(live.parts.store, model, "order", {"symbol": "A"}, name="1")
    number = re.search(r"orders/(\d+)", _page(reader, model))
    assert number is not None

    for path in (_path(other, f"orders/{number[1]}"), _path(model, "orders/x")):
        assert reader.get(path).status_code == 404


@pytest.mark.parametrize("text", HOSTILE)
def test_what_others_wrote_stays_text(text: str, live: LivePlatform, reader: Visitor) -> None:
    store = live.parts.store
    model = add_model(store, text)
    version = add_version(store, model, text, commit=text, status=VersionStatus.DEPLOYED)
    put_life(store, model, State.FAILED, version_id=version.id, problem=text, exit_code=1)
    names = ("symbol", "side", "type", "status", "exchange", "annotation")
    put_report(store, model, "order", dict.fromkeys(names, text), name=text)
    put_report(store, model, "event", {"type": text, "text": text, "args": text, "response": text})
    put_report(store, model, "note", {"type": text, "text": text})
    put_report(store, model, "screener", {"result": text})
    put_report(store, model, "log", {"line": text, "type": text})
    put_report(store, model, "exchange", {}, name=text)
    for kind in ("variable", "metric"):
        document = {"value": text, "description": text, "displayName": text, "type": text}
        put_report(store, model, kind, document, name=text)
    store.logs.open(version.id).write("out", text)

    for html in (_page(reader, model), _page(reader, model, "orders"), _order_page(reader, model)):
        for harm in HARM:
            assert harm not in html


def test_a_stop_tells_before_what_may_be_held_and_what_may_keep_it_from_being_sold(
    live: LivePlatform, reader: Visitor
) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id)
    order = {"symbol": "YEW", "side": "buy", "size": 3, "exchange": "alpaca", "id": "1"}
    live.instance.report("report", kind="live/spot-market", fields=order)
    problem = {"severity": "error", "message": "ConnectionError", "hint": "It is down."}
    live.instance.report("callback_error", count=1, problem=problem, fails=True)
    wait_for(lambda: live.live(model_id)["callbacksFail"] and live.details(model_id)["orders"])

    text = text_of(reader.get(f"/{live.user_id}/{model_id}/overview").text)

    assert "it may hold a position now: 3 YEW more bought than sold (alpaca)" in text
    assert "What keeps them from succeeding may keep the teardown from selling, too." in text


def test_a_model_that_is_down_tells_what_it_may_hold(live: LivePlatform, reader: Visitor) -> None:
    model = _deployed(live, reader)
    store = live.parts.store
    fields = {"symbol": "YEW", "exchange": "alpaca", "type": "market", "status": "accepted"}
    put_report(store, model, "order", {**fields, "side": "buy", "size": 130.0}, name="1")
    put_report(store, model, "order", {**fields, "side": "sell", "size": 1.5}, name="2")
    assert "Nothing of this model runs now" not in text_of(_page(reader, model))

    reader.send_form(_path(model), _path(model, "stop"))
    live.wait_for_state(model.id, State.STOPPED)

    told = "it may hold a position: 128.5 YEW more bought than sold (alpaca), if all of them were"
    assert told in text_of(_page(reader, model))
    put_report(store, model, "order", {**fields, "side": "sell", "size": 128.5}, name="3")
    assert "it may hold a position" not in text_of(_page(reader, model))
