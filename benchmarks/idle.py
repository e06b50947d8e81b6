"""Prints what a connected client and server use while nothing is called."""

from __future__ import annotations

import sys

from one_peer import new_parser, print_measured
from processes import Measurement
from workloads import Workload


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    options = parser.parse_args()
    print(f"{options.peer}: ten calls, then {options.seconds} s of nothing", file=sys.stderr)
    return print_measured(options.peer, Workload("idle", options.seconds, warm_up=10), _table)


def _table(measured: Measurement) -> str:
    lines = ["| process | CPU seconds | CPU % | context switches per second |", "| --- | ---: | ---: | ---: |"]
    for name, usage in measured.usage.items():
        share, switches = usage["cpu"] / measured.seconds, usage["switches"] / measured.seconds
        lines.append(f"| {name} | {usage['cpu']:.2f} | {share:.2%} | {switches:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
