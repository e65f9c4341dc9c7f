"""Kept prices are joined as if they had been downloaded at once, in whatever pieces they came."""

from __future__ import annotations

import subprocess
from pathlib import Path

PROCESS = Path(__file__).resolve().parents[3] / "deploy_action" / "platform" / "model_process"

# Random periods, in runs with a clock that goes on, are answered by what is kept, and compared
# with what an exchange says that is asked at the same time.
SCRIPT = """
import json, os, random, sys, tempfile, types
import pandas
sys.path.insert(0, sys.argv[1])
from blankly_run.prices import keeping, pieces

class Platform:
    "Takes a file from the outbox, as the platform does."
    def __init__(self):
        self.store, self.outbox = tempfile.mkdtemp(), tempfile.mkdtemp()
        self.took = 0
    def send(self, event, keep=None, drop=None):
        if drop:
            os.unlink(os.path.join(self.store, drop))
        if keep:
            self.took += 1
            target = os.path.join(self.store, keep)
            os.rename(os.path.join(self.outbox, keep), target)
            os.utime(target, ns=(self.took, self.took))

class Exchange:
    "Has bars at odd times, with holes; the last one changes until it is over."
    def __init__(self, chance, resolution):
        self.resolution, self.clock, self.asked = resolution, 0, 0
        self.offset = chance.choice([0, resolution // 3])
        self.missing = {chance.randrange(3000) for _ in range(chance.choice([0, 0, 300]))}
        self.is_picky = chance.random() < 0.3
    def ask(self, start, stop):
        rows = [
            (time, number + 0.1, number / 3 if time + self.resolution <= self.clock else self.clock)
            for number in range(3000)
            for time in [number * self.resolution + self.offset]
            if start <= time <= stop and number not in self.missing and time <= self.clock
        ]
        if self.is_picky and not rows:
            raise RuntimeError("no bars in this period")
        self.asked += len(rows)
        return pandas.DataFrame(rows, columns=["time", "open", "close"])

def tell(message):
    told.append(message)

told = []
for seed in range(40):
    chance = random.Random(seed)
    resolution = chance.choice([60, 3600, 86400])
    platform, exchange = Platform(), Exchange(chance, resolution)
    fresh_bars = 0
    for run in range(4):
        exchange.clock += chance.randrange(100, 700) * resolution + chance.randrange(resolution)
        keeping.time = types.SimpleNamespace(
            **{**vars(keeping.time), "time": lambda: exchange.clock}
        )
        for _ in range(4):
            last = chance.choice([exchange.clock, chance.randrange(exchange.clock)])
            first = last - chance.randrange(1, 400) * resolution * chance.random()
            now = exchange.clock
            def fetch():
                kept = keeping.KeptPrices([platform.outbox, platform.store], platform, tell)
                asked = keeping.Download("a" * 32, "ASH", first, last, resolution)
                return kept.answer(asked, now, exchange.ask)
            try:
                truth = exchange.ask(first, last)
            except RuntimeError:
                continue
            exchange.asked -= len(truth)
            fresh_bars += len(truth)
            found = fetch()
            wrong = f"seed {seed}, run {run}: {first} to {last}"
            assert found["time"].tolist() == truth["time"].tolist(), wrong
            assert found["close"].tolist() == truth["close"].tolist(), wrong
            before = exchange.asked
            assert fetch().equals(found), wrong
            assert exchange.asked == before, wrong
    assert not exchange.asked or exchange.asked <= fresh_bars * 1.6, (seed, exchange.asked)
    assert all(pieces._NAME.fullmatch(name) for name in os.listdir(platform.store))
assert told == [], told
print("done")
"""


def test_every_period_has_the_bars_of_one_download(blankly_python: Path) -> None:
    done = subprocess.run(
        [str(blankly_python), "-c", SCRIPT, str(PROCESS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "done\n"


# A run of a pull request reads two stores: the other one keeps its prices from before a split.
SPLIT = """
import os, sys, tempfile, types
import pandas
sys.path.insert(0, sys.argv[1])
from blankly_run.prices import keeping

outbox, trunk, own = (tempfile.mkdtemp() for _ in range(3))
day, clock, price, took = 86400, 0, 100.0, 0
keeping.time = types.SimpleNamespace(**{**vars(keeping.time), "time": lambda: clock})

def send(event, keep=None, drop=None):
    global took
    if drop:
        os.unlink(os.path.join(stores[0], drop))
    if keep:
        took += 1
        target = os.path.join(stores[0], keep)
        os.rename(os.path.join(outbox, keep), target)
        os.utime(target, ns=(took, took))

def ask(start, stop):
    rows = [(day * n, price, price) for n in range(2000) if start <= day * n <= min(stop, clock)]
    return pandas.DataFrame(rows, columns=["time", "open", "close"])

def run(first, last, *places):
    global clock, stores
    clock, stores = last * day, places
    kept = keeping.KeptPrices([outbox, *stores], types.SimpleNamespace(send=send), print)
    asked = keeping.Download("a" * 32, "ASH", first * day, last * day, day)
    return set(kept.answer(asked, clock, ask)["close"])

assert run(500, 1000, trunk) == {100.0}
price = 10.0
assert run(600, 1100, own, trunk) == {10.0}
for first, last in ((610, 1110), (400, 1120), (450, 1120)):
    assert run(first, last, own, trunk) == {10.0}, (first, last)
"""


def test_prices_from_before_a_split_are_not_joined_with_those_after_it(
    blankly_python: Path,
) -> None:
    done = subprocess.run(
        [str(blankly_python), "-c", SPLIT, str(PROCESS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


# An exchange answers a part of a download with nothing, and is well again in the next run.
HICCUP = """
import os, sys, tempfile, types
import pandas
sys.path.insert(0, sys.argv[1])
from blankly_run.prices import keeping

outbox, store = tempfile.mkdtemp(), tempfile.mkdtemp()
clock, asked = 0, 0
keeping.time = types.SimpleNamespace(**{**vars(keeping.time), "time": lambda: clock})

def send(event, keep):
    os.rename(os.path.join(outbox, keep), os.path.join(store, keep))

def run(resolution, first, last, missing=()):
    global clock, asked
    clock, asked = last * resolution, 0
    def ask(start, stop):
        global asked
        numbers = range(first, last + 1)
        rows = [
            (resolution * n, 1.0, 1.0)
            for n in numbers
            if start <= resolution * n <= stop and n not in missing
        ]
        asked += len(rows)
        return pandas.DataFrame(rows, columns=["time", "open", "close"])
    kept = keeping.KeptPrices([outbox, store], types.SimpleNamespace(send=send), print)
    series = f"{resolution:032x}"
    wanted = keeping.Download(series, "ASH", first * resolution, last * resolution, resolution)
    return len(kept.answer(wanted, clock, ask))

for resolution in (60, 3600, 86400):
    bars = 5000
    assert run(resolution, 1, bars, range(2000, 2100)) == bars - 100, resolution
    assert run(resolution, 1, bars + 10) == bars + 10, resolution
    assert run(resolution, 1, bars + 20) == bars + 20 and asked < 2000, (resolution, asked)
"""


def test_a_part_that_was_answered_with_nothing_is_asked_for_again(blankly_python: Path) -> None:
    done = subprocess.run(
        [str(blankly_python), "-c", HICCUP, str(PROCESS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
