"""The alert rules for Prometheus are about metrics that there are, by labels that they have."""

import re
import shutil
from typing import Any

import pytest
import yaml
from gevent.subprocess import PIPE, STDOUT, run

from tests.support.processes import ROOT

FILE = ROOT / "dashboards" / "amphora.rules.yml"
GROUPS: dict[str, list[dict[str, Any]]] = {
    group["name"]: group["rules"] for group in yaml.safe_load(FILE.read_text())["groups"]
}
OURS = GROUPS["amphora"]
RULES = [rule for rules in GROUPS.values() for rule in rules]
#: Labels that Prometheus gives to all that it fetches.
EVERYWHERE = {"instance", "job"}
OUTCOMES = {"ok", "remote_error", "no_result", "unroutable", "error", "ignored"}


@pytest.mark.parametrize("rule", OURS, ids=lambda rule: rule["alert"])
def test_an_alert_is_about_metrics_that_there_are_by_labels_that_they_have(
    rule: dict[str, Any], exported: dict[str, set[str]]
) -> None:
    names = set(re.findall(r"amphora_\w+", rule["expr"]))

    assert names
    assert names <= exported.keys()
    labels = set.intersection(*(exported[name] for name in names)) | EVERYWHERE
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
    filtered = dict(re.findall(r"(\w+)=\"(\w+)\"", rule["expr"]))
    assert grouped | filtered.keys() <= labels
    assert set(filtered.values()) <= OUTCOMES
    # Nothing is left of the others when they are added up.
    told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert told <= (grouped or labels)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_how_bad_it_is(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("warning", "critical")


def test_no_two_alerts_have_one_name() -> None:
    names = [rule["alert"] for rule in RULES]

    assert len(names) == len(set(names))


def test_prometheus_reads_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package is prometheus)")

    done = run([promtool, "check", "rules", str(FILE)], stdout=PIPE, stderr=STDOUT, text=True, timeout=60)

    assert done.returncode == 0, done.stdout
