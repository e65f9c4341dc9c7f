from __future__ import annotations

import re
import secrets
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy_action.backtest.comparison import BaseState, Comparison
from deploy_action.backtest.runs_on import RunsOn
from deploy_action.errors import Problem, Severity
from deploy_action.outcome.ending import Ending, Status
from deploy_action.outcome.request import Request
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import LARGEST_MARKDOWN, to_markdown, to_text
from deploy_action.report.outputs import outputs_of
from deploy_action.report.summary import build_comment, build_summary
from deploy_action.text.harmless import one_line, plain
from deploy_action.text.located_json import JsonValue
from deploy_action.text.redaction import redacted
from tests.support.decisions import CHANGES, a_base, decisions, errors_of, judged
from tests.support.nasty import nasty_text
from tests.support.outcomes import outcomes, with_parts, with_problems, with_runs_on
from tests.support.rendered import Element, render

# Nothing else comes out of our Markdown; all of it is on GitHub's list of what it lets through.
TAGS = {"h2", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "a"}
TAGS |= {"pre", "details", "summary", "ul", "li", "br"}


def seen(outcome: RunOutcome) -> Element:
    return render(to_markdown(build_summary(outcome)))


def facts(body: Element) -> dict[str, str]:
    rows = body.all("table")[0].all("tr")[1:]
    cells = [[cell.text() for cell in row.all("th", "td")] for row in rows]
    return {name: value for name, value in cells}  # noqa: C416  # two cells a row, or it fails


def test_a_deployment_names_model_version_and_server() -> None:
    body = seen(outcomes()["deployed"])

    assert body.all("h2")[0].text() == "Deployed momentum"
    assert body.all("p")[0].text() == (
        "New version vX41c on https://deploy.example. "
        "Whether it runs is not known: the server does not tell."
    )
    assert facts(body) == {
        "Version": "vX41c",
        "Model": "bN7x2",
        "Project": "Qk3v9",
        "Type": "strategy",
        "Plan": "nano",
        "Python": "3.10",
        "Commit": "5f2c9e81b7a0",
        "Bundle": "14 files, 48.2 kB (183.4 kB unpacked)",
        "Duration": "12.3 s",
    }
    assert [one.attributes["href"] for one in body.all("a")] == [
        "https://app.example/Qk3v9/bN7x2/overview",
        "https://app.example/Qk3v9",
        "https://forge.example/trader/models/commit/5f2c9e81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d",
    ]
    assert body.all("p")[1].text() == "Description:"
    assert body.all("p")[2].text().startswith("SHA-256 of the bundle: 9f86d081884c7d65")
    assert "wait for two closes" in body.all("pre")[0].text()
    files = body.all("details")[0].all("tr")[1:]
    assert [cell.text() for cell in files[0].all("td")] == ["model/prices/BTC-USD.csv", "121.0 kB"]
    assert [cell.text() for cell in files[-1].all("td")] == ["model/requirements.txt", "84 bytes"]


def test_created_things_and_warnings_are_listed() -> None:
    body = seen(outcomes()["created"])
    assert facts(body)["Created"] == "project, model"
    assert facts(body)["Schedule"] == "*/15 9-16 * * 1-5"
    warning, notice = (item.text() for item in body.all("li"))
    assert warning.startswith("bots/momentum/blankly.json:6:3: ignore_file is an unknown key")
    assert "What to do: Did you mean ignore_files?" in warning
    assert "Set model-id: bN7x2 so that" in notice


def test_the_embedded_platform_has_no_links_but_the_commit() -> None:
    body = seen(outcomes()["local"])
    assert "the embedded platform" in body.all("p")[0].text()
    assert [one.text() for one in body.all("a")] == ["5f2c9e81b7a0"]


