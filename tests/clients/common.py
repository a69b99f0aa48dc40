"""What every Python client shares: what it is expected to see, and one line a check."""

import os
import sys
import traceback

TABLES = os.environ["EXPECT_TABLES"].split(",")
COLUMNS = os.environ["EXPECT_COLUMNS"].split(",")
SUM = os.environ["EXPECT_SUM"]
SUM_OF_SALES = os.environ["EXPECT_SUM_OF_SALES"] or None
READINGS = int(os.environ["EXPECT_READINGS"])

LIST_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
LIST_COLUMNS = (
    "SELECT column_name FROM information_schema.columns"
    " WHERE table_schema = 'public' AND table_name = 'invoices' ORDER BY ordinal_position"
)
TOTAL = "SELECT SUM(amount) FROM invoices"
READ = "SELECT id, value FROM readings ORDER BY id"
WRITE = "DELETE FROM invoices"
HIDDEN = "SELECT secret FROM api_keys"

_failed = False


def ok(name):
    print("ok", name, flush=True)


def not_ok(name, error):
    global _failed
    _failed = True
    where = traceback.extract_tb(error.__traceback__)[-1].lineno if error.__traceback__ else 0
    print("not ok", name + ":", type(error).__name__, " ".join(str(error).split())[:600], "line", where, flush=True)


def check(name):
    """Runs the function at once, and prints how it went."""

    def run(function):
        try:
            function()
            ok(name)
        except Exception as error:
            not_ok(name, error)

    return run


async def acheck(name, function, *arguments):
    """As `check`, for a coroutine."""
    try:
        await function(*arguments)
        ok(name)
    except Exception as error:
        not_ok(name, error)


def equal(seen, expected):
    assert seen == expected, f"saw {seen!r}, not {expected!r}"


def all_readings(rows):
    """Whether these are all the readings, in their order, as (id, value)."""
    equal(len(rows), READINGS)
    equal([tuple(row) for row in rows], [(n, n % 100) for n in range(1, READINGS + 1)])


class refused:
    """`with refused(Error, "25006"):` expects that error, by class and SQLSTATE."""

    def __init__(self, kind, state=None):
        self.kind, self.state = kind, state

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        assert error is not None, "nothing was refused"
        if not isinstance(error, self.kind):
            return False
        if self.state is not None:
            state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
            if state is None and getattr(error, "orig", None) is not None:
                state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
            equal(state, self.state)
        return True
