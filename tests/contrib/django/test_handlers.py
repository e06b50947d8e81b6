"""Handlers in rpc.py: collected at import, and served by a server that is made when it serves."""

import subprocess
import sys

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from amphora import AmqpRpcClient, AmqpRpcFanoutServer, AmqpRpcServer, WrongRequest
from amphora.contrib.django import LazyServer, client, clients, server, servers
from tests.contrib.django.conftest import PROJECT, environment_of_project


def unmade():
    """Return a stand-in that has no functions yet."""
    return LazyServer("default")


def function(x):
    """Return the argument."""
    return x


def test_functions_of_every_app_are_there_before_anything_serves():
    names = {"add", "orders.total", "orders.fail"}

    assert names <= set(server.functions)
    assert set(servers["billing"].functions) == {"invoices.number"}
    assert not server.made
    assert not servers["billing"].made


def test_functions_are_added_in_all_the_ways_of_the_real_server():
    stand_in = unmade()

    assert stand_in.add_function(function) is function
    assert stand_in.add_function(function, "named") is function
    assert stand_in.add_function("decorated")(function) is function
    assert stand_in.add_function(name="keyword")(function) is function

    assert not stand_in.made
    assert {"function", "named", "decorated", "keyword"} == set(stand_in._functions)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("name", "other"), TypeError, "takes the function first"),
        ((), TypeError, "needs a function or a name"),
        ((5,), TypeError, "only a callable can be a remote function, not 5"),
        ((function, 5), TypeError, "the name of a remote function must be a str, not 5"),
        ((function, ""), ValueError, "must not be empty"),
        ((type("Callable", (), {"__call__": print})(),), TypeError, "has no __name__: give it a name"),
    ],
)
def test_mistakes_in_adding_are_told_where_they_are_made(arguments, error, message):
    with pytest.raises(error, match=message):
        unmade().add_function(*arguments)


def test_two_functions_of_one_name_are_refused():
    stand_in = unmade()
    stand_in.add_function(function, "name")

    with pytest.raises(ValueError, match=r"already a remote function 'name' of <LazyServer 'default'>"):
        stand_in.add_function(lambda: None, "name")


def test_a_module_that_is_loaded_once_more_replaces_its_functions():
    source = "def f(): return 1\nstand_in.add_function(f)"
    stand_in = unmade()

    for _ in range(2):
        exec(compile(source, "rpc.py", "exec"), {"__name__": "shop.rpc", "stand_in": stand_in})

    assert list(stand_in._functions) == ["f"]


def test_two_functions_of_one_name_in_one_module_are_a_mistake():
    source = "def f(): return 1\nstand_in.add_function(f)\n" * 2

    with pytest.raises(ValueError, match="already a remote function 'f'"):
        exec(compile(source, "rpc.py", "exec"), {"__name__": "shop.rpc", "stand_in": unmade()})


def test_handlers_of_an_alias_that_the_settings_lack_are_refused_with_the_remedy():
    with (
        override_settings(AMPHORA={"billing": {"SERVICE_NAME": "billing"}}),
        pytest.raises(ImproperlyConfigured, match=r"AMPHORA has no alias 'default'.*Add AMPHORA\['default'\]"),
    ):
        unmade().add_function(function)


def test_all_that_the_real_server_has_is_reachable():
    public = {name for name in dir(AmqpRpcServer) if not name.startswith("_")}

    assert public <= set(dir(server))
    assert server.service_name == "django_shop"
    assert server.stats()["requests"] == 0
    assert server.concurrency == 100
    assert (server.broker, server.connected) == ("memory://", False)
    assert isinstance(server.real, AmqpRpcServer)
    assert server.real.functions == server.functions


def test_whoever_asks_for_a_name_that_is_not_there_makes_no_server():
    stand_in = unmade()

    assert not hasattr(stand_in, "nothing_like_that")
    assert not hasattr(stand_in, "_registry")
    assert not stand_in.made
    assert repr(stand_in) == "<LazyServer 'default'>"


def test_two_servers_serve_in_one_process_each_its_own_functions():
    with server, servers["billing"]:
        assert client.call.add(1, 2) == 3
        assert clients["billing"].call.invoices.number(7) == "INV-00007"
        with pytest.raises(WrongRequest, match="No function add defined"):
            clients["billing"].call.add(1, 2)
        assert server.stats()["requests"] == 1


def test_a_function_that_is_added_while_the_server_serves_is_served():
    with servers["billing"] as billing:
        billing.add_function(lambda: "late", "added.late")

        assert clients["billing"].call.added.late() == "late"
    del billing._functions["added.late"]


def test_a_fan_out_alias_has_a_fan_out_server():
    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "fan", "BROKER_URL": "memory://", "FANOUT": True}}):
        assert isinstance(unmade().real, AmqpRpcFanoutServer)


def test_arguments_can_be_overridden_for_the_next_server():
    stand_in = unmade()
    stand_in.override(concurrency=7)

    assert stand_in.concurrency == 7


def test_what_a_constructor_refuses_is_raised_with_the_alias():
    with (
        override_settings(AMPHORA={"default": {"SERVICE_NAME": "shop", "HEARTBEAT": "ten"}}),
        pytest.raises(ImproperlyConfigured, match=r"AMPHORA\['default'\]: heartbeat must be a number of seconds"),
    ):
        unmade().real  # noqa: B018  (makes it)


def test_middleware_is_kept_for_the_server_that_is_made():
    seen = []
    stand_in = unmade()

    @stand_in.add_middleware
    def note(request, call):
        seen.append(request.function)
        return call()

    stand_in.add_function(function, "noted")
    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "noted", "BROKER_URL": "memory://"}}), stand_in:
        client = AmqpRpcClient("noted", broker_url="memory://")
        assert client.call.noted(1) == 1
        client.stop()
    assert seen == ["noted"]


def test_another_integration_finds_the_endpoints_of_a_service():
    config = apps.get_app_config("amphora")

    assert config.endpoints("django_billing") == (servers["billing"], clients["billing"])
    assert config.endpoints("no such service") is None


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_commands_of_a_project_work_in_a_program_that_is_not_patched(command, tmp_path):
    ended = subprocess.run(
        [sys.executable, PROJECT / "manage.py", command],
        env=environment_of_project(SHOP_DATABASE=str(tmp_path / "db.sqlite3")),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_unpatched_process_is_told_where_to_patch():
    source = (
        "import django; django.setup()\n"
        "from amphora.contrib.django import client\n"
        "try: client.call.add(1, 2)\n"
        "except RuntimeError as error: print(error)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", source],
        env=environment_of_project(),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.stderr == ""
    assert ended.stdout.startswith("AMPHORA['default']: servers and clients need gevent's monkey-patching")
    assert "    from gevent import monkey; monkey.patch_all()\n\nbefore everything else in the program" in ended.stdout
    assert "Or let calls wait in threads: AMPHORA['default']['THREADED'] = True." in ended.stdout
