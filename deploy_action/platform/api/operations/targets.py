"""Which project and model a request is about, and whether it may use or create them."""

from __future__ import annotations

from pathlib import Path

from deploy_action.platform.api.request import ApiError
from deploy_action.platform.storage.records import SCREENER, STRATEGY, Model
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """The model that a request names, or describes if it is to be created."""

    project_id: str
    model_id: str
    model_type: str
    name: str
    description: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of a platform; unless it is strict, what is named and does not exist is created."""

    is_strict: bool

    def check_readable(self, snapshot: Transaction, project_id: str) -> None:
        """Refuse to read a project that does not exist; a lenient platform shows it as empty."""
        if self.is_strict and not snapshot.has_project(project_id):
            raise ApiError("Invalid permission.")

    def require_project(self, transaction: Transaction, project_id: str) -> None:
        """Refuse a project that does not exist, or create it."""
        if transaction.has_project(project_id):
            return
        if self.is_strict:
            raise ApiError("Invalid permission.")
        transaction.add_project(project_id, name=project_id, description="")

    def resolve(self, transaction: Transaction, target: Target) -> Model:
        """Return the model of the target, created if need be and allowed."""
        self.require_project(transaction, target.project_id)
        model = transaction.model(target.project_id, target.model_id)
        if model is None and (target.is_new or not self.is_strict):
            if target.model_type not in (STRATEGY, SCREENER):
                raise ApiError(f"The type of a model is {STRATEGY} or {SCREENER}.")
            model = transaction.add_model(
                target.project_id,
                target.model_id,
                model_type=target.model_type,
                name=target.name or target.model_id,
                description=target.description,
            )
        if model is None:
            raise _model_not_found()
        check_type(model, target.model_type)
        return model


def find_model(snapshot: Transaction, project_id: str, model_id: str) -> Model:
    """Return a model that exists, or refuse the request."""
    model = snapshot.model(project_id, model_id)
    if model is None:
        raise _model_not_found()
    return model


def check_type(model: Model, model_type: str) -> None:
    """Refuse a request that takes a strategy for a screener, or the other way round."""
    if model.type != model_type:
        raise ApiError("The specified type does not match the model type.")


def _model_not_found() -> ApiError:
    return ApiError("This modelId was not found under this project.")


def check_bundle(bundle: Path) -> None:
    """Refuse a version whose bundle was removed because it was old."""
    if not bundle.exists():
        message = "The bundle of this version was removed: the server keeps only newer ones."
        raise ApiError(f"{message} Deploy that commit again.")
