"""What a change does to a model in production: what it runs on, when, and with which files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that has another value now; None where one of them does not have it at all."""

    name: str
    base: str | None
    candidate: str | None


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Files of the bundle by name, sorted, relative to the model."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChanges:
    """What differs between two versions of a model.

    `facts` are the plan, the Python version, the schedule, symbols, resolutions and arguments;
    `requirements` are by the package's canonical name.
    """

    facts: tuple[Changed, ...]
    requirements: tuple[Changed, ...]
    files: FileChanges
