"""The setting AMPHORA: what it becomes for each alias, and what is said about mistakes in it."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from amphora import RpcJsonSerializer
from amphora.contrib.django import clients, servers
from amphora.contrib.django.conf import imported, insist_on_alias, problems, service, services
from amphora.contrib.django.serializer import DjangoJsonSerializer


def texts(amphora):
    """Return what is wrong with a setting."""
    with override_settings(AMPHORA=amphora):
        return [problem.text for problem in problems()]


def test_an_alias_has_its_own_settings_and_the_arguments_of_both_constructors():
    options = {
        "SERVICE_NAME": "shop",
        "BROKER_URL": "amqp://shop:secret@host",
        "TIMEOUT": 10,
        "CONCURRENCY": 50,
        "GRACE": 5,
        "QUEUES": ["a", "b"],
        "ATOMIC_REQUESTS": True,
    }

    with override_settings(AMPHORA={"default": options}):
        found = service("default")

    assert (found.service_name, found.grace, found.queues, found.atomic_requests) == ("shop", 5.0, ("a", "b"), True)
    assert found.server_options == {"broker_url": "amqp://shop:secret@host", "concurrency": 50}
    assert found.client_options == {"broker_url": "amqp://shop:secret@host", "timeout": 10}
    assert "secret" not in repr(found)


def test_what_is_not_given_has_its_default():
    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "shop"}}):
        found = service("default")

    assert (found.fanout, found.atomic_requests, found.using) == (False, False, "default")
    assert (found.handlers_module, found.queues, found.grace) == ("rpc", (), 30.0)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, DjangoJsonSerializer),
        ({"serializer": RpcJsonSerializer}, RpcJsonSerializer),
        ({"serializer": "amphora.RpcJsonSerializer"}, RpcJsonSerializer),
    ],
)
def test_the_serializer_is_djangos_unless_another_is_given_or_named(given, made):
    assert imported(given)["serializer"] is made


def test_further_serializers_can_be_named_too():
    assert imported({"accept": ["amphora.RpcJsonSerializer"]})["accept"] == [RpcJsonSerializer]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BROKER_ULR", "BROKER_URL"),
        ("CONCURENCY", "CONCURRENCY"),
        ("concurrency", "CONCURRENCY"),
        ("URL", "BROKER_URL"),
        ("FAN_OUT", "FANOUT"),
        ("ATOMIC_REQUEST", "ATOMIC_REQUESTS"),
    ],
)
def test_an_unknown_setting_is_named_with_its_alias_and_the_nearest_right_name(name, meant):
    found = texts({"default": {"SERVICE_NAME": "shop"}, "billing": {"SERVICE_NAME": "billing", name: 1}})

    assert found == [f"AMPHORA['billing'] has an unknown setting {name!r}; did you mean {meant!r}?"]


def test_an_unknown_setting_that_is_like_no_other_is_only_named():
    assert texts({"default": {"SERVICE_NAME": "shop", "QQQ": 1}}) == [
        "AMPHORA['default'] has an unknown setting 'QQQ'."
    ]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("FANOUT", 1, "True or False"),
        ("ATOMIC_REQUESTS", "yes", "True or False"),
        ("USING", None, "an alias of DATABASES"),
        ("RECORD_ERRORS", -1, "a count of errors to keep, 0 for none"),
        ("RECORD_ERRORS", True, "a count of errors to keep, 0 for none"),
        ("HANDLERS_MODULE", "my handlers", "a module's name inside an app, such as 'rpc'"),
        ("QUEUES", "label", "a list of labels, each a str"),
        ("QUEUES", [1], "a list of labels, each a str"),
        ("GRACE", -1, "a number of seconds, 0 or more"),
        ("GRACE", "10", "a number of seconds, 0 or more"),
        ("DECLARE", "no", "True or False"),
        ("SEND_TRACEBACKS", 0, "True or False"),
        ("ACCEPT", "amphora.RpcJsonSerializer", "a list of serializers, or of dotted paths to them"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_is_wanted(name, value, wanted):
    found = texts({"default": {"SERVICE_NAME": "shop", name: value}})

    assert found == [f"AMPHORA['default'][{name!r}] must be {wanted}, not {value!r}."]


def test_a_setting_that_is_no_dict_of_aliases_is_named():
    assert texts([]) == ["The setting AMPHORA must be a dict of aliases, not a list."]
    assert texts(None) == ["The setting AMPHORA is missing."]
    assert texts({7: {}}) == ["The alias 7 of AMPHORA is no text."]
    assert texts({"default": "amqp://"}) == ["AMPHORA['default'] must be a dict of settings, not a str."]
    assert texts({"default": {}}) == ["AMPHORA['default'] has no SERVICE_NAME."]


def test_an_alias_with_mistakes_leaves_the_others_usable():
    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "shop"}, "billing": {"SERVICE": "billing"}}):
        assert service("default").service_name == "shop"
        with pytest.raises(ImproperlyConfigured, match=r"AMPHORA\['billing'\] has no SERVICE_NAME"):
            service("billing")
        with pytest.raises(ImproperlyConfigured, match=r"unknown setting 'SERVICE'; did you mean 'SERVICE_NAME'\?"):
            services()


def test_an_alias_that_is_missing_is_named_with_the_nearest_and_the_others():
    message = (
        r"AMPHORA has no alias 'biling'; did you mean 'billing'\? Add AMPHORA\['biling'\] = .*"
        r"or use one of those there: 'default', 'billing'\."
    )
    for look_up in (service, insist_on_alias, servers.__getitem__, clients.__getitem__):
        with pytest.raises(ImproperlyConfigured, match=message):
            look_up("biling")


def test_a_project_without_the_setting_is_told_what_to_add():
    with override_settings(AMPHORA=None), pytest.raises(ImproperlyConfigured, match=r"is missing\. Add AMPHORA = \{"):
        servers["billing"]


def test_stand_ins_are_iterated_as_the_settings_have_them():
    assert list(servers) == list(clients) == ["default", "billing"]
    assert (len(servers), servers.all()) == (2, [servers["default"], servers["billing"]])
    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "shop"}}):
        assert list(servers) == ["default"]
