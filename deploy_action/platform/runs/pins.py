"""What is the same in every run of a model, so that the same bytes give the same result.

The model's process pins the rest itself: the order of directories, the seeds of the generators of
random numbers, and the time from which the package counts back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_HASH_SEED: Final = 0  # of texts: it decides the order of a set
_THREADS: Final = 1  # more of them may add up in another order
_RANDOM_SEED: Final = 0  # `SEED` in the model's process
THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
PINNED_VARIABLES: Final = {
    "PYTHONHASHSEED": str(_HASH_SEED),
    **dict.fromkeys(THREAD_VARIABLES, str(_THREADS)),
}


def pinned_facts(now: float) -> dict[str, object]:
    """Return what was pinned, as the API shows it; `now` is in seconds since 1970."""
    moment = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
    return {
        "hashSeed": _HASH_SEED,
        "threads": _THREADS,
        "now": moment,
        "randomSeed": _RANDOM_SEED,
    }
