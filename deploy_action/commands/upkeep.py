"""`blankly-deploy clean`, `backup` and `restore`: the upkeep of a data directory."""

from __future__ import annotations

import time
from argparse import Namespace
from contextlib import closing
from pathlib import Path
from typing import TextIO

from deploy_action.text.quantities import count, size


def clean(command: Namespace, stream: TextIO) -> None:
    """Remove what the rules do not keep, and print the size of everything."""
    from deploy_action.platform.storage import data_directory
    from deploy_action.platform.storage.store import Store
    from deploy_action.platform.storage.users_place import of_user
    from deploy_action.platform.upkeep.cleaning import Rules
    from deploy_action.platform.upkeep.cleaning import clean as clean_store

    data = Path(command.data) if command.data else of_user()
    if not (data / data_directory.DATABASE).is_file():
        stream.write(f"{data}: nothing is kept there\n")
        return
    rules = Rules(versions=command.keep_versions, days=command.keep_days)
    with closing(Store(data, time.time)) as store:
        shares = clean_store(store, rules, time.time(), removes=not command.dry_run)
    stream.write(f"{data}\n")
    verb = "would remove" if command.dry_run else "removed"
    for share in shares:
        line = f"  {share.kind:<14}{size(share.bytes):>10}"
        if share.unneeded:
            things = count(share.unneeded, share.kind.removesuffix("s"))
            line += f"   {verb} {things}, {size(share.unneeded_bytes)}"
        stream.write(f"{line}\n")
    total = sum(share.unneeded_bytes for share in shares)
    stream.write(f"{verb} {size(total)}\n" if total else "nothing to remove\n")


def back_up(command: Namespace, stream: TextIO) -> None:
    """Write a backup, and say what is in it."""
    from deploy_action.platform.upkeep.backup import back_up as write_backup

    file = Path(command.file)
    backup = write_backup(Path(command.data), file)
    if backup.notes:
        stream.write(f"{backup.notes}\n")
    stream.write(
        f"{file}: {size(backup.bytes)}. Keep it as safe as the server: the token, the models' "
        "variables and exchange keys are in it.\n"
    )


def restore(command: Namespace, stream: TextIO) -> None:
    """Restore a backup, and say what a server on it will run."""
    from deploy_action.platform.upkeep.backup import restore as restore_backup

    data, file = Path(command.data), Path(command.file)
    models = restore_backup(file, data)
    stream.write(f"{data}: restored from {file}\n")
    if models:
        stream.write(f"`blankly-deploy serve --data {data}` will run {count(len(models), 'model')}")
        stream.write(f": {', '.join(models)}.\n")
        stream.write(
            "Before you start it, stop the server that the backup is of, and see to it that it "
            "does not start again: both would trade.\n"
        )
