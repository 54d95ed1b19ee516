"""A caller's bucket empties, fills with time, and is its own."""

from itertools import pairwise

from starlette.requests import Request

from partners.oauth import _address
from partners.rates import Rates


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_after_a_burst_a_caller_waits_as_long_as_it_is_told() -> None:
    clock = Clock()
    rates = Rates(per_second=0.5, burst=3, clock=clock)
    assert [rates.take("a") for _ in range(5)] == [0, 0, 0, 2, 2]
    clock.now += 1.9
    assert rates.take("a") == 1
    clock.now += 0.1
    assert [rates.take("a") for _ in range(2)] == [0, 2]
    assert rates.turned_away == 4


def test_a_rest_fills_the_bucket_to_its_brim_and_no_further() -> None:
    clock = Clock()
    rates = Rates(per_second=10, burst=2, clock=clock)
    assert [rates.take("a") for _ in range(3)] == [0, 0, 1]
    clock.now += 3_600
    assert [rates.take("a") for _ in range(3)] == [0, 0, 1]


def test_one_caller_takes_nothing_from_another() -> None:
    rates = Rates(per_second=1, burst=1, clock=Clock())
    assert [rates.take(caller) for caller in "aabb"] == [0, 1, 0, 1]


def test_over_time_a_caller_gets_its_rate() -> None:
    clock = Clock()
    rates = Rates(per_second=10, burst=5, clock=clock)
    passed = 0
    for _ in range(1_000):  # 100 a second, ten seconds long
        passed += rates.take("a") == 0
        clock.now += 0.01
    assert 100 <= passed <= 106


def test_rate_zero_is_no_limit_and_remembers_nobody() -> None:
    rates = Rates(per_second=0, burst=1)
    assert not any(rates.take("a") for _ in range(100))
    assert len(rates) == 0


def test_memory_is_bounded_and_the_one_unseen_for_longest_is_forgotten() -> None:
    rates = Rates(per_second=1, burst=1, clock=Clock(), remembered=3)
    for caller in ("a", "b", "c", "a", "d"):
        rates.take(caller)
    assert len(rates) == 3
    assert [rates.take(caller) > 0 for caller in ("a", "c", "d", "b")] == [True, True, True, False]


def test_an_address_is_counted_as_what_its_holder_has() -> None:
    def of(host: str) -> str:
        return _address(Request({"type": "http", "client": (host, 1), "headers": []}))

    assert of("192.0.2.7") == of("::ffff:192.0.2.7") == "192.0.2.7"
    assert of("2001:db8::1") == of("2001:db8::ffff:1") != of("2001:db8:0:1::1")
    assert of("fe80::1%eth0") == of("fe80::2")
    assert of("testclient") == "testclient"
    spread = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "x"]
    assert all(of(one) != of(other) for one, other in pairwise(spread))
