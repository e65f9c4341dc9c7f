"""The address of a page leads to it, whatever the ids in it are."""

from __future__ import annotations

from urllib.parse import urljoin

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deploy_action.pages.addresses import in_path, model_path, path_part
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor

# Ids of dots, slashes and escapes are likely here, and anything else is possible.
IDS = st.one_of(
    st.text(alphabet="./%2eE\\?#&+; a", min_size=1, max_size=6), st.text(min_size=1, max_size=20)
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(project=IDS, model=IDS)
@example(project=".", model="..")
@example(project="...", model=".")
@example(project="%2e", model="%252e%252e")
@example(project="a/b", model="../overview")
def test_the_pages_of_a_model_are_where_its_address_says(
    project: str, model: str, live: LivePlatform, reader: Visitor
) -> None:
    with live.parts.store.transaction() as transaction:
        if not transaction.has_project(project):
            transaction.add_project(project, name="p", description="")
        if transaction.model(project, model) is None:
            transaction.add_model(project, model, model_type="strategy", name="m", description="")
    path = f"{model_path(project, model)}/versions"

    answer = reader.get(path)

    assert answer.status_code == 200
    assert f'href="{model_path(project, model)}/overview"' in answer.text
    # A browser leads there, too: no part is the way up, and nothing ends the path.
    assert urljoin(live.parts.url, path) == f"{live.parts.url}{path}"


@given(text=IDS)
def test_an_id_is_one_part_of_a_path_and_comes_back(text: str) -> None:
    part = path_part(text)

    assert part.isascii()
    assert not set(part) & set("/\\?#& ")
    assert part not in {".", ".."}
    assert in_path(in_path(part)) == text
