"""The checks over stored settlements: what real nights left, and each thing that can be wrong with it."""

from __future__ import annotations

import pytest
from audit_books import Books, Damage
from conftest import TestDatabase

from coalition.audit import AUDIT, Check
from settlement.night import settle

NETWORK = "00000000-0000-0000-0000-000000000000"
CHECKS = {check.__name__: check for check in AUDIT if check.__module__.endswith("settlements")}
LINE = "concat_ws('/', run_id, debtor_id, creditor_id, kind, price)"
FIRST_RUN = "(SELECT run_id FROM settlement.run ORDER BY business_date LIMIT 1)"
AN_ISSUE = (
    f"{LINE} = (SELECT min({LINE}) FROM settlement.line"
    f" WHERE kind = 'issue' AND run_id = {FIRST_RUN} AND points > 50)"
)
DAMAGED_LINE = f"SELECT {LINE} FROM settlement.line WHERE {AN_ISSUE}"
DAMAGED_RUN = f"SELECT run_id FROM settlement.run WHERE run_id = {FIRST_RUN}"


@pytest.fixture(scope="module")
def busy(
    busy: tuple[TestDatabase, Books], tmp_path_factory: pytest.TempPathFactory
) -> tuple[TestDatabase, Books]:
    """The busy books, with their two closed windows settled."""
    night = settle(busy[1].database, directory=tmp_path_factory.mktemp("statements"))
    assert [one.run.state for one in night.settled] == ["calculated", "calculated"]
    return busy


def seen(check: Check, damage: Damage) -> list[str]:
    return [finding.id for finding in check(damage.session)]


def test_runs_that_are_right_are_clean(damage: Damage) -> None:
    kinds = damage.ids("SELECT DISTINCT kind FROM settlement.line")
    assert kinds >= {"issue", "issue_reversal", "reimbursement", "reimbursement_reversal", "recovery"}
    assert {name: seen(check, damage) for name, check in CHECKS.items()} == {name: [] for name in CHECKS}


DAMAGES = (
    (
        "positions_sum_to_zero",
        f"UPDATE settlement.position SET receives = receives + 1, net = net + 1 WHERE run_id = {FIRST_RUN}",
        DAMAGED_RUN,
    ),
    ("positions_sum_to_zero", f"DELETE FROM settlement.position WHERE run_id = {FIRST_RUN}", DAMAGED_RUN),
    (
        "positions_are_sums_of_lines",
        f"UPDATE settlement.line SET amount = amount + 0.01 WHERE {AN_ISSUE}",
        f"SELECT concat_ws('/', run_id, debtor_id) FROM settlement.line WHERE {AN_ISSUE}",
    ),
    (
        "positions_are_sums_of_lines",
        f"DELETE FROM settlement.line WHERE {AN_ISSUE}",
        f"SELECT concat_ws('/', run_id, debtor_id) FROM settlement.line WHERE {AN_ISSUE}",
    ),
    (
        "positions_are_sums_of_lines",
        f"DELETE FROM settlement.position WHERE party_id = '{NETWORK}' AND run_id = {FIRST_RUN}",
        (
            f"SELECT concat_ws('/', run_id, party_id) FROM settlement.position"
            f" WHERE party_id = '{NETWORK}' AND run_id = {FIRST_RUN}"
        ),
    ),
    (
        "runs_agree_with_lines",
        f"UPDATE settlement.run SET gross = gross + 0.01 WHERE run_id = {FIRST_RUN}",
        DAMAGED_RUN,
    ),
    (
        "runs_are_of_their_window",
        f"UPDATE settlement.run SET entries = entries + 1 WHERE run_id = {FIRST_RUN}",
        DAMAGED_RUN,
    ),
    (
        "lines_are_rounded_once",
        f"UPDATE settlement.line SET amount = amount + 0.01 WHERE {AN_ISSUE}",
        DAMAGED_LINE,
    ),
    # 45 x 0.009 = 0.405 lies between 0.40 and 0.41: the even one is meant.
    (
        "lines_are_rounded_once",
        f"UPDATE settlement.line SET price = 0.009, points = 45, amount = 0.41 WHERE {AN_ISSUE}",
        f"SELECT concat_ws('/', run_id, debtor_id, creditor_id, kind) FROM settlement.line WHERE {AN_ISSUE}",
    ),
    (
        "lines_are_priced_from_entries",
        f"UPDATE settlement.line SET points = points + 1 WHERE {AN_ISSUE}",
        DAMAGED_LINE,
    ),
    ("lines_are_priced_from_entries", f"DELETE FROM settlement.line WHERE {AN_ISSUE}", DAMAGED_LINE),
    (
        "lines_are_priced_from_entries",
        (
            "UPDATE partners.agreement"
            " SET reimbursement = reimbursement * 2, own_reimbursement = own_reimbursement * 2"
        ),
        (
            "SELECT concat_ws('/', run_id, debtor_id, creditor_id, kind) FROM settlement.line"
            " WHERE kind = 'reimbursement' LIMIT 1"
        ),
    ),
    (
        "liabilities_roll_forward",
        f"UPDATE settlement.roll_forward SET closing = closing + 1 WHERE run_id = {FIRST_RUN}",
        DAMAGED_RUN,
    ),
)


@pytest.mark.parametrize(("check", "done", "row"), DAMAGES)
def test_damage_to_a_run_is_seen(damage: Damage, check: str, done: str, row: str) -> None:
    expected = damage.ids(row)
    assert expected, "there is a row to damage"

    damage.do(done)

    found = seen(CHECKS[check], damage)
    assert any(part in one for part in expected for one in found), f"named {found}, not {expected}"


def test_every_check_of_settlements_has_a_damage_that_it_sees() -> None:
    assert set(CHECKS) == {check for check, _, _ in DAMAGES}
