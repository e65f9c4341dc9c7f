"""The versions of a model: their list, one of them, a start, a rollback."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from deploy_action.platform.storage.records import Progress, State, StopReason
from deploy_action.platform.web.backtests.identity import ComparedVariables
from tests.support.platform_client import make_bundle
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import wait_for

SHA = "81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e"
REPOSITORY = "https://forge.example:3000/trader/models"
OF_COMMIT = {"commit": SHA, "committedAt": "2024-05-31T12:00:00Z", "commitRepository": REPOSITORY}


def _versions(live: LivePlatform, model_id: str) -> str:
    return f"/{live.user_id}/{model_id}/versions"


def _article(page: str, version_id: str) -> str:
    """Return the part of the list that is about a version."""
    _, _, after = page.partition(f'<article class="card version" id="{version_id}"')
    return after.partition("</article>")[0]


def _form(page: str, version_id: str) -> dict[str, str]:
    """Return the hidden fields of the form that starts a version."""
    return dict(re.findall(r'name="(csrf|seen)" value="([^"]+)"', _article(page, version_id)))


def _upload(live: LivePlatform, model_id: str) -> str:
    fields: dict[str, str | None] = {
        "pythonVersion": "3.11", "versionDescription": "Kept", "projectId": live.user_id,
        "modelId": model_id, "type": "strategy",
    }  # fmt: skip
    answer = live._upload("/model/upload", None, fields).json()  # noqa: SLF001  # as `deploy` does
    version_id: str = answer["versionId"]
    return version_id


def _kill(live: LivePlatform, model_id: str) -> None:
    live.post("/model/kill", projectId=live.user_id, modelId=model_id)
    live.wait_for_state(model_id, State.STOPPED)


# ------------------------------------------------------------------ the list


def test_a_version_is_shown_with_all_that_is_known_of_it(
    live: LivePlatform, reader: Visitor
) -> None:
    model_id = live.create_model()
    version_id = live.run_a_version(
        model_id,
        None,
        versionDescription="Raise the stop\n\nIt was too low.",
        deployedBy="ada",
        runUrl=f"{REPOSITORY}/actions/runs/17",
        environment='{"BOT_TOKEN": "telegram-secret", "A": "1"}',
        **OF_COMMIT,
    )

    page = reader.get(_versions(live, model_id)).text
    shown = text_of(_article(page, version_id))

    assert "81b7a04 Raise the stop Running It is the current version" in shown
    assert "It was too low." in shown
    assert "2023-11-14 22:13" in shown
    assert "the client says by ada , in this run" in shown
    assert f'href="{REPOSITORY}/commit/{SHA}"' in page
    assert f'href="{REPOSITORY}/actions/runs/17"' in page
    assert "81b7a04 of forge.example:3000/trader/models, committed 2024-05-31 12:00" in shown
    assert "Python 3.10, plan nano" in shown
    assert "Variables A , BOT_TOKEN" in shown
    assert "telegram-secret" not in page
    assert "It is the current version" in shown
    assert "It runs, or is about to." in shown
    assert "<button>Start" not in _article(page, version_id)


def test_what_became_of_each_version_is_said_in_words(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    ran = live.run_a_version(model_id)
    current = live.run_a_version(model_id)
    live.parts.host.may_prepare.clear()
    superseded = live.deploy(model_id).json()["versionId"]
    coming = live.deploy(model_id).json()["versionId"]
    failed = _upload(live, model_id)
    with live.parts.store.transaction() as transaction:
        transaction.live.note_progress(failed, Progress.FAILED, "No blankly here. <b>")

    page = reader.get(_versions(live, model_id)).text

    for version_id, words in {
        ran: "Ran It ran, and does not run any more. A rollback goes back to this version.",
        current: "Running It is the current version",
        superseded: "Not started Another version took its place before it was ready",
        coming: "Next It is being prepared. Then it takes over",
        failed: "Failed It was to run, and failed: it could not be prepared, or ended at once."
        " No blankly here. &lt;b&gt;",
    }.items():
        assert words in text_of(_article(page, version_id))
    _kill(live, model_id)
    assert "The model was stopped before it was ready" in text_of(
        _article(reader.get(_versions(live, model_id)).text, coming)
    )
    live.parts.host.may_prepare.set()


def test_a_version_that_waits_for_a_start_says_so(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id)
    _kill(live, model_id)
    stored = live.deploy(model_id).json()["versionId"]

    page = reader.get(_versions(live, model_id)).text

    assert (
        "It was deployed while the model was stopped, and has not been started. A start of the"
        " model runs this version." in text_of(_article(page, stored))
    )
    assert "Nothing of this model runs now." in text_of(_article(page, stored))


def test_the_list_has_fifty_versions_a_page(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    first = live.deploy(model_id).json()["versionId"]
    with live.parts.store.transaction() as transaction:
        original = transaction.live.version(live.user_id, model_id, first)
        assert original is not None
        for number in range(120):
            transaction.add_version(replace(original, id=f"v{number}", status="stopped"), "")

    pages = [reader.get(f"{_versions(live, model_id)}?page={page}").text for page in (1, 2, 3)]

    ids = [re.findall(r'<article class="card version" id="([^"]+)"', page) for page in pages]
    assert ids[0] == [f"v{number}" for number in range(119, 69, -1)]
    assert [len(each) for each in ids] == [50, 50, 21]
    assert ids[2][-1] == first
    assert "?page=2" in pages[0]
    assert "?page=0" not in pages[0]
    assert "Page 3 of 3" in text_of(pages[2])


def test_one_version_is_compared_with_nothing(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    live.deploy(model_id)
    assert 'type="radio"' not in reader.get(_versions(live, model_id)).text
    live.deploy(model_id)
    assert 'type="radio"' in reader.get(_versions(live, model_id)).text


def test_a_model_without_versions_says_so(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    assert "Nothing was uploaded" in text_of(reader.get(_versions(live, model_id)).text)
    changes = reader.get(f"{_versions(live, model_id)}/compare").text
    assert "no two versions" in text_of(changes)


# ------------------------------------------------------------------ what others wrote


HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x1b[31m"


def test_what_others_wrote_stays_text(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    bundle = make_bundle(**{'<img src=x onerror="alert(1)">.py': "1", "bot.py": "1"})
    version_id = live.run_a_version(
        model_id,
        bundle,
        versionDescription=f"{HOSTILE}\n{HOSTILE}",
        deployedBy=HOSTILE[:80],
        commit=HOSTILE,
        commitRepository=f"javascript:alert(1)//{HOSTILE}",
        runUrl="https://evil.example/run",
    )

    for path in ("", f"/{version_id}", f"/compare?a={version_id}&b={version_id}"):
        page = reader.get(f"{_versions(live, model_id)}{path}").text
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
        assert not re.search(r'href="\s*(?!/|#)[^"]*(evil|javascript)', page)
    assert (
        "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;.py"
        in reader.get(f"{_versions(live, model_id)}/{version_id}").text
    )


@pytest.mark.parametrize(
    "repository",
    ["javascript:alert(1)", "https://u:p@forge.example/a/b", "//forge.example/a/b", "", "/etc",
     "https://forge.example/a/b?x", "https://forge.example/../b", "data:text/html,a/b/c"],
)  # fmt: skip
def test_a_commit_of_an_unknown_repository_is_no_link(
    repository: str, live: LivePlatform, reader: Visitor
) -> None:
    model_id = live.create_model()
    live.deploy(model_id, None, **{**OF_COMMIT, "commitRepository": repository})

    page = reader.get(_versions(live, model_id)).text

    assert f'<span title="{SHA}">81b7a04</span>' in page
    assert SHA not in "".join(re.findall(r'href="[^"]*"', page))


def test_the_run_of_another_host_is_no_link(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    live.deploy(model_id, None, runUrl="https://evil.example/run", **OF_COMMIT)

    page = reader.get(_versions(live, model_id)).text

    assert "in the run https://evil.example/run" in text_of(page)
    assert 'href="https://evil.example' not in page


# ------------------------------------------------------------------ one version


def test_a_version_has_a_page_with_its_files(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    bundle = make_bundle(**{"bot.py": "x" * 1234, "keys.json": '{"secret": "of-an-exchange-99"}'})
    version_id = live.run_a_version(model_id, bundle)

    page = reader.get(f"{_versions(live, model_id)}/{version_id}").text

    assert "bot.py 1.2 kB" in text_of(page)
    assert "of-an-exchange" not in page
    assert hashlib.sha256(bundle).hexdigest() in page
    assert "None on this server." in text_of(page)


def test_backtests_of_the_same_bundle_are_listed(live: LivePlatform, reader: Visitor) -> None:
    """Also those before the deploy, which uploaded the bundle for themselves."""
    model_id, bundle = live.create_model(), make_bundle(a="1")
    live.backtest(model_id, bundle, backtestDescription="Of these bytes")
    live.backtest(model_id, make_bundle(a="2"), backtestDescription="Of others")
    version_id = live.run_a_version(model_id, bundle)

    page = reader.get(f"{_versions(live, model_id)}/{version_id}").text

    backtest_id = live.backtests(model_id)[0]["backtestId"]
    assert "Of these bytes 2023-11-14 22:13 , " in text_of(page)
    assert f'href="/{live.user_id}/{model_id}/backtests/{backtest_id}"' in page
    assert "Of others" not in page


def test_a_backtest_of_a_bundle_says_with_which_variables_it_ran(
    live: LivePlatform, reader: Visitor
) -> None:
    """Their names, and whether they are those of the version; no value is told."""
    model_id, own = live.create_model(), {"FAST": "first-secret", "KEY": "second-secret"}
    tested = {
        "as deployed": (own, "with the variables of this version: FAST, KEY"),
        "slower": (
            {**own, "FAST": "other-secret"},
            "with other values of the variables of this version: FAST, KEY",
        ),
        "more": ({"SLOW": "third-secret"}, "with SLOW, and not as this version with FAST, KEY"),
        "bare": ({}, "without the variables of this version: FAST, KEY"),
    }
    for name, (variables, _) in tested.items():
        live.backtest(model_id, environment=json.dumps(variables), backtestDescription=name)
    version_id = live.run_a_version(model_id, environment=json.dumps(own))

    page = reader.get(f"{_versions(live, model_id)}/{version_id}").text

    for name, (_, words) in tested.items():
        (line,) = re.findall(rf"(?s)<li><a [^>]*>{name}</a>.*?</li>", page)
        assert text_of(line).endswith(f"Tested {words}")
        assert ('class="warn"' in line) is (name != "as deployed")
    assert "secret" not in page


def test_a_backtest_with_unknown_variables_is_not_taken_for_one_of_the_version() -> None:
    none: dict[str, Any] = {"names": [], "digest": ""}
    unknown = ComparedVariables.of(None, none)
    assert (unknown.are_own, unknown.text) == (False, "with which variables is not known")
    both = ComparedVariables.of(none, none)
    assert (both.are_own, both.text) == (True, "without variables, as this version")
    added = ComparedVariables.of({"names": ["A"], "digest": "1"}, none)
    assert added.text == "with variables that this version does not have: A"


def test_a_version_is_called_the_same_on_all_pages(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    committed = live.run_a_version(model_id, None, versionDescription="Raise the stop", **OF_COMMIT)
    other = live.run_a_version(model_id, versionDescription="By hand")
    base = f"/{live.user_id}/{model_id}"
    for version_id, label, message in (
        (committed, "81b7a04", "Raise the stop"),
        (other, f"id {other[:8]}", "By hand"),
    ):
        name = f"<code>{label}</code> {message}"
        link = rf'<a href="{base}/versions/{version_id}" title="Version {version_id}[^"]*">'
        pages = ["versions", "versions/compare", f"log?version={version_id}", "overview"]
        for page in pages[: 4 if version_id == other else 3]:
            html = reader.get(f"{base}/{page}").text
            assert re.search(rf"{link}({name}|version {label})</a>", html), page
        shown = reader.get(f"{base}/versions/{version_id}").text
        assert f"<h2>{name}</h2>" in shown
        assert f"version {label}</title>" in shown
    assert f"<code>id {other[:8]}</code> By hand</a>" in reader.get("/").text


def test_a_version_that_was_deleted_meanwhile_has_none(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    live.deploy(model_id)
    for path in ("/gone", "/compare?a=gone", "/compare?b=gone", "/%252E%252E"):
        assert reader.get(f"{_versions(live, model_id)}{path}").status_code == 404
    csrf = re.findall('name="csrf" value="([^"]+)"', reader.get("/").text)[0]
    answer = reader.post(f"{_versions(live, model_id)}/gone/start", csrf=csrf, seen="x")
    assert answer.status_code == 404


# ------------------------------------------------------------------ starting


def test_a_rollback_replaces_what_runs(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    first = live.run_a_version(model_id, environment='{"KEY": "as-it-was"}')
    second = live.run_a_version(model_id)
    page, old = _versions(live, model_id), live.instance
    shown = unescape(text_of(_article(reader.get(page).text, first)))
    assert "Roll back to this version" in shown
    assert (
        f'version id {second[:8]} is stopped: its teardown is called with the reason "replace"'
        in shown
    )
    assert "variables that are kept with it: KEY" in shown
    assert f"/compare?a={second}&amp;b={first}" in _article(reader.get(page).text, first)

    answer = reader.send_form(page, f"{page}/{first}/start")

    assert (answer.status_code, answer.headers["location"]) == (303, f"{page}/{first}")
    wait_for(lambda: live.instance.launch.version_id == first)
    assert old.reasons == [StopReason.REPLACE]
    assert live.instance.launch.environment == {"KEY": "as-it-was"}


def test_a_form_that_is_sent_again_changes_nothing(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    first = live.run_a_version(model_id)
    live.run_a_version(model_id)
    page = _versions(live, model_id)
    fields = _form(reader.get(page).text, first)
    live.parts.host.may_prepare.clear()
    answers = [reader.post(f"{page}/{first}/start", **fields) for _ in range(3)]
    assert [each.status_code for each in answers] == [303] * 3
    live.parts.host.may_prepare.set()
    wait_for(lambda: live.instance.launch.version_id == first)
    live.instance.report("starting")
    live.instance.report("started")
    live.wait_for_state(model_id, State.RUNNING)
    assert reader.post(f"{page}/{first}/start", **fields).status_code == 303
    assert len(live.parts.host.instances) == 3

    third = live.run_a_version(model_id)
    late = reader.post(f"{page}/{first}/start", **fields)

    assert late.headers["location"] == f"{page}/{first}?refused=changed"
    told = text_of(reader.get(late.headers["location"]).text)
    assert "Nothing was started. The model is not as it was when your page was made" in told
    assert live.live(model_id)["versionId"] == third
    assert live.live(model_id)["next"] is None


@pytest.mark.parametrize("change", ["stop", "deploy", "end"])
def test_a_stale_form_is_refused(change: str, live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    first = live.run_a_version(model_id)
    second = live.run_a_version(model_id)
    page = _versions(live, model_id)
    fields = _form(reader.get(page).text, first)
    if change == "stop":
        _kill(live, model_id)
    elif change == "deploy":
        second = live.run_a_version(model_id)
    else:
        with live.parts.store.transaction() as transaction:
            life = transaction.live.life(live.user_id, model_id)
            assert life is not None
            transaction.live.enter(life, State.FAILED, keep=False)
    count = len(live.parts.host.instances)

    for sent in (fields, {"csrf": fields["csrf"]}):
        answer = reader.post(f"{page}/{first}/start", **sent)
        assert answer.headers["location"] == f"{page}/{first}?refused=changed"
    assert live.live(model_id)["versionId"] == second
    assert len(live.parts.host.instances) == count


def test_a_version_whose_bundle_was_removed_says_so(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    first = live.run_a_version(model_id, make_bundle(a="1"))
    live.run_a_version(model_id, make_bundle(a="2"))
    page = _versions(live, model_id)
    fields = _form(reader.get(page).text, first)
    live.parts.store.bundle_path(first).unlink()

    shown = text_of(_article(reader.get(page).text, first))
    assert "Its bundle was removed: the server keeps only newer ones." in shown
    assert "Roll back" not in shown
    late = reader.post(f"{page}/{first}/start", **fields)
    assert late.status_code == 400
    assert "The bundle of this version was removed" in text_of(late.text)
    assert "The bundle was removed" in text_of(reader.get(f"{page}/{first}").text)
    changes = text_of(reader.get(f"{page}/compare").text)
    assert f"The bundle of version id {first[:8]} was removed" in changes
    assert "which files changed is not known" in changes


def test_a_version_without_a_plan_asks_for_one(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    uploaded = _upload(live, model_id)
    page = _versions(live, model_id)
    assert "no plan yet" in text_of(_article(reader.get(page).text, uploaded))

    refused = reader.send_form(page, f"{page}/{uploaded}/start", plan="")
    assert refused.status_code == 400
    assert "without a plan" in text_of(refused.text)
    assert reader.send_form(page, f"{page}/{uploaded}/start", plan="huge").status_code == 400

    assert reader.send_form(page, f"{page}/{uploaded}/start", plan="small").status_code == 303
    wait_for(lambda: live.parts.host.instances)
    assert live.instance.launch.plan == "small"


def test_a_version_that_failed_before_warns(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    first = live.run_a_version(model_id)
    live.run_a_version(model_id)
    with live.parts.store.transaction() as transaction:
        transaction.live.note_progress(first, Progress.FAILED, "It ended at once.")

    shown = text_of(_article(reader.get(_versions(live, model_id)).text, first))

    assert "When it was last to run, it failed. It ended at once." in shown
    assert "It ran before that." in shown


def test_the_current_version_can_be_kept(live: LivePlatform, reader: Visitor) -> None:
    """What would take over does not any more."""
    model_id = live.create_model()
    first = live.run_a_version(model_id)
    live.parts.host.may_prepare.clear()
    live.deploy(model_id)
    page = _versions(live, model_id)
    shown = text_of(_article(reader.get(page).text, first))
    assert "Keep this version… The version that is being prepared is not started any more." in shown

    assert reader.send_form(page, f"{page}/{first}/start").status_code == 303

    assert live.live(model_id)["next"] is None
    live.parts.host.may_prepare.set()
    assert live.live(model_id)["versionId"] == first
