"""Operations on models."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy_action.platform.api.operations.documents import (
    CreatedModelDocument,
    Details,
    ListedModelDocument,
    Text,
    backtest_document,
    model_document,
    version_document,
)
from deploy_action.platform.api.operations.targets import Access, Target, find_model
from deploy_action.platform.api.request import Request
from deploy_action.platform.storage.records import (
    Backtest,
    BacktestStatus,
    VersionStatus,
)
from deploy_action.platform.storage.store import Store

_MAX_RESULT_BYTES = 32 << 20  # in the details of a model, unless one backtest is asked for
_WITH_RESULT = (BacktestStatus.FINISHED, BacktestStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Models:
    """The operations on models."""

    store: Store
    access: Access

    def create_model(self, request: Request) -> CreatedModelDocument:
        """Create a model."""
        target = Target(
            project_id=request.identifier("projectId"),
            model_id=str(uuid.uuid4()),
            model_type=request.text("type"),
            name=request.text("name"),
            description=request.text("description"),
            is_new=True,
        )
        with self.store.transaction() as transaction:
            model = self.access.resolve(transaction, target)
        return {"status": "success", "modelId": model.id}

    def list_models(self, request: Request) -> list[ListedModelDocument]:
        """List the models of a project."""
        project_id = request.identifier("projectId")
        with self.store.snapshot() as snapshot:
            self.access.check_readable(snapshot, project_id)
            return [
                {"id": each.id, "name": each.name, "description": each.description,
                 "type": each.type}
                for each in snapshot.models(project_id)
            ]  # fmt: skip

    def describe_model(self, request: Request) -> Details:
        """Describe a model with its versions and backtests."""
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        wanted = request.text("backtestId")
        with self.store.snapshot() as snapshot:
            self.access.check_readable(snapshot, project_id)
            model = find_model(snapshot, project_id, model_id)
            versions = {each.id: each for each in snapshot.versions(project_id, model_id)}
            backtests = snapshot.backtests(project_id, model_id)
        document = model_document(
            model,
            [
                version_document(each)
                for each in versions.values()
                if each.status != VersionStatus.BACKTEST
            ],
            [backtest_document(each, versions[each.version_id]) for each in backtests],
        )
        return Details(document, self._results(backtests, wanted))

    def _results(self, backtests: Sequence[Backtest], wanted: str) -> Mapping[str, Path]:
        """Return the paths of the results to send, by the id of their backtest.

        That is the wanted one, or else the latest ones that there is room for.
        """
        room = _MAX_RESULT_BYTES
        paths: dict[str, Path] = {}
        for each in reversed(backtests):
            path = self.store.result_path(each.id)
            if each.status in _WITH_RESULT and wanted in {"", each.id} and path.exists():
                size = path.stat().st_size
                if wanted or size <= room:
                    room -= size
                    paths[each.id] = path
        return paths

    def report_status(self, _: Request) -> Text:
        """Say that the server runs."""
        return Text("server is running")

    def list_starter_models(self, _: Request) -> list[ListedModelDocument]:
        """List the models to start from. There are none: the hosted service kept its own."""
        return []
