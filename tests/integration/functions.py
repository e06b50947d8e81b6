"""Remote functions that tests look into and hold."""

from typing import Any

from gevent.event import Event


class Noting:
    """Notes what it is called with, and returns it.

    Attributes:
        runs: The values, in the order of the calls.
    """

    __name__ = "note"

    def __init__(self) -> None:
        self.runs: list[Any] = []

    def __call__(self, value: Any = "done") -> Any:
        self.runs.append(value)
        return value


class Holding(Noting):
    """Notes what it is called with, and returns it when it is let go.

    Attributes:
        began: Set when it was called.
        let_go: Set it to let it return.
    """

    __name__ = "hold"

    def __init__(self) -> None:
        super().__init__()
        self.began = Event()
        self.let_go = Event()

    def __call__(self, value: Any = "done") -> Any:
        super().__call__(value)
        self.began.set()
        assert self.let_go.wait(30)
        return value
