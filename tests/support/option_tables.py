"""Tables of settings in the documentation, made from the fields of the options; see `tests.support.option_texts`."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import amphora.contrib.celery.conf as celery
import amphora.contrib.django.options as django
from amphora.options.fields import Option
from tests.support.processes import ROOT

__all__ = ["TABLES", "Table"]

_MIB = 1024 * 1024

#: Types that read better in words.
_TYPES = {
    "SerializerOption": "class, instance or path",
    "Sequence[SerializerOption]": "list of classes, instances or paths",
    "Sequence[bytes | str]": "list of `bytes` or `str`",
    "Sequence[int]": "list of `int`",
    "Sequence[str]": "list of `str`",
    "tuple[str, ...]": "list of `str`",
    "SslOption": "`bool`, context or `dict`",
}


class Table:
    """A table of a page, between its heading row and the first line that is none of its rows.

    Args:
        page: The page.
        before: A line of the page that the table follows.
        heading: Its columns.
        rows: Give its cells.
    """

    def __init__(self, page: str, before: str, heading: str, rows: Callable[[], Iterable[list[str]]]) -> None:
        self.page = ROOT / "docs" / page
        self._before = before
        self._heading = heading
        self._rows = rows

    def __repr__(self) -> str:
        return f"{self.page.name}: {self._before}"

    def made(self) -> str:
        """Return the table as it is to be."""
        lines = [self._heading, re.sub(r"[^|]+", "---", self._heading)]
        lines += [f"| {' | '.join(each)} |" for each in self._rows()]
        return "\n".join(lines) + "\n"

    def found(self) -> str:
        """Return the table as it is."""
        text = self.page.read_text()
        start = text.index(f"\n{self._heading}\n", text.index(self._before)) + 1
        match = re.compile(r"(?:\|.*\n)+").match(text, start)
        assert match is not None
        return match[0]


def summary_of(option: Option, role: str, spelled: Callable[[str], str], names: Iterable[str]) -> str:
    """Return what an option means, as a phrase in Markdown.

    Args:
        option: The option.
        role: Whose documentation it is, where it has no summary.
        spelled: Gives the name of the setting of an option.
        names: Those of all options, which are spelled so where they are named.
    """
    text = option.summary
    if not text:
        text = re.split(r"\.(?:\s|$)", option.doc(role), maxsplit=1)[0].replace("``", "`")
    for name in names:
        text = text.replace(f"`{name}`", f"`{spelled(name)}`")
    return text.replace("|", r"\|")


def default_of(option: Option) -> str:
    """Return the default as a page shows it."""
    value = option.default
    if isinstance(value, int) and not isinstance(value, bool):
        value = int(value)
        if value >= _MIB and value % _MIB == 0:
            return f"`{value // _MIB} * 1024 * 1024`"
        return f"`{value:_}`" if value >= 10_000 else f"`{value}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value!r}`"


def type_of(option: Option) -> str:
    """Return the type as a page shows it."""
    return _TYPES.get(option.type) or " or ".join(f"`{each}`" for each in option.type.split(" | "))


def _django(name: str) -> str:
    return name.upper()


def _celery(name: str) -> str:
    return f"amphora_{name}"


def _row(option: Option, role: str, spelled: Callable[[str], str], names: Iterable[str], default: str) -> list[str]:
    return [f"`{spelled(option.name)}`", type_of(option), default, summary_of(option, role, spelled, names)]


def _django_own() -> Iterator[list[str]]:
    options = django.own_settings().values()
    for each in options:
        yield _row(each, "", _django, _names(django.known_settings()), default_of(each))


def _django_arguments() -> Iterator[list[str]]:
    server, client = django.server_settings(), django.client_settings()
    names = _names(django.known_settings())
    for name, each in {**server, **client}.items():
        takers = {(True, True): "both", (True, False): "server", (False, True): "client"}[
            name in server, name in client
        ]
        default = "(needed)" if each.required else default_of(each)
        if each.name == "serializer":
            default = "`DjangoJsonSerializer`"
        setting, *others = _row(each, "client" if name in client else "server", _django, names, default)
        yield [setting, takers, *others]


def _celery_rows(wanted: Mapping[str, Option], role: str) -> Iterator[list[str]]:
    told = {
        "broker_url": "Celery's",
        "ssl": "Celery's",
        "serializer": "JSON",
        "service_name": "(needed)",
        "fanout_service_name": "the service's and `_fanout`",
    }
    for name, each in wanted.items():
        default = told.get(name) or default_of(each)
        yield _row(each, role, _celery, _names(celery.DEFAULTS), default)


def _names(options: Mapping[str, object]) -> list[str]:
    return [name.lower() for name in options]


_OF_BOTH = {name: each for name, each in celery.SERVER.items() if name in celery.CLIENT}
_OF_SERVER = {name: each for name, each in celery.SERVER.items() if name not in celery.CLIENT}
_OF_CLIENT = {name: each for name, each in celery.CLIENT.items() if name not in celery.SERVER}

_HEADING = "| setting | type | default | meaning |"

TABLES = [
    Table("django-settings.md", "## Settings of this integration", _HEADING, _django_own),
    Table(
        "django-settings.md",
        "## Settings of servers and clients",
        "| setting | for | type | default | meaning |",
        _django_arguments,
    ),
    Table(
        "celery-settings.md",
        "Those of the integration itself:",
        _HEADING,
        partial(_celery_rows, celery.OWN, ""),
    ),
    Table(
        "celery-settings.md",
        "Those of the broker, for server and client",
        _HEADING,
        partial(_celery_rows, _OF_BOTH, "client"),
    ),
    Table("celery-settings.md", "Those of the server", _HEADING, partial(_celery_rows, _OF_SERVER, "server")),
    Table("celery-settings.md", "Those of the client", _HEADING, partial(_celery_rows, _OF_CLIENT, "client")),
]
