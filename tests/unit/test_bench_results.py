from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tools.bench import RESULTS, TITLES
from tools.benchmarks.rows import Curve, Machine, Row, Section, Target
from tools.benchmarks.written import keeping
from tools.benchmarks.written.document import document
from tools.benchmarks.written.svg import THEMES
from tools.benchmarks.written.words import growth_verdict, spread, verdict, wanted

MACHINE = Machine(2, "A processor", 8 << 30, "Linux 6.1", {"Python": "3.11.7"})
SIZES = (16, 64, 256, 1_024)


def section(*found: Row | Curve, others: float = 0.0, is_quick: bool = False) -> Section:
    return Section(
        date="2026-11-29",
        seconds=61.4,
        load=0.2,
        others=others,
        is_quick=is_quick,
        machine=MACHINE,
        rows=tuple(one for one in found if isinstance(one, Row)),
        curves=tuple(one for one in found if isinstance(one, Curve)),
    )


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    """A load that comes and goes hits both of a pair."""
    row = Row("a", (1.0, 20.0, 3.0), theirs=(2.0, 40.0, 1.0))
    assert row.ratio == 0.5
    assert Row("a", (1.0, 3.0), theirs=(4.0,)).ratio == 0.5
    assert Row("a", (1.0,)).ratio is None


@pytest.mark.parametrize(
    ("target", "distance"),
    [
        (Target(0.1), 2.0),
        (Target(1.0), 0.2),
        (Target(1.1, plus=0.9), 2.0 / 11.9),
        (Target(4.0, of_peer=False), 0.5),
    ],
)
def test_the_distance_of_a_target(target: Target, distance: float) -> None:
    row = Row("a", (2.0,), peer="b", theirs=(10.0,), target=target)
    assert row.distance == pytest.approx(distance)
    assert verdict(row) == ("yes" if distance <= 1 else "**no**: 2 times the limit")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target(0.1), "10 times as fast"),
        (Target(1.0), "no slower"),
        (Target(1.3), "at most 1.3 times its"),
        (Target(1.1, plus=0.5), "at most 1.1 times its + 500 ms"),
        (Target(0.4, of_peer=False), "at most 400 ms"),
    ],
)
def test_a_target_says_what_it_asks_for(target: Target, said: str) -> None:
    assert wanted(target, "s") == said


def test_what_was_not_measured_is_not_met() -> None:
    assert verdict(Row("a", target=Target(1.0))) == "not measured"
    assert verdict(Row("a", (1.0,), target=Target(1.0))) == "not measured"
    assert verdict(Row("a", (1.0,))) == ""


@pytest.mark.parametrize(
    ("seconds", "is_fine"),
    [
        (lambda _: 0.3, True),
        (lambda n: 0.3 + 1e-3 * n, True),
        (lambda n: 1e-4 * n * math.log(n), True),
        (lambda n: 0.01 + 1e-5 * n**1.5, False),
        (lambda n: 0.1 + 1e-5 * n**2, False),
        (lambda n: 0.3 + 1e-5 * n**2, False),
    ],
)
def test_what_grows_faster_than_n_log_n_is_found_behind_a_start_up(
    seconds: object, *, is_fine: bool
) -> None:
    values = tuple((seconds(size),) for size in SIZES)  # type: ignore[operator]  # of one argument
    assert Curve("a", "model", SIZES, values).is_fine is is_fine


def test_growth_that_chance_explains_is_not_blamed() -> None:
    steady = ((0.30, 0.30), (0.31, 0.31), (0.35, 0.35), (0.70, 0.70))
    assert not Curve("a", "model", SIZES, steady).is_fine
    shaky = ((0.30, 0.30), (0.28, 0.34), (0.31, 0.37), (0.5, 0.8))
    found = Curve("a", "model", SIZES, shaky)
    assert found.exponent > found.most
    assert growth_verdict(found) == "yes: the runs differ by more than that"


def test_values_are_shown_as_median_least_and_most() -> None:
    assert spread((1.5, 1.274, 1.2), "s") == "1.27 s (1.2 to 1.5 s)"
    assert spread((0.9, 1.1), "s") == "1 s (900 ms to 1.1 s)"
    assert spread((45_500_000.0,), "B") == "45.5 MB"
    assert spread((0.0123,), "share") == "1.2%"


