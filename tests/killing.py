"""A command that dies: it kills itself just before one of its writes."""

import os
import re
import signal
from typing import Any

import psycopg

from bakehouse.main import main

WRITES = re.compile("insert|update|delete|with|begin|commit|create (index|schema)")


def killed_before(write: int) -> None:
    """Runs the command until its nth statement that writes."""
    execute: Any = psycopg.Cursor.execute
    left = write

    def counted(cursor: object, query: object, *arguments: object, **options: object) -> object:
        nonlocal left
        left -= bool(WRITES.match(query.decode() if isinstance(query, bytes) else str(query)))
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(cursor, query, *arguments, **options)

    psycopg.Cursor.execute = counted  # type: ignore[method-assign, assignment]
    main()
