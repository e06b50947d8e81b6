"""top, bench, shell and completion, over RabbitMQ."""

import json

import pytest

from amphora.cli.shell import _Completer
from tests.cli.conftest import Invoke, Shop, StartCommand


def test_top_tells_servers_and_queues_each_round(invoke: Invoke, shop: Shop, service: str) -> None:
    lines = invoke("top", service, "-n", "2", "-i", "1", "--json").stdout.splitlines()
    shown = invoke("top", service, "-n", "2", "-i", "1")

    assert len(lines) == 2
    told = json.loads(lines[-1])
    assert told["queues"][f"rpc_{service}_request"] == {"messages": 0, "consumers": 1}
    assert {each["uuid"] for each in told["servers"]} <= {shop.server.uuid}
    assert all("run_times" in each for each in told["servers"])
    assert told["functions"] == {}
    assert f"rpc_{service}_request" in shown.stdout
    assert shown.stdout.count(f"\n\n{service} on ") == 1


def test_bench_makes_the_wanted_number_of_calls(invoke: Invoke, shop: Shop, service: str) -> None:
    as_json = invoke("bench", service, "add", "20", "22", "-n", "50", "-c", "7", "--timeout", "60", "--json")
    shown = invoke("bench", service, "-n", "30", "--timeout", "60")

    report = json.loads(as_json.stdout)
    assert (report["calls"], report["failures"], report["concurrency"]) == (50, {}, 7)
    assert sum(each["count"] for each in report["histogram"]) == 50
    assert report["latency"]["min"] <= report["latency"]["p50"] <= report["latency"]["max"]
    assert shown.exit_code == 0
    assert "30 calls in" in shown.stdout
    assert "LATENCY ms" in shown.stdout


def test_bench_counts_failures_by_their_text(invoke: Invoke, shop: Shop, service: str) -> None:
    result = invoke("bench", service, "fail", "-n", "20", "--timeout", "60")

    assert result.exit_code == 1
    assert "20 x RemoteException: ValueError: sold out" in result.stdout


def test_bench_ends_with_its_time(invoke: Invoke, shop: Shop, service: str) -> None:
    result = invoke("bench", service, "-d", "0.2", "-c", "2", "--timeout", "60", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["calls"] >= 1


def test_the_shell_calls_remote_functions(invoke: Invoke, shop: Shop, service: str) -> None:
    lines = "client.call.add(20, 22)\nfunctions()\nclient.call.fail()\nclient.defer.add(1).get()\n"

    result = invoke("shell", service, "--discover", "1", typed=lines)

    assert result.exit_code == 0, result.output
    assert "42" in result.stdout.splitlines()
    assert "RemoteException" in result.stderr
    assert result.stdout.splitlines()[-1] == "2"


def test_remote_functions_are_completed_after_the_client() -> None:
    completer = _Completer({"client": object()}, dict.fromkeys(["add", "amend", "stock.ship"]))

    def found(text: str) -> list[str]:
        return [each for number in range(9) if (each := completer.complete(text, number))]

    assert found("client.call.a") == ["client.call.add(", "client.call.amend("]
    assert found("client.defer.stock.") == ["client.defer.stock.ship("]
    assert found("impor") == ["import "]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(invoke: Invoke, shell: str) -> None:
    result = invoke("completion", shell)

    assert result.exit_code == 0
    assert f"_AMPHORA_COMPLETE={shell}_complete" in result.stdout
    assert invoke("completion", "tcsh").exit_code == 2


def test_commands_are_completed(start_command: StartCommand) -> None:
    program = start_command(_AMPHORA_COMPLETE="bash_complete", COMP_WORDS="amphora pu", COMP_CWORD="1")

    assert program.wait(60) == 0
    assert program.lines == ["plain,purge-dead"]
