"""The Grafana dashboard asks for metrics that there are, by labels that they have."""

import json
import re
from typing import Any

from tests.support.processes import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "dashboards" / "amphora.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_it_asks_only_for_metrics_that_there_are(exported: dict[str, set[str]]) -> None:
    asked = {name for expression in EXPRESSIONS for name in re.findall(r"amphora_\w+", expression)}

    assert len(asked) > 15
    assert asked <= exported.keys()


def test_it_groups_and_filters_by_labels_that_there_are(exported: dict[str, set[str]]) -> None:
    for expression in EXPRESSIONS:
        [name] = set(re.findall(r"amphora_\w+", expression))
        grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
        filtered = set(re.findall(r"(\w+)=", expression))
        assert (grouped | filtered) <= exported[name], expression


def test_it_shows_every_metric(exported: dict[str, set[str]]) -> None:
    shown = " ".join(EXPRESSIONS)

    bases = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in exported}
    assert [base for base in sorted(bases) if base not in shown] == []


def test_panels_neither_overlap_nor_share_an_id() -> None:
    cells = [
        (column, line)
        for panel in DASHBOARD["panels"]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
