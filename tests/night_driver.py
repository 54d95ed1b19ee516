"""The ledger's driver that also settles, with partners whose codes a reader can tell apart."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from driver import LedgerDriver
from sqlalchemy import text

from coalition.ids import PartnerId
from settlement.night import Night, settle
from settlement.runs import Books, read_books


@dataclass
class NightDriver(LedgerDriver):
    """The ledger's driver, which also settles."""

    directory: Path = field(default=Path("nowhere"))
    codes: dict[PartnerId, str] = field(default_factory=dict)

    def named(self, code: str, **terms: Any) -> PartnerId:
        """A partner of that code, so that the files of two databases can be compared."""
        partner_id = PartnerId(uuid4())
        with self.database.unit_of_work() as session:
            session.execute(
                text("INSERT INTO partners.partner VALUES (:id, :code, :name, 'active', true, true, now())"),
                {"id": partner_id, "code": code, "name": f"Partner {code.upper()}"},
            )
        self.codes[partner_id] = code
        self.agreement(partner_id, **terms)
        return partner_id

    def settle(self, **how: Any) -> Night:
        return settle(self.database, directory=self.directory, **how)

    def books(self, night: Night) -> Books:
        assert night.run is not None
        with self.database.reading() as session:
            return read_books(session, night.run)

    def nets(self, night: Night) -> dict[str, Decimal]:
        """What each party receives (+) or pays (-), by its code."""
        books = self.books(night)
        return {books.code(party): position.net for party, position in books.positions.items()}

    def lines(self, night: Night) -> dict[tuple[str, str, str], Decimal]:
        """The amounts by debtor, creditor and kind; several prices are added up."""
        books = self.books(night)
        found: dict[tuple[str, str, str], Decimal] = {}
        for line in books.lines:
            key = (books.code(line.debtor), books.code(line.creditor), line.kind.value)
            found[key] = found.get(key, Decimal(0)) + line.amount
        return found

    def costs(self, night: Night) -> dict[str, Decimal]:
        return {cost.kind.value: cost.amount for cost in self.books(night).costs}

    def files(self, night: Night) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for one in night.settled for path in one.files}
