"""Amphora with the packages that make JSON faster; otherwise the same."""

#: Not that of `peers.amphora`: the servers of both run at the same time.
SERVICE = "bench_amphora_speed"
