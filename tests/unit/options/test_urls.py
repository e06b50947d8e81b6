"""URLs with passwords that are not percent-encoded: each is refused, and no refusal shows a part of it."""

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amphora.options.brokers import BrokerAddress, given_in_url
from amphora.options.urls import UrlError, split_url
from tests.support.secrets import UNREADABLE_URLS, shown_parts, told_by


@pytest.mark.parametrize("url", UNREADABLE_URLS)
def test_a_url_that_can_be_read_in_two_ways_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encode the password") as caught:
        given_in_url(url)

    assert shown_parts(told_by(caught.value), url) == []


@given(st.text(min_size=1), st.text(), st.text())
@example("guest", "S3/c#r?e;t @:℀[\\", "v@h/?")
def test_what_is_percent_encoded_is_read_back(user: str, password: str, vhost: str) -> None:
    url = "amqp://{}:{}@rabbit/{}".format(*(quote(each, safe="") for each in (user, password, vhost)))

    assert given_in_url(url) == (BrokerAddress("amqp", "rabbit", 5672, user, password, vhost or "/"),)


@given(st.sampled_from(["amqp://", "amqps://", "amqp:"]), st.text(st.sampled_from("ab1:/@#?;%[] ℀"), max_size=12))
def test_whatever_is_written_it_is_read_or_refused_with_advice(scheme: str, text: str) -> None:
    try:
        split_url(f"{scheme}{text}@rabbit")
        refusal = None
    except UrlError as error:
        refusal = error

    assert refusal is None or ("percent-encode" in str(refusal) and refusal.__context__ is None)
