"""Which connections are closed when there are too many."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol


class Standing(Enum):
    """What a connection waits for, and so what is lost when it is closed."""

    REFUSED = auto()  # the client, which may not have read why
    STRANGER = auto()  # a client that has shown no valid token
    SIGNED_IN = auto()  # the next request of a client that has shown one
    AT_WORK = auto()  # our answer, or the body of a client that has shown one


class Member(Protocol):
    """A connection."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing has come or was left to send for a while."""

    def close_now(self) -> None:
        """Close it without sending the rest."""


class Crowd:
    """All connections of a server, those that have waited longest first."""

    def __init__(self, most: int) -> None:
        """Allow `most` connections, and an eighth more that are refused and wait to be read."""
        self._most = most
        self._standings: dict[Member, Standing] = {}
        self._members: dict[Standing, dict[Member, None]] = {each: {} for each in Standing}

    @property
    def is_dense(self) -> bool:
        """Whether strangers must go after one answer, to let others in."""
        return len(self._standings) > self._most * 3 // 4

    def place(self, member: Member, standing: Standing) -> None:
        """Note what a connection waits for from now on, or still."""
        if self._standings.get(member) is not standing:
            self.remove(member)
            self._standings[member] = standing
            self._members[standing][member] = None

    def remove(self, member: Member) -> None:
        """Forget a connection that is closed."""
        standing = self._standings.pop(member, None)
        if standing is not None:
            del self._members[standing][member]

    def make_room(self, newcomer: Member) -> bool:
        """Close a connection if there are too many; return whether `newcomer` can stay.

        Strangers go first, however busy they look: one that sends a byte a second looks busy, too.
        """
        refused = self._members[Standing.REFUSED]
        if len(refused) > self._most // 8:
            self._close(next(iter(refused)))
        if len(self._standings) - len(refused) <= self._most:
            return True
        leaving = next(iter(self._members[Standing.STRANGER]))
        if leaving is newcomer:
            quiet = (each for each in self._members[Standing.SIGNED_IN] if each.is_settled)
            leaving = next(quiet, newcomer)
        if leaving is newcomer:
            return False
        self._close(leaving)
        return True

    def _close(self, member: Member) -> None:
        self.remove(member)  # at once: more may come before it is lost
        member.close_now()
