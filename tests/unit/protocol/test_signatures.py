"""Signatures: what is signed is accepted, anything else refused; and no key is ever shown."""

import hmac
import traceback
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora import WrongRequest, WrongResult, sign_request
from amphora.protocol.dead_letters import TOO_MANY_TRIES, dead_letter_properties, request_of
from amphora.protocol.deadlines import DEADLINE
from amphora.protocol.headers import CONTROL
from amphora.protocol.signatures import Signatures, signatures_of
from amphora.protocol.signed_fields import SIGNATURE, SIGNATURE_2, SIGNATURE_OF_LETTER

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


class Signing(Signatures):
    """Signatures of messages with the routing key `k`, and of replies to requests that are signed with all versions."""

    __slots__ = ()

    def sign_request(self, properties: Any, body: bytes, *, routing_key: str = "k") -> dict[str, Any]:
        return super().sign_request(properties, body, routing_key=routing_key)

    def check_request(self, properties: Any, body: bytes, *, routing_key: str = "k") -> int:
        return super().check_request(properties, body, routing_key=routing_key)

    def sign_reply(self, properties: Any, body: bytes, *, client: str, version: int = 2) -> dict[str, Any]:
        return super().sign_reply(properties, body, client=client, version=version)


def signatures(
    *keys: bytes | str,
    service: str = "math",
    window: float | None = None,
    now: float = NOW,
    versions: Any = (1, 2),
) -> Signing:
    return Signing(keys or [KEY], service=service, window=window, versions=versions, clock=lambda: now)


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

    assert changed(changed(signed, SIGNATURE, None), SIGNATURE_2, None) == REQUEST
    assert SIGNATURE not in REQUEST["headers"]


def encoded(*fields: Any) -> bytes:
    """Encode a row of kinds, lengths and values."""
    return b"".join(each.to_bytes(8, "big") if isinstance(each, int) else each for each in fields)


def test_version_1_is_the_digest_that_the_documentation_describes() -> None:
    row = encoded(
        *(b"t", 17, b"amphora request 1", b"t", 4, b"math", b"t", 1, b"m", b"n", 0, b"", b"t", 1, b"c"),
        *(b"n", 0, b"", b"i", 10, b"1800000000", b"n", 0, b"", b"b", len(BODY), BODY),
    )

    signed = signatures(versions=[1]).sign_request({"message_id": "m", "reply_to": "c", "timestamp": NOW}, BODY)

    assert signed["headers"] == {SIGNATURE: "1:" + hmac.new(KEY, row, sha256).hexdigest()}


def test_version_2_is_the_digest_that_the_documentation_describes() -> None:
    row = encoded(
        *(b"t", 9, b"amphora 2", b"t", 7, b"request", b"t", 4, b"math", b"t", 1, b"k"),
        *(b"t", 1, b"m", b"n", 0, b"", b"t", 1, b"c", b"n", 0, b"", b"n", 0, b"", b"i", 10, b"1800000000"),
        *(b"i", 1, b"3", b"i", 1, b"2"),
        *(b"t", 12, b"x-amphora-an", b"o", 1, b"\x01", b"t", 18, b"x-amphora-deadline", b"i", 2, b"55"),
        *(b"b", len(BODY), BODY),
    )
    request = {"message_id": "m", "reply_to": "c", "timestamp": NOW, "priority": 3}
    headers = {DEADLINE: 55, "trace": "1", "x-amphora-an": True, "x-amphora-queue": "of a dead letter"}

    signed = signatures(versions=[2]).sign_request({**request, "headers": headers}, BODY)

    assert signed["headers"] == {**headers, SIGNATURE_2: "2:" + hmac.new(KEY, row, sha256).hexdigest()}


# Fixed, so that no later release signs otherwise by mistake: the first two were made by release 1.0.0a1.
OF_1_0_0A1 = "1:11ca0bb999c676cbc73976233f037ce798600dd177e6b23dc3e45e108df3f2df"
REPLY_OF_1_0_0A1 = "1:ede25ee10fcacac00feaa7386bccfd040cb20bbc1cc97101e8cd127fc9b3eb75"
OF_VERSION_2 = "2:47bff1947132c077a5920914abf4519c571b16e9b21cdf85c2324bea58b66076"
CONTROL_OF_VERSION_2 = "2:c22e3f0c2ae38f37d163248d096519ddd1c3ce463e3eb70e207ed22c69e49bd1"
REPLY_OF_VERSION_2 = "2:1450ad10d8bef3cd22ef4cc0175eb2266102e1159dbafd79edbc84d53a3a79e7"
RESULT = b'{"result": 1}'


