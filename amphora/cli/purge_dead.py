"""``amphora purge-dead``: delete dead letters."""

from __future__ import annotations

import sys

import click

from amphora import DeadLetters
from amphora.cli.dead_letter_options import Choice, as_record, described
from amphora.cli.exit_codes import BadArguments
from amphora.cli.output import print_json, print_line
from amphora.cli.services import TargetService

__all__ = ["can_be_asked", "run"]


def run(service: TargetService, choice: Choice, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Delete dead letters of the service NS."""
    if not (yes or dry_run) and (as_json or not can_be_asked()):
        raise BadArguments("there is no terminal to confirm at: pass --yes to delete, or --dry-run to look")
    with service.open_dead_letters() as dead:
        if choice.is_everything and not dry_run:
            deleted, left = _delete_all(service, dead, yes=yes), 0
            if as_json:
                print_json({"deleted": deleted, "left": left})
        else:
            deleted, left = _delete(service, dead, choice, yes=yes, dry_run=dry_run, as_json=as_json)
    if not as_json:
        print_line(f"{deleted} {'would be ' if dry_run else ''}deleted, {left} left")


def can_be_asked() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin.isatty()


def _delete_all(service: TargetService, dead: DeadLetters, *, yes: bool) -> int:
    status = dead.status()
    if status is None or not status.messages:
        return 0
    _confirm(f"Delete all {status.messages} dead letters of service {service.name!r}?", yes=yes)
    return dead.purge()


def _delete(
    service: TargetService, dead: DeadLetters, choice: Choice, *, yes: bool, dry_run: bool, as_json: bool
) -> tuple[int, int]:
    """Delete the chosen ones; return how many they were, and how many are left."""
    letters = list(dead.letters())
    chosen = [each for each in letters if choice.takes(each)][: choice.limit]
    if not as_json:
        for letter in chosen:
            print_line(described(letter))
    if chosen and not dry_run:
        _confirm(f"Delete these {len(chosen)} dead letters of service {service.name!r}?", yes=yes)
        for letter in chosen:
            dead.drop(letter)
    left = len(letters) - len(chosen)
    if as_json:
        print_json({"would_delete" if dry_run else "deleted": [as_record(each) for each in chosen], "left": left})
    return len(chosen), left


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not click.confirm(question):
        raise BadArguments("nothing was deleted")
