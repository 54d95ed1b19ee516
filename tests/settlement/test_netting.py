"""Netting and pricing, as functions of values."""

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalition.ids import NETWORK, PartyId
from settlement.liability import matrix, roll_forward
from settlement.netting import Kind, Obligation, net, totals
from settlement.obligations import Cause, Funder, LotTerms, Movement, charge

PARTIES = [PartyId(UUID(int=number)) for number in range(1, 6)]
A, B, C = PARTIES[:3]

prices = st.decimals(0, 1, places=6)


@st.composite
def fundings(draw: st.DrawFn) -> tuple[Funder, ...]:
    """One to four funders, the network perhaps among them, whose parts sum to a million."""
    parties = draw(st.lists(st.sampled_from([NETWORK, *PARTIES]), min_size=1, max_size=4, unique=True))
    cuts = draw(
        st.lists(st.integers(1, 999_999), min_size=len(parties) - 1, max_size=len(parties) - 1, unique=True)
    )
    edges = [0, *sorted(cuts), 1_000_000]
    return tuple(
        Funder(party=party, ppm=high - low)
        for party, low, high in zip(parties, edges, edges[1:], strict=False)
    )


@st.composite
def movements(draw: st.DrawFn) -> Movement:
    cause = draw(st.sampled_from(Cause))
    return Movement(
        cause=cause,
        acting=NETWORK if cause is Cause.EXPIRE else draw(st.sampled_from(PARTIES)),
        issuer=draw(st.sampled_from(PARTIES)),
        terms=LotTerms(
            service_fee=draw(prices),
            funding=draw(prices),
            redemption_charge=draw(prices),
            breakage_share=draw(prices),
        ),
        funders=draw(fundings()),
        reimbursement=draw(prices),
        points=draw(st.integers(1, 10**12)),
    )


@given(st.lists(movements(), max_size=30), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_positions_sum_to_zero_and_netting_never_costs(moves: list[Movement], currency: str) -> None:
    lines = charge(moves, currency=currency).obligations
    positions = net(lines)

    assert sum((position.net for position in positions.values()), Decimal(0)) == 0
    sums = totals(lines, positions)
    assert 0 <= sums.net <= sums.gross


@given(st.lists(movements(), max_size=30))
def test_each_line_is_exact_but_for_one_rounding_and_none_is_zero(moves: list[Movement]) -> None:
    lines = charge(moves, currency="EUR").obligations

    assert len({(line.debtor, line.creditor, line.kind, line.price) for line in lines}) == len(lines)
    for line in lines:
        assert line.amount > 0
        assert line.amount == line.amount.quantize(Decimal("0.01"))
        exact = int(line.points * 10**6) * int(line.price * 10**12)
        assert abs(int(line.amount * 10**18) - exact) <= 5 * 10**15


@given(st.lists(movements(), max_size=20), st.randoms())
def test_the_order_of_movements_does_not_matter(moves: list[Movement], random: object) -> None:
    shuffled = list(moves)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert charge(shuffled, currency="EUR") == charge(moves, currency="EUR")
    assert matrix(shuffled) == matrix(moves)


@given(st.lists(movements(), max_size=20))
def test_what_is_undone_at_once_costs_nothing(moves: list[Movement]) -> None:
    """Redemptions and their reversals of the same points, before netting kept apart, net to zero."""
    there = [Movement(**_fields(move) | {"cause": Cause.REDEEM}) for move in moves]
    back = [Movement(**_fields(move) | {"cause": Cause.REVERSE_REDEMPTION}) for move in moves]
    positions = net(charge([*there, *back], currency="EUR").obligations)
    assert all(position.net == 0 for position in positions.values())


@given(st.lists(movements(), max_size=20))
def test_the_liability_of_all_issuers_is_what_moved(moves: list[Movement]) -> None:
    signs = {
        Cause.ISSUE: 1,
        Cause.REDEEM: -1,
        Cause.RECOVERY: -1,
        Cause.REVERSE_REDEMPTION: 1,
        Cause.EXPIRE: -1,
        Cause.REVERSE_ISSUE: -1,
    }
    rows = roll_forward(moves, opening={A: 7})
    assert sum(row.closing for row in rows) == 7 + sum(signs[move.cause] * move.points for move in moves)


def test_positions_of_a_handful_of_lines() -> None:
    lines = [owed(A, NETWORK, "10.00"), owed(NETWORK, B, "4.00"), owed(NETWORK, A, "1.00")]
    positions = net(lines)
    assert {party: position.net for party, position in positions.items()} == {
        NETWORK: Decimal(5),
        A: Decimal(-9),
        B: Decimal(4),
    }
    assert (totals(lines, positions).gross, totals(lines, positions).saved) == (Decimal(15), Decimal(11))


def test_an_obligation_that_bypasses_the_network_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="bypasses"):
        net([owed(A, B, "1.00")])


@pytest.mark.parametrize(
    ("points", "amount"),
    # Half a cent goes to the even neighbour: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2; a line of zero is not made.
    [(50, None), (51, "0.01"), (150, "0.02"), (250, "0.02"), (251, "0.03")],
)
def test_a_line_is_rounded_half_even_and_once(points: int, amount: str | None) -> None:
    lines = charge([issued(points, "0.0001", A)], currency="EUR").obligations
    assert [line.amount for line in lines] == ([] if amount is None else [Decimal(amount)])


def test_points_of_one_price_are_summed_before_they_are_rounded() -> None:
    """A million half-cents are 5,000.00; rounded one by one they would be nothing."""
    halves = [issued(1, "0.005", A) for _ in range(1_000)]
    [line] = charge(halves, currency="EUR").obligations
    assert (line.points, line.amount) == (Decimal(1_000), Decimal(5))


def test_parts_of_a_point_are_kept_exactly() -> None:
    """Three funders of one point: the parts are not rounded, only the money is."""
    funders = (
        Funder(party=A, ppm=333_333),
        Funder(party=B, ppm=333_333),
        Funder(party=C, ppm=333_334),
    )
    lines = charge([issued(1, "0.5", A, funders=funders)], currency="EUR").obligations
    assert [line.points for line in lines] == [Decimal("0.333333"), Decimal("0.333333"), Decimal("0.333334")]
    assert {line.amount for line in lines} == {Decimal("0.17")}


def test_no_figure_is_too_large_to_be_exact() -> None:
    """Twenty-eight digits, Python's default, would round this in secret."""
    [line] = charge([issued(10**22 + 1, "123456.654321", A)], currency="EUR").obligations
    assert line.amount == Decimal("1234566543210000000000123456.65")


def owed(debtor: PartyId, creditor: PartyId, amount: str) -> Obligation:
    return Obligation(
        debtor=debtor,
        creditor=creditor,
        kind=Kind.ISSUE,
        price=Decimal(1),
        points=Decimal(amount),
        amount=Decimal(amount),
    )


def issued(
    points: int, price: str, issuer: PartyId, *, funders: tuple[Funder, ...] | None = None
) -> Movement:
    return Movement(
        cause=Cause.ISSUE,
        acting=issuer,
        issuer=issuer,
        terms=LotTerms(
            service_fee=Decimal(price),
            funding=Decimal(0),
            redemption_charge=Decimal(0),
            breakage_share=Decimal(0),
        ),
        funders=funders or (Funder(party=issuer, ppm=1_000_000),),
        reimbursement=Decimal(0),
        points=points,
    )


def _fields(move: Movement) -> dict[str, object]:
    return {name: getattr(move, name) for name in Movement.__slots__}
