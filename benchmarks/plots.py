"""Plots of the main figures as SVG."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from report import Results, Value, p50, per_second

_OURS, _OTHERS = "#c2410c", "#64748b"


def plot(results: Results, directory: Path) -> None:
    """Write one SVG a figure into the directory, which is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    _bars(results, "in flight", per_second, "Calls per second, 100 in flight", ".0f", directory / "in_flight.svg")
    _bars(results, "sequential", p50, "Sequential call, median, ms", ".2f", directory / "sequential.svg")


def _bars(results: Results, workload: str, value: Value, title: str, digits: str, file: Path) -> None:
    found = [(peer, results.values(peer, workload, value)) for peer in results.peers]
    found = [(peer, spread) for peer, spread in found if spread.values]
    peers = [peer for peer, _ in found]
    middles = [spread.median for _, spread in found]
    errors = [
        [spread.median - min(spread.values) for _, spread in found],
        [max(spread.values) - spread.median for _, spread in found],
    ]
    # Text stays text, and the same figures give the same file.
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "amphora"}):
        figure, axes = pyplot.subplots(figsize=(7, 0.35 * len(found) + 1))
        colors = [_OURS if peer == "amphora" else _OTHERS for peer in peers]
        bars = axes.barh(peers, middles, xerr=errors, color=colors, ecolor="#1e293b", capsize=2)
        axes.bar_label(bars, labels=[f" {middle:{digits}}" for middle in middles], padding=6)
        axes.invert_yaxis()  # the first peer on top
        axes.margins(x=0.15)
        axes.set_title(title, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)
