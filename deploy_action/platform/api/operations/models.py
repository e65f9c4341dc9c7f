"""Operations on models."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy_action.platform.api.operations.documents import (
    BacktestDocument,
    CreatedModelDocument,
    ListedModelDocument,
    ModelDocument,
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
    Version,
    VersionStatus,
)
from deploy_action.platform.storage.store import Store

_MAX_RESULT_BYTES = 32 << 20  # in the details of a model, unless one backtest is asked for


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

    def describe_model(self, request: Request) -> ModelDocument:
        """Describe a model with its versions and backtests."""
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        wanted = request.text("backtestId")
        with self.store.snapshot() as snapshot:
            self.access.check_readable(snapshot, project_id)
            model = find_model(snapshot, project_id, model_id)
            versions = snapshot.versions(project_id, model_id)
            backtests = snapshot.backtests(project_id, model_id)
        deployed = [each for each in versions if each.status != VersionStatus.BACKTEST]
        return model_document(
            model,
            [version_document(each) for each in deployed],
            self._list_backtests(backtests, {each.id: each for each in versions}, wanted),
        )

    def _list_backtests(
        self, backtests: Sequence[Backtest], versions: Mapping[str, Version], wanted: str
    ) -> list[BacktestDocument]:
        """Show the backtests, with the results of the latest ones that there is room for."""
        room = _MAX_RESULT_BYTES
        listed: list[BacktestDocument] = []
        for each in reversed(backtests):
            result = self._result(each, wanted, room)
            room -= len(result or b"")
            parsed = json.loads(result) if result else None
            listed.insert(0, backtest_document(each, versions[each.version_id], parsed))
        return listed

    def _result(self, backtest: Backtest, wanted: str, room: int) -> bytes | None:
        """Return the result of a backtest, if it is the wanted one or there is room for it.

        All of them could fill the memory: each holds the account's value at each bar.
        """
        if backtest.status != BacktestStatus.FINISHED or wanted not in {"", backtest.id}:
            return None
        path = self.store.result_path(backtest.id)
        return path.read_bytes() if wanted or path.stat().st_size <= room else None

    def report_status(self, _: Request) -> Text:
        """Say that the server runs."""
        return Text("server is running")

    def list_starter_models(self, _: Request) -> list[ListedModelDocument]:
        """List the models to start from. There are none: the hosted service kept its own."""
        return []