def test_a_backtest_shows_its_arguments() -> None:
    body = seen(outcomes()["backtested"])
    assert body.all("h2")[0].text() == "Backtest submitted: momentum"
    assert facts(body)["Backtest"] == "bt_881"
    rows = [[cell.text() for cell in row.all("td")] for row in body.all("table")[1].all("tr")[1:]]
    assert rows[:2] == [["to", '"2y"'], ["initial_values", '{"USD": 10000, "BTC": 0.5}']]
    assert rows[3][1].startswith('{"use_price": "close", "note": "a|b `c`"')


def test_a_backtest_may_have_no_arguments_or_very_many() -> None:
    known = RunOutcome(request=Request(mode="backtest"), ending=Ending(status=Status.BACKTESTED))
    none = with_runs_on(known, arguments={})
    many = with_runs_on(known, arguments={f"argument {number}": number for number in range(1_200)})
    assert "the defaults of the package hold" in seen(none).text()
    assert len(seen(many).all("table")[1].all("tr")) == 51
    assert "And 1,150 more." in seen(many).text()


def test_a_dry_run_says_what_would_be_done() -> None:
    body = seen(outcomes()["dry-run"])
    assert "Nothing was changed" in body.all("p")[0].text()
    assert [item.text() for item in body.all("li")][:2] == [
        'create the project "Desk"',
        'create the model "momentum"',
    ]
    assert "would go." in seen(RunOutcome(ending=Ending(status=Status.DRY_RUN))).all("p")[0].text()


def test_a_valid_model_says_that_nothing_was_sent() -> None:
    body = seen(outcomes()["valid"])
    assert body.all("h2")[0].text() == "✅ Valid: momentum"
    assert "Nothing was sent." in body.all("p")[0].text()


def test_there_is_no_tick_over_a_model_with_warnings() -> None:
    """Without a settings.json, a model is packed, and ends at its start."""
    missing = Problem(message="settings.json does not exist.", severity=Severity.WARNING)
    body = seen(with_parts(outcomes()["valid"], model={"problems": (missing,)}))
    assert body.all("h2")[0].text() == "⚠️ Valid, with warnings: momentum"
    assert body.all("p")[0].text() == (
        "momentum can be packed and deployed, with 1 warning. Nothing was sent."
    )


def test_a_failure_shows_message_reason_and_hint() -> None:
    body = seen(outcomes()["failed"])
    assert body.all("h2")[0].text() == "❌ Not deployed: momentum"
    assert body.all("p")[0].text() == "12 problems. Nothing was sent."
    items = [item.text() for item in body.all("li")]
    assert len(items) == 13
    assert items[0].startswith("bots/momentum/blankly.json:10:7: backtest_args.initial_values[0]")
    assert "What to do:" not in items[0]
    assert items[1].endswith("What to do: Write a number, without quotes: 10000.")
    order = [one.tag for one in body.children if isinstance(one, Element)]
    assert order.index("ul") < order.index("table") < len(order) - 1 - order[::-1].index("ul")


@pytest.mark.parametrize(
    ("mode", "title", "left"),
    [
        ("deploy", "❌ Not deployed", "No new version was made."),
        ("backtest", "❌ Backtest failed", "No backtest was made."),
        ("validate", "❌ Not valid", "Nothing was sent."),
        ("nonsense", "❌ Failed", "Nothing was sent."),
    ],
)
def test_a_run_that_failed_at_once_has_a_summary(mode: str, title: str, left: str) -> None:
    problem = Problem(message="Input `mode` is wrong.")
    outcome = RunOutcome(
        request=Request(mode=mode), ending=Ending(problems=(problem,), seconds=125.0)
    )
    body = seen(outcome)
    assert body.all("h2")[0].text() == title
    assert body.all("p")[0].text() == f"1 problem. {left}"
    assert facts(body) == {"Duration": "2 min 5 s"}


