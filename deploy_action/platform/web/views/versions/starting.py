"""Starting a version, or going back to it."""

from __future__ import annotations

from deploy_action.pages.addresses import in_path, model_path, path_part
from deploy_action.platform.api.operations.models import BY_PAGE
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.live.wishes import ChangedMeanwhileError
from deploy_action.platform.web.answers import Answer, SeeOther
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_states import is_coming
from deploy_action.platform.web.views.versions.shelf import Shelf
from deploy_action.platform.web.views.versions.words import CHANGED


def start_version(site: Site, visit: Visit) -> Answer:
    """Run a version in place of the one that runs, unless that is not what the visitor saw."""
    version_id = in_path(visit.path["version"])
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        page = f"{model_path(model.project_id, model.id)}/versions/{path_part(version_id)}"
        shelf = Shelf.of(site, snapshot, model)
        if shelf.find(version_id) is None:
            raise ApiError("There is no such version of this model. It may have been deleted.", 404)
        if is_coming(shelf.status, version_id):
            return SeeOther(page)  # the form was sent twice
    fields = {"projectId": model.project_id, "modelId": model.id, "versionId": version_id}
    if plan := visit.form.get("plan", ""):
        fields["plan"] = plan
    try:
        request = Request(fields, address=visit.address)
        site.models.run_version(request, visit.form.get("seen", ""), BY_PAGE)
    except ChangedMeanwhileError:
        with site.store.snapshot() as snapshot:
            status = site.live.status(snapshot, model.project_id, model.id)
        if not is_coming(status, version_id):  # else the same form was sent at the same time
            return SeeOther(f"{page}?refused={CHANGED}")
    return SeeOther(page)
