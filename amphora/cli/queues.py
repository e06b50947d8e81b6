"""``amphora queues``: how deep the queues of a service are, and who consumes them."""

from __future__ import annotations

from typing import Any

from amphora.cli.exit_codes import BadArguments, Failed
from amphora.cli.label_names import named_by
from amphora.cli.management import ManagedQueue, Management
from amphora.cli.output import Part, print_json, print_table, table
from amphora.cli.queue_answers import QueueAnswers, ask_about_queues, no_answer
from amphora.cli.services import TargetService

__all__ = ["run"]


#: Queues of clients and servers that come and go with them.
_PASSING = ("_response", "_control", "_tries")


def run(
    service: TargetService,
    labels: tuple[str, ...],
    queue_template: str | None,
    management: str | None,
    everything: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Show the queues of the service NS: messages that wait, and consumers."""
    if management:
        api = Management(management, service.broker_url, authorities=service.authorities)
        found = _managed(service, api, everything=everything)
    elif everything:
        raise BadArguments("--all needs --management")
    elif service.fanout:
        raise BadArguments("each server of a fan-out service has a queue of its own, which only --management tells of")
    else:
        found = _asked(service, labels, queue_template, timeout)
    if as_json:
        print_json(found)
    else:
        _print(found, managed=bool(management))
    silent = [each["queue"] for each in found if not each.get("answered", True)]
    missing = [
        each["queue"]
        for each in found
        if each["messages"] is None and each["kind"] != "dead letters" and each["queue"] not in silent
    ]
    problems = [f"not there: {', '.join(missing)}"] if missing else []
    if silent:
        problems.append(no_answer(*silent))
    if problems:
        raise Failed("; ".join(problems))
    idle = [
        each for each in found if each["messages"] and not each["consumers"] and each["kind"] in ("requests", "label")
    ]
    if idle:
        queues = ", ".join(each["queue"] for each in idle)
        raise Failed(f"no server consumes from {queues}: serve it with `amphora serve`")
    if not found:
        raise Failed(f"service {service.name!r} has no queues: it was never served here")


def _asked(
    service: TargetService, labels: tuple[str, ...], queue_template: str | None, timeout: float
) -> list[dict[str, Any]]:
    # It declares nothing: the limit only says that there may be a queue of dead letters.
    with service.connected(delivery_limit=2, **named_by(queue_template)) as client:
        own = ask_about_queues(client, timeout=timeout)
        try:
            of_labels = ask_about_queues(client, *labels, timeout=timeout) if labels else QueueAnswers({})
        except ValueError as error:
            raise BadArguments(str(error)) from error
    dead = f"rpc_{service.name}_dead"
    kinds = {name: "dead letters" if name == dead else "requests" for name in (*own.found, *own.unanswered)}
    found = {**own.found, **of_labels.found}
    rows = [
        {
            "queue": name,
            "kind": kinds.get(name, "label"),
            "messages": None if each is None else each.messages,
            "consumers": None if each is None else each.consumers,
            "answered": True,
        }
        for name, each in found.items()
    ]
    rows += [
        {
            "queue": name,
            "kind": kinds.get(name, "label"),
            "messages": None,
            "consumers": None,
            "answered": False,
        }
        for name in (*own.unanswered, *of_labels.unanswered)
    ]
    order = ["requests", "dead letters", "label"]
    return sorted(rows, key=lambda row: order.index(str(row["kind"])))


def _managed(service: TargetService, management: Management, *, everything: bool) -> list[dict[str, Any]]:
    exchange = f"rpc_{service.name}_request"
    bound = set(management.bound_to(exchange))
    rows = []
    for queue in management.queues():
        kind = _kind(queue, service, bound)
        if kind is not None and (everything or kind != "passing"):
            rows.append(
                {
                    "queue": queue.name,
                    "kind": kind,
                    "messages": queue.ready,
                    "unacknowledged": queue.unacknowledged,
                    "consumers": queue.consumers,
                    "incoming": queue.incoming,
                    "outgoing": queue.outgoing,
                    "type": queue.type,
                    "state": queue.state,
                    "memory": queue.memory,
                }
            )
    order = ["requests", "label", "dead letters", "passing"]
    return sorted(rows, key=lambda row: (order.index(row["kind"]), row["queue"]))


def _kind(queue: ManagedQueue, service: TargetService, bound: set[str]) -> str | None:
    """Say what a queue is to a service; None for nothing."""
    prefix = f"rpc_{service.name}_"
    if queue.name == f"{prefix}dead":
        return "dead letters"
    if queue.name in bound:
        if queue.name.startswith(f"{prefix}queue_"):
            return "label"
        if queue.name.startswith(prefix) and queue.name.endswith(_PASSING):
            return "passing"
        # Label queues are named so by default, or without the service's name at all.
        own = queue.name.startswith(prefix) and not queue.name.startswith(f"{prefix}queue_")
        return "requests" if own else "label"
    return "passing" if queue.name.startswith(prefix) and queue.name.endswith(_PASSING) else None


def _print(found: list[dict[str, Any]], *, managed: bool) -> None:
    more = ("UNACKED", "IN/s", "OUT/s", "TYPE", "STATE") if managed else ()
    right = ("MESSAGES", "CONSUMERS", "UNACKED", "IN/s", "OUT/s")
    rows = table("QUEUE", "KIND", "MESSAGES", "CONSUMERS", *more, right=right)
    for each in found:
        if not each.get("answered", True):
            rows.add_cells(each["queue"], each["kind"], ("no answer", "red"), ("-", "dim"))
            continue
        if each["messages"] is None:
            rows.add_cells(each["queue"], each["kind"], ("-", "dim"), ("-", "dim"))
            continue
        cells: list[Part] = [each["queue"], each["kind"], _depth(each), _consumers(each)]
        if managed:
            cells += [str(each["unacknowledged"]), f"{each['incoming']:.1f}", f"{each['outgoing']:.1f}"]
            cells += [each["type"], each["state"]]
        rows.add_cells(*cells)
    print_table(rows, optional=("TYPE", "STATE", "OUT/s", "IN/s", "KIND", "UNACKED"))


def _depth(row: dict[str, Any]) -> Part:
    bad = row["messages"] and (row["kind"] == "dead letters" or not row["consumers"])
    return str(row["messages"]), "red" if bad else ""


def _consumers(row: dict[str, Any]) -> Part:
    bad = not row["consumers"] and row["kind"] in ("requests", "label")
    return str(row["consumers"]), "red" if bad else ""