def test_many_problems_are_counted() -> None:
    problems = (Problem(message="Wrong."),) * 1_234
    all_shown = RunOutcome(request=Request(mode="deploy"), ending=Ending(problems=problems[:51]))
    assert len(seen(all_shown).all("li")) == 51
    assert "more, in the log" not in seen(all_shown).text()
    outcome = RunOutcome(request=Request(mode="deploy"), ending=Ending(problems=problems))
    body = seen(outcome)
    assert len(body.all("li")) == 50
    assert "And 1,184 more, in the log." in body.text()


@pytest.mark.parametrize("word", ["@ ", "😀", "\ud800 "])
def test_the_largest_summary_stays_under_the_limit(word: str) -> None:
    text = word * (2_000 // len(word))
    found = outcomes()["failed"]
    problem = Problem(message=text, hint=text, path=text[:400], line=1)
    problems = [replace(problem, severity=one) for one in Severity for _ in range(60)]
    outcome = with_parts(
        with_runs_on(found, arguments={f"{number}{text}": text for number in range(200)}),
        model={"description": text},
        ending={"problems": (*found.problems, *problems)},
    )
    markdown = to_markdown(build_summary(outcome))
    assert len(markdown.encode()) < LARGEST_MARKDOWN
    assert "left out" not in markdown
    assert len(render(markdown).all("li")) == 90


@given(nasty_text, nasty_text)
def test_no_text_of_others_becomes_markup(text: str, other: str) -> None:
    outcome = replace_texts(outcomes()["created"], text, other)

    body = seen(outcome)

    assert body.tags() <= TAGS
    links = {one.attributes["href"] for one in body.all("a")}
    assert links <= {outcome.target.url, outcome.target.project_url, outcome.model.commit_url}
    assert all(len(row.all("td", "th")) == 2 for row in body.all("tr"))
    names = [
        "Version",
        "Model",
        "Project",
        "Backtest",
        "Type",
        "Schedule",
        "Plan",
        "Python",
        "Commit",
    ]
    known = facts(body)
    assert set(known) <= {*names, "Version", "Bundle", "Created", "Duration"}
    if one_line(text):
        assert known["Plan"] == one_line(text)
    if text and plain(text).strip("\n"):
        assert body.all("pre")[0].text() == plain(text).strip("\n") + "\n"
    assert len(body.all("details")) == 1


def replace_texts(outcome: RunOutcome, text: str, other: str) -> RunOutcome:
    """Replace all texts that come from others."""
    problem = Problem(message=text, hint=other, path=text or None, line=1)
    problems = (problem, replace(problem, severity=Severity.WARNING, message=other))
    arguments: dict[str, JsonValue] = {text: other, other: [text]}
    runs_on = RunsOn(plan=text, python_version=text, schedule=text, arguments=arguments)
    return with_parts(
        outcome,
        request={"server": other},
        model={
            "name": text,
            "path": other,
            "type": other,
            "commit": text,
            "description": text,
            "runs_on": runs_on,
            "problems": problems,
        },
        bundle={"largest": ((text, 1), (other, 2))},
        target={
            "model_id": text,
            "project_id": text,
            "version_id": other,
            "created": (other, text),
            "problems": (),
        },
        backtests={"backtest_id": other},
        ending={"would_do": (text, other)},
    )


@pytest.mark.parametrize("name", outcomes())
def test_a_terminal_gets_no_marks(name: str) -> None:
    text = to_text(build_summary(outcomes()[name]))
    assert not re.search(r"\*\*|</?(?:br|details|summary)>|```|\|---", text)
    assert "  Duration  12.3 s\n" in text


def test_secrets_are_hidden_before_a_text_is_cut_or_escaped() -> None:
    half = secrets.token_hex(8)
    hidden = [f"{half}|{secrets.token_hex(4)}", f"@{half[::-1]}!", f"{half} x {half}"]
    problems = (Problem(message=f"refused {one}", hint=one, path=one) for one in hidden)
    arguments = {one: [{"key": one}] for one in hidden}
    outcome = with_parts(
        with_runs_on(outcomes()["backtested"], plan=hidden[0], arguments=arguments),
        model={"description": hidden[0]},
        target={"created": tuple("a" * 290 + one for one in hidden), "version_id": hidden[0]},
        ending={"problems": tuple(problems)},
    )

    shown = outcome.redacted(lambda text: redacted(text, hidden))

    markdown = to_markdown(build_summary(shown))
    assert half not in markdown
    assert half[::-1] not in markdown
    assert half not in "".join(outputs_of(shown).values())
    assert shown.ending.status is Status.BACKTESTED
    assert shown.of(Severity.ERROR)[0].message == "refused ***"
    assert outcome.model.runs_on.plan == hidden[0]


def test_a_failed_gate_in_which_a_number_is_hidden_is_told_once() -> None:
    outcome = decisions()["long"]
    whole = to_markdown(build_summary(outcome))
    hidden = [whole[6:11]]
    shown = to_markdown(build_summary(outcome.redacted(lambda text: redacted(text, hidden))))
    assert without_code(render(shown)) == without_code(render(whole))


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_no_secret_changes_the_structure(data: st.DataObject) -> None:
    """Whatever is secret: here it is pieces of the summary, with all their marks."""
    known = {**outcomes(), **decisions()}
    outcome = known[data.draw(st.sampled_from(sorted(known)))]
    whole = to_markdown(build_summary(outcome))
    lengths, places = st.integers(4, 40), st.integers(0, len(whole))
    spans = data.draw(st.lists(st.tuples(places, lengths), min_size=1, max_size=12))
    hidden = [whole[start : start + length] for start, length in spans]
    shown = to_markdown(build_summary(outcome.redacted(lambda text: redacted(text, hidden))))
    assert without_code(render(shown)) == without_code(render(whole))


def without_code(page: Element) -> list[str]:
    """Return the tags in order; `***` is code, in place of words that are not."""
    return [one.tag for one in page.descendants() if one.tag != "code"]


@pytest.mark.parametrize("password", ["spot", "market", "spot-market", "open"])
def test_a_password_that_is_a_type_of_order_says_nothing_else_of_fills(password: str) -> None:
    outcome = decisions()["deployed after gates"]
    whole = to_markdown(build_summary(outcome))
    hidden = outcome.redacted(lambda text: text.replace(password, "***"))
    assert "24 market orders were placed when no bar began" in whole
    assert to_markdown(build_summary(hidden)) == whole


def test_a_password_that_is_a_metric_breaks_nothing() -> None:
    outcome = decisions()["stopped"]
    shown = outcome.redacted(lambda text: text.replace("max_drawdown", "***"))
    assert "Maximum drawdown" in to_markdown(build_summary(shown))
    assert [one.gate.metric for one in shown.backtests.verdicts] == [
        one.gate.metric for one in outcome.backtests.verdicts
    ]


def test_a_gate_is_told_once_unless_there_is_more_to_say_of_it() -> None:
    """The table has the value and by how much it fails; why there is no base, it has not."""
    outcome = judged(decisions()["absent"], "sharpe >= 90\ncalmar >= base\nsharpe >= base")
    outcome = with_problems(outcome, *errors_of(outcome.backtests.verdicts))
    markdown = to_markdown(build_summary(outcome))
    assert markdown.count("sharpe &gt;= 90") + markdown.count("sharpe >= 90") == 1
    below = markdown.partition("**What went wrong**")[2]
    assert "Gate `calmar >= base` failed" in below
    assert below.count("What to do") == 1, "the same hint is given once"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (209_715_200, "209.7 MB"),
        (5_300_000_000, "5.3 GB"),
    ],
)
def test_sizes_are_in_decimal_units(size: int, shown: str) -> None:
    outcome = with_parts(outcomes()["deployed"], bundle={"size": size, "file_count": 1})
    assert facts(seen(outcome))["Bundle"] == f"1 file, {shown} (183.4 kB unpacked)"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.97, "1 min 0 s"), (3_599.7, "60 min 0 s")],
)
def test_durations_are_in_seconds_or_minutes(seconds: float, shown: str) -> None:
    outcome = RunOutcome(ending=Ending(seconds=seconds))
    assert facts(seen(outcome))["Duration"] == shown


