"""The watch for changes of the code goes on after an error."""

from pathlib import Path
from typing import Any

import pytest

from amphora.cli import watching


@pytest.mark.expects_errors("RuntimeError", "trying again")
def test_an_error_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    rounds: list[Any] = [RuntimeError("no more watches"), {(1, "orders.py")}]

    def changes(*_: object, **__: object) -> Any:
        while rounds:
            found = rounds.pop(0)
            if isinstance(found, Exception):
                raise found
            yield found

    monkeypatch.setattr(watching.watchfiles, "watch", changes)
    monkeypatch.setattr(watching, "_AGAIN", 0.01)
    seen: list[str] = []

    watching.watch([Path()], seen.append)

    assert seen == ["orders.py has changed"]
    assert "no more watches" in caplog.text
