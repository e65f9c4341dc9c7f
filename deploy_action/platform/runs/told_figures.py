"""The figures that a client tells of a backtest elsewhere: untrusted, and checked."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Moment = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Text = Annotated[str, msgspec.Meta(max_length=1_000)]


class _Rules(msgspec.Struct):
    """What an order costs, and what the account starts with."""

    usePrice: _Text = ""  # noqa: N815  # names of JSON, like the next
    fees: list[tuple[float | None, float | None]] = []
    initialValues: dict[_Text, float] = {}  # noqa: N815
    benchmark: _Text = ""


class _Tested(msgspec.Struct):
    """Figures as the store keeps them of the backtests that run here."""

    metrics: dict[_Text, float | None]
    reasons: dict[_Text, _Text] = {}
    isExact: bool = True  # noqa: N815  # names of JSON, like the next
    quoteAsset: _Text = ""  # noqa: N815
    period: tuple[_Moment, _Moment] | None = None
    covered: _Share = 1.0
    tradesSha256: _Digest | None = None  # noqa: N815
    pricesSha256: _Digest | None = None  # noqa: N815
    like: _Digest | None = None
    arguments: dict[str, Any] | None = None
    symbols: list[_Text] | None = None
    rules: _Rules | None = None
    environment: dict[_Text, _Text] | None = None
    gates: list[_Text] = []


def read_told(text: str) -> dict[str, Any]:
    """Return the figures in a JSON object. Raises `ValueError` if it has none that can be read."""
    try:
        return dict(msgspec.to_builtins(msgspec.json.decode(text.encode(), type=_Tested)))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
