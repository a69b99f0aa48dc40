"""psycopg2: client-side parameters, named cursors, copy_expert."""

import decimal
import io

import psycopg2
from common import *

connection = psycopg2.connect("")
connection.autocommit = True


def ask(sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


@check("tables")
def _():
    equal([name for (name,) in ask(LIST_TABLES)], TABLES)


@check("describe")
def _():
    equal([name for (name,) in ask(LIST_COLUMNS)], COLUMNS)


@check("sum")
def _():
    equal(ask(TOTAL), [(decimal.Decimal(SUM),)])


@check("parameter")
def _():
    total = SUM_OF_SALES and decimal.Decimal(SUM_OF_SALES)
    equal(ask(TOTAL + " WHERE department = %s", ("Sales",)), [(total,)])
    equal(ask("SELECT id FROM invoices WHERE id = ANY(%s) ORDER BY id", ([1, 2, 77],)), [(1,), (2,)])
    equal(ask("SELECT %s", ("O'Brien\\",)), [("O'Brien\\",)])


@check("cursor")
def _():
    with psycopg2.connect("") as other, other.cursor(name="big") as cursor:
        cursor.itersize = 1000
        cursor.execute(READ)
        all_readings(list(cursor))


@check("copy")
def _():
    out = io.StringIO()
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY (SELECT id, value FROM readings ORDER BY id) TO STDOUT WITH CSV", out)
    all_readings([tuple(map(int, line.split(","))) for line in out.getvalue().splitlines()])


@check("error")
def _():
    with refused(psycopg2.errors.ReadOnlySqlTransaction, "25006"):
        ask(WRITE)
    with refused(psycopg2.errors.DivisionByZero, "22012"):
        ask("SELECT 1/0")
    equal(ask("SELECT 1"), [(1,)])


@check("transaction")
def _():
    with psycopg2.connect("") as other, other.cursor() as cursor:
        cursor.execute(TOTAL)
        with refused(psycopg2.errors.ReadOnlySqlTransaction, "25006"):
            cursor.execute(WRITE)
        with refused(psycopg2.errors.InFailedSqlTransaction, "25P02"):
            cursor.execute("SELECT 1")
        other.rollback()
        cursor.execute(TOTAL)
        equal(cursor.fetchone(), (decimal.Decimal(SUM),))
        other.rollback()
        other.set_session(isolation_level="REPEATABLE READ", readonly=True)
        cursor.execute(TOTAL)
        equal(cursor.fetchone(), (decimal.Decimal(SUM),))


@check("hidden")
def _():
    with refused(psycopg2.errors.UndefinedTable, "42P01"):
        ask(HIDDEN)