def said(outcome: RunOutcome) -> list[str]:
    blocks = [one for one in seen(outcome).children if isinstance(one, Element)]
    return [one.text().replace("\u00a0", " ").strip() for one in blocks]


def place(texts: list[str], start: str) -> int:
    """Return which block starts with these words."""
    return next(index for index, text in enumerate(texts) if text.startswith(start))


def test_gates_come_first_then_the_comparison_and_the_rest() -> None:
    texts = said(decisions()["passed"])

    assert (
        texts[0]
        == "✅ All 3 gates passed: momentum, +68.0% against +40.0% for holding, Sharpe 5.23"
    )
    order = [
        place(texts, start)
        for start in (
            "Result",
            "2023-03-01 to",
            "Compared with main",
            "In USD",
            "🔵 momentum · ⚪\ufe0f holding OAK-USD · 🟠 base main",
            "%%{init",
            "The account starts with",
            "Warnings",
            "Compared with the base: ",
            "What changes in production",
            "Months",
            "Drawdowns",
            "All metrics",
            "About this backtest",
            "Largest files",
        )
    ]
    assert order == sorted(order)


def test_a_failed_gate_is_in_the_title() -> None:
    texts = said(decisions()["stopped"])
    assert (
        texts[0]
        == "❌ 1 of 3 gates failed: momentum, +68.0% against +40.0% for holding, Sharpe 5.23"
    )
    assert texts[1] == "1 problem. The backtest itself ran to its end."
    assert "failed by 6.7 pp" in texts[2]
    assert "What went wrong" not in texts, "the table says it"


