"""Makes and keeps a virtual environment for each peer."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


class NotInstalled(Exception):
    """A peer's packages, or its program in C, could not be installed; the text says why."""


def python_of(peer: str, directory: Path) -> str:
    """The interpreter of the peer's virtual environment, which is made if it is not there or out of date.

    The packages are those of the peer's `requirements.txt`, which is installed from the root of the source
    tree; programs in C in the peer's folder are compiled into the environment's `bin`.

    Args:
        peer: its name, a folder of `peers/`.
        directory: where the environments are kept, each under its peer's name.

    Raises:
        NotInstalled: pip or the C compiler failed.
    """
    sources = [_HERE / "peers" / peer / "requirements.txt", *sorted((_HERE / "peers" / peer).glob("*.c"))]
    missing = [source.name for source in sources if not source.exists()]
    if missing:
        raise NotInstalled(f"{peer} has no {missing[0]}")
    environment = directory / peer
    python = environment / "bin" / "python"
    stamp = environment / "installed"
    wanted = hashlib.sha256(b"".join(source.read_bytes() for source in sources) + sys.version.encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    print(f"installing {peer} into {environment} ...", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(environment)])
    _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(sources[0])])
    for source in sources[1:]:
        program = environment / "bin" / source.stem
        _run(["cc", "-O2", "-D_GNU_SOURCE", str(source), "-lrabbitmq", "-o", str(program)])
    stamp.write_text(wanted)
    return str(python)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, cwd=_HERE.parent, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NotInstalled(f"{' '.join(command)} failed\n{(done.stderr or done.stdout).strip()[-2000:]}")