def test_a_section_takes_the_place_of_the_one_before_and_no_other(tmp_path: Path) -> None:
    first = section(Row("a", (1.0,)), Row("b", remark="nobody is there"))
    keeping.replace(tmp_path, "pages", first, TITLES)
    keeping.replace(tmp_path, "startup", section(Row("c", (2.0,))), TITLES)
    keeping.replace(tmp_path, "pages", section(Row("d", (3.0,))), TITLES)

    kept = keeping.read(tmp_path)
    assert list(kept) == ["startup", "pages"]
    assert [row.what for one in kept.values() for row in one.rows] == ["c", "d"]
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert text.index("## Start-up") < text.index("## The server's pages")
    assert "| a |" not in text


def test_the_document_says_when_it_was_measured_and_what_else_ran() -> None:
    quiet = document({"pages": section(Row("a", (1.0,)))}, TITLES)
    assert (
        "Measured on 2026-11-29 in 61 s, load 0.2 before it, other programs had 0% of the cores "
        "meanwhile.\n" in quiet
    )
    assert "On 2 cores of A processor, 8 GiB, Linux 6.1; Python 3.11.7.\n" in quiet
    busy = document({"pages": section(Row("a", (1.0,)), others=0.3)}, TITLES)
    assert "**The machine was busy: times without a peer say little" in busy
    quick = document({"pages": section(Row("a", (1.0,)), is_quick=True)}, TITLES)
    assert "**A quick run, of tiny sizes" in quick


def test_the_document_begins_with_the_targets_farthest_from_being_met() -> None:
    near = Row("near", (1.2,), peer="it", theirs=(1.0,), target=Target(1.0))
    far = Row("- memory", (2.0,), "B", target=Target(1.0, of_peer=False))
    met = Row("met", (0.5,), peer="it", theirs=(1.0,), target=Target(1.0))
    curve = Curve("a deploy", "version", SIZES, tuple((0.001 * one**2,) for one in SIZES))
    text = document({"pages": section(met, near, far, curve)}, TITLES)
    targets = text.partition("## Targets: 1 of 3 met\n")[2].partition("\n## ")[0]
    assert "0 of 1 curves of growth are no worse than n log n" in targets
    names = [line.split("|")[1].strip() for line in targets.splitlines() if line.startswith("| ")]
    assert names == ["", "---", "near, memory", "near", "met"]
    assert "| a deploy, time | version | 16: 256 ms; 1,024: 1,049 s | 2.00 |" in text


def test_results_that_are_kept_are_those_that_are_shown() -> None:
    """`python -m tools.bench --draw` writes them again, where only the drawing has changed."""
    written = keeping.written(keeping.read(RESULTS), TITLES)
    assert {path.name for path in RESULTS.iterdir()} - {"results.json"} == set(written)
    for name, text in written.items():
        assert (RESULTS / name).read_text("utf-8") == text


@pytest.mark.parametrize(("seconds", "is_met"), [(1.3, True), (1.31, False)])
def test_a_target_that_is_met_is_a_dot_and_another_one_a_cross(
    seconds: float, *, is_met: bool
) -> None:
    row = Row("a", (seconds,), peer="b", theirs=(1.0,), target=Target(1.3))
    picture = keeping.written({"startup": section(row)}, TITLES)["results-light.svg"]
    theme = THEMES["light"]
    assert (theme.good in picture, theme.bad in picture) == (is_met, not is_met)
    assert ("<circle" in picture) is is_met


def test_a_picture_says_that_the_machine_was_busy() -> None:
    busy = section(Row("a", (1.0,)), others=0.3, is_quick=True)
    picture = keeping.written({"startup": busy}, TITLES)["results-dark.svg"]
    assert "The machine was busy with other things, too. Of a quick run" in picture


def test_pictures_show_every_deploy_and_every_curve_in_light_and_in_dark() -> None:
    deploys = [
        Row("Deploy a & b", (1.0, 1.2), peer="zip -r and curl", theirs=(7.0, 8.0)),
        Row("Deploy a & b", (1.0, 1.2), peer="the floor", theirs=(0.3, 0.4), target=Target(1.3)),
    ]
    curve = Curve("the report", "trade", SIZES, tuple((0.001 * one,) for one in SIZES))
    pictures = keeping.written({"deploy": section(*deploys, curve)}, TITLES)
    papers = set()
    for theme in ("light", "dark"):
        root = ET.fromstring(pictures[f"results-{theme}.svg"])  # noqa: S314  # is ours
        said = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
        assert {"a & b", "ours", "zip -r and curl", "the floor"} <= set(said)
        assert "the report: 1.00" in said
        assert "How far the targets are: 0 of 1 met" in said
        where = "2 cores of A processor, 8 GiB, Linux 6.1. Measured on 2026-11-29."
        assert where in said
        papers.add(root.find("{http://www.w3.org/2000/svg}rect").get("fill"))  # type: ignore[union-attr]  # it is there
    assert len(papers) == 2