def test_passed_gates_are_not_the_title_of_a_failed_backtest() -> None:
    ending = {"status": Status.FAILED, "problems": (Problem(message="Wrong."),)}
    outcome = with_parts(decisions()["passed"], ending=ending)
    assert said(outcome)[0] == "❌ Backtest failed: momentum"


def test_identical_trades_are_reported_before_the_table() -> None:
    texts = said(decisions()["identical"])
    assert place(texts, "Trade-for-trade identical") < place(texts, "In USD\nStrategy")
    assert place(texts, "Compared with the base: no metric is better or worse")
    assert "The curve of the base is the same." in texts
    assert not [text for text in texts if text.startswith("🔵")]


def test_without_a_base_the_figures_are_those_of_the_candidate() -> None:
    texts = said(decisions()["absent"])
    found = place(texts, "Nothing to compare with.")
    assert texts[found + 1].startswith("In USD\nStrategy")
    assert "has no result" in " ".join(said(decisions()["base failed"]))


def test_a_curve_in_another_asset_is_not_drawn() -> None:
    texts = said(decisions()["other asset"])
    assert "The base's curve is not drawn: its account is in another asset." in texts


def test_a_gated_deployment_names_the_bytes_that_were_tested() -> None:
    outcome = decisions()["deployed after gates"]
    texts = said(outcome)

    assert texts[0] == "Deployed momentum: the gate passed"
    assert texts[1].startswith("New version vX41c on https://deploy.example. Whether it runs is")
    digest = outcome.tested_sha256
    assert texts[3].split("\n") == [
        f"Backtested: SHA-256 {digest}",
        f"Deployed: SHA-256 {digest}, the same bytes",
    ]
    body = seen(outcome)
    backtest, deployment = (
        next(one for one in body.all("details") if one.all("summary")[0].text() == title)
        for title in ("About this backtest", "About this deployment")
    )
    assert "bt_881 on the embedded platform" in backtest.text()
    assert "Project" not in backtest.text()
    assert "bt_881" not in deployment.text()
    assert "Qk3v9" in deployment.text()


