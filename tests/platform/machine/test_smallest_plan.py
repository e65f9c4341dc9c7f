"""The real package in the smallest plan, where each process has a limit of its own."""

from __future__ import annotations

from pathlib import Path

from deploy_action.platform.api.operations.plans import LIVE_PLANS
from deploy_action.platform.machine.control_groups import NoControlGroupsError
from deploy_action.platform.machine.limits import Limiter
from deploy_action.platform.processes.launching import Ended
from tests.support.machines import Bench

# As many threads as a strategy with 40 symbols has when all its bars come at once.
SCRIPT = """
import blankly, threading
blankly.Strategy(blankly.KeylessExchange(price_reader=blankly.data.PriceReader("./a.csv", "A-USD")))
over = threading.Event()
threads = [threading.Thread(target=over.wait) for _ in range(40)]
for thread in threads: thread.start()
over.set()
import numpy
print("multiplied", int((numpy.ones((500, 500)) @ numpy.ones((500, 500)))[0, 0]))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmData")))
"""
PRICES = "time,open,high,low,close,volume\n" + "".join(
    f"{1_672_531_200 + 86_400 * day},1,1,1,1,1\n" for day in range(5)
)


def test_the_package_and_its_threads_fit(tmp_path: Path, blankly_python: Path) -> None:
    def no_groups() -> None:
        raise NoControlGroupsError("none here")

    bench = Bench(tmp_path, python=blankly_python, limiter=lambda: Limiter(no_groups))  # type: ignore[arg-type]
    bench.open()
    plan = LIVE_PLANS["nano"]
    files = {"a.csv": PRICES, "settings.json": "{}"}
    _, heard = bench.start(SCRIPT, memory=plan["ram"], cpu=plan["cpu"], files=files)
    ended = heard.wait_for_end()
    bench.machine.close()
    assert ended == Ended(0), heard.lines
    multiplied, kilobytes = heard.texts("out")[-2:]
    assert multiplied == "multiplied 500"
    assert int(kilobytes) < plan["ram"] << 10
