from __future__ import annotations

import threading

from deploy_action.platform.api.request import ApiError
from deploy_action.platform.web.backtests.computed_views import MOST_AT_ONCE, ComputedViews
from tests.support.waiting import wait_for


def test_a_view_is_computed_once_although_many_ask_at_once() -> None:
    views, may_end, computed = ComputedViews(100), threading.Event(), []

    def compute() -> str:
        computed.append(1)
        may_end.wait(10)
        return "view"

    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(views.get("key", 1, compute)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    may_end.set()
    for thread in threads:
        thread.join()

    assert found == ["view"] * 5
    assert computed == [1]


def test_two_views_are_never_computed_at_the_same_time() -> None:
    views, all_ask, running, most = ComputedViews(100), threading.Event(), [], []

    def compute() -> str:
        running.append(1)
        all_ask.wait(10)
        most.append(len(running))
        running.pop()
        return "view"

    threads = [threading.Thread(target=views.get, args=(key, 1, compute)) for key in range(5)]
    for thread in threads:
        thread.start()
    all_ask.set()
    for thread in threads:
        thread.join()

    assert most == [1] * 5


def test_only_so_many_wait_and_what_is_there_is_there_for_all() -> None:
    """Each that waits takes a thread of those that also answer a request to stop a model."""
    views, may_end, refused = ComputedViews(100), threading.Event(), list[ApiError]()
    assert views.get("there", 1, lambda: "view") == "view"

    def compute() -> str:
        may_end.wait(10)
        return "view"

    def ask(key: int) -> None:
        try:
            views.get(key, 1, compute)
        except ApiError as error:
            refused.append(error)

    threads = [threading.Thread(target=ask, args=(key,)) for key in range(MOST_AT_ONCE + 3)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(refused) == 3)
        assert views.get("there", 1, compute) == "view"
    finally:
        may_end.set()
        for thread in threads:
            thread.join()
    assert len(refused) == 3
    assert {one.status for one in refused} == {503}
    assert "Load this page again in a moment" in str(refused[0])
    assert views.get("late", 1, compute) == "view"


def test_views_of_large_results_push_out_others_but_never_the_last() -> None:
    views, computed = ComputedViews(10), list[str]()

    def get(key: str, size: int) -> None:
        def compute() -> str:
            computed.append(key)
            return key

        assert views.get(key, size, compute) == key

    get("a", 4)
    get("b", 4)
    get("a", 4)
    get("c", 4)  # b was looked at longest ago
    assert computed == ["a", "b", "c"]
    get("b", 4)
    assert computed == ["a", "b", "c", "b"]
    get("huge", 99)
    get("huge", 99)
    get("c", 4)
    assert computed == ["a", "b", "c", "b", "huge", "c"]
