"""The manifests in docs/observability.md: what Kubernetes and Docker would run and ask is there to be run and asked."""

import re
from collections.abc import Iterator
from typing import Any

import click
import pytest
import yaml

from amphora import AmqpRpcServer
from amphora.cli import probe
from amphora.cli.probes import Probes
from amphora.cli.program import amphora
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "observability.md").read_text()
MANIFESTS = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)]

#: Fields of a probe, https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.32/#probe-v1-core
FIELDS = {"exec", "httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold", "initialDelaySeconds"}


def mappings_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a document, from the outside in."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings_in(each)


ALL = list(mappings_in(MANIFESTS))
PROBES = [each for node in ALL for name, each in node.items() if name.endswith("Probe")]
COMMANDS = [node["command"] for node in ALL if "command" in node] + [node["test"][1:] for node in ALL if "test" in node]
PATHS = sorted({each["httpGet"]["path"] for each in PROBES if "httpGet" in each})


def parsed(command: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the name of an `amphora` command and its parameters, as its command line says them."""
    program, name, *arguments = command
    assert program == "amphora"
    found = amphora.get_command(click.Context(amphora), name)
    assert found is not None
    return name, found.make_context(name, arguments).params


def test_the_page_has_what_is_looked_at_here() -> None:
    assert (len(MANIFESTS), len(PROBES), len(COMMANDS)) == (4, 7, 8)
    assert all(set(each) <= FIELDS and len({"exec", "httpGet"} & set(each)) == 1 for each in PROBES)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_one_with_these_options(command: list[str]) -> None:
    # YAML would make other things than text of some words, which Kubernetes refuses.
    assert {type(word) for word in command} == {str}

    name, params = parsed(command)

    assert name in ("serve", "health")
    if name == "serve":
        assert params["metrics_port"] == 9100
    if "--port" in command:
        assert params["ports"] == (9100,)


def test_probes_wait_for_longer_than_what_they_run() -> None:
    for each in PROBES:
        if "exec" in each:
            _, params = parsed(each["exec"]["command"])
            assert each["timeoutSeconds"] > (params["timeout"] or probe.DEFAULT_TIMEOUT)


def test_a_pod_has_the_time_that_its_servers_take_to_stop() -> None:
    (pod,) = (node for node in ALL if "terminationGracePeriodSeconds" in node)
    _, params = parsed(pod["containers"][0]["command"])

    assert pod["terminationGracePeriodSeconds"] > params["grace"]
    assert {port["containerPort"] for port in pod["containers"][0]["ports"]} == {params["metrics_port"]}


def test_a_port_that_is_asked_from_outside_is_open_to_others_and_only_such_a_port_is() -> None:
    outside = []
    for node in ALL:
        if "command" in node and node["command"][1] == "serve":
            _, params = parsed(node["command"])
            asked = any("httpGet" in each for name, each in node.items() if name.endswith("Probe"))
            assert (params["metrics_host"] == "0.0.0.0") is asked, node
            outside.append(asked)

    assert sorted(outside) == [False, False, True]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_answered(path: str) -> None:
    probes = Probes([AmqpRpcServer("orders", broker_url="memory://")], "127.0.0.1", 0)
    probes.start()

    ((_, status, text),) = probe.ask([probes.port], host="127.0.0.1", page=path, timeout=60)
    probes.stop()

    assert status in (200, 503), text
