"""Signatures: what is signed is accepted, anything else refused; and no key is ever shown."""

import hmac
import traceback
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora import WrongRequest, WrongResult, sign_request
from amphora.protocol.dead_letters import TOO_MANY_TRIES, dead_letter_properties
from amphora.protocol.deadlines import DEADLINE
from amphora.protocol.signatures import SIGNATURE, Signatures, signatures_of

KEY, OTHER = b"a key of sixteen", b"another sixteen!"
NOW = 1_800_000_000
BODY = b'{"func": "f", "args": [], "kwargs": {}}'
REQUEST: dict[str, Any] = {
    "content_type": "application/json",
    "delivery_mode": 2,
    "correlation_id": "m",
    "reply_to": "c",
    "message_id": "m",
    "timestamp": NOW,
    "headers": {DEADLINE: 1000 * NOW + 5000},
}
REPLY: dict[str, Any] = {"content_type": "application/json", "correlation_id": "m", "message_id": "m"}

SIGNED_OF_A_REQUEST = ["content_type", "correlation_id", "reply_to", "message_id", "timestamp", DEADLINE]
SIGNED_OF_A_REPLY = ["content_type", "correlation_id", "message_id"]

#: Whatever may come as a property, or in a header table.
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.floats()
    | st.just([])
    | st.just({})
)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "message_id": st.text(max_size=5),
        "correlation_id": st.text(max_size=5),
        "reply_to": st.text(max_size=5),
        "content_type": st.text(max_size=5),
        "timestamp": st.integers(0, 2**64 - 1),
        "headers": st.fixed_dictionaries({}, optional={DEADLINE: st.integers(0, 2**63 - 1)}),
    },
)


def signatures(*keys: bytes | str, service: str = "math", window: float | None = None, now: float = NOW) -> Signatures:
    return Signatures(keys or [KEY], service=service, window=window, clock=lambda: now)


