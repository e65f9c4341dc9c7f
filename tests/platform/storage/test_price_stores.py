"""The stores of downloaded prices, whatever a model hands over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy_action.platform.processes.unprivileged import draw_user, hand_over
from deploy_action.platform.storage import kept_prices
from deploy_action.platform.storage.kept_prices import KeptPrices, Outbox, store_keys
from tests.support.isolated import as_root

KEYS = store_keys("a model", scope="pull/1")


def name_of(content: bytes, number: int = 0) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"{'ab' * 16}_0_100_0_-1_{number}_{digest}.csv"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "prices"


def keep(place: Path, act: Callable[[Path, Outbox], None]) -> dict[str, bytes]:
    """Hand something over, and return what the store has then."""
    private = place.parent / "private"
    with KeptPrices(place).outbox(private, KEYS) as outbox:
        assert outbox is not None
        act(private, outbox)
    assert list((place / KEYS[1]).iterdir()) == []
    return {path.name: path.read_bytes() for path in (place / KEYS[0]).iterdir()}


def test_a_file_is_kept_under_its_digest_and_gone_from_the_outbox(place: Path) -> None:
    def act(private: Path, outbox: Outbox) -> None:
        (private / name_of(b"prices")).write_bytes(b"prices")
        outbox.hear({"event": "prices", "keep": name_of(b"prices")})
        assert list(private.iterdir()) == []

    assert keep(place, act) == {name_of(b"prices"): b"prices"}
    (path,) = (place / KEYS[0]).iterdir()
    assert path.stat().st_mode & 0o777 == 0o644
    assert (place / KEYS[0]).stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("event", [{}, {"keep": 7}, {"keep": "../x"}, {"drop": "../../data"}])
def test_an_odd_event_is_ignored(place: Path, event: dict[str, object]) -> None:
    (place.parent / "data").write_text("stays")
    assert keep(place, lambda _, outbox: outbox.hear(event)) == {}
    assert (place.parent / "data").exists()


def test_only_a_whole_regular_file_is_kept(place: Path) -> None:
    secret = place.parent / "secret"
    secret.write_bytes(b"secret")

    def act(private: Path, outbox: Outbox) -> None:
        (private / name_of(b"whole")).write_bytes(b"who")
        (private / name_of(b"secret")).symlink_to(secret)
        os.link(secret, private / name_of(b"a guess"))
        os.mkfifo(private / name_of(b"pipe"))
        (private / name_of(b"folder")).mkdir()
        for content in (b"whole", b"secret", b"a guess", b"pipe", b"folder", b"absent"):
            outbox.hear({"keep": name_of(content)})

    assert keep(place, act) == {}
    assert secret.read_bytes() == b"secret"


def test_another_directory_in_the_place_of_the_outbox_changes_nothing(place: Path) -> None:
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / name_of(b"theirs")).write_bytes(b"theirs")

    def act(private: Path, outbox: Outbox) -> None:
        private.rename(private.with_name("moved"))
        private.symlink_to(elsewhere)
        outbox.hear({"keep": name_of(b"theirs")})

    assert keep(place, act) == {}
    assert (elsewhere / name_of(b"theirs")).exists()


def test_what_is_kept_is_never_replaced_and_can_be_dropped(place: Path) -> None:
    def act(private: Path, outbox: Outbox) -> None:
        (place / KEYS[0] / name_of(b"first")).write_bytes(b"damaged")
        (private / name_of(b"first")).write_bytes(b"first")
        outbox.hear({"keep": name_of(b"first")})
        assert (place / KEYS[0] / name_of(b"first")).read_bytes() == b"damaged"
        outbox.hear({"drop": name_of(b"first")})

    assert keep(place, act) == {}


def test_one_run_hands_over_so_much_and_no_more(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_prices, "_MOST_BYTES", 10)

    def act(private: Path, outbox: Outbox) -> None:
        for content in (b"12345", b"123456", b"54321"):
            (private / name_of(content)).write_bytes(content)
            outbox.hear({"keep": name_of(content)})

    assert set(keep(place, act)) == {name_of(b"12345"), name_of(b"54321")}


def test_the_oldest_files_make_room_for_new_ones(place: Path) -> None:
    store = place / KEYS[0]
    store.mkdir(parents=True)
    for number in range(4):
        path = store / name_of(b"12345", number)
        path.write_bytes(b"12345")
        os.utime(path, (number, number))
    (store / ".x.part").write_bytes(b"cut off")
    os.utime(store / ".x.part", (0, 0))
    with KeptPrices(place, largest=11).outbox(place.parent / "private", KEYS):
        pass
    assert {path.name for path in store.iterdir()} == {name_of(b"12345", n) for n in (2, 3)}


def test_a_place_that_cannot_be_used_costs_no_backtest(place: Path) -> None:
    place.write_text("a file")
    with KeptPrices(place).outbox(place.parent / "private", KEYS) as outbox:
        assert outbox is None


@as_root
def test_a_models_own_user_hands_over_and_reads_but_cannot_change_a_store(place: Path) -> None:
    import subprocess

    private = place.parent / "private"
    with KeptPrices(place).outbox(private, KEYS) as outbox:
        assert outbox is not None
        user = draw_user([place, place.parent])
        hand_over(private, user)
        store, name = place / KEYS[0], name_of(b"prices")

        def as_user(command: str) -> str:
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                user=user,
                group=user,
                extra_groups=(),
                capture_output=True,
                text=True,
                check=False,
            )
            return done.stdout

        as_user(f"umask 077; printf prices > {private}/{name}")
        outbox.hear({"keep": name})
        assert as_user(f"cat {store}/{name}") == "prices"
        as_user(f"rm -f {store}/{name}; echo x > {store}/{name}; echo x > {store}/more")
        assert [path.read_bytes() for path in store.iterdir()] == [b"prices"]
