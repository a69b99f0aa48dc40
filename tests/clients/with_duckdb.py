"""DuckDB's postgres extension: it copies whole tables out, parted by `ctid` unless told not to."""

import importlib.util
import os
import pathlib

import duckdb
from common import *

folder = pathlib.Path(importlib.util.find_spec("duckdb_extension_postgres_scanner").origin).parent
(extension,) = folder.rglob("postgres_scanner.duckdb_extension")
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
connection.execute(f"LOAD '{extension}'")
connection.execute("SET pg_use_ctid_scan = false")
parts = "dbname={} host={} port={} user={} password={}"
PARTS = parts.format(*(os.environ[name] for name in ("PGDATABASE", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD")))


def ask(sql, *parameters):
    return connection.execute(sql, parameters).fetchall()


@check("tables")
def _():
    connection.execute(f"ATTACH '{PARTS}' AS pg (TYPE postgres, READ_ONLY)")
    seen = ask("SELECT table_name FROM duckdb_tables() WHERE database_name = 'pg' AND schema_name = 'public' ORDER BY 1")
    equal([name for (name,) in seen], TABLES)


@check("describe")
def _():
    equal([row[0] for row in ask("DESCRIBE pg.public.invoices")], COLUMNS)


@check("sum")
def _():
    equal(str(ask("SELECT SUM(amount) FROM pg.public.invoices")[0][0]), SUM)
    # DuckDB takes a numeric without a scale as a double.
    equal(ask(f"SELECT * FROM postgres_query('pg', '{TOTAL}')")[0][0], float(SUM))


@check("parameter")
def _():
    (total,) = ask("SELECT SUM(amount) FROM pg.public.invoices WHERE department = ?", "Sales")[0]
    equal(total and str(total), SUM_OF_SALES)


@check("cursor")
def _():
    all_readings(ask("SELECT id, value FROM pg.public.readings ORDER BY id"))


@check("error")
def _():
    with refused(duckdb.Error):
        ask("SELECT * FROM postgres_query('pg', 'SELECT 1/0 AS n')")
    with refused(duckdb.Error):
        ask("CALL postgres_execute('pg', 'DELETE FROM invoices')")
    equal(str(ask("SELECT SUM(amount) FROM pg.public.invoices")[0][0]), SUM)


@check("transaction")
def _():
    connection.execute("BEGIN")
    equal(str(ask("SELECT SUM(amount) FROM pg.public.invoices")[0][0]), SUM)
    with refused(duckdb.Error):
        ask("SELECT * FROM postgres_query('pg', 'SELECT 1/0 AS n')")
    connection.execute("ROLLBACK")
    equal(str(ask("SELECT SUM(amount) FROM pg.public.invoices")[0][0]), SUM)


@check("hidden")
def _():
    with refused(duckdb.Error):
        ask("SELECT secret FROM pg.public.api_keys")


@check("by ctid")
def _():
    # As the extension comes: it asks for `ctid`, which no gate can give, and the refusal says what to set.
    connection.execute("SET pg_use_ctid_scan = true")
    try:
        all_readings(ask("SELECT id, value FROM pg.public.readings ORDER BY id"))
    except duckdb.Error as error:
        assert "ctid" in str(error), error
