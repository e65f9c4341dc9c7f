"""The API's reference, from the document that describes it to programs."""

from __future__ import annotations

from deploy_action.platform.api.request import Request
from deploy_action.platform.api.routes import OPENAPI_PATH
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.api_reference import ApiReference
from deploy_action.platform.web.site import Site, Visit


def show_reference(site: Site, visit: Visit) -> Answer:
    """Show all routes of the API, folded unless the address asks for all of it."""
    described = next(route for route in site.api if route.path == OPENAPI_PATH)
    document = described.run(Request({}))
    assert isinstance(document, dict)  # noqa: S101  # an OpenAPI document
    reference = ApiReference(document, visit.origin)
    values = {
        "info": document["info"],
        "openapi_path": OPENAPI_PATH,
        "operations": reference.operations(),
        "documents": reference.documents(),
        "unfolded": "all" in visit.query,
    }
    return Page("api.html", values)
