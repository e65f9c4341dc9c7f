"""What a server and its models do, as metrics for Prometheus."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from deploy_action import __version__
from deploy_action.platform.live.reports.accounts import Account, read_lines
from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import Model, State
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.site import Site
from deploy_action.records import dataclass
from deploy_action.text.harmless import cut, plain

if TYPE_CHECKING:
    from prometheus_client import Metric

# Prometheus keeps a series of each combination of labels, for each a few kilobytes.
MOST_MODELS: Final = 1_000
_LONGEST_LABEL: Final = 200
_MODEL: Final = ("project_id", "model_id")
_ACCOUNT: Final = (*_MODEL, "exchange", "portfolio", "currency", "simulated")


@dataclass(frozen=True, slots=True)
class _Model:
    """A model to which something was deployed; `ordered_at` is the time of its latest order."""

    model: Model
    project: str
    status: LiveStatus
    orders: int
    ordered_at: float | None
    accounts: Sequence[Account]

    @property
    def labels(self) -> list[str]:
        """The values of the labels `project_id` and `model_id`."""
        return _labels(self.model.project_id, self.model.id)


def render_metrics(site: Site) -> bytes:
    """Return all metrics in Prometheus' text format 0.0.4.

    Raises `ImportError` where the library for that is not installed.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Snapshot(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _of_server(site)
            models, left_out = _read_models(site)
            yield from _of_models(models, left_out)

        def describe(self) -> Iterator[Metric]:
            """Say nothing beforehand, so that registering does not read everything."""
            return iter(())

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot())
    return generate_latest(registry)


def _read_models(site: Site) -> tuple[list[_Model], int]:
    """Return the models that have something to run, and how many others are left out."""
    with site.store.snapshot() as snapshot:
        statuses = site.live.statuses(snapshot)
        projects = {project.id: project.name for project in snapshot.projects()}
        accounts = read_lines(snapshot)
        ordered = snapshot.reports.latest_of_each("order")
        deployed = [one for one in snapshot.all_models() if (one.project_id, one.id) in statuses]
        found = []
        for model in islice(deployed, MOST_MODELS):
            key = model.project_id, model.id
            found.append(
                _Model(
                    model,
                    projects.get(model.project_id, ""),
                    statuses[key],
                    _orders(snapshot, model),
                    ordered[key].time if key in ordered else None,
                    accounts.get(key, ()),
                )
            )
    return found, len(deployed) - len(found)


def _orders(snapshot: Transaction, model: Model) -> int:
    return snapshot.reports.count(model.project_id, model.id, "order")


def _of_server(site: Site) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily(
        "blankly_build_info", "Always 1; the label says which version serves.", labels=["version"]
    )
    info.add_metric([__version__], 1)
    yield info
    problems = [site.store.fault(), site.live.fault()]
    yield GaugeMetricFamily(
        "blankly_healthy", "Whether the server works: 0 or 1.", value=not any(problems)
    )
    queued, running = site.backtests.counts()
    backtests = GaugeMetricFamily(
        "blankly_backtests",
        "Backtests that wait or run, with those of windows and combinations.",
        labels=["state"],
    )
    backtests.add_metric(["queued"], queued)
    backtests.add_metric(["running"], running)
    yield backtests
    disk = os.statvfs(site.store.data)
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    yield GaugeMetricFamily(
        "blankly_disk_free_bytes",
        "What may still be written to the disk that holds the data.",
        value=disk.f_bavail * disk.f_frsize,
    )
    yield GaugeMetricFamily(
        "blankly_disk_used_bytes", "What is used of that disk, also by others.", value=used
    )
    yield GaugeMetricFamily(
        "blankly_log_followers", "Who follows a log now.", value=site.logs.followers.number
    )


def _of_models(models: Sequence[_Model], left_out: int) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    by_state = Counter(one.status.state for one in models)
    total = GaugeMetricFamily("blankly_models", "Deployed models by their state.", labels=["state"])
    states = GaugeMetricFamily(
        "blankly_model_state",
        "1 for the state that a model is in, 0 for all others.",
        labels=[*_MODEL, "state"],
    )
    info = GaugeMetricFamily(
        "blankly_model_info",
        "Always 1; the labels say what a model is called, and which version its state is about.",
        labels=[*_MODEL, "project", "model", "type", "version_id"],
    )
    for state in State:
        total.add_metric([state], by_state[state])
        for one in models:
            states.add_metric([*one.labels, state], one.status.state is state)
    for one in models:
        version = one.status.version
        names = (one.project, one.model.name, one.model.type, version.id if version else "")
        info.add_metric([*one.labels, *_labels(*names)], 1)
    yield from (total, states, info)
    yield GaugeMetricFamily(
        "blankly_models_left_out",
        f"Models of which there are no metrics: there are those of the first {MOST_MODELS}.",
        value=left_out,
    )
    yield from _numbers(models)
    yield from _accounts(models)


def _numbers(models: Sequence[_Model]) -> Iterator[Metric]:
    """Yield what there is one number of for each model; what is not known is left out."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    gauges: Mapping[str, tuple[str, Any]] = {
        "restarts": (
            "How often in a row the model ended unexpectedly and was started again.",
            lambda one: one.status.restarts,
        ),
        "callbacks_failing": (
            "1 if no callback has succeeded since the latest error of one.",
            lambda one: one.status.callbacks_fail,
        ),
        "since_timestamp_seconds": (
            "When the model entered its state, in seconds since 1970.",
            lambda one: one.status.since,
        ),
        "last_output_timestamp_seconds": (
            "When the model printed last, in seconds since 1970.",
            lambda one: one.status.last_output_at,
        ),
        "next_run_timestamp_seconds": (
            "When a screener runs next, in seconds since 1970.",
            lambda one: one.status.next_run_at,
        ),
        "orders": (
            "Orders that are kept; the oldest are dropped after 10,000.",
            lambda one: one.orders,
        ),
        "last_order_timestamp_seconds": (
            "The time of the latest order, in seconds since 1970.",
            lambda one: one.ordered_at,
        ),
    }
    for name, (text, read) in gauges.items():
        family = GaugeMetricFamily(f"blankly_model_{name}", text, labels=_MODEL)
        for one in models:
            if (value := read(one)) is not None:
                family.add_metric(one.labels, value)
        yield family
    errors = CounterMetricFamily(
        "blankly_model_callback_errors",
        "Callbacks of the model that raised since its version was started.",
        labels=_MODEL,
    )
    for one in models:
        errors.add_metric(one.labels, one.status.callback_errors)
    yield errors


def _accounts(models: Sequence[_Model]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    values = GaugeMetricFamily(
        "blankly_model_account_value",
        "What a whole account is worth in its currency, deposits and other bots included.",
        labels=_ACCOUNT,
    )
    times = GaugeMetricFamily(
        "blankly_model_account_value_timestamp_seconds",
        "When that value was read, in seconds since 1970.",
        labels=_ACCOUNT,
    )
    for one in models:
        for account in one.accounts:
            if account.value is None:
                continue
            names = (account.exchange, account.portfolio or "", account.quote or "")
            labels = [*one.labels, *_labels(*names), str(account.simulated).lower()]
            values.add_metric(labels, account.value)
            times.add_metric(labels, account.time)
    yield from (values, times)


def _labels(*texts: str) -> list[str]:
    return [cut(plain(text).replace("\n", " "), _LONGEST_LABEL) for text in texts]