def test_a_deployed_bundle_that_was_not_tested_is_visible() -> None:
    outcome = decisions()["deployed after gates"]
    assert outcome.backtests.run is not None
    run = replace(outcome.backtests.run, bundle_sha256="0" * 64)
    outcome = with_parts(outcome, backtests={"run": run})
    assert "other bytes" in said(outcome)[3]
    assert "the same bytes" not in said(outcome)[3]


@pytest.mark.parametrize(
    ("is_in_doubt", "title", "lead", "deployed"),
    [
        (False, "❌ Not deployed", "No new version was made.", "nothing"),
        (True, "❌ Perhaps deployed", "What the server made of it is not known.", "not known"),
    ],
)
def test_a_gated_deployment_that_failed_says_what_was_deployed(
    is_in_doubt: bool,  # noqa: FBT001  # of pytest
    title: str,
    lead: str,
    deployed: str,
) -> None:
    outcome = with_parts(decisions()["not deployed"], target={"is_in_doubt": is_in_doubt})
    texts = said(outcome)
    assert texts[0] == f"{title}: momentum, 1 of 3 gates failed"
    assert texts[1] == f"1 problem. {lead}"
    assert texts[3].split("\n")[1] == f"Deployed: {deployed}"


def test_a_deployment_whose_backtest_failed_made_no_version() -> None:
    outcome = with_parts(
        outcomes()["failed"], backtests={"backtest_id": "bt_881"}, ending={"is_unsent": False}
    )
    assert said(outcome)[1] == "12 problems. No new version was made."
    assert "bt_881" not in seen(outcome).text()


def test_a_comparison_without_a_backtest_is_shown() -> None:
    comparison = Comparison(base=a_base(state=BaseState.ABSENT), changes=CHANGES)
    outcome = with_parts(outcomes()["valid"], backtests={"comparison": comparison})
    texts = said(outcome)
    assert place(texts, "Nothing to compare with.") < place(texts, "What changes in production")


def test_a_comment_shows_the_summary_and_a_link_to_the_run() -> None:
    outcome = decisions()["stopped"]
    url = "https://forge.example/trader/models/actions/runs/7"
    comment, summary = build_comment(outcome, url), build_summary(outcome)
    assert list(comment[:-1]) == list(summary[:-1])
    body = render(to_markdown(comment, largest=65_536))
    assert body.all("p")[-1].text() == "Commit 5f2c9e81b7a0 · the whole run"
    assert body.all("a")[-1].attributes["href"] == url
    assert "Largest files" not in body.text()
    assert "mermaid" in [one.attributes.get("lang") for one in body.all("pre")]


def test_a_comment_without_links_ends_with_the_commit_if_known() -> None:
    problem = Problem(message="Wrong.")
    outcome = RunOutcome(request=Request(mode="backtest"), ending=Ending(problems=(problem,)))
    assert build_comment(outcome, "") == build_summary(outcome)
    outcome = with_parts(outcome, model={"commit": "c" * 40})
    assert (
        render(to_markdown(build_comment(outcome, ""))).all("p")[-1].text() == f"Commit {'c' * 12}"
    )


@pytest.mark.parametrize("name", decisions())
def test_a_comment_fits_its_place(name: str) -> None:
    comment = build_comment(decisions()[name], "https://forge.example/runs/7")
    markdown = to_markdown(comment, largest=65_536)
    assert "left out" not in markdown
    body = render(markdown)
    assert body.tags() <= TAGS


@pytest.mark.parametrize("name", [one for one in decisions() if one != "long"])
def test_a_terminal_of_a_hundred_columns_shows_gates_and_comparison(name: str) -> None:
    text = to_text(build_summary(decisions()[name]))
    assert "**" not in text
    assert [line for line in text.split("\n") if len(line) > 100 and "https://" not in line] == []