def test_a_request_has_the_signatures_that_it_always_had() -> None:
    signed = signatures().sign_request(REQUEST, BODY)["headers"]
    control = signatures().sign_request(REQUEST, BODY, routing_key="amphora.control")["headers"]

    assert (signed[SIGNATURE], signed[SIGNATURE_2]) == (OF_1_0_0A1, OF_VERSION_2)
    assert (control[SIGNATURE], control[SIGNATURE_2]) == (OF_1_0_0A1, CONTROL_OF_VERSION_2)


@pytest.mark.parametrize(
    ("header", "signature", "expected"),
    [(SIGNATURE, OF_1_0_0A1, REPLY_OF_1_0_0A1), (SIGNATURE_2, OF_VERSION_2, REPLY_OF_VERSION_2)],
)
def test_a_reply_is_signed_as_its_request_was(header: str, signature: str, expected: str) -> None:
    request = changed(REQUEST, header, signature)

    version = signatures().check_request(request, BODY)

    assert signatures().sign_reply(REPLY, RESULT, client="c", version=version)["headers"] == {header: expected}


def test_what_a_client_of_1_0_0a1_sends_is_accepted_and_what_it_gets_is_what_it_expects() -> None:
    request = changed(REQUEST, SIGNATURE, OF_1_0_0A1)

    assert signatures().check_request(request, BODY) == 1
    reply = signatures().sign_reply(REPLY, RESULT, client="c", version=1)
    signatures(versions=[1]).check_reply(reply, RESULT, client="c")


@pytest.mark.parametrize("name", ["expiration", "delivery_mode", "user_id", "x-death", "x-amphora-queue", "trace"])
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

    dead = dead_letter_properties(signed, queue="q", reason=TOO_MANY_TRIES, tries=3, routing_key="k")

    signatures().check_request(dead, BODY)


def test_the_request_in_a_dead_letter_can_still_be_checked() -> None:
    signed = signatures().sign_request(REQUEST, BODY)
    dead = dead_letter_properties(signed, queue="q", reason=TOO_MANY_TRIES, tries=3, routing_key="k")
    with pytest.raises(WrongRequest):
        signatures().check_request(dead, BODY)

    signatures().check_request(request_of(dead), BODY)


def test_a_request_of_another_program_is_signed_for_its_routing_key() -> None:
    signed = sign_request([KEY], "math", REQUEST, BODY, routing_key="k")

    assert signatures().check_request(signed, BODY) == 2
    assert signed["timestamp"] > 1_700_000_000
    with pytest.raises(WrongRequest):
        signatures().check_request(signed, BODY, routing_key="")


def test_without_a_routing_key_it_is_signed_as_by_1_0_0a1() -> None:
    signed = sign_request([KEY], "math", REQUEST, BODY)

    assert signatures().check_request(signed, BODY) == 1


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


# What version 2 covers, and version 1 does not.


def test_a_request_that_was_moved_to_another_routing_key_is_refused() -> None:
    signed = signatures().sign_request(REQUEST, BODY, routing_key="red")

    assert signatures().check_request(signed, BODY, routing_key="red") == 2
    for other in ("", "blue", "amphora.control"):
        with pytest.raises(WrongRequest, match="its signature does not fit"):
            signatures().check_request(signed, BODY, routing_key=other)


@given(
    name=st.sampled_from(["priority", "content_encoding", CONTROL, "x-amphora-key", "x-amphora-later"]), value=VALUES
)
def test_a_request_with_a_property_or_header_slipped_in_is_refused(name: str, value: Any) -> None:
    signed = signatures().sign_request(REQUEST, BODY)
    altered = {**signed, "headers": {**signed["headers"], name: value}} if name.startswith("x-") else signed
    altered = altered if name.startswith("x-") else {**signed, name: value}
    if value is None and not name.startswith("x-"):
        return

    with pytest.raises(WrongRequest, match="its signature does not fit"):
        signatures().check_request(altered, BODY)


