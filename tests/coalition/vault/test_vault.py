"""Personal data stands in the database as ciphertext alone, and is found by a blind index."""

import logging
from typing import Any

import pytest
from driver import LedgerDriver
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from coalition import members, vault
from coalition.audit import run_audit
from coalition.config import Settings, SettingsError, get_settings
from coalition.db import Database
from coalition.errors import IdentifierTaken
from coalition.ids import MemberId, PartnerId
from coalition.members import EnrolMember, Identifier, IdentifierKind, LinkIdentifier
from coalition.vault import keys
from coalition.vault.keys import SealBroken
from coalition.vault.rotating import rotate, wrapped_by

MAIL = "ada.lovelace@example.org"
PHONE = "+4930901820"
REFERENCE = "Kundin Lovelace 1815"
CARD = "4006381333931"
SECRETS = (MAIL, PHONE, REFERENCE, "lovelace")


def of(kind: IdentifierKind, value: str, partner_id: PartnerId) -> Identifier:
    return Identifier.of(kind, value, partner_id=partner_id)


def ada(ledger: LedgerDriver) -> tuple[MemberId, list[Identifier]]:
    partner = ledger.any_partner()
    known_by = [
        of(IdentifierKind.CARD, CARD, partner),
        of(IdentifierKind.EMAIL, MAIL, partner),
        of(IdentifierKind.PARTNER_REFERENCE, REFERENCE, partner),
    ]
    with ledger.database.unit_of_work() as session:
        member_id = members.enrol_member(session, EnrolMember(partner_id=partner, identifiers=known_by))
        phone = of(IdentifierKind.PHONE, PHONE, partner)
        members.link_identifier(
            session, LinkIdentifier(member_id=member_id, partner_id=partner, identifier=phone)
        )
    return member_id, [*known_by, phone]


def everything_stored(engine: Engine) -> str:
    """Every row of every table, as text; bytes as hexadecimal and as what they spell."""
    with engine.connect() as connection:
        tables = connection.execute(
            text(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind = 'r' AND n.nspname IN ('ledger', 'partners', 'settlement', 'people', 'jobs')"
            )
        ).scalars()
        return "\n".join(
            str(row)
            for table in tables.all()
            for row in connection.execute(text(f"SELECT t.* FROM {table} t"))
        )


def test_a_member_is_found_by_each_identifier_and_reads_it_back(ledger: LedgerDriver) -> None:
    member_id, known_by = ada(ledger)
    with ledger.database.reading() as session:
        for one in known_by:
            assert members.find_member(session, one) == member_id
        assert set(members.identifiers(session, member_id)) == set(known_by)
        assert run_audit(session) == []


def test_no_table_holds_a_phone_an_address_or_a_reference(ledger: LedgerDriver, owner_engine: Engine) -> None:
    ada(ledger)
    stored = everything_stored(owner_engine).lower()
    assert CARD in stored
    assert not [secret for secret in SECRETS if secret.lower() in stored]


def test_the_database_itself_refuses_a_plain_phone_number(
    ledger: LedgerDriver, superuser_engine: Engine
) -> None:
    ada(ledger)
    with pytest.raises(IntegrityError, match="is_blind"), superuser_engine.begin() as connection:
        connection.execute(text(f"UPDATE ledger.identifier SET value = '{PHONE}' WHERE kind = 'phone'"))


def test_an_identifier_of_another_member_is_refused_and_nothing_is_sealed(ledger: LedgerDriver) -> None:
    _, known_by = ada(ledger)
    other = ledger.member()
    before = ledger.rows("SELECT * FROM people.sealed ORDER BY 1, 2")
    for one in known_by:
        with pytest.raises(IdentifierTaken) as refusal, ledger.database.unit_of_work() as session:
            members.link_identifier(
                session, LinkIdentifier(member_id=other, partner_id=ledger.any_partner(), identifier=one)
            )
        assert one.value not in str(refusal.value)
    assert ledger.rows("SELECT * FROM people.sealed ORDER BY 1, 2") == before


