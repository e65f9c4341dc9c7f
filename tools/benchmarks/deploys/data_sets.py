"""What is deployed: models of several sizes, made of price data, sources and noise."""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.models import MANY_TRADES, price_rows, write_model

_POOL_BYTES = 4_000_000
MEGABYTE = 1_000_000
_KILO = 1_000


@dataclass(frozen=True, slots=True)
class DataSet:
    """A model to deploy: `write` fills a directory that does not exist yet.

    `least_share` is the share of its bytes that is sent at least, however well it is packed.
    `rounds` is how often everybody deploys it; `slow_rounds` how often zip and the package do.
    """

    name: str
    bytes: int
    write: Callable[[Path], None]
    least_share: float
    rounds: int
    slow_rounds: int


def data_sets(*, is_quick: bool) -> list[DataSet]:
    """Return all of them; quick ones are a hundredth of the size."""
    small = 100 if is_quick else 1
    large = 200 * MEGABYTE // small
    tiny = 20_000 // small
    huge = 2_000 * MEGABYTE // small
    return [
        DataSet("a typical model, 12 files", 300 * _KILO, write_typical, 0.1, 9, 9),
        DataSet(
            f"{1_500 // small:,} files, {large // MEGABYTE} MB",
            *(large, lambda path: write_mixed(path, 1_500 // small, large), 0.2, 5, 3),
        ),
        DataSet(
            f"{tiny:,} tiny files",
            *(tiny * 400, lambda path: write_tiny(path, tiny), 0.05, 5, 3),
        ),
        DataSet(
            f"one file of {huge / 1e9:g} GB",
            *(huge, lambda path: write_one_file(path, huge), 0.2, 3, 1),
        ),
        DataSet(
            f"{large // MEGABYTE} MB of noise",
            *(large, lambda path: write_noise(path, large), 0.99, 3, 3),
        ),
    ]


def write_typical(directory: Path) -> None:
    """Write a model of a dozen files: its script, modules, settings, and a year of prices."""
    write_model(directory, MANY_TRADES, {"to": "1y"})
    cut = _cutter(_sources(), 1)
    for name in ("signals", "sizing", "risk", "filters", "costs", "state"):
        _write(directory / "model_parts" / f"{name}.py", cut(6 * _KILO))
    _write(directory / "prices" / "OAK-USD.csv", _cutter(_prices(), 1)(250 * _KILO))


def write_mixed(directory: Path, number: int, size: int) -> None:
    """Write a large model: most files are sources, most bytes prices, a tenth of those weights.

    Weights of a neural network hardly become smaller.
    """
    write_model(directory, MANY_TRADES, {"to": "1y"})
    source, prices = _cutter(_sources(), 2), _cutter(_prices(), 2)
    sources = number * 4 // 5
    for index in range(sources):
        _write(directory / f"package_{index // 100}" / f"module_{index}.py", source(12 * _KILO))
    left, files = size - sources * 12 * _KILO, number - sources
    noise = random.Random("weights")  # noqa: S311  # no secrets
    for index in range(files):
        is_weights = index % 10 == 0
        data = noise.randbytes(left // files) if is_weights else prices(left // files)
        name = f"weights_{index}.bin" if is_weights else f"{index}.csv"
        _write(directory / "prices" / name, data)


def write_tiny(directory: Path, number: int) -> None:
    """Write many files of some hundred bytes."""
    write_model(directory, MANY_TRADES, {"to": "1y"})
    cut = _cutter(_sources(), 3)
    for index in range(number):
        size = 200 + index * 37 % 400
        _write(directory / f"notes_{index // 200}" / f"note_{index}.txt", cut(size))


def write_one_file(directory: Path, size: int) -> None:
    """Write a model with one large file of prices."""
    write_model(directory, MANY_TRADES, {"to": "1y"})
    cut = _cutter(_prices(), 4)
    with (directory / "prices" / "OAK-USD.csv").open("wb") as file:
        for start in range(0, size, MEGABYTE):
            file.write(cut(min(MEGABYTE, size - start)))


def write_noise(directory: Path, size: int) -> None:
    """Write a model with files that do not become smaller."""
    write_model(directory, MANY_TRADES, {"to": "1y"})
    noise = random.Random("noise")  # noqa: S311  # no secrets
    for index in range(20):
        _write(directory / "prices" / f"{index}.bin", noise.randbytes(size // 20))


def _cutter(pool: bytes, seed: int) -> Callable[[int], bytes]:
    """Return a function that cuts another stretch of the pool each time.

    The pool is a hundred times as long as what deflate looks back: repeating it packs no better.
    """
    source = random.Random(seed)  # noqa: S311  # no secrets
    doubled = pool + pool

    def cut(size: int) -> bytes:
        start = source.randrange(len(pool))
        return doubled[start : start + size]

    return cut


def _prices() -> bytes:
    source = random.Random("prices")  # noqa: S311  # no secrets
    return price_rows(source, _POOL_BYTES // 44, 60).encode()


def _sources() -> bytes:
    """Return sources of Python's library: the same for all contenders of a run."""
    found = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return b"".join(_up_to(_POOL_BYTES, (path.read_bytes() for path in found)))


def _up_to(size: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        size -= len(piece)
        if size <= 0:
            return


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
