"""docs/serializers.md: the serializer that it writes carries what it says."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from amphora import RemoteException, WrongRequest
from tests.support.fragments import run_fragments
from tests.support.pages import Reading

pytestmark = pytest.mark.page("docs/serializers.md")


@pytest.fixture
def documented(page: Reading, names: dict[str, Any], broker_url: str) -> dict[str, Any]:
    """Run the whole page and give its names, with functions added to the last server, which serves."""
    run_fragments(page.take("python"), names, broker_url)
    server = names["server"]
    server.add_function(lambda price, count: price * count, name="total")
    server.add_function(lambda day: day.isoformat(), name="text_of")
    server.add_function(lambda: object(), name="unencodable")
    server.serve()
    return names


def test_it_carries_values_that_json_alone_does_not(documented: dict[str, Any]) -> None:
    client = documented["new_client"]

    total = client.call.total(Decimal("1.10"), 3)
    text = client.call.text_of(date(2026, 11, 23))

    assert total == Decimal("3.30")
    assert isinstance(total, Decimal)
    assert text == "2026-11-23"


def test_a_client_of_the_old_serializer_is_answered_in_kind(documented: dict[str, Any]) -> None:
    total = documented["old_client"].call.total(2, 3)

    assert total == 6


def test_an_argument_that_it_cannot_encode_is_a_type_error_before_anything_is_sent(documented: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="'total' cannot be encoded as application/x-typed-json"):
        documented["new_client"].call.total(object(), 3)


def test_a_result_that_it_cannot_encode_is_a_remote_exception(documented: dict[str, Any]) -> None:
    with pytest.raises(RemoteException, match="cannot encode object"):
        documented["new_client"].call.unencodable()


def test_what_it_cannot_read_is_a_wrong_request(documented: dict[str, Any]) -> None:
    with pytest.raises(WrongRequest, match="Unreadable request"):
        documented["new_client"].call.total({"$decimal": "no number"}, 1)
