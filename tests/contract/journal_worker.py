"""Uses a journal from a process of its own, for the suite to kill: ``python -m tests.contract.journal_worker SETTINGS WORK``.

own      become the owner and stay it, doing nothing
append   append one batch after another, as far as progress says they are not there yet, and print the number of each that
         was acknowledged
once     append a single record without owning anything
"""

from __future__ import annotations

import asyncio
import sys

from syncer.config import JournalSettings
from syncer.journal import Journal, Record, Topic, latest, open_journal

OWNER = "worker"


def batch(number: int) -> list[Record]:
    """What belongs together: two changes in one partition, one in another, a mutation, and the progress made with them."""
    value = b'{"batch":%d,"padding":"%b"}' % (number, b"x" * (number % 7 * 300))
    return [
        Record(Topic.CHANGES, 0, f"{number}a", value),
        Record(Topic.CHANGES, 0, f"{number}b", value),
        Record(Topic.CHANGES, 1, f"{number}c", value),
        Record(Topic.MUTATIONS, 0, f"{number}d", value, {"wiki": "testwiki"}),
        Record(Topic.PROGRESS, 0, "progress", value),
    ]


async def progress(journal: Journal) -> int:
    """The number of the last batch that is in; -1 if there is none."""
    record = (await latest(journal, Topic.PROGRESS, 0)).get("progress")
    return int(record.value.split(b",")[0].removeprefix(b'{"batch":')) if record else -1


async def _work(settings: JournalSettings, work: str) -> None:
    journal = await open_journal(settings)
    if work == "once":
        await journal.append(Record(Topic.CHANGES, 2, "once", b"{}"))
        return
    owner = await journal.own(OWNER)
    number = await progress(journal) + 1
    print("ready", flush=True)
    while work == "append":
        await owner.append(batch(number))
        print(number, flush=True)
        number += 1
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_work(JournalSettings.model_validate_json(sys.argv[1]), sys.argv[2]))
