"""What a store has honoured and not told yet: kept with the pages, so that no receipt is lost, whoever is killed when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.receipts import Receipt, decode, encode, owed
from syncer.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.model import Mutation
    from syncer.sqlite import Connection


class Debts:
    """Receipts that a store owes, by the place of the mutation that asks for each."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def note(self, mutation: Mutation, partition: int, offset: int) -> bool:
        """Owe a receipt for what a mutation hides or deletes, inside ``folding``; False where that is nothing."""
        receipt = owed(mutation, partition, offset)
        if receipt:
            self._db.execute("INSERT OR REPLACE INTO debts VALUES (?, ?, ?)", (partition, offset, encode(receipt)))
        return receipt is not None

    def first(self, most: int) -> list[Receipt]:
        """So many of them, without who honours it and when."""
        rows = self._db.execute('SELECT receipt FROM debts ORDER BY part, "offset" LIMIT ?', (most,)).fetchall()
        return [receipt for (row,) in rows if isinstance(receipt := decode(row), Receipt)]

    def paid(self, receipts: Sequence[Receipt]) -> None:
        """They are appended."""
        places = ((receipt.partition, receipt.offset) for receipt in receipts)
        with transaction(self._db):
            self._db.executemany('DELETE FROM debts WHERE part = ? AND "offset" = ?', places)

    def forget(self, partition: int, before: int) -> None:
        """Drop those for mutations that the journal no longer holds: nobody asks any more."""
        self._db.execute('DELETE FROM debts WHERE part = ? AND "offset" < ?', (partition, before))
