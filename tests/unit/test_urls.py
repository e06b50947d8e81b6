"""URLs with passwords that are not percent-encoded: each is refused, and no refusal shows a part of it."""

import traceback
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amphora.brokers import BrokerAddress, given_in_url
from amphora.urls import split_url
from tests.support.secrets import UNREADABLE_URLS, shown_parts


@pytest.mark.parametrize("url", UNREADABLE_URLS)
def test_a_url_that_can_be_read_in_two_ways_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encode the password") as caught:
        given_in_url(url)

    error = caught.value
    assert (error.__cause__, error.__suppress_context__) == (None, True)
    assert (
        shown_parts("".join(traceback.format_exception(error)), url, but=traceback.format_tb(error.__traceback__)) == []
    )


@given(st.text(min_size=1), st.text(), st.text())
@example("guest", "S3/c#r?e;t @:℀[\\", "v@h/?")
def test_what_is_percent_encoded_is_read_back(user: str, password: str, vhost: str) -> None:
    try:
        encoded = [quote(each, safe="") for each in (user, password, vhost)]
    except UnicodeEncodeError:
        return
    url = "amqp://{}:{}@rabbit/{}".format(*encoded)

    assert given_in_url(url) == (BrokerAddress("amqp", "rabbit", 5672, user, password, vhost or "/"),)


@given(
    st.text(alphabet=st.sampled_from("ab1:/@#?;%[] ℀"), max_size=12), st.sampled_from(["amqp://", "amqps://", "amqp:"])
)
def test_whatever_is_written_it_is_read_or_refused_with_advice(text: str, scheme: str) -> None:
    try:
        split_url(f"{scheme}{text}@rabbit")
    except ValueError as error:
        assert "percent-encode" in str(error)
        assert error.__cause__ is None
        assert error.__context__ is None
