"""Partners: admitted, moved from state to state, listed."""

from uuid import uuid4

import pytest
from operating import Coalition

from coalition.errors import PartnerUnknown
from coalition.ids import NETWORK, PartnerId
from partners.directory import (
    NEXT_STATES,
    PartnerState,
    find_partner,
    get_partner,
    get_partner_by_code,
    get_partners,
    list_partners,
    set_partner_state,
)


def test_a_partner_is_found_by_id_and_by_code(coalition: Coalition) -> None:
    made = coalition.partner("grocer")

    with coalition.database.reading() as session:
        assert get_partner(session, made.partner_id) == made
        assert get_partner_by_code(session, "grocer") == made
        assert find_partner(session, "fuel") is None
        assert get_partners(session, [made.partner_id, NETWORK]) == {made.partner_id: made}
        with pytest.raises(PartnerUnknown):
            get_partner(session, PartnerId(NETWORK))
        with pytest.raises(PartnerUnknown):
            get_partner_by_code(session, "network")


def test_a_code_belongs_to_one_partner(coalition: Coalition) -> None:
    coalition.partner("grocer")

    for code in ("grocer", "network"):
        with coalition.refused("PARTNER_CODE_TAKEN"):
            coalition.partner(code)


def test_a_malformed_partner_is_refused(coalition: Coalition) -> None:
    for code in ("", "Grocer", "-grocer", "gro cer", "x" * 64, "grocer\n", "größer"):
        with coalition.refused("INVALID_INPUT"):
            coalition.partner(code)
    with coalition.refused("INVALID_INPUT"):
        coalition.partner("grocer", may_issue=False, may_redeem=False)
    with coalition.refused("INVALID_INPUT"):
        coalition.partner("grocer", state=PartnerState.LEFT)


def test_states_follow_the_table_and_no_other_way(coalition: Coalition) -> None:
    partner = coalition.partner("grocer", state=PartnerState.ONBOARDING)
    way = [PartnerState.ACTIVE, PartnerState.SUSPENDED, PartnerState.ACTIVE, PartnerState.LEAVING]
    state = PartnerState.ONBOARDING
    for following in [*way, PartnerState.LEFT]:
        for wrong in set(PartnerState) - NEXT_STATES[state] - {state}:
            with (
                coalition.refused("PARTNER_NOT_ACTIVE") as told,
                coalition.database.unit_of_work() as session,
            ):
                set_partner_state(session, partner_id=partner.partner_id, state=wrong)
            assert told[0].facts == {"state": state.value}
        with coalition.database.unit_of_work() as session:
            state = set_partner_state(session, partner_id=partner.partner_id, state=following).state
        assert state is following


def test_the_state_that_it_has_is_no_error(coalition: Coalition) -> None:
    partner = coalition.partner()

    with coalition.database.unit_of_work() as session:
        assert set_partner_state(session, partner_id=partner.partner_id, state=PartnerState.ACTIVE) == partner
    with coalition.refused("PARTNER_UNKNOWN"), coalition.database.unit_of_work() as session:
        set_partner_state(session, partner_id=PartnerId(NETWORK), state=PartnerState.SUSPENDED)
    with coalition.refused("PARTNER_UNKNOWN"), coalition.database.unit_of_work() as session:
        set_partner_state(session, partner_id=PartnerId(uuid4()), state=PartnerState.SUSPENDED)  # type: ignore[arg-type]


def test_pages_follow_one_another_by_code(coalition: Coalition) -> None:
    for code in ("c", "a", "d", "b"):
        coalition.partner(code)

    with coalition.database.reading() as session:

        def codes(**page: object) -> str:
            return "".join(partner.code for partner in list_partners(session, limit=2, **page))  # type: ignore[arg-type]

        assert (codes(), codes(after="b"), codes(after="d")) == ("ab", "cd", "")
        assert (codes(backwards=True), codes(before="c", backwards=True)) == ("cd", "ab")
        assert codes(after="a", before="d") == "bc"
