"""A till's file: each line has one effect, however often and in whatever state it comes."""

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result
from conftest import TestDatabase
from operating import START, Coalition

from coalition.audit import run_audit
from coalition.cli import cli
from coalition.config import get_settings
from coalition.errors import DatabaseUnavailable
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import MemberId, PartnerId, PartyId
from coalition.members import EnrolMember, enrol_member
from coalition.merging import MergeMembers, merge_members, unmerge_members
from coalition.receipts import Receipt
from partners import importing
from partners.directory import Partner
from partners.import_stages import post_stage
from partners.importing import CHUNK, Counts, _chunks, post_lines
from partners.till_files import Format, LineKind, Reject, TillLine, read_lines

HEADER = "store,terminal,receipt,line,kind,member,time,amount,points"
BERLIN = ZoneInfo("Europe/Berlin")
NOWHERE = PartnerId(PartyId(UUID(int=7)))


@pytest.fixture
def grocer(coalition: Coalition) -> Partner:
    return coalition.trading("grocer")


def enrolled(coalition: Coalition, partner: Partner, card: str) -> MemberId:
    identifier = Identifier.of(IdentifierKind.CARD, card, partner_id=partner.partner_id)
    with coalition.database.unit_of_work() as session:
        return enrol_member(session, EnrolMember(partner_id=partner.partner_id, identifiers=[identifier]))


@pytest.fixture
def cards(coalition: Coalition, grocer: Partner) -> list[str]:
    made = [f"10{number:04d}" for number in range(5)]
    for card in made:
        enrolled(coalition, grocer, card)
    return made


