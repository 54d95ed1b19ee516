"""What is changed in a function, and that nothing else is."""

import re

from mutation.mutants import kernel_mutants, mutants_of
from mutation.report import reasons
from mutation.state import CHECKOUT

SCRIPT = """\
-- CREATE FUNCTION ledger.not_this() is a comment; so is a < b.
CREATE FUNCTION ledger.spend(p_points bigint DEFAULT 1) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    rest bigint := coalesce(p_points, 0);
BEGIN
    SELECT * INTO rest FROM lot ORDER BY sequence, ordinal DESC FOR UPDATE;
    IF NOT FOUND THEN PERFORM ledger.refuse('A < B'); END IF;
    RETURN CASE WHEN rest > 7 THEN least(rest, 2) ELSE true END;
END $$;
"""


def test_each_place_is_changed_by_each_operator_that_fits() -> None:
    changes = [(mutant.line, mutant.operator, mutant.change) for mutant in mutants_of("spend.sql", SCRIPT)]
    assert sorted(changes) == sorted(
        [
            (5, "default", "coalesce(p_points, 0) → coalesce(p_points, NULL)"),
            (5, "constant", "0 → 1"),
            (
                7,
                "removal",
                "SELECT * INTO rest FROM lot ORDER BY sequence, ordinal DESC FOR UPDATE; → NULL;",
            ),
            (7, "order", "sequence, → (nothing)"),
            (7, "order", " → DESC"),
            (7, "order", ", ordinal DESC → (nothing)"),
            (7, "order", "DESC → (nothing)"),
            (7, "lock", "FOR UPDATE → (nothing)"),
            (8, "negation", "NOT → (nothing)"),
            (8, "removal", "PERFORM ledger.refuse('A < B'); → NULL;"),
            (
                9,
                "removal",
                "RETURN CASE WHEN rest > 7 THEN least(rest, 2) ELSE true END; → NULL;",
            ),
            (9, "comparison", "> → >="),
            (9, "constant", "7 → 8"),
            (9, "extreme", "least → greatest"),
            (9, "constant", "2 → 3"),
            (9, "boolean", "true → false"),
        ]
    )


def test_a_mutant_differs_in_its_change_alone() -> None:
    for mutant in mutants_of("spend.sql", SCRIPT):
        assert mutant.original.startswith(
            "CREATE OR REPLACE FUNCTION ledger.spend(p_points bigint DEFAULT 1)"
        )
        assert mutant.sql != mutant.original
        assert len(mutant.sql) - len(mutant.original) == len(mutant.after) - len(mutant.before)


def test_a_mutants_id_outlives_changes_elsewhere() -> None:
    moved = f"-- One line more.\n{SCRIPT}".replace("ordinal DESC", "ordinal")
    before = {mutant.id for mutant in mutants_of("spend.sql", SCRIPT) if mutant.line != 7}
    assert before <= {mutant.id for mutant in mutants_of("spend.sql", moved)}


def test_the_kernels_mutants_are_told_apart() -> None:
    mutants = kernel_mutants()
    assert len({mutant.id for mutant in mutants}) == len(mutants) > 2500


def test_the_page_of_survivors_has_the_reasons_that_are_written_and_no_others() -> None:
    page = (CHECKOUT / "docs" / "mutation.md").read_text(encoding="utf-8")
    explained = reasons().keys()
    assert set(re.findall(r"^- `(\w+)` ", page, re.MULTILINE)) == explained
    assert explained - {mutant.id for mutant in kernel_mutants()} == set()
