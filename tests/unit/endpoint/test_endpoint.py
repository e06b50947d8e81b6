"""What clients and servers check about the program that makes them."""

import gc
import subprocess
import sys
from pathlib import Path

import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer
from amphora.endpoint.endpoint import Endpoint, check_patched

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["AmqpRpcClient", "AmqpRpcServer", "AmqpRpcFanoutClient", "AmqpRpcFanoutServer"])
def test_a_program_that_is_not_patched_is_told_what_to_add_and_where(name: str) -> None:
    program = f"import amphora\ntry: amphora.{name}('math')\nexcept RuntimeError as error: print(error)"

    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert told.startswith(f"{name} needs gevent's monkey-patching. Add\n")
    assert "from gevent import monkey; monkey.patch_all()" in told
    assert "as the very first line of the program that is started, before any other import" in told


def test_importing_amphora_patches_nothing() -> None:
    program = "import amphora, gevent.monkey, sys; sys.exit(gevent.monkey.is_module_patched('socket'))"

    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_patched_program_is_fine() -> None:
    assert check_patched("AmqpRpcClient") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("kind", [AmqpRpcServer, AmqpRpcFanoutServer, AmqpRpcClient, AmqpRpcFanoutClient])
def test_arguments_are_checked_as_the_constructor_does_without_a_connection(kind: type[Endpoint]) -> None:
    kind.check_arguments("shop", broker_url="amqp://127.0.0.1:1", heartbeat=10)
    with pytest.raises(TypeError, match="heartbeat must be a number of seconds, not 'ten'"):
        kind.check_arguments("shop", heartbeat="ten")
    with pytest.raises(ValueError, match="broker_url must begin with"):
        kind.check_arguments("shop", broker_url="http://127.0.0.1")
    with pytest.raises(TypeError, match="unexpected keyword argument 'hearbeat'"):
        kind.check_arguments("shop", hearbeat=10)

    assert not [each for each in gc.get_objects() if isinstance(each, gevent.Greenlet) and "shop" in str(each)]


def test_arguments_are_checked_in_a_program_that_is_not_patched() -> None:
    source = (
        "from amphora import AmqpRpcClient as C, AmqpRpcServer as S; C.check_arguments('a'); S.check_arguments('a')"
    )

    subprocess.run([sys.executable, "-c", source], check=True, timeout=60)
