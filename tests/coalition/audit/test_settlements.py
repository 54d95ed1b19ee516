"""The checks over stored settlements: one run by hand, and each thing that can be wrong with it."""

from __future__ import annotations

import pytest
from audit_books import Damage

from coalition.audit import AUDIT, Check

RUN = "11111111-1111-1111-1111-111111111111"
NETWORK = "00000000-0000-0000-0000-000000000000"
BAKER = "(SELECT partner_id FROM partners.partner WHERE code = 'baker')"
CHECKS = {check.__name__: check for check in AUDIT if check.__module__.endswith("settlements")}

# The baker pays 1.20 for 100 points at 0.012, and receives 0.33 for 35 at 0.0095 (0.3325, half-even).
RUN_BY_HAND = (
    (
        "INSERT INTO settlement.run (run_id, business_date, digest, state, currency, opened_at, closed_at,"
        " transactions, entries, gross, net, margin)"
        f" SELECT '{RUN}', business_date, repeat('a', 64), 'calculated', 'EUR', opened_at, closed_at,"
        " transactions, entries, 1.53, 0, 0 FROM ledger.settlement_window WHERE business_date = '2026-03-02'"
    ),
    (
        "INSERT INTO settlement.position (run_id, party_id, code, name, receives, pays, net)"
        f" VALUES ('{RUN}', {BAKER}, 'baker', 'Baker', 0.33, 1.20, -0.87),"
        f" ('{RUN}', '{NETWORK}', 'network', 'Network', 1.20, 0.33, 0.87)"
    ),
    (
        "INSERT INTO settlement.line (run_id, debtor_id, creditor_id, kind, price, points, amount)"
        f" VALUES ('{RUN}', {BAKER}, '{NETWORK}', 'issue', 0.012, 100, 1.20),"
        f" ('{RUN}', '{NETWORK}', {BAKER}, 'reimbursement', 0.0095, 35, 0.33)"
    ),
    (
        "INSERT INTO settlement.roll_forward"
        " (run_id, issuer_id, opening, issued, redeemed, returned, expired, reversed, closing)"
        f" SELECT '{RUN}', issuer_id, 0, 0, 0, 0, 0, 0, sum(points) FROM ledger.entry"
        f" WHERE bucket IN ('available', 'pending') AND issuer_id = {BAKER} AND business_date = '2026-03-02'"
        " GROUP BY issuer_id"
    ),
)


@pytest.fixture
def settled(damage: Damage) -> Damage:
    damage.do(*RUN_BY_HAND)
    return damage


def seen(check: Check, damage: Damage) -> list[str]:
    return [finding.id for finding in check(damage.session)]


def test_a_run_that_is_right_is_clean(settled: Damage) -> None:
    assert {name: seen(check, settled) for name, check in CHECKS.items()} == {name: [] for name in CHECKS}


DAMAGES = (
    ("positions_sum_to_zero", "UPDATE settlement.position SET receives = receives + 1, net = net + 1", RUN),
    ("positions_sum_to_zero", "DELETE FROM settlement.position", RUN),
    (
        "positions_are_sums_of_lines",
        "UPDATE settlement.line SET amount = 1.21 WHERE kind = 'issue'",
        f"{RUN}/{NETWORK}",
    ),
    ("positions_are_sums_of_lines", "DELETE FROM settlement.line WHERE kind = 'issue'", f"{RUN}/{NETWORK}"),
    ("positions_are_sums_of_lines", f"DELETE FROM settlement.position WHERE party_id = '{NETWORK}'", NETWORK),
    ("runs_agree_with_lines", "UPDATE settlement.run SET gross = gross + 0.01", RUN),
    ("runs_are_of_their_window", "UPDATE settlement.run SET entries = entries + 1", RUN),
    ("runs_are_of_their_window", "UPDATE settlement.run SET business_date = '2026-03-04'", RUN),
    ("lines_are_rounded_once", "UPDATE settlement.line SET amount = 0.34 WHERE kind = 'reimbursement'", RUN),
    ("lines_are_rounded_once", "UPDATE settlement.line SET points = 101 WHERE kind = 'issue'", RUN),
    # 45 x 0.009 = 0.405 lies between 0.40 and 0.41: the even one is meant.
    (
        "lines_are_rounded_once",
        "UPDATE settlement.line SET price = 0.009, points = 45, amount = 0.41 WHERE kind = 'issue'",
        RUN,
    ),
    ("liabilities_roll_forward", "UPDATE settlement.roll_forward SET closing = closing + 1", RUN),
)


@pytest.mark.parametrize(("check", "done", "row"), DAMAGES)
def test_damage_to_a_run_is_seen(settled: Damage, check: str, done: str, row: str) -> None:
    settled.do(done)

    assert any(row in found for found in seen(CHECKS[check], settled))


def test_every_check_of_settlements_has_a_damage_that_it_sees() -> None:
    assert set(CHECKS) == {check for check, _, _ in DAMAGES}
