"""Numbers, ratios and verdicts as text: for the terminal, the table and the picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tools.benchmarks.rows import Curve, Machine, Row, Section, Target, Unit, Values

_BUSY = 0.1
_KILO, _MEGA, _GIGA = 1e3, 1e6, 1e9


def quantity(value: float, unit: Unit) -> str:
    """Return a value with its unit, in three digits."""
    if unit == "share":
        return f"{value:.1%}"
    if unit == "B":
        for size, name in ((_GIGA, "GB"), (_MEGA, "MB"), (_KILO, "kB")):
            if value >= size:
                return f"{_digits(value / size)} {name}"
        return f"{value:.0f} B"
    return f"{_digits(value)} s" if value >= 1 else f"{_digits(value * 1000)} ms"


def spread(values: Values, unit: Unit) -> str:
    """Return the median, and in brackets the smallest and the largest if there are several."""
    if not values:
        return ""
    middle = quantity(statistics.median(values), unit)
    if len(values) == 1:
        return middle
    least, most = quantity(min(values), unit), quantity(max(values), unit)
    if least.split()[1:] == most.split()[1:]:
        least = least.split()[0]
    return f"{middle} ({least} to {most})"


def ratio(row: Row) -> str:
    """Return our value divided by the peer's; blank without a peer."""
    return "" if row.ratio is None else _digits(row.ratio)


def wanted(target: Target | None, unit: Unit) -> str:
    """Return what a target asks for."""
    if target is None:
        return ""
    if not target.of_peer:
        return f"at most {quantity(target.most, unit)}"
    if target.most < 1:
        return f"{1 / target.most:.3g} times as fast"
    times = "no slower" if target.most == 1 else f"at most {target.most:.3g} times its"
    return f"{times} + {quantity(target.plus, unit)}" if target.plus else times


def verdict(row: Row) -> str:
    """Return whether the target is met, and else how far it is; blank without a target."""
    if row.target is None:
        return ""
    if row.distance is None:
        return "not measured"
    return "yes" if row.distance <= 1 else f"**no**: {_digits(row.distance)} times the limit"


def growth_verdict(curve: Curve) -> str:
    """Return whether a curve is no worse than n log n."""
    if not curve.is_fine:
        return "**no**"
    return "yes" if curve.exponent <= curve.most else "yes: the runs differ by more than that"


def circumstances(section: Section) -> str:
    """Return when a section was measured, and what else the machine had to do."""
    parts = [f"Measured on {section.date} in {section.seconds:.0f} s"]
    parts.append(f"load {section.load:.1f} before it")
    if section.others is not None:
        parts.append(f"other programs had {section.others:.0%} of the cores meanwhile")
    said = f"{', '.join(parts)}."
    if section.is_quick:
        said += " **A quick run, of tiny sizes: it only shows that everything works.**"
    if _is_busy(section):
        said += " **The machine was busy: times without a peer say little, and ratios are rough.**"
    return said


def caption(sections: Sequence[Section]) -> str:
    """Say below a picture where and when all of it was measured."""
    where = " and ".join(dict.fromkeys(_hardware(one.machine) for one in sections))
    dates = sorted({one.date for one in sections})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    said = f"{where}. Measured on {when}."
    if any(map(_is_busy, sections)):
        said += " The machine was busy with other things, too."
    if any(one.is_quick for one in sections):
        said += " Of a quick run, with tiny sizes."
    return said


def _is_busy(section: Section) -> bool:
    return section.others is not None and section.others > _BUSY


def about(machine: Machine) -> str:
    """Describe a machine and what ran on it."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"{_hardware(machine)}; {versions}."


def _hardware(machine: Machine) -> str:
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    memory = machine.memory_bytes / 2**30
    return f"{cores} of {machine.processor}, {memory:.0f} GiB, {machine.system}"


def _digits(value: float) -> str:
    """Return three digits, and all of those before the point."""
    if value >= 100:  # noqa: PLR2004  # three digits of it
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"
