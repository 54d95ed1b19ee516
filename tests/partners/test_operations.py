"""An operator's mutation: once under its key, whoever asks how often."""

import threading
from typing import Any

import pytest
from operating import Coalition

from coalition.audit.people import requests_are_forgotten_with_their_key
from coalition.errors import IdempotencyConflict, PartnerCodeTaken
from partners.directory import CreatePartner, create_partner
from partners.operations import once


def admit(coalition: Coalition, code: str = "grocer", **parts: Any) -> tuple[dict[str, Any], bool]:
    with coalition.database.unit_of_work() as session:

        def work() -> dict[str, Any]:
            made = create_partner(session, CreatePartner(code=code, name=code))
            return {"partner": str(made.partner_id)}

        asked = {"caller": "operator", "key": "k", "name": "createPartner", "request": {"code": code}}
        return once(session, work=work, **(asked | parts))


def test_a_retry_gets_the_first_answer(coalition: Coalition) -> None:
    first, replayed = admit(coalition)
    assert not replayed

    assert admit(coalition) == (first, True)
    assert coalition.rows("SELECT count(*) FROM partners.partner WHERE code = 'grocer'") == [(1,)]


def test_another_wish_under_the_same_key_is_a_conflict(coalition: Coalition) -> None:
    admit(coalition)

    with coalition.refused("IDEMPOTENCY_CONFLICT"):
        admit(coalition, "fuel")


def test_the_audit_has_nothing_against_one_that_told_of_nobody(coalition: Coalition) -> None:
    admit(coalition)
    assert coalition.rows("SELECT generation FROM people.index_key") == []
    with coalition.database.reading() as session:
        assert list(requests_are_forgotten_with_their_key(session)) == []


def test_a_key_is_its_callers_own(coalition: Coalition) -> None:
    first, _ = admit(coalition)

    second, replayed = admit(coalition, "fuel", caller="another")

    assert (second != first, replayed) == (True, False)


def test_what_was_refused_can_be_tried_again(coalition: Coalition) -> None:
    coalition.partner("grocer")
    with pytest.raises(PartnerCodeTaken):
        admit(coalition)

    # Nothing was stored with the refusal, so the key is still free.
    assert admit(coalition, "fuel")[1] is False


def test_a_key_that_cannot_be_stored_is_refused(coalition: Coalition) -> None:
    for key in ("", "x" * 256, "a\x00b", "a\nb"):
        with coalition.refused("INVALID_INPUT"):
            admit(coalition, key=key)


def test_two_at_once_have_one_effect(coalition: Coalition) -> None:
    starting = threading.Barrier(8)
    answers: list[tuple[dict[str, Any], bool]] = []
    faults: list[BaseException] = []

    def ask() -> None:
        starting.wait()
        try:
            answers.append(admit(coalition))
        except IdempotencyConflict as fault:
            faults.append(fault)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not faults
    assert len({answer["partner"] for answer, _ in answers}) == 1
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 7


def test_of_what_is_forgotten_the_key_answers_for_the_same_kind_of_wish_alone(coalition: Coalition) -> None:
    first, _ = admit(coalition, forget=True, blinded_by=1)

    assert admit(coalition, "fuel", forget=True, blinded_by=1) == (first, True)
    with coalition.refused("IDEMPOTENCY_CONFLICT"):
        admit(coalition, "fuel", name="publishAgreement")
