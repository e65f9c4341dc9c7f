"""The style sheet and the scripts of the pages."""

from __future__ import annotations

from deploy_action.pages.assets import assets
from deploy_action.platform.api.request import ApiError
from deploy_action.platform.web.answers import Answer, Content
from deploy_action.platform.web.site import Site, Visit


def show_file(_: Site, visit: Visit) -> Answer:
    """Answer with a file; its address changes with what is in it."""
    asset = assets().get(visit.path["name"])
    if asset is None:
        raise ApiError("There is no such file here.", 404)
    is_current = visit.url == asset.url
    return Content(asset.content, asset.media_type, is_kept=is_current)
