"""Which message is to blame for broken connections."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from amphora.core.suspicion import AGE, KEPT, LIMIT, Suspicion, key_of
from amphora.driver.frames import encode_header


def header(message_id: str = "m", *, size: int = 3, **headers: object) -> bytes:
    """The payload of a message's header frame."""
    return encode_header(1, {"content_type": "text/plain", "headers": headers, "message_id": message_id}, size)[7:-1]


def test_a_message_that_breaks_three_connections_in_a_row_is_a_suspect() -> None:
    suspicion = Suspicion()

    told = [suspicion.blame(header(), 0.0) for _ in range(LIMIT)]

    assert told == [False] * (LIMIT - 1) + [True]
    assert suspicion.is_suspect(header())
    assert not suspicion.is_suspect(header("another"))


def test_a_message_that_was_handled_in_between_is_none() -> None:
    suspicion = Suspicion()
    for _ in range(LIMIT - 1):
        suspicion.blame(header(), 0.0)

    suspicion.clear(header())
    suspicion.blame(header(), 0.0)

    assert not suspicion.is_suspect(header())


def test_losses_because_of_other_messages_in_between_change_nothing() -> None:
    suspicion = Suspicion()
    for _ in range(LIMIT):
        suspicion.blame(header("one"), 0.0)
        suspicion.blame(header("other"), 0.0)

    assert suspicion.is_suspect(header("one"))
    assert suspicion.is_suspect(header("other"))


def test_nothing_is_compared_while_nothing_broke_a_connection() -> None:
    suspicion = Suspicion()
    assert not suspicion

    suspicion.blame(header(), 0.0)
    assert suspicion

    suspicion.clear(header())
    assert not suspicion


def test_messages_are_forgotten_in_time() -> None:
    suspicion = Suspicion()
    suspicion.blame(header(), 0.0)

    suspicion.tick(AGE)
    assert suspicion

    suspicion.tick(AGE + 1)
    assert not suspicion


def test_a_bounded_number_of_messages_is_remembered() -> None:
    suspicion = Suspicion()
    for number in range(KEPT + 10):
        suspicion.blame(header(str(number)), 0.0)
        suspicion.check()


@pytest.mark.parametrize("count", [1, 2**40])
def test_a_message_is_recognized_when_a_quorum_queue_has_counted_it_and_sorted_its_headers(
    count: int,
) -> None:
    first = header(b=1, a="x")
    again = header(a="x", b=1, **{"x-delivery-count": count})

    assert key_of(first) == key_of(again)
    assert key_of(first) != key_of(header(b=2, a="x"))


@given(st.binary(max_size=80))
def test_any_header_has_a_key(payload: bytes) -> None:
    assert len(key_of(payload)) == 16


def test_a_message_without_headers_has_a_key_of_its_own() -> None:
    plain = encode_header(1, {"message_id": "a"}, 3)[7:-1]
    other = encode_header(1, {"message_id": "b"}, 3)[7:-1]

    assert key_of(plain) != key_of(other)


class Losses(RuleBasedStateMachine):
    """Compares `Suspicion` with a plain count for each message."""

    kind = Suspicion

    def __init__(self) -> None:
        super().__init__()
        self.suspicion = self.kind()
        self.model: dict[str, int] = {}

    @rule(message=st.sampled_from("abc"))
    def lost(self, message: str) -> None:
        self.model[message] = self.model.get(message, 0) + 1
        assert self.suspicion.blame(header(message), 0.0) == (self.model[message] == LIMIT)

    @rule(message=st.sampled_from("abc"))
    def handled(self, message: str) -> None:
        self.model.pop(message, None)
        self.suspicion.clear(header(message))

    @invariant()
    def same(self) -> None:
        self.suspicion.check()
        assert bool(self.suspicion) == bool(self.model)
        for message in "abc":
            assert self.suspicion.is_suspect(header(message)) == (self.model.get(message, 0) >= LIMIT)


TestLosses = Losses.TestCase


SETTINGS = settings(max_examples=500, phases=[Phase.generate], derandomize=True, report_multiple_bugs=False)


class NotInARow(Suspicion):
    """Planted bug: what was handled in between does not count."""

    __slots__ = ()

    def clear(self, header: bytes) -> None:
        if not self.is_suspect(header):
            return
        super().clear(header)


class OnlyTheLast(Suspicion):
    """Planted bug: a loss because of another message clears the account."""

    __slots__ = ()

    def blame(self, header: bytes, now: float) -> bool:
        kept = {key_of(header): self.counts.get(key_of(header), 0)}
        self.counts.clear()
        self.counts.update({key: count for key, count in kept.items() if count})
        return super().blame(header, now)


@pytest.mark.parametrize("planted", [NotInARow, OnlyTheLast])
def test_planted_bugs_are_found(planted: type[Suspicion]) -> None:
    broken = type("Broken", (Losses,), {"kind": planted})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            broken, settings=settings(max_examples=500, report_multiple_bugs=False, database=None)
        )