def test_linking_again_changes_nothing(ledger: LedgerDriver) -> None:
    member_id, known_by = ada(ledger)
    with ledger.database.unit_of_work() as session:
        for one in known_by:
            members.link_identifier(
                session, LinkIdentifier(member_id=member_id, partner_id=ledger.any_partner(), identifier=one)
            )
    with ledger.database.reading() as session:
        assert len(members.identifiers(session, member_id)) == len(known_by)


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (
            (
                "UPDATE people.sealed s SET ciphertext = o.ciphertext FROM people.sealed o"
                " WHERE s.field LIKE 'identifier:%' AND o.field = 'name'"
            ),
            "sealed_values_open",
        ),
        (
            (
                "WITH gone AS (DELETE FROM people.sealed WHERE field = 'name' RETURNING *)"
                " INSERT INTO people.sealed SELECT (SELECT member_id FROM people.data_key WHERE member_id NOT IN"
                " (SELECT member_id FROM gone)), field, ciphertext FROM gone"
            ),
            "sealed_values_open",
        ),
        (
            "UPDATE people.data_key k SET wrapped = o.wrapped FROM people.data_key o WHERE o.member_id <> k.member_id",
            "sealed_values_open",
        ),
        ("UPDATE people.data_key SET kek = '0000000000000000'", "sealed_values_open"),
        ("UPDATE people.sealed SET ciphertext = ciphertext || '\\x00'", "sealed_values_open"),
        (
            "UPDATE people.index_key SET wrapped = (SELECT wrapped FROM people.data_key LIMIT 1)",
            "sealed_values_open",
        ),
        ("DELETE FROM people.sealed WHERE field LIKE 'identifier:%'", "identifiers_can_be_read"),
        ("DELETE FROM ledger.identifier WHERE kind = 'phone'", "identifiers_can_be_read"),
        ("UPDATE ledger.identifier SET value = repeat('0', 64) WHERE kind = 'email'", "sealed_values_open"),
        ("UPDATE ledger.identifier SET identifier_id = gen_random_uuid()", "identifiers_can_be_read"),
        ("UPDATE ledger.identifier SET indexed_by = 2 WHERE kind = 'phone'", "sealed_values_open"),
        ("UPDATE people.index_key SET generation = 2", "sealed_values_open"),
        ("DELETE FROM people.index_key", "sealed_values_open"),
        (
            "INSERT INTO people.data_key SELECT gen_random_uuid(), kek, wrapped, made_at FROM people.data_key LIMIT 1",
            "sealed_values_are_members",
        ),
        (
            "UPDATE people.data_key SET kek = NULL, wrapped = NULL, erased_at = made_at",
            "sealed_values_are_members",
        ),
    ],
)
def test_the_audit_sees_what_was_moved_changed_or_lost(
    ledger: LedgerDriver, superuser_engine: Engine, damage: str, check: str
) -> None:
    member_id, _ = ada(ledger)
    with ledger.database.unit_of_work() as session:
        vault.put(session, member_id, {"name": "Ada"})
        vault.put(session, ledger.member(), {"locale": "en"})
    with superuser_engine.begin() as connection:
        connection.execute(text(damage))
    with ledger.database.reading() as session:
        found = run_audit(session)
    assert check in {one.check for one in found}
    assert not [one for one in found if any(secret in one.message + one.id for secret in SECRETS)]


def test_a_value_swapped_with_its_index_is_seen(ledger: LedgerDriver) -> None:
    """Both rows agree with each other, and what is sealed says something else."""
    member_id, _ = ada(ledger)
    with ledger.database.unit_of_work() as session:
        [field] = session.scalars(
            text("SELECT 'identifier:' || identifier_id FROM ledger.identifier WHERE kind = 'phone'")
        )
        vault.put(session, member_id, {field: "+4930901821"})
    with ledger.database.reading() as session:
        assert [one.check for one in run_audit(session)] == ["sealed_values_open"]


def test_what_was_tampered_with_is_not_read(ledger: LedgerDriver, superuser_engine: Engine) -> None:
    member_id, _ = ada(ledger)
    with superuser_engine.begin() as connection:
        connection.execute(text("UPDATE people.sealed SET ciphertext = ciphertext || '\\x00'"))
    with pytest.raises(SealBroken), ledger.database.reading() as session:
        members.identifiers(session, member_id)


def test_a_value_that_was_moved_to_another_field_or_member_is_not_read(
    ledger: LedgerDriver, superuser_engine: Engine
) -> None:
    """Under the very key that it was sealed under, too."""
    member_id, other = ledger.member(), ledger.member()
    with ledger.database.unit_of_work() as session:
        vault.put(session, member_id, {"name": "Ada"})
        vault.put(session, other, {"name": "Eve"})
    for damage in (
        "UPDATE people.sealed SET field = 'address' WHERE member_id = :one",
        (
            "UPDATE people.sealed s SET ciphertext = o.ciphertext FROM people.sealed o"
            " WHERE s.member_id = :one AND o.member_id = :other"
        ),
        (
            "UPDATE people.data_key k SET wrapped = o.wrapped FROM people.data_key o"
            " WHERE k.member_id = :one AND o.member_id = :other"
        ),
    ):
        with superuser_engine.connect() as connection:
            connection.execute(text(damage), {"one": member_id, "other": other})
            with pytest.raises(SealBroken):
                vault.read(Session(bind=connection), member_id)
            connection.rollback()


# -- keys -----------------------------------------------------------------------------------------