@pytest.fixture(autouse=True)
def _environment(test_database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in test_database.environment.items():
        monkeypatch.setenv(name, value)


def imported(path: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["import", str(path), "--partner", "grocer", "--json", *more])


def written(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def line(number: int, card: str, *, kind: str = "issue", amount: str = "", points: str = "10") -> str:
    return f"s1,t1,{number},1,{kind},{card},2026-03-02T11:00:00Z,{amount},{points}"


def rejects(path: Path) -> list[dict[str, str]]:
    with path.with_name(f"{path.name}.rejects.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_is_posted_and_again_changes_nothing(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    file = written(
        tmp_path / "till.csv",
        *(line(number, card, amount="12.50", points="") for number, card in enumerate(cards)),
        line(100, cards[0], points="40"),
        line(101, cards[0], kind="redeem", points="30"),
        line(100, cards[0], kind="reverse_issue", points=""),
    )

    first = imported(file)
    told = json.loads(first.stdout)
    after = coalition.snapshot()

    assert first.exit_code == 0, first.output
    assert told["posted"] == {"issue": 6, "redeem": 1, "reverse_issue": 1}
    assert told["points"] == {"issue": 5 * 12 + 40, "redeem": 30, "reverse_issue": 22}
    assert (told["lines"], told["replayed"], told["rejected"]) == (8, 0, 0)
    assert not file.with_name("till.csv.rejects.csv").exists()

    second = imported(file)

    assert second.exit_code == 0
    assert json.loads(second.stdout)["replayed"] == 8
    assert json.loads(second.stdout)["posted"] == {}
    assert coalition.snapshot() == after
    with coalition.database.reading() as session:
        assert run_audit(session) == []


def test_receipts_of_a_merged_record_are_reversed_while_it_is_merged_and_when_it_is_apart(
    coalition: Coalition, grocer: Partner, tmp_path: Path
) -> None:
    ada, twin = (enrolled(coalition, grocer, card) for card in ("100001", "100002"))

    def posted(name: str, *lines: str) -> tuple[dict[str, int], int, int]:
        told = json.loads(imported(written(tmp_path / name, *lines)).stdout)
        return told["posted"], told["replayed"], told["rejected"]

    def back(number: int) -> str:
        return line(number, "100002", kind="reverse_issue", points="")

    before, meanwhile = (line(number, "100002") for number in (1, 2))
    assert posted("before.csv", before) == ({"issue": 1}, 0, 0)
    with coalition.database.unit_of_work() as session:
        merge_members(session, MergeMembers(survivor=ada, merged=twin, idempotency_key="m", by="op"))
    assert posted("merged.csv", meanwhile, back(1)) == ({"issue": 1, "reverse_issue": 1}, 0, 0)
    assert posted("merged.csv", meanwhile, back(1)) == ({}, 2, 0)
    with coalition.database.unit_of_work() as session:
        unmerge_members(session, MergeMembers(survivor=ada, merged=twin, idempotency_key="u", by="op"))
    assert posted("apart.csv", meanwhile, back(1), back(2)) == ({"reverse_issue": 1}, 2, 0)
    # Nor is a receipt another member's to give back.
    assert posted("other.csv", line(3, "100001"), back(3)) == ({"issue": 1}, 0, 1)
    assert coalition.rows("SELECT sum(available) FROM ledger.member_head") == [(10,)]
    with coalition.database.reading() as session:
        assert run_audit(session) == []


def test_parts_of_a_receipt_line_are_given_back_each_once_in_one_file_or_in_several(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    def back(kind: str, *, amount: str = "", points: str = "", time: str = "11:00:00Z") -> str:
        return f"s1,t1,1,1,{kind},{cards[0]},2026-03-02T{time},{amount},{points}"

    def posted(name: str, *lines: str) -> tuple[dict[str, int], dict[str, int], int, int]:
        told = json.loads(imported(written(tmp_path / name, *lines)).stdout)
        return told["posted"], told["points"], told["replayed"], told["rejected"]

    monday = (
        line(1, cards[0], amount="40", points=""),
        line(1, cards[0], kind="redeem", amount="20", points="10"),
        back("reverse_issue", amount="12.50"),
        back("reverse_issue", points="4"),
        back("reverse_redemption", points="3"),
        back("reverse_redemption", points="3", time="10:59:59Z"),
        # The same as before it, in other words.
        back("reverse_issue", amount="12.5", time="12:00:00+01:00"),
    )

    assert posted("monday.csv", *monday) == (
        {"issue": 1, "redeem": 1, "reverse_issue": 2, "reverse_redemption": 2},
        {"issue": 40, "redeem": 10, "reverse_issue": 17, "reverse_redemption": 6},
        1,
        0,
    )
    after = coalition.snapshot()
    assert posted("monday.csv", *monday) == ({}, {}, 7, 0)
    assert coalition.snapshot() == after
    assert posted(
        "tuesday.csv",
        back("reverse_issue", points="4"),
        back("reverse_issue", points="4", time="10:00:00Z"),
        back("reverse_redemption"),
    ) == ({"reverse_issue": 1, "reverse_redemption": 1}, {"reverse_issue": 4, "reverse_redemption": 4}, 1, 0)
    assert posted(
        "wednesday.csv", back("reverse_issue"), back("reverse_issue"), back("reverse_redemption")
    ) == (
        {"reverse_issue": 1},
        {"reverse_issue": 40 - 21},
        2,
        0,
    )
    assert coalition.rows("SELECT sum(available) FROM ledger.member_head") == [(0,)]
    with coalition.database.reading() as session:
        assert run_audit(session) == []


def test_a_purchase_is_given_back_to_its_last_cent_and_no_money_that_went_back_as_points(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    def posted(name: str, *lines: str) -> dict[str, int]:
        return json.loads(imported(written(tmp_path / name, *lines)).stdout)["posted"]  # type: ignore[no-any-return]

    def back(number: int, kind: str, amount: str) -> str:
        return line(number, cards[0], kind=kind, amount=amount, points="")

    assert posted(
        "till.csv",
        line(1, cards[0], amount="10.50", points=""),
        line(2, cards[0], amount="10.00", points=""),
        line(2, cards[0], kind="redeem", amount="10.00", points="10"),
        line(2, cards[0], kind="reverse_redemption", points="5"),
    ) == {"issue": 2, "redeem": 1, "reverse_redemption": 1}
    assert posted("back.csv", back(1, "reverse_issue", "10.00")) == {"reverse_issue": 1}
    assert posted("rest.csv", back(1, "reverse_issue", "0.50")) == {"reverse_issue": 1}
    with coalition.nothing_moves():
        file = written(
            tmp_path / "more.csv",
            back(1, "reverse_issue", "0.01"),
            *(back(2, "reverse_redemption", amount) for amount in ("9.00", "9.99", "10.00")),
        )
        assert imported(file).exit_code == 1
    assert [row["code"] for row in rejects(file)] == ["ALREADY_REVERSED"] + ["REVERSAL_EXCEEDED"] * 3
    # Of the first purchase's points five were spent, and the partner does not ask for these.
    assert coalition.rows("SELECT sum(available) FROM ledger.member_head") == [(10,)]
    with coalition.database.reading() as session:
        assert run_audit(session) == []


def test_a_part_that_is_no_part_is_rejected_and_nothing_moves(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    imported(written(tmp_path / "till.csv", line(1, cards[0]), line(1, cards[0], kind="redeem", points="5")))
    before = coalition.rows("SELECT * FROM ledger.transaction"), coalition.snapshot()
    file = written(
        tmp_path / "back.csv",
        line(1, cards[0], kind="reverse_issue", amount="5", points="5"),
        line(1, cards[0], kind="reverse_redemption", amount="5", points="5"),
        line(1, cards[0], kind="reverse_issue", points="11"),
        line(1, cards[0], kind="reverse_issue", points="0"),
        line(1, cards[0], kind="reverse_issue", points="-4"),
        line(1, cards[0], kind="reverse_redemption", amount="-5", points=""),
        line(1, cards[0], kind="reverse_redemption", amount="5", points=""),
    )

    ended = imported(file)

    assert ended.exit_code == 1
    assert [(row["line"], row["field"], row["code"]) for row in rejects(file)] == [
        ("2", "points", "INVALID_INPUT"),
        ("3", "points", "INVALID_INPUT"),
        ("4", "points", "REVERSAL_EXCEEDED"),
        ("5", "points", "POINTS_INVALID"),
        ("6", "points", "POINTS_INVALID"),
        ("7", "amount", "INVALID_INPUT"),
        ("8", "amount", "INVALID_INPUT"),
    ]
    assert (coalition.rows("SELECT * FROM ledger.transaction"), coalition.snapshot()) == before


def test_what_is_refused_goes_to_the_rejects_file_and_stops_nothing(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    file = written(
        tmp_path / "till.csv",
        line(1, cards[0]),
        line(2, "999999"),
        line(3, cards[0], points="0"),
        line(4, cards[0], points="1.5"),
        line(5, cards[0], kind="gift"),
        line(6, cards[0], points=""),
        line(7, cards[0], amount="5", points="5"),
        line(8, cards[0], kind="redeem", points="999"),
        line(9, cards[0], kind="redeem", amount="5", points=""),
        line(1, cards[1]),
        line(1, cards[0], points="11"),
        line(77, cards[0], kind="reverse_issue"),
        f"s1,t1,12,1,issue,{cards[0]},yesterday,,10",
        f"s1,t1,13,1,issue,{cards[0]},2031-01-01T00:00:00Z,,10",
        f"s1,t1,,1,issue,{cards[0]},2026-03-02T11:00:00Z,,10",
        f"s1,t1,15,-1,issue,{cards[0]},2026-03-02T11:00:00Z,,10",
        "too,few",
        line(20, cards[2]),
        f"s1,t1,21,2147483648,issue,{cards[0]},2026-03-02T11:00:00Z,,10",
    )

    ended = imported(file)

    assert ended.exit_code == 1
    assert json.loads(ended.stdout)["posted"] == {"issue": 2}
    assert json.loads(ended.stdout)["points"] == {"issue": 20}
    assert [(row["line"], row["field"], row["code"]) for row in rejects(file)] == [
        ("3", "member", "MEMBER_UNKNOWN"),
        ("4", "points", "POINTS_INVALID"),
        ("5", "points", "INVALID_INPUT"),
        ("6", "kind", "INVALID_INPUT"),
        ("7", "points", "INVALID_INPUT"),
        ("8", "points", "INVALID_INPUT"),
        ("9", "points", "INSUFFICIENT_POINTS"),
        ("10", "points", "INVALID_INPUT"),
        ("11", "receipt", "RECEIPT_DUPLICATE"),
        ("12", "receipt", "IDEMPOTENCY_CONFLICT"),
        ("13", "receipt", "TRANSACTION_UNKNOWN"),
        ("14", "time", "INVALID_INPUT"),
        ("15", "time", "OCCURRED_IN_FUTURE"),
        ("16", "receipt", "INVALID_INPUT"),
        ("17", "line", "INVALID_INPUT"),
        ("18", "", "INVALID_INPUT"),
        ("20", "line", "INVALID_INPUT"),
    ]
    for beyond in (14, 16):
        assert rejects(file)[beyond]["reason"] == "receipt.line must be from 0 to 2,147,483,647"
    assert coalition.rows("SELECT count(*), sum(points) FROM ledger.transaction") == [(2, 20)]


def test_what_no_till_means_by_a_time_or_an_amount_costs_its_line_only(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    imported(written(tmp_path / "before.csv", line(1, cards[0], amount="50", points="")))
    times = (
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00+05:00",
        "1899-12-31T23:59:59Z",
        "9999-12-31T23:59:59-05:00",
        "9999-01-01T00:00:00",
    )
    amounts = ("sNaN", "NaN", "Infinity", "-inf", "1_0", "\u0661\u0662", "1e9999999", "1.2.3", "e5")
    bad = [("time", f"{time},,5") for time in times]
    bad += [("amount", f"2026-03-02T11:00:00Z,{amount},") for amount in amounts]
    lines = [f"s1,t1,1,1,{kind},{cards[0]},{rest}" for kind in ("issue", "reverse_issue") for _, rest in bad]
    with coalition.nothing_moves():
        file = written(tmp_path / "bad.csv", *lines)
        assert imported(file).exit_code == 1
    assert [(row["line"], row["field"], row["code"]) for row in rejects(file)] == [
        (str(number), field, "INVALID_INPUT") for number, (field, _) in enumerate(bad + bad, start=2)
    ]
    # What stands around them is posted.
    written(file, line(2, cards[0]), *lines, line(3, cards[0], amount="1.2e1", points=""))
    assert json.loads(imported(file).stdout)["points"] == {"issue": 10 + 12}
    assert len(rejects(file)) == len(lines)


def test_a_rejects_file_does_not_outlive_the_rejects(cards: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "till.csv", line(1, cards[0], points="-3"))
    imported(file)
    assert rejects(file)

    written(file, line(1, cards[0], points="3"))

    assert imported(file).exit_code == 0
    assert not file.with_name("till.csv.rejects.csv").exists()


def test_jsonl_is_read_and_broken_lines_cost_themselves_only(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    good = {"receipt": 1, "kind": "issue", "member": cards[0], "time": "2026-03-02T11:00:00Z", "amount": 3.99}
    file = tmp_path / "till.jsonl"
    file.write_bytes(
        b"\n".join(
            [
                json.dumps(good).encode(),
                b"",
                b"{broken",
                b"[1]",
                b'{"receipt": "2", "kind": "issue", "member": "\xff\xfe"}',
                b'{"receipt": "' + b"x" * 200_000 + b'"}',
                b'{"receipt": {"no": "text"}, "kind": "issue", "member": "1", "time": "x", "points": 1}',
                json.dumps(good | {"receipt": 9, "amount": None, "points": 7}).encode(),
            ]
        )
    )

    ended = imported(file)

    assert json.loads(ended.stdout)["points"] == {"issue": 3 + 7}
    assert [row["line"] for row in rejects(file)] == ["3", "4", "5", "6", "7"]
    assert coalition.rows("SELECT sum(points) FROM ledger.transaction") == [(10,)]


def test_bytes_that_are_no_text_cost_one_line(cards: list[str], tmp_path: Path) -> None:
    file = tmp_path / "till.csv"
    bad = line(1, cards[0]).encode().replace(b"s1", b"s\xff")
    file.write_bytes(
        b"\xef\xbb\xbf" + b"\r\n".join([HEADER.encode(), bad, line(2, cards[0]).encode()]) + b"\r\n"
    )

    ended = imported(file)

    assert json.loads(ended.stdout)["posted"] == {"issue": 1}
    assert [(row["line"], row["field"]) for row in rejects(file)] == [("2", "store")]


def test_a_quote_that_is_not_closed_costs_its_own_line_only(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    opened = line(2, cards[0]).replace("s1,", '"s1,')
    file = tmp_path / "till.csv"
    parts = [
        HEADER,
        line(1, cards[0]),
        opened,
        line(3, cards[0]),
        "",
        line(4, cards[0]).replace("t1", '"t""1"'),
        line(5, cards[0]).replace(",t1", ',t"1'),
        line(6, cards[0]).replace(",t1", ',"t1"x'),
        "s1,t1," + "7" * 70_000,
        line(8, cards[0]) + '"',
        line(9, cards[0]),
        opened,
    ]
    file.write_bytes("\r\n".join(parts).encode())

    ended = imported(file)

    assert ended.exit_code == 1
    assert json.loads(ended.stdout)["posted"] == {"issue": 5}
    assert [(row["line"], row["field"], row["code"]) for row in rejects(file)] == [
        (number, field, "INVALID_INPUT")
        for number, field in (("3", ""), ("8", ""), ("9", ""), ("10", "points"), ("12", ""))
    ]
    assert "closed in its own line" in rejects(file)[0]["reason"]
    assert coalition.rows(
        "SELECT terminal, receipt_number FROM ledger.transaction ORDER BY receipt_number"
    ) == [
        ("t1", "1"),
        ("t1", "3"),
        ('t"1', "4"),
        ('t"1', "5"),
        ("t1", "9"),
    ]


def test_a_header_that_is_no_csv_is_refused_whole(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    with coalition.nothing_moves():
        ended = imported(written(tmp_path / "till.csv", line(1, cards[0]), header='"' + HEADER))
    assert ended.exit_code == 1
    assert "is no CSV" in ended.stderr


def test_a_file_without_its_columns_is_refused_whole(
    coalition: Coalition, grocer: Partner, tmp_path: Path
) -> None:
    before = coalition.snapshot()

    ended = imported(written(tmp_path / "till.csv", "1,2", header="receipt,kind"))

    assert ended.exit_code == 1
    assert "member, time" in ended.stderr
    assert coalition.snapshot() == before
    assert grocer.code == "grocer"


def test_an_unknown_partner_is_refused(coalition: Coalition, tmp_path: Path) -> None:
    before = coalition.snapshot()

    ended = CliRunner().invoke(cli, ["import", str(written(tmp_path / "till.csv")), "--partner", "nobody"])

    assert ended.exit_code == 1
    assert "PARTNER_UNKNOWN" in ended.stderr
    assert coalition.snapshot() == before


def test_members_of_one_chunk_keep_the_order_of_the_file(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    lines = []
    for number in range(30):
        for place, card in enumerate(cards):
            lines.append(line(100 * place + number, card, points="5"))
            lines.append(line(100 * place + number, card, kind="redeem", points="5"))

    ended = imported(written(tmp_path / "till.csv", *lines))

    assert ended.exit_code == 0, ended.output
    assert coalition.rows("SELECT sum(available) FROM ledger.member_head") == [(0,)]


def test_of_two_members_with_one_receipt_the_first_in_the_file_gets_it(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    lines = [line(number, card) for number in range(20) for card in reversed(cards)]

    ended = imported(written(tmp_path / "till.csv", *lines))

    assert ended.exit_code == 1
    holders = coalition.rows(
        "SELECT i.value, count(*) FROM ledger.transaction t JOIN ledger.identifier i USING (member_id) GROUP BY 1"
    )
    assert holders == [(cards[-1], 20)]


def test_reversals_among_other_lines_keep_the_order_of_the_file(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    first, second, third = cards[:3]
    file = written(
        tmp_path / "till.csv",
        line(1, first, points="40"),
        line(2, second, points="40"),
        line(3, first, kind="redeem", points="40"),
        line(3, first, kind="reverse_redemption", points=""),
        line(4, first, kind="redeem", points="25"),
        line(1, first, kind="reverse_issue", points=""),
        line(1, second, kind="reverse_issue", points=""),
        line(2, second, kind="reverse_issue", points=""),
        line(2, third, points="12"),
        line(5, second, points="3"),
        line(5, second, kind="reverse_issue", points=""),
        line(5, second, kind="reverse_issue", points=""),
    )

    ended = imported(file)

    assert [(row["line"], row["code"]) for row in rejects(file)] == [
        ("8", "TRANSACTION_UNKNOWN"),
        ("10", "RECEIPT_DUPLICATE"),
    ]
    told = json.loads(ended.stdout)
    assert told["posted"] == {"issue": 3, "redeem": 2, "reverse_redemption": 1, "reverse_issue": 3}
    assert told["replayed"] == 1
    journal = coalition.rows(
        "SELECT i.value, t.kind, points FROM ledger.transaction t JOIN ledger.identifier i USING (member_id)"
        " ORDER BY 1, sequence"
    )
    assert journal == [
        (first, "issue", 40),
        (first, "redeem", 40),
        (first, "reverse_redemption", 40),
        (first, "redeem", 25),
        (first, "reverse_issue", 15),
        (second, "issue", 40),
        (second, "reverse_issue", 40),
        (second, "issue", 3),
        (second, "reverse_issue", 3),
    ]
    with coalition.database.reading() as session:
        assert run_audit(session) == []


class Endless(io.RawIOBase):
    """A file that is made as it is read, so that it costs no memory itself."""

    def __init__(self, head: bytes, line: bytes, times: int) -> None:
        self._parts = self._made(head, line, times)
        self._rest = b""

    def _made(self, head: bytes, line: bytes, times: int) -> Iterator[bytes]:
        yield head
        for number in range(times):
            yield line % number

    def readable(self) -> bool:
        return True

    def readinto(self, into: object) -> int:
        view = memoryview(cast("bytearray", into))
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = part
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


@pytest.mark.parametrize(
    ("form", "head", "made"),
    [
        (Format.CSV, f"{HEADER}\n".encode(), b"s1,t1,%d,1,issue,100000,2026-03-02T11:00:00Z,,10\n"),
        (
            Format.JSONL,
            b"",
            b'{"receipt":"%d","kind":"issue","member":"100000","time":"2026-03-02T11:00:00Z","points":1}\n',
        ),
        (Format.JSONL, b"", b"{broken %d\n"),
    ],
)
def test_reading_takes_no_more_memory_for_a_longer_file(form: Format, head: bytes, made: bytes) -> None:
    def peak(times: int) -> int:
        file = cast("BinaryIO", io.BufferedReader(Endless(head, made, times)))
        tracemalloc.start()
        count = sum(1 for _ in read_lines(file, written=form, partner_id=NOWHERE, zone=BERLIN))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == times
        return top

    peak(100)
    assert peak(20_000) < peak(1_000) + 50_000


@pytest.mark.parametrize("again", [0, 1, CHUNK])
def test_a_chunk_waits_for_the_one_before_if_it_asks_anything_of_its_receipts(again: int) -> None:
    """Line `again` of the second chunk is for another member, by a receipt of the first; the last: there is none."""
    number_of = {CHUNK + again: 7}

    def line(place: int) -> TillLine:
        return TillLine(
            number=place,
            kind=LineKind.ISSUE,
            member=Identifier(kind=IdentifierKind.CARD, value=f"CARD{place}"),
            receipt=Receipt(store="S", terminal="T", number=str(number_of.get(place, place))),
            occurred_at=START,
            points=1,
            amount=None,
        )

    chunks = list(_chunks(line(place) for place in range(2 * CHUNK)))
    assert [(len(lines), waits) for lines, waits in chunks] == [(CHUNK, False), (CHUNK, again < CHUNK)]


def test_posting_holds_three_chunks_and_reads_no_further(coalition: Coalition, grocer: Partner) -> None:
    made = 0
    most_ahead = 0
    counts = Counts()

    def lines() -> Iterator[TillLine | Reject]:
        nonlocal made, most_ahead
        for number in range(5 * CHUNK):
            made += 1
            most_ahead = max(most_ahead, made - counts.lines)
            yield Reject(number=number, field="", code="INVALID_INPUT", reason="")

    rejected = sum(
        1 for _ in post_lines(coalition.database, lines(), partner_id=grocer.partner_id, counts=counts)
    )

    assert (rejected, counts.lines) == (5 * CHUNK, 5 * CHUNK)
    # One that is posted, one whose lanes wait for its, one that is read meanwhile, and the line that ends it.
    assert most_ahead <= 3 * CHUNK + 1


def test_a_receipt_that_one_member_gave_back_goes_to_another_in_one_file(
    cards: list[str], tmp_path: Path
) -> None:
    """Lanes would do that in any order: the second must wait for the first."""
    when = "2026-03-02T11:00:00Z"
    file = tmp_path / "till.csv"
    lines = ["receipt,revision,kind,member,time,points"]
    for number in range(8):
        first, second = cards[number % 5], cards[(number + 1) % 5]
        lines.append(f"{number},0,issue,{first},{when},5")
        lines.append(f"{number},0,reverse_issue,{first},{when},")
        lines.append(f"{number},1,issue,{second},{when},5")
    file.write_text("\n".join(lines) + "\n")

    ended = imported(file)

    assert ended.exit_code == 0, rejects(file)
    assert json.loads(ended.stdout)["posted"] == {"issue": 16, "reverse_issue": 8}


def test_lines_of_all_lanes_are_rejected_in_the_order_of_the_file(cards: list[str], tmp_path: Path) -> None:
    file = tmp_path / "till.csv"
    bad: list[str] = []
    lines: list[str] = []
    for number in range(CHUNK + 100):
        wrong = number % 7 == 0
        # Each member is in one lane: their refusals come from both.
        kind, points = ("redeem", "1000") if wrong else ("issue", "1")
        lines.append(line(number, cards[number % 5], kind=kind, points="x" if number % 14 == 7 else points))
        if wrong:
            bad.append(str(number + 2))

    ended = imported(written(file, *lines))

    assert ended.exit_code == 1, ended.output
    assert [row["line"] for row in rejects(file)] == bad
    assert json.loads(ended.stdout)["posted"] == {"issue": CHUNK + 100 - len(bad)}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_lanes_do_with_as_many_connections_as_there_are(
    cards: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setenv("COALITION_POOL_SIZE", str(size))
    get_settings.cache_clear()

    ended = imported(written(tmp_path / "till.csv", *(line(one, cards[one % 5]) for one in range(50))))

    assert json.loads(ended.stdout)["posted"] == {"issue": 50}


@pytest.mark.parametrize("words", ["", "nobody wrote this\nfor an import\n"])
@pytest.mark.parametrize("bad", [False, True])
def test_no_file_of_somebody_elses_is_written_over_or_removed(
    coalition: Coalition, cards: list[str], tmp_path: Path, words: str, bad: bool
) -> None:
    file = written(tmp_path / "till.csv", line(1, "999999" if bad else cards[0]))
    other, link = tmp_path / "books.csv", tmp_path / "link.csv"
    other.write_text(words or file.read_text())
    link.symlink_to(file)
    before, till = coalition.snapshot(), file.read_bytes()
    for named in (other, file, link):
        kept = named.read_bytes()
        refused = imported(file, "--rejects", str(named))
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "--rejects" in refused.stderr
        assert (named.read_bytes(), file.read_bytes()) == (kept, till)
    assert link.is_symlink()
    assert coalition.snapshot() == before


def test_what_an_earlier_import_rejected_is_written_over_and_then_removed(
    cards: list[str], tmp_path: Path
) -> None:
    file = written(tmp_path / "till.csv", line(1, "999999"), line(2, "999998"))
    assert imported(file).exit_code == 1
    assert len(rejects(file)) == 2
    assert imported(written(file, line(1, "999999"))).exit_code == 1
    assert len(rejects(file)) == 1
    assert imported(written(file, line(1, cards[0]))).exit_code == 0
    left = file.with_name("till.csv.rejects.csv")
    assert not left.exists()
    left.touch()  # as a killed import leaves it
    assert imported(file).exit_code == 0
    assert not left.exists()


def test_what_is_no_file_may_take_the_rejects_and_stays(cards: list[str], tmp_path: Path) -> None:
    sink = tmp_path / "sink"
    sink.symlink_to("/dev/null")
    assert imported(written(tmp_path / "till.csv", line(1, "999999")), "--rejects", str(sink)).exit_code == 1
    assert imported(written(tmp_path / "till.csv", line(1, cards[0])), "--rejects", str(sink)).exit_code == 0
    assert sink.is_char_device()


def test_a_rejects_file_that_cannot_be_written_is_refused_before_the_first_line(
    coalition: Coalition, cards: list[str], tmp_path: Path
) -> None:
    file = written(tmp_path / "till.csv", line(1, cards[0]), line(2, "999999"))
    before = coalition.snapshot()
    refused = imported(file, "--rejects", str(tmp_path / "nowhere" / "rejects.csv"))
    assert (refused.exit_code, "cannot be written" in refused.stderr) == (2, True)
    assert coalition.snapshot() == before


def post_by(monkeypatch: pytest.MonkeyPatch, act: Callable[[Any, Any, PartnerId], Any]) -> None:
    """Let an import post its lines by this, and not pause before it tries again."""
    monkeypatch.setattr(importing, "post_stage", act)
    monkeypatch.setattr(importing, "_PAUSE", 0)


def test_what_takes_too_long_as_a_whole_is_posted_in_parts(
    cards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def impatient(db: Any, stage: Any, partner_id: PartnerId) -> Any:
        sizes.append(len(stage))
        if len(stage) > 2:
            raise DatabaseUnavailable("The database is busy and nothing has moved.")
        return post_stage(db, stage, partner_id)

    post_by(monkeypatch, impatient)
    file = written(tmp_path / "till.csv", *(line(number, cards[0]) for number in range(9)), line(9, "999999"))
    told = json.loads(imported(file).stdout)
    assert (told["lines"], told["posted"]["issue"], told["rejected"]) == (10, 9, 1)
    assert max(sizes) >= 9
    assert [reject["line"] for reject in rejects(file)] == ["11"]


def test_a_database_that_is_away_for_a_while_is_waited_for_with_the_whole(
    cards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def away_at_first(db: Any, stage: Any, partner_id: PartnerId) -> Any:
        sizes.append(len(stage))
        if len(sizes) < 5:
            away = DatabaseUnavailable()
            away.reason = "connection refused"
            raise away
        return post_stage(db, stage, partner_id)

    post_by(monkeypatch, away_at_first)
    file = written(tmp_path / "till.csv", *(line(number, cards[0]) for number in range(9)))
    assert json.loads(imported(file).stdout)["posted"]["issue"] == 9
    assert sizes == [9] * 5


def test_an_import_that_stops_half_way_says_that_what_was_posted_stays(
    cards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: BaseException = DatabaseUnavailable()

    def stopping(db: Any, stage: Any, partner_id: PartnerId) -> Any:
        # What comes second asks for the same receipt again, and so waits for the first.
        if any(asked.kind is LineKind.REVERSE_ISSUE for asked, _ in stage):
            raise stops
        return post_stage(db, stage, partner_id)

    post_by(monkeypatch, stopping)
    lines = [line(1, cards[0]), line(1, cards[0]), line(1, cards[0], kind="reverse_issue", points="")]
    file = written(tmp_path / "till.csv", *lines)
    stopped = imported(file)
    assert stopped.exit_code == 3
    [said] = [json.loads(stopped.stderr)["error"]["message"]]
    assert "nothing has moved" not in said
    assert "Stopped after 1 lines" in said
    assert "import the same file again" in said
    stops = KeyboardInterrupt()
    stopped = imported(file)
    assert (stopped.exit_code, stopped.stdout) == (130, "")
    assert "import the same file again" in stopped.stderr