def test_a_signature_of_version_2_that_does_not_fit_is_not_saved_by_one_of_version_1() -> None:
    signed = signatures().sign_request(REQUEST, BODY)

    with pytest.raises(WrongRequest):
        signatures().check_request(changed(signed, SIGNATURE_2, OF_VERSION_2[:-1] + "x"), BODY)


def test_version_1_is_refused_where_only_version_2_is_accepted() -> None:
    strict = signatures(versions=[2])
    signed = signatures().sign_request(REQUEST, BODY)

    assert strict.check_request(signed, BODY) == 2
    with pytest.raises(WrongRequest, match="a signature of version 1 only, and signature_versions accepts version 2"):
        strict.check_request(changed(signed, SIGNATURE_2, None), BODY)
    with pytest.raises(WrongResult, match="a signature of version 1 only"):
        strict.check_reply(changed(REPLY | {"headers": {}}, SIGNATURE, REPLY_OF_1_0_0A1), RESULT, client="c")


def test_only_the_chosen_versions_are_sent() -> None:
    for versions, expected in (([1], {SIGNATURE}), ((2,), {SIGNATURE_2}), ((2, 1), {SIGNATURE, SIGNATURE_2})):
        signed = signatures(versions=versions).sign_request({"message_id": "m"}, BODY)

        assert set(signed["headers"]) == expected


@pytest.mark.parametrize(
    ("versions", "error"), [((), ValueError), ((3,), ValueError), (2, TypeError), ("12", TypeError)]
)
def test_versions_that_do_not_exist_are_refused_with_and_without_keys(versions: Any, error: type[Exception]) -> None:
    for keys in ([], [KEY]):
        with pytest.raises(error, match="signature_versions"):
            signatures_of(keys, service="math", versions=versions)


# Dead letters.

LETTER = dead_letter_properties(REQUEST, queue="q", reason=TOO_MANY_TRIES, tries=3, routing_key="k")


def test_the_mark_of_a_server_on_a_dead_letter_is_recognized() -> None:
    marked = signatures().sign_letter(LETTER, BODY)

    assert signatures().is_marked(marked, BODY)
    assert signatures(OTHER, KEY).is_marked(marked, BODY)


@pytest.mark.parametrize("name", ["message_id", "reply_to", "content_type", *LETTER["headers"], SIGNATURE_2, CONTROL])
def test_a_dead_letter_that_was_altered_has_no_mark(name: str) -> None:
    marked = signatures().sign_letter(changed(LETTER, SIGNATURE_2, "2:as the client signed it"), BODY)

    assert not signatures().is_marked(changed(marked, name, "other"), BODY)
    assert not signatures().is_marked(marked, b"other")


def test_nothing_else_passes_for_the_mark_of_a_server() -> None:
    signed = signatures().sign_request(LETTER, BODY, routing_key="")
    other_signatures = [SIGNATURE, SIGNATURE_2]
    forged = [changed(LETTER, SIGNATURE_OF_LETTER, signed["headers"][each]) for each in other_signatures]

    for letter in (LETTER, signed, *forged, signatures(OTHER).sign_letter(LETTER, BODY)):
        assert not signatures().is_marked(letter, BODY)
    assert not signatures(service="bank").is_marked(signatures().sign_letter(LETTER, BODY), BODY)
    assert not signatures().is_marked({**LETTER, "headers": {**LETTER["headers"], "x-amphora-x": []}}, BODY)


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
    assert repr(Signatures([KEY, OTHER], service="math")) == "<Signatures of 'math', keys: 2>"


@pytest.mark.parametrize(
    "keys", ["secret, not a list", ["secret", 5], ["secret"], [b"secret"], ["secret \udcff, long"]]
)
def test_no_error_shows_a_key(keys: Any) -> None:
    try:
        Signatures(keys, service="math").check_request(REQUEST, BODY, routing_key="")
    except (TypeError, ValueError, WrongRequest) as error:
        text = "".join(traceback.format_exception(error)) + repr(error)

    assert "secret" not in text
