"""The database as it stands: who may do what, and the rules that keep the schema fit for shards.

The rules are read from the catalogue, so a migration that breaks one is noticed whatever it says.
"""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from coalition.db import Database
from coalition.ledger.kernel import FUNCTIONS_FOR_THE_APPLICATION

LISTING = Path(__file__).with_name("catalogue.txt")

# Tables of a member; receipts and identifiers are unique over members and keyed by themselves.
MEMBER_TABLES = {
    "member",
    "member_head",
    "lot",
    "transaction",
    "entry",
    "hold",
    "deficit",
    "idempotency",
    "confirmation",
    "adjustment",
    "review",
    "identifier_change",
    "member_block",
    "operator_act",
}
OWN_KEY = {"receipt", "identifier", "pool", "pool_member"}
COORDINATOR = {"programme", "settlement_window", "window_total", "window_node"}


def _all(engine: Engine, statement: str) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_every_table_of_the_ledger_is_known_to_these_rules(owner_engine: Engine) -> None:
    tables = _all(
        owner_engine,
        "SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition",
    )
    assert {name for (name,) in tables} == MEMBER_TABLES | OWN_KEY | COORDINATOR


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger.{table} SELECT * FROM ledger.{table}",
        "UPDATE ledger.{table} SET {column} = {column}",
        "DELETE FROM ledger.{table}",
        "TRUNCATE ledger.{table}",
        "DROP TABLE ledger.{table}",
        "ALTER TABLE ledger.{table} ADD COLUMN mine int",
        "CREATE TRIGGER mine BEFORE INSERT ON ledger.{table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ],
)
def test_the_applications_role_may_not_write_any_ledger_table(
    database: Database, owner_engine: Engine, statement: str
) -> None:
    for table in sorted(MEMBER_TABLES | OWN_KEY | COORDINATOR):
        [(column,)] = _all(
            owner_engine,
            f"SELECT attname FROM pg_attribute WHERE attrelid = 'ledger.{table}'::regclass AND attnum = 1",
        )
        attempt = text(statement.format(table=table, column=column))
        with (
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
            database.unit_of_work() as session,
        ):
            session.execute(attempt)


def test_the_application_executes_the_kernels_doors_and_nothing_behind_them(owner_engine: Engine) -> None:
    granted = _all(
        owner_engine,
        "SELECT proname FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace"
        " AND has_function_privilege('coalition_app', oid, 'EXECUTE')",
    )
    assert {name for (name,) in granted} == set(FUNCTIONS_FOR_THE_APPLICATION)


def test_doors_run_as_the_owner_with_a_search_path_of_their_own(owner_engine: Engine) -> None:
    doors = _all(
        owner_engine,
        "SELECT proname, prosecdef, proconfig FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace"
        " AND has_function_privilege('coalition_app', oid, 'EXECUTE')",
    )
    assert all(definer and settings[0] == "search_path=ledger, pg_temp" for _, definer, settings in doors), (
        doors
    )
    # A batch plans for tables that grow under it.
    assert [(name, *settings[1:]) for name, _, settings in doors if settings[1:]] == [
        ("post_batch", "enable_seqscan=off")
    ]


