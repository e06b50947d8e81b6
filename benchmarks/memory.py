"""Prints the memory of client and server before and after many calls."""

from __future__ import annotations

import sys

from one_peer import new_parser, print_measured
from processes import Measurement
from workloads import Workload

_MIB = 1024 * 1024


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="between the two readings (default: 100000)")
    parser.add_argument("--warm-up", type=int, default=20_000, help="before the first reading (default: 20000)")
    options = parser.parse_args()
    print(f"{options.peer}: {options.warm_up} calls, then {options.calls} more", file=sys.stderr)
    workload = Workload("call", options.calls, in_flight=100, warm_up=options.warm_up)
    return print_measured(options.peer, workload, _table)


def _table(measured: Measurement) -> str:
    lines = ["| process | MiB before | MiB after | more | bytes a call |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, usage in measured.usage.items():
        before, after = usage["rss_before"], usage["rss_after"]
        more = after - before
        row = [name, f"{before / _MIB:.1f}", f"{after / _MIB:.1f}", f"{more / _MIB:+.1f}"]
        lines.append(f"| {' | '.join(row)} | {more / measured.count:+.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
