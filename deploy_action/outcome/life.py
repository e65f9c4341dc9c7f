"""What became of a deployed model, as far as its server tells."""

from __future__ import annotations

from deploy_action.errors import Problem
from deploy_action.live.deployed import DeployedModel, DeployedVersion, Live, Standing
from deploy_action.records import dataclass, field

_DONE = frozenset({Standing.UP, Standing.ENDED, Standing.STORED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The model as the server described it last; `version_id` is the version the run is about.

    `log` are lines of that version's log, `TIME STREAM TEXT`: what the model printed first since
    this start if `is_beginning`, else the end. `was_up` says that the version ran already, so that
    nothing had to be done, and `ran_once` that a screener was asked for a run between those of its
    schedule, which is over. `problems` are warnings of what runs, or of how it stopped.
    """

    model: DeployedModel = field(default_factory=DeployedModel)
    version_id: str = ""
    log: tuple[str, ...] = ()
    is_beginning: bool = False
    was_up: bool = False
    ran_once: bool = False
    problems: tuple[Problem, ...] = ()

    @classmethod
    def unknown(cls, version_id: str, name: str) -> Life:
        """Return the life after an order that may have been taken: only its name is known."""
        return cls(model=DeployedModel(name=name), version_id=version_id)

    @property
    def live(self) -> Live | None:
        """What runs; None if the server does not tell, or nothing was ever deployed."""
        return self.model.live

    @property
    def version(self) -> DeployedVersion | None:
        """The version the run is about, as the server lists it."""
        return self.model.versions.get(self.version_id)

    @property
    def standing(self) -> Standing | None:
        """What became of the version that is to run; None if that is not known."""
        is_told = self.live is not None or (self.model.tells_life and self.version is not None)
        if not is_told or not self.version_id:
            return None
        return self.model.standing(self.version_id)

    @property
    def is_done(self) -> bool:
        """Whether the version runs, ran to its end, or was only to be stored."""
        return self.standing in _DONE

    @property
    def state(self) -> str:
        """The output `state`: of the version that the run is about while that is coming."""
        if self.live is None:
            return ""
        is_next = bool(self.version_id) and self.live.next_id == self.version_id
        return "preparing" if is_next else self.live.state
