"""psql: \\d and its family, FETCH_COUNT, \\copy, \\gdesc, tab completion at a terminal. Its path is the first argument."""

import os
import pty
import re
import select
import subprocess
import sys
import time

from common import *

PSQL = sys.argv[1]


def psql(*commands, options=(), fails=False, style="-At"):
    arguments = [PSQL, "-X", style, "-v", "ON_ERROR_STOP=0", *options]
    for command in commands:
        arguments += ["-c", command]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if not fails:
        equal(done.stderr, "")
    return done.stdout + (done.stderr if fails else "")


def first(output):
    return [line.split("|")[0] for line in output.splitlines()]


@check("tables")
def _():
    equal(first(psql(LIST_TABLES)), TABLES)
    for command in (r"\dt", r"\d", r"\dt+", r"\d+"):
        equal([line.split("|")[1] for line in psql(command).splitlines()], TABLES)
    equal(psql(r"\dt payroll", fails=True).strip(), 'Did not find any relation named "payroll".')


@check("describe")
def _():
    for command in (r"\d invoices", r"\d+ invoices", r"\d public.invoices"):
        described = psql(command, style="-A")
        equal(first(described)[2 : 2 + len(COLUMNS)], COLUMNS)
        assert "id|bigint|" in described and "amount|numeric(12,2)|" in described, described
    assert '"invoices_pkey" PRIMARY KEY, btree (id)' in described, described
    assert "FOREIGN KEY (department) REFERENCES departments(name)" in described, described
    assert "tax_number" not in psql(r"\d customers")
    for table in TABLES:
        psql(rf"\d {table}", rf"\d+ {table}")


@check("other lists")
def _():
    assert "public" in first(psql(r"\dn"))
    equal(psql(r"\df"), "")
    assert os.environ["PGDATABASE"] in first(psql(r"\l"))
    assert "invoices_pkey" in psql(r"\di")
    for none in (r"\ds", r"\dm", r"\dv"):
        equal(psql(none, fails=True).strip(), "Did not find any relations.")
    for command in (r"\dn+", r"\dT", r"\dp", r"\du", r"\df+ sum", r"\conninfo", r"\encoding"):
        psql(command)


@check("sum")
def _():
    equal(psql(TOTAL), SUM + "\n")


@check("parameter")
def _():
    sql = TOTAL + " WHERE department = "
    equal(psql(f"PREPARE q (text) AS {sql} $1", "EXECUTE q('Sales')", "DEALLOCATE q").splitlines()[1], SUM_OF_SALES or "")
    # psql writes the value into the text itself.
    quoted = subprocess.run(
        [PSQL, "-X", "-At", "-v", "d=Sales"], input=sql + ":'d'", capture_output=True, text=True
    )
    equal((quoted.stdout.strip(), quoted.stderr), (SUM_OF_SALES or "", ""))


def pairs(output, separator="|"):
    return [tuple(int(cell) for cell in line.split(separator)) for line in output.splitlines()]


@check("cursor")
def _():
    all_readings(pairs(psql(READ, options=["-v", "FETCH_COUNT=1000"])))
    fetched = psql("BEGIN", f"DECLARE c CURSOR FOR {READ}", "FETCH 2 FROM c", "MOVE 3 FROM c", "FETCH 1 FROM c", "CLOSE c", "COMMIT")
    equal(re.findall(r"^\d+\|\d+$", fetched, re.M), ["1|1", "2|2", "6|6"])


@check("copy")
def _():
    all_readings(pairs(psql(rf"\copy ({READ}) TO STDOUT csv"), ","))
    all_readings(pairs(psql(f"COPY ({READ}) TO STDOUT"), "\t"))
    copied = psql("COPY invoices TO STDOUT csv header").splitlines()
    equal(copied[0].split(","), COLUMNS)


@check("describes a result")
def _():
    done = subprocess.run([PSQL, "-X", "-At"], input="SELECT id, amount FROM invoices \\gdesc\n", capture_output=True, text=True)
    equal((done.stdout.split(), done.stderr), (["id|bigint", "amount|numeric(12,2)"], ""))


@check("error")
def _():
    said = psql(WRITE, "SELECT 1/0", "SELECT 1", options=["-v", "VERBOSITY=verbose"], fails=True)
    assert said.startswith("1\n") and "25006" in said and "22012" in said and "HINT:" in said, said


@check("transaction")
def _():
    script = f"BEGIN;\n{TOTAL};\n{WRITE};\nSELECT 1;\nROLLBACK;\n{TOTAL};\nSELECT 1 AS first\\; SELECT 2 AS second;\n"
    done = subprocess.run([PSQL, "-X", "-At"], input=script, capture_output=True, text=True)
    equal(done.stdout.splitlines(), ["BEGIN", SUM, "ROLLBACK", SUM, "1", "2"])
    assert "current transaction is aborted" in done.stderr, done.stderr
    # Each statement of a transaction in a savepoint of psql's own.
    kept = psql("BEGIN", "SELECT 1/0", TOTAL, "COMMIT", options=["-v", "ON_ERROR_ROLLBACK=on"], fails=True)
    assert f"\n{SUM}\nCOMMIT\n" in kept, kept


@check("hidden")
def _():
    said = psql(HIDDEN, options=["-v", "VERBOSITY=verbose"], fails=True)
    assert "42P01" in said, said
    equal(psql(r"\d api_keys", fails=True).strip(), 'Did not find any relation named "api_keys".')


def at_a_terminal(steps, seconds=60):
    """What psql shows while keys are typed at a terminal; each step waits until it shows something, or is over."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", PAGER="", INPUTRC="/nowhere", PSQL_HISTORY="/nowhere/history")
        os.execvp(PSQL, [PSQL, "-X"])
    shown, end = "", time.monotonic() + seconds
    for keys, awaited in [*steps, ("\x15\\q\n", None)]:
        os.write(terminal, keys.encode())
        since = len(shown)
        while awaited is None or awaited not in shown[since:]:
            assert select.select([terminal], [], [], max(0, end - time.monotonic()))[0], (keys, shown)
            try:
                more = os.read(terminal, 65536)
            except OSError:
                more = b""
            if not more:
                break
            shown += more.decode(errors="replace")
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown


@check("tab completion")
def _():
    shown = at_a_terminal(
        [
            ("", "=> "),
            ("SELECT * FROM inv\t", "FROM invoices "),
            ("WHERE dep\t", "WHERE department "),
            ("\x15SELECT * FROM \t\t", "user_roles"),
        ]
    )
    for table in TABLES:
        assert table in shown, (table, shown)
    assert "api_keys" not in shown and "payroll" not in shown and "ERROR" not in shown, shown
