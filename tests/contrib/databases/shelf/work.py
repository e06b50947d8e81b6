"""What the functions do."""

from django.db import connection

__all__ = ["backend_pid"]


def backend_pid(seconds: float = 0.0) -> int:
    """Ask the database which of its processes serves this connection, after a while."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
        return pid