def settings_with(monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
    for name in ("VAULT_KEYS", "VAULT_KEYS_FILE", "DATA_DIR"):
        monkeypatch.delenv(f"COALITION_{name}", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(f"COALITION_{name.upper()}", str(value))
    get_settings.cache_clear()


def test_a_sandbox_makes_a_key_for_its_owners_eyes_and_finds_it_again(
    ledger: LedgerDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    settings_with(monkeypatch, data_dir=tmp_path / "new")
    member_id, known_by = ada(ledger)
    [made] = (tmp_path / "new").iterdir()
    assert made.stat().st_mode & 0o777 == 0o600
    keys._of_file.cache_clear()
    with ledger.database.reading() as session:
        assert members.find_member(session, known_by[1]) == member_id


def test_production_without_a_key_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    settings_with(monkeypatch, data_dir=tmp_path)
    LedgerDriver(database).open(mode="production")
    with pytest.raises(SettingsError, match="COALITION_VAULT_KEYS"), database.reading() as session:
        keys.check(session)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "abc", "c2hvcnQ=", "ä"])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        keys.configured(Settings(vault_keys=text))  # type: ignore[arg-type]
    assert not text or text not in str(refusal.value)


def test_a_database_whose_key_is_not_in_the_settings_is_not_served(
    ledger: LedgerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    member_id, known_by = ada(ledger)
    settings_with(monkeypatch, vault_keys=keys.new_secret())
    with ledger.database.reading() as session:
        with pytest.raises(SettingsError, match="must hold the key"):
            keys.check(session)
        with pytest.raises(SettingsError, match="must hold the key"):
            members.find_member(session, known_by[1])
        assert members.find_member(session, known_by[0]) == member_id
        assert {one.check for one in run_audit(session)} == {"sealed_values_open"}


def test_a_key_is_replaced_while_everything_stays_readable(
    ledger: LedgerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    member_id, known_by = ada(ledger)
    old, new = get_settings().vault_keys.get_secret_value(), keys.new_secret()  # type: ignore[union-attr]
    settings_with(monkeypatch, vault_keys=f"{new} {old}")
    sealed = ledger.rows("SELECT * FROM people.sealed ORDER BY 1, 2")
    indexed = ledger.rows("SELECT * FROM ledger.identifier ORDER BY 1, 2, 3")

    assert rotate(ledger.database) == 2
    assert rotate(ledger.database) == 0

    settings_with(monkeypatch, vault_keys=new)
    with ledger.database.reading() as session:
        assert list(wrapped_by(session).values()) == [2]
        assert [members.find_member(session, one) for one in known_by] == [member_id] * 4
        assert set(members.identifiers(session, member_id)) == set(known_by)
        assert run_audit(session) == []
    assert ledger.rows("SELECT * FROM people.sealed ORDER BY 1, 2") == sealed
    assert ledger.rows("SELECT * FROM ledger.identifier ORDER BY 1, 2, 3") == indexed


def test_a_rotation_that_was_killed_goes_on_where_it_was(
    ledger: LedgerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = [ledger.member() for _ in range(7)]
    with ledger.database.unit_of_work() as session:
        for one in everybody:
            vault.put(session, one, {"name": str(one)})
    old, new = get_settings().vault_keys.get_secret_value(), keys.new_secret()  # type: ignore[union-attr]
    settings_with(monkeypatch, vault_keys=f"{new},{old}")
    monkeypatch.setattr("coalition.vault.rotating._BATCH", 2)

    done: list[int] = []

    def killed(count: int) -> None:
        done.append(count)
        if sum(done) >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(ledger.database, advance=killed)
    with ledger.database.reading() as session:
        assert sorted(wrapped_by(session).values()) == [3, 4]
        assert [vault.read(session, one) for one in everybody] == [{"name": str(one)} for one in everybody]
    assert rotate(ledger.database) == 3


@pytest.mark.fresh_database
def test_neither_an_error_nor_the_log_tells_a_value(
    ledger: LedgerDriver, caplog: pytest.LogCaptureFixture, superuser_engine: Engine
) -> None:
    """A statement that fails is logged with its traceback; what it was given is not."""
    caplog.set_level(logging.DEBUG)
    ada(ledger)
    with superuser_engine.begin() as connection:
        connection.execute(text("ALTER TABLE people.sealed ADD CONSTRAINT broken CHECK (false) NOT VALID"))
        connection.execute(
            text("ALTER TABLE ledger.identifier ADD CONSTRAINT broken CHECK (false) NOT VALID")
        )
    told = []
    partner = ledger.any_partner()
    for kind, value in [(IdentifierKind.EMAIL, "x" + MAIL), (IdentifierKind.PHONE, PHONE + "1")]:
        try:
            with ledger.database.unit_of_work() as session:
                one = of(kind, value, partner)
                members.enrol_member(session, EnrolMember(partner_id=partner, identifiers=[one]))
        except Exception as error:
            logging.getLogger("coalition").exception("failed")
            told.append(repr(error) + str(error) + repr(one))
    assert len(told) == 2
    told.append(caplog.text)
    assert not [secret for secret in SECRETS if any(secret in one for one in told)]
