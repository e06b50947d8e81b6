"""``amphora doctor``: look for what is wrong, and say how to mend it."""

from __future__ import annotations

from collections.abc import Iterator

from amphora.cli.broker_checks import broker_findings, management_findings
from amphora.cli.exit_codes import Failed, NotSent, errors_end_the_command
from amphora.cli.local_checks import local_findings
from amphora.cli.management import Management
from amphora.cli.output import print_json
from amphora.cli.report import Finding, Level, print_finding
from amphora.cli.service_checks import service_findings
from amphora.cli.services import TargetService

__all__ = ["run"]


def run(
    service: TargetService, queue_type: str, delivery_limit: int | None, management: str | None, as_json: bool
) -> None:
    """Look at this installation, at the broker, and at the service NS; each line says what is wrong."""
    found: list[Finding] = []
    api = Management(management, service.broker_url, authorities=service.authorities) if management else None
    with errors_end_the_command():
        for finding in _findings(service, api, queue_type, delivery_limit):
            found.append(finding)
            if not as_json:
                print_finding(finding)
    if as_json:
        print_json(
            [
                {"check": each.check, "level": each.level.value, "text": each.text, "remedy": each.remedy}
                for each in found
            ]
        )
    bad = [each for each in found if each.level is Level.ERROR]
    if any(each.check == "connection" for each in bad):
        raise NotSent("the broker cannot be used")
    if bad:
        raise Failed(f"{len(bad)} thing{'s are' if len(bad) > 1 else ' is'} wrong")


def _findings(
    service: TargetService, management: Management | None, queue_type: str, delivery_limit: int | None
) -> Iterator[Finding]:
    yield from local_findings()
    connected = True
    for finding in broker_findings(service):
        connected = connected and finding.level is not Level.ERROR
        yield finding
    if management is not None:
        yield from management_findings(management)
    if connected and service.name:
        yield from service_findings(service, queue_type=queue_type, delivery_limit=delivery_limit)
