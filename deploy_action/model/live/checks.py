"""Warns of what a model cannot do once it is deployed, although its backtest works.

Nothing is said of code that may not run then: see `code`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.model.live.code import SCREENER, STRATEGIES, Code, Use
from deploy_action.model.manifest import Manifest
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.model.requirements import variables_named
from deploy_action.records import dataclass

_KEYS: Final = "keys.json"
_KEYLESS: Final = "KeylessExchange"
# Those of the package (1.18.25b0) that trade. Coinbase closed Coinbase Pro in 2023, and FTX was
# bankrupt in 2022.
_WITH_KEYS: Final = frozenset({"Alpaca", "Binance", "BinanceFutures", "Kucoin", "Oanda", "Okx"})
_GONE: Final = {"CoinbasePro": "Coinbase Pro", "FTX": "FTX", "FTXFutures": "FTX"}
_PLACE_OF_KEYS: Final = 1  # of the argument `keys_path`, after the portfolio's name
_EVENTS: Final = "add_"


@dataclass(frozen=True, slots=True)
class Given:
    """What a run gives the model: whether keys for `keys.json`, and the names of variables.

    `is_deploy`: it deploys now. Otherwise what only a deploy has to give is a notice.
    """

    keys: bool
    variables: Collection[str]
    is_deploy: bool

    @property
    def severity(self) -> Severity:
        """How serious it is that something is not given."""
        return Severity.WARNING if self.is_deploy else Severity.NOTICE


def check_live(
    code: Code, manifest: Manifest, selection: Selection, given: Given
) -> Iterator[Problem]:
    """Yield what the model's scripts, of which `code` runs, cannot do when it is deployed."""
    yield from _keyless(code)
    yield from _gone(code)
    if not given.keys and not selection.includes(_KEYS):
        yield from _without_keys(code, given)
    yield from _unfilled(manifest, selection, given)
    yield from _wrong_type(code, manifest)
    if manifest.type == "strategy":
        yield from _idle(code)


def _keyless(code: Code) -> Iterator[Problem]:
    """Warn of an exchange that knows recorded prices only, if the script opens no other."""
    if code.of({*_WITH_KEYS, *_GONE}):
        return
    for use in code.of({_KEYLESS}, certain=True)[:1]:
        yield _at(
            use,
            f"The script opens a {_KEYLESS} also when it is deployed, and with that it cannot "
            "trade: live, prices and orders raise an exception at each event.",
            "Open a real exchange where the model is not backtested, such as `blankly.Alpaca() if "
            f'os.environ.get("BACKTESTING") != "1" else blankly.{_KEYLESS}(…)`, with its keys in '
            "`keys-json`. The example model constant-value does so.",
        )


def _gone(code: Code) -> Iterator[Problem]:
    for use in _first_of_each(code.of(_GONE, certain=True)):
        yield _at(
            use,
            f"The script opens {use.name}, and {_GONE[use.name]} was closed: a deployed model "
            "cannot trade there.",
            "Use an exchange that is left: blankly.Alpaca, Binance, Kucoin, Oanda or Okx.",
        )


def _without_keys(code: Code, given: Given) -> Iterator[Problem]:
    """Tell of exchanges that find no keys; a script that knows the file may write it itself."""
    if _KEYS in code.texts:
        return
    for use in _first_of_each(code.of(_WITH_KEYS, certain=True)):
        has_path = len(use.call.args) > _PLACE_OF_KEYS or any(
            keyword.arg in {None, "keys_path"} for keyword in use.call.keywords
        )
        short = use.name.removesuffix("Futures").upper()
        if has_path or any(short in name.upper() for name in given.variables):
            continue
        yield _at(
            use,
            f"The script opens {use.name}, which reads its keys from {_KEYS}, and "
            + ("the bundle has none." if given.is_deploy else "a deploy has to give it."),
            "Pass the contents of the file as the secret `keys-json`, or have the script make it "
            "of variables in `model-env`, as the example model constant-value does.",
            given.severity,
        )


def _unfilled(manifest: Manifest, selection: Selection, given: Given) -> Iterator[Problem]:
    """Tell of variables in requirements that nothing fills in."""
    for line, name in variables_named(selection.files, manifest.requirements):
        if name in given.variables:
            continue
        yield Problem(
            message=f"The requirements name the variable `{name}`, and "
            + ("`model-env` does not give it." if given.is_deploy else "a deploy has to give it."),
            hint=f"Give it in `model-env`, as `{name}=VALUE`: requirements see no other variables.",
            severity=given.severity,
            path=line.file,
            line=line.number,
            column=1,
        )


def _wrong_type(code: Code, manifest: Manifest) -> Iterator[Problem]:
    makes = {"strategy": code.of(STRATEGIES), "screener": code.of({SCREENER})}
    (other,) = makes.keys() - {manifest.type}
    if makes[manifest.type] or not makes[other]:
        return
    line, column = manifest.locate("type") or manifest.locate() or (None, None)
    means = "runs all the time" if manifest.type == "strategy" else "runs by a schedule, and ends"
    yield Problem(
        message=f"`type` is `{manifest.type}`, and the script makes a {makes[other][0].name} and "
        f"none of that type: a {manifest.type} {means}.",
        hint=f'Write `"type": "{other}"`'
        + (", and `screener` with a `schedule`." if other == "screener" else "."),
        severity=Severity.WARNING,
        path=MANIFEST_NAME,
        line=line,
        column=column,
    )


def _idle(code: Code) -> Iterator[Problem]:
    """Warn of a strategy that is never started, or has no event; others may do that."""
    strategies = code.of(STRATEGIES, certain=True)
    if code.passes_on or not strategies:
        return
    if not any(name.startswith(_EVENTS) for name in code.attributes):
        yield _at(
            strategies[0],
            "The strategy has no event: when the model is deployed, nothing is ever called.",
            "Add one, such as strategy.add_price_event(on_price, symbol, resolution).",
        )
    if "start" not in code.attributes:
        yield _at(
            strategies[0],
            "The script never calls `start()` of its strategy: deployed, it ends without a trade.",
            "Call strategy.start() where `blankly.is_deployed` is true; in a backtest it returns "
            "at once.",
        )


def _first_of_each(uses: list[Use]) -> Iterator[Use]:
    named: dict[str, Use] = {}
    for use in uses:
        named.setdefault(use.name, use)
    yield from named.values()


def _at(use: Use, message: str, hint: str, severity: Severity = Severity.WARNING) -> Problem:
    return Problem(
        message=message,
        hint=hint,
        severity=severity,
        path=use.file,
        line=use.line,
        column=use.column,
    )