def changed(properties: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return the properties with another value; `None` for none."""
    if name.startswith("x-"):
        return {**properties, "headers": _changed(properties["headers"], name, value)}
    return _changed(properties, name, value)


def _changed(table: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    rest = {other: each for other, each in table.items() if other != name}
    return rest if value is None else {**rest, name: value}


def value_of(properties: dict[str, Any], name: str) -> Any:
    return properties["headers"].get(name) if name.startswith("x-") else properties.get(name)


# Accepted.


@given(properties=PROPERTIES, body=st.binary())
def test_a_request_is_accepted_as_it_was_signed(properties: dict[str, Any], body: bytes) -> None:
    signed = signatures().sign_request(properties, body)

    signatures().check_request(signed, body)


@given(properties=PROPERTIES, body=st.binary(), client=st.text())
def test_a_reply_is_accepted_as_it_was_signed(properties: dict[str, Any], body: bytes, client: str) -> None:
    signed = signatures().sign_reply(properties, body, client=client)

    signatures().check_reply(signed, body, client=client)


def test_the_signature_is_all_that_signing_adds() -> None:
    signed = signatures().sign_request(REQUEST, BODY)

    assert changed(signed, SIGNATURE, None) == REQUEST
    assert SIGNATURE not in REQUEST["headers"]


def test_it_is_the_digest_that_the_documentation_describes() -> None:
    fields = [
        *(b"t", 17, b"amphora request 1", b"t", 4, b"math", b"t", 1, b"m", b"n", 0, b"", b"t", 1, b"c"),
        *(b"n", 0, b"", b"i", 10, b"1800000000", b"n", 0, b"", b"b", len(BODY), BODY),
    ]
    row = b"".join(each.to_bytes(8, "big") if isinstance(each, int) else each for each in fields)

    signed = signatures().sign_request({"message_id": "m", "reply_to": "c", "timestamp": NOW}, BODY)

    assert signed["headers"] == {SIGNATURE: "1:" + hmac.new(KEY, row, sha256).hexdigest()}


@pytest.mark.parametrize("name", ["expiration", "delivery_mode", "priority", "x-death", "x-amphora-queue", "trace"])
def test_what_changes_on_the_way_is_not_signed(name: str) -> None:
    signed = signatures().sign_request(REQUEST, BODY)

    signatures().check_request(changed(signed, name, "5000"), BODY)


def test_every_key_is_accepted_and_the_first_one_signs() -> None:
    of_the_new_key = signatures(OTHER, KEY).sign_request(REQUEST, BODY)
    of_the_old_key = signatures(KEY).sign_request(REQUEST, BODY)

    signatures(OTHER).check_request(of_the_new_key, BODY)
    signatures(OTHER, KEY).check_request(of_the_old_key, BODY)
    signatures(KEY, OTHER).check_request(of_the_new_key, BODY)


def test_a_key_may_be_text() -> None:
    signed = signatures(KEY.decode()).sign_request(REQUEST, BODY)

    signatures(KEY).check_request(signed, BODY)


def test_a_dead_letter_keeps_its_signature_where_it_had_no_deadline() -> None:
    signed = signatures().sign_request(changed(REQUEST, DEADLINE, None), BODY)

    dead = dead_letter_properties(signed, queue="q", reason=TOO_MANY_TRIES, tries=3)

    signatures().check_request(dead, BODY)


def test_a_dead_letter_without_its_deadline_is_to_be_signed_again() -> None:
    signed = signatures().sign_request(REQUEST, BODY)
    dead = dead_letter_properties(signed, queue="q", reason=TOO_MANY_TRIES, tries=3)
    with pytest.raises(WrongRequest):
        signatures().check_request(dead, BODY)

    again = sign_request([KEY], "math", dead, BODY)

    signatures().check_request(again, BODY)
    assert again["timestamp"] > 1_700_000_000


# Refused.


@given(name=st.sampled_from(SIGNED_OF_A_REQUEST), value=VALUES)
def test_a_request_with_any_signed_property_altered_is_refused(name: str, value: Any) -> None:
    signed = signatures().sign_request(REQUEST, BODY)
    altered = changed(signed, name, value)
    if type(value) is type(value_of(signed, name)) and value == value_of(signed, name):
        return

    with pytest.raises(WrongRequest, match="its signature does not fit"):
        signatures().check_request(altered, BODY)


@given(name=st.sampled_from(SIGNED_OF_A_REPLY), value=VALUES)
def test_a_reply_with_any_signed_property_altered_is_refused(name: str, value: Any) -> None:
    signed = signatures().sign_reply(REPLY, BODY, client="c")
    altered = changed(signed, name, value)
    if type(value) is type(value_of(signed, name)) and value == value_of(signed, name):
        return

    with pytest.raises(WrongResult, match="its signature does not fit"):
        signatures().check_reply(altered, BODY, client="c")


@given(body=st.binary().filter(lambda body: body != BODY))
def test_another_body_is_refused(body: bytes) -> None:
    request = signatures().sign_request(REQUEST, BODY)
    reply = signatures().sign_reply(REPLY, BODY, client="c")

    with pytest.raises(WrongRequest):
        signatures().check_request(request, body)
    with pytest.raises(WrongResult):
        signatures().check_reply(reply, body, client="c")


@given(first=st.tuples(PROPERTIES, st.binary(max_size=5)), second=st.tuples(PROPERTIES, st.binary(max_size=5)))
def test_a_signature_fits_no_other_request(
    first: tuple[dict[str, Any], bytes], second: tuple[dict[str, Any], bytes]
) -> None:
    def alike(message: tuple[dict[str, Any], bytes]) -> Any:
        return {**message[0], "headers": message[0].get("headers") or {}}, message[1]

    one, other = (signatures().sign_request(*message)["headers"][SIGNATURE] for message in (first, second))

    assert (one == other) == (alike(first) == alike(second))


@given(text=st.text(max_size=10), cut=st.integers(0, 10))
def test_what_moves_from_one_property_to_the_next_is_noticed(text: str, cut: int) -> None:
    one = signatures().sign_request({"message_id": text, "correlation_id": ""}, b"")
    other = {**one, "message_id": text[:cut], "correlation_id": text[cut:]}
    if other == one:
        return

    with pytest.raises(WrongRequest):
        signatures().check_request(other, b"")


@given(signature=VALUES.filter(lambda value: value is not None))
def test_whatever_stands_in_for_a_signature_is_refused(signature: Any) -> None:
    with pytest.raises(WrongRequest, match="its signature does not fit"):
        signatures().check_request(changed(REQUEST, SIGNATURE, signature), BODY)


@pytest.mark.parametrize("headers", [None, {}, {"trace": 1}, {SIGNATURE: None}])
def test_a_message_without_a_signature_is_refused(headers: Any) -> None:
    with pytest.raises(WrongRequest, match="it is not signed"):
        signatures().check_request({**REQUEST, "headers": headers}, BODY)
    with pytest.raises(WrongResult, match="it is not signed"):
        signatures().check_reply({**REPLY, "headers": headers}, BODY, client="c")


def test_the_signature_of_another_key_is_refused() -> None:
    signed = signatures(OTHER).sign_request(REQUEST, BODY)

    with pytest.raises(WrongRequest, match="another key"):
        signatures(KEY).check_request(signed, BODY)


def test_a_message_for_another_service_is_refused() -> None:
    request = signatures(service="bank").sign_request(REQUEST, BODY)
    reply = signatures(service="bank").sign_reply(REPLY, BODY, client="c")

    with pytest.raises(WrongRequest, match="for another service"):
        signatures().check_request(request, BODY)
    with pytest.raises(WrongResult, match="for another service"):
        signatures().check_reply(reply, BODY, client="c")


def test_a_reply_to_another_client_is_refused() -> None:
    signed = signatures().sign_reply(REPLY, BODY, client="c")

    with pytest.raises(WrongResult):
        signatures().check_reply(signed, BODY, client="d")


def test_a_request_does_not_pass_for_a_reply() -> None:
    signed = signatures().sign_request(REPLY, BODY)

    with pytest.raises(WrongResult):
        signatures().check_reply(signed, BODY, client="c")


def test_what_cannot_be_signed_is_said() -> None:
    with pytest.raises(TypeError, match="must be text or an integer, not a float"):
        signatures().sign_request({"timestamp": 1.5}, BODY)


# Age.


@pytest.mark.parametrize("age", [-10, 0, 0.5, 10, 11])
def test_a_request_within_the_window_is_accepted(age: float) -> None:
    signatures(window=10, now=NOW + age).check_age(REQUEST)


@pytest.mark.parametrize(("age", "when"), [(12, "12 s ago"), (-11, "11 s ahead of this server's clock")])
def test_a_request_outside_of_the_window_is_refused(age: float, when: str) -> None:
    with pytest.raises(WrongRequest, match=f"signed {when}, and signature_window is 10 s"):
        signatures(window=10, now=NOW + age).check_age(REQUEST)


def test_a_request_without_a_timestamp_is_refused_where_there_is_a_window() -> None:
    with pytest.raises(WrongRequest, match="without a timestamp"):
        signatures(window=10).check_age({})


def test_without_a_window_any_age_is_accepted() -> None:
    signatures(now=NOW + 10**9).check_age(REQUEST)
    signatures().check_age({})


# Keys.


@pytest.mark.parametrize("none", [(), []])
def test_without_keys_nothing_is_signed(none: Any) -> None:
    assert signatures_of(none, service="math", window=300) is None


@pytest.mark.parametrize("keys", ["", "a text is a sequence too", b"and bytes are", {KEY}, 5, None, [5], [None]])
def test_keys_that_are_none_are_refused_by_type(keys: Any) -> None:
    with pytest.raises(TypeError, match="signing_keys"):
        Signatures(keys, service="math")


@pytest.mark.parametrize("short", [b"fifteen bytes!!", "fifteen bytes!!", b"", "\N{EURO SIGN}" * 5])
def test_a_short_key_is_refused_wherever_it_stands(short: bytes | str) -> None:
    with pytest.raises(ValueError, match=r"signing_keys\[1\] has \d+ bytes, a key needs at least 16"):
        Signatures([KEY, short], service="math")


def test_no_keys_are_refused_where_something_is_to_be_signed() -> None:
    with pytest.raises(ValueError, match="there is no key"):
        sign_request([], "math", REQUEST, BODY)


@pytest.mark.parametrize("window", [0, -1, float("nan"), float("inf")])
def test_a_window_must_be_positive_with_and_without_keys(window: float) -> None:
    with pytest.raises(ValueError, match="signature_window"):
        signatures_of([KEY], service="math", window=window)
    with pytest.raises(ValueError, match="signature_window"):
        signatures_of([], service="math", window=window)


def test_a_repr_shows_no_key() -> None:
    assert repr(signatures(KEY, OTHER)) == "<Signatures of 'math', keys: 2>"


@pytest.mark.parametrize(
    "keys", ["secret, not a list", ["secret", 5], ["secret"], [b"secret"], ["secret \udcff, long"]]
)
def test_no_error_shows_a_key(keys: Any) -> None:
    try:
        Signatures(keys, service="math").check_request(REQUEST, BODY)
    except (TypeError, ValueError, WrongRequest) as error:
        text = "".join(traceback.format_exception(error)) + repr(error)

    assert "secret" not in text
