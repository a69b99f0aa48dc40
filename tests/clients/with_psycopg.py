"""psycopg 3 as bob: text and binary results, parameters, prepared statements, pipelines, errors, transactions."""

import datetime
import decimal

import psycopg

SUM = "SELECT SUM(amount) FROM invoices"

with psycopg.connect() as connection:
    assert connection.execute(SUM).fetchone() == (decimal.Decimal("1300.00"),)
    binary = connection.cursor(binary=True).execute(SUM).fetchone()
    assert binary == (decimal.Decimal("1300.00"),), binary

    by_department = "SELECT id, date FROM invoices WHERE department = %s AND amount > %s ORDER BY id"
    # From the sixth time on psycopg uses a named prepared statement.
    for _ in range(8):
        rows = connection.execute(by_department, ("HRM", 300)).fetchall()
        assert rows == [(1, datetime.date(2025, 1, 15))], rows
    assert connection.execute(by_department, ("Finance", 0)).fetchall() == []

    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int + 1", (n,)) for n in range(5)]
        assert [cursor.fetchone() for cursor in cursors] == [(n + 1,) for n in range(5)]

    array = connection.execute("SELECT array_agg(id ORDER BY id) FROM invoices").fetchone()
    assert array == ([1, 2, 3, 4, 9, 10],), array
    connection.commit()

    try:
        connection.execute("DELETE FROM invoices WHERE id = %s", (1,))
        raise AssertionError("the DELETE was not refused")
    except psycopg.errors.ReadOnlySqlTransaction as error:
        assert error.sqlstate == "25006"
        assert error.diag.message_hint, error.diag
    try:
        connection.execute("SELECT 1")
        raise AssertionError("a failed transaction went on")
    except psycopg.errors.InFailedSqlTransaction:
        pass
    connection.rollback()
    assert connection.execute("SELECT 1").fetchone() == (1,)

with psycopg.connect(autocommit=True) as connection:
    try:
        connection.execute("SELECT secret FROM api_keys")
        raise AssertionError("the hidden table was not refused")
    except psycopg.errors.UndefinedTable:
        pass
    with connection.transaction():
        assert connection.execute(SUM).fetchone() == (decimal.Decimal("1300.00"),)

try:
    psycopg.connect(password="wrong")
    raise AssertionError("a wrong password was accepted")
except psycopg.OperationalError:
    pass

print("ok")