def test_the_owner_is_no_superuser_and_may_not_make_roles(owner_engine: Engine) -> None:
    assert _all(
        owner_engine, "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ) == [(False, False)]


# -- rules for shards ------------------------------------------------------------------------------


def test_keys_of_member_tables_begin_with_the_member(owner_engine: Engine) -> None:
    """Rule 1: primary keys, unique keys and foreign keys; every one of them, or the table can't be distributed."""
    firsts = _all(
        owner_engine,
        """
        SELECT c.relname, i.indexrelid::regclass::text, a.attname
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE c.relnamespace = 'ledger'::regnamespace AND i.indisunique AND NOT c.relispartition
        """,
    )
    wrong = [row for row in firsts if row[0] in MEMBER_TABLES and row[2] != "member_id"]
    assert not wrong


def test_member_ids_are_uuids_and_nothing_counts_by_an_identity(owner_engine: Engine) -> None:
    columns = _all(
        owner_engine,
        """
        SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.attidentity, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
        """,
    )
    for table, column, kind, identity, default in columns:
        assert identity == "", (table, column)
        assert "nextval" not in (default or ""), (table, column)
        if column == "member_id":
            assert kind == "uuid", table


def test_foreign_keys_run_only_between_member_tables_or_off_the_coordinator(owner_engine: Engine) -> None:
    """Rule 2, and ours: none leads from the posting path to a row that members share."""
    keys = _all(
        owner_engine,
        """
        SELECT k.conrelid::regclass::text, k.confrelid::regclass::text,
               (SELECT attname FROM pg_attribute WHERE attrelid = k.conrelid AND attnum = k.conkey[1])
        FROM pg_constraint k WHERE k.contype = 'f' AND k.connamespace = 'ledger'::regnamespace AND k.conparentid = 0
        """,
    )
    for source, target, column in keys:
        if source.removeprefix("ledger.") in COORDINATOR:
            assert target == "ledger.settlement_window"
        else:
            assert (target, column) == ("ledger.member", "member_id"), (source, target)


def test_reference_tables_refer_to_no_distributed_table(owner_engine: Engine) -> None:
    targets = _all(
        owner_engine,
        "SELECT confrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'f' AND connamespace = 'partners'::regnamespace",
    )
    assert all(target.startswith("partners.") for (target,) in targets)


def test_there_are_no_triggers(owner_engine: Engine) -> None:
    """Rule 3."""
    found = _all(
        owner_engine,
        "SELECT t.tgrelid::regclass::text, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE NOT t.tgisinternal AND c.relnamespace IN ('ledger'::regnamespace, 'partners'::regnamespace)",
    )
    assert found == []


def test_the_members_part_of_a_posting_takes_the_member_first(owner_engine: Engine) -> None:
    """Rule 4: a hot write is one function whose first argument is member_id."""
    names = _all(
        owner_engine,
        "SELECT proname, proargnames[1] FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace"
        " AND proname IN ('issue', 'redeem', 'reverse', 'authorize', 'close_hold', 'post_issue', 'post_redeem',"
        " 'post_reverse', 'post_authorize', 'post_capture', 'post_void', 'take_voucher', 'post_voucher',"
        " 'post_redeem_voucher')",
    )
    assert len(names) == 14
    assert {first for _, first in names} == {"p_member"}


def test_the_members_part_touches_only_the_members_tables_and_reference_tables(owner_engine: Engine) -> None:
    """Rules 5 and 9: the window's lock and the receipt's claim stay in the outer function."""
    bodies = _all(
        owner_engine,
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND proname IN"
        " ('issue', 'redeem', 'reverse', 'authorize', 'close_hold', 'end_hold', 'bring_up_to_date', 'pay_deficits',"
        " 'draw', 'move_lots', 'take_back', 'give_back', 'recall', 'claim_deficit', 'append_transaction', 'chained',"
        " 'public_text', 'private_text', 'conclude', 'replay', 'store_head', 'check_consent', 'check_age',"
        " 'check_partner', 'check_limits', 'concerns', 'uses', 'again_at', 'check_review',"
        " 'take_voucher', 'own_word', 'check_vouchers', 'check_identifier', 'last_change')",
    )
    assert len(bodies) == 34
    for name, body in bodies:
        for word in ("advisory", "settlement_window", "FROM receipt", "INTO receipt", "SKIP LOCKED"):
            assert word not in body, (name, word)


def test_idempotency_lives_beside_the_member_and_the_receipt_by_itself(owner_engine: Engine) -> None:
    """Rule 6."""
    keys = dict(
        _all(
            owner_engine,
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'p' AND conrelid IN ('ledger.idempotency'::regclass, 'ledger.receipt'::regclass)",
        )
    )
    assert keys == {
        "ledger.idempotency": "PRIMARY KEY (member_id, partner_id, key)",
        "ledger.receipt": "PRIMARY KEY (partner_id, kind, store, terminal, number, line, revision)",
    }


def test_the_journal_is_partitioned_by_business_date_with_a_default(owner_engine: Engine) -> None:
    """Rule 7."""
    journals = dict(
        _all(
            owner_engine,
            "SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid) || ' ' || (partdefid <> 0)"
            " FROM pg_partitioned_table",
        )
    )
    assert journals == {
        "ledger.transaction": "RANGE (business_date) true",
        "ledger.entry": "RANGE (business_date) true",
    }


def test_constraints_have_names_of_their_own(owner_engine: Engine) -> None:
    """Rule 8: what a migration may change, it can name; no column adds itself with a volatile default."""
    volatile = _all(
        owner_engine,
        "SELECT c.relname FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid"
        " WHERE c.relnamespace = 'ledger'::regnamespace AND NOT c.relispartition"
        " AND pg_get_expr(d.adbin, d.adrelid) ~ 'random|uuid'",
    )
    assert volatile == []


def test_the_kernel_uses_nothing_that_a_distributed_database_refuses(owner_engine: Engine) -> None:
    """Rule 8, second half."""
    bodies = _all(
        owner_engine, "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace"
    )
    for name, body in bodies:
        for word in ("ROLLUP", "CUBE", "MERGE INTO", "WITH RECURSIVE"):
            assert word not in body, (name, word)


def test_every_posting_row_carries_its_window(owner_engine: Engine) -> None:
    """Rule 9: closed windows are settled by the stamp on the row, never by a time."""
    stamped = _all(
        owner_engine,
        "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " WHERE c.relnamespace = 'ledger'::regnamespace AND a.attname = 'business_date' AND a.attnotnull"
        " AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
    )
    assert {"transaction", "entry", "lot", "deficit", "idempotency", "receipt"} <= {
        name for (name,) in stamped
    }


# -- the committed listing ------------------------------------------------------------------------


LISTED = """
    SELECT 'function ' || p.oid::regprocedure || ' → ' || pg_get_function_result(p.oid)
           || CASE WHEN p.prosecdef THEN ' definer' ELSE '' END
           || CASE WHEN has_function_privilege('coalition_app', p.oid, 'EXECUTE') THEN ' app' ELSE '' END
           || ' ' || left(encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex'), 16) AS line
    FROM pg_proc p WHERE p.pronamespace IN ('ledger'::regnamespace)
    UNION ALL
    SELECT 'grant ' || c.oid::regclass || ': ' || string_agg(g.privilege_type, ' ' ORDER BY g.privilege_type)
    FROM pg_class c, aclexplode(c.relacl) g
    WHERE c.relnamespace IN ('ledger'::regnamespace, 'partners'::regnamespace, 'settlement'::regnamespace,
        'people'::regnamespace)
      AND NOT c.relispartition AND g.grantee = 'coalition_app'::regrole
    GROUP BY c.oid
    UNION ALL
    SELECT 'grant ' || c.oid::regclass || '.' || a.attname || ': '
           || string_agg(g.privilege_type, ' ' ORDER BY g.privilege_type)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) g
    WHERE c.relnamespace IN ('ledger'::regnamespace, 'partners'::regnamespace, 'settlement'::regnamespace,
        'people'::regnamespace)
      AND NOT c.relispartition AND g.grantee = 'coalition_app'::regrole
    GROUP BY c.oid, a.attname
    UNION ALL
    SELECT 'constraint ' || k.conrelid::regclass || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE c.relnamespace IN ('ledger'::regnamespace, 'partners'::regnamespace, 'settlement'::regnamespace,
        'people'::regnamespace)
      AND NOT c.relispartition AND k.contype <> 'n'
"""


def test_functions_grants_and_constraints_are_those_of_the_committed_listing(owner_engine: Engine) -> None:
    """Alembic compares tables only. What it does not see is compared here, line by line.

    After a change that is meant: delete the file, run this test, read the difference, commit it.
    """
    found = sorted(line for (line,) in _all(owner_engine, LISTED))
    if not LISTING.exists():
        LISTING.write_text("\n".join(found) + "\n", encoding="utf-8")
        pytest.fail(f"{LISTING.name} was missing and has been written; read it and run again")
    assert found == LISTING.read_text(encoding="utf-8").splitlines()
