"""JSON for Django: all that DjangoJSONEncoder takes, in its shapes, lazy strings and querysets' values."""

import datetime
import json
import sys
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections
from django.db.models import TextChoices
from django.utils import timezone, translation
from django.utils.functional import lazy
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from amphora import RpcJsonSerializer
from amphora.contrib.django import client, server
from amphora.contrib.django.serializer import DjangoJsonSerializer

lazy_text = lazy(str, str)


class Colour(TextChoices):
    """Choices of a model's field."""

    RED = "red", "Red"


def without_packages():
    """Return a serializer as it is where neither orjson nor msgspec is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        patch.setitem(sys.modules, "msgspec", None)
        return DjangoJsonSerializer()


SERIALIZERS = [DjangoJsonSerializer(), without_packages()]


@pytest.fixture(params=SERIALIZERS, ids=["fast", "plain"])
def serializer(request):
    """Give the serializer with and without the fast packages."""
    return request.param


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime.datetime(2026, 2, 3, 4, 5, 6, 789012), "2026-02-03T04:05:06.789"),
        (datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.UTC), "2026-02-03T04:05:06Z"),
        (datetime.date(2026, 2, 3), "2026-02-03"),
        (datetime.time(4, 5, 6, 789012), "04:05:06.789"),
        (datetime.timedelta(days=1, seconds=2, microseconds=3), "P1DT00H00M02.000003S"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (gettext_lazy("Yes"), "Yes"),
        (lazy_text("text"), "text"),
        (mark_safe("<b>"), "<b>"),
        (Colour.RED, "red"),
        (Colour.RED.label, "Red"),
        ({lazy_text("key"): [lazy_text("value")]}, {"key": ["value"]}),
        ([{"deep": ({lazy_text("key"): Decimal(1)},)}], [{"deep": [{"key": "1"}]}]),
        ({1, 2}, [1, 2]),
    ],
)
def test_values_of_django_programs_are_encoded(serializer, value, expected):
    assert serializer.loads(serializer.dumps({"result": value})) == {"result": expected}


def test_a_lazy_string_is_in_the_language_that_is_active(serializer):
    with translation.override("de"):
        assert serializer.loads(serializer.dumps([gettext_lazy("Yes")])) == ["Ja"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime.time(4, tzinfo=datetime.UTC), "timezone-aware times"),
        (object(), "cannot encode object"),
        ({lazy_text("key"): object()}, "cannot encode object"),
    ],
)
def test_what_cannot_be_encoded_is_named(serializer, value, message):
    with pytest.raises((TypeError, ValueError), match=message):
        serializer.dumps(value)


def test_keys_that_no_json_has_are_an_error(serializer):
    with pytest.raises(TypeError, match="keys must be str"):
        serializer.dumps({UUID(int=5): 1})


def test_other_services_read_it_as_json():
    assert DjangoJsonSerializer.content_type == RpcJsonSerializer.content_type
    assert RpcJsonSerializer().loads(DjangoJsonSerializer().dumps({"day": timezone.now().date()}))


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.datetimes()
    | st.datetimes(timezones=st.sampled_from([datetime.UTC, timezone.get_fixed_timezone(90)]))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.text("abcé", max_size=4).map(lazy_text)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("abcé", max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_whatever_djangos_encoder_takes_arrives_as_it_writes_it(value):
    expected = json.loads(json.dumps(value, cls=DjangoJSONEncoder))

    for serializer in SERIALIZERS:
        assert serializer.loads(serializer.dumps(value)) == expected


@given(st.dictionaries(st.text("abc", max_size=3), values, max_size=3))
def test_lazy_keys_are_as_good_as_text(value):
    lazily = {lazy_text(key): inner for key, inner in value.items()}

    for serializer in SERIALIZERS:
        assert serializer.loads(serializer.dumps(lazily)) == serializer.loads(serializer.dumps(value))


@pytest.fixture
def groups(database):
    """Give a manager of a table with two rows."""
    from django.contrib.auth.models import Group  # noqa: PLC0415  (apps are loaded by the conftest)

    made = [Group.objects.create(name=name) for name in ("editors", "readers")]
    yield Group.objects.filter(pk__in=[each.pk for each in made]).order_by("name")
    for each in made:
        each.delete()
    connections.close_all()


def test_values_of_a_queryset_are_lists(serializer, groups):
    found = {
        "values": groups.values("name"),
        "rows": groups.values_list("name", "name"),
        "flat": groups.values_list("name", flat=True),
        "named": groups.values_list("name", named=True),
    }

    assert serializer.loads(serializer.dumps(found)) == {
        "values": [{"name": "editors"}, {"name": "readers"}],
        "rows": [["editors", "editors"], ["readers", "readers"]],
        "flat": ["editors", "readers"],
        "named": [["editors"], ["readers"]],
    }


def test_objects_of_models_are_refused_with_the_remedy(serializer, groups):
    with pytest.raises(TypeError, match=r"cannot encode a queryset of Group objects: choose .* values\(\)"):
        serializer.dumps({"groups": groups})
    with pytest.raises(TypeError, match=r"cannot encode the Group object with primary key \d+: send its key"):
        serializer.dumps({"group": groups.first()})


def test_a_queryset_that_a_function_returns_is_fetched_before_its_connection_is_given_back(groups):
    server.add_function(lambda: {"names": groups.values_list("name", flat=True).all()}, "group.names")

    with server:
        assert client.call.group.names() == {"names": ["editors", "readers"]}
    del server._functions["group.names"]
