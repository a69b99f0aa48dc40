"""Postgres MCP Pro, as an MCP client uses it over stdio, in restricted mode."""

import ast
import asyncio
import os
import sys

from common import *
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

# The package asks for Python 3.12, of which it uses one decorator; Debian 12 has 3.11. `openai` and `instructor`, which
# only its index advisor calls, are left out.
SERVE = """
import sys, types, typing, typing_extensions
typing.override = typing_extensions.override
sys.modules["instructor"] = types.ModuleType("instructor")
sys.modules["openai"] = types.ModuleType("openai")
sys.modules["openai"].OpenAI = None
from postgres_mcp import main
main()
"""
PARTS = [os.environ[name] for name in ("PGUSER", "PGPASSWORD", "PGHOST", "PGPORT", "PGDATABASE")]
URL = "postgresql://{}:{}@{}:{}/{}".format(*PARTS)


async def main():
    server = StdioServerParameters(
        command=sys.executable, args=["-c", SERVE, "--access-mode=restricted", URL], env=dict(os.environ)
    )
    with open(os.devnull, "w") as nowhere:
        async with stdio_client(server, errlog=nowhere) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            await ask_all(session)


async def ask_all(session):
    async def call(tool, **arguments):
        """What the tool says; its rows are printed as Python."""
        said = (await session.call_tool(tool, arguments)).content[0].text
        assert not said.startswith("Error"), said
        return said

    async def rows(sql):
        # Decimal('1.00') and the like are printed by their names.
        import decimal

        return eval(await call("execute_sql", sql=sql), {"Decimal": decimal.Decimal})

    async def fails(sql, *words):
        said = (await session.call_tool("execute_sql", {"sql": sql})).content[0].text
        assert said.startswith("Error") and all(word in said for word in words), said

    async def tables():
        schemas = ast.literal_eval(await call("list_schemas"))
        assert "public" in [schema["schema_name"] for schema in schemas], schemas
        seen = ast.literal_eval(await call("list_objects", schema_name="public", object_type="table"))
        equal(sorted(row["name"] for row in seen), TABLES)

    async def describe():
        seen = ast.literal_eval(await call("get_object_details", schema_name="public", object_name="invoices"))
        equal([column["column"] for column in seen["columns"]], COLUMNS)

    async def total():
        (row,) = await rows(TOTAL)
        equal(str(row["sum"]), SUM)

    async def parameter():
        # The tool takes a text and nothing else: a model writes the value into it.
        (row,) = await rows(TOTAL + " WHERE department = 'Sales'")
        equal(row["sum"] and str(row["sum"]), SUM_OF_SALES)

    async def cursor():
        # All rows at once; it has no cursor.
        all_readings([(row["id"], row["value"]) for row in await rows(READ)])

    async def error():
        await fails("SELECT SUM(amout) FROM invoices", 'column "amout" does not exist')
        await fails("SELECT 1/0", "division by zero")
        equal([list(row.values()) for row in await rows("SELECT 1")], [[1]])

    async def transaction():
        # Each call is a transaction of its own, READ ONLY and rolled back.
        await fails("COMMIT; SELECT 1")
        await total()

    async def hidden():
        await fails(HIDDEN, 'relation "api_keys" does not exist')

    async def explain():
        # A plan tells of rows and tables behind the gate: refused, with the next step.
        said = (await session.call_tool("explain_query", {"sql": TOTAL})).content[0].text
        assert "EXPLAIN is not supported" in said and "Send the SELECT itself" in said, said

    for name, function in {
        "tables": tables,
        "describe": describe,
        "sum": total,
        "parameter": parameter,
        "cursor": cursor,
        "error": error,
        "transaction": transaction,
        "hidden": hidden,
        "explain": explain,
    }.items():
        await acheck(name, function)


asyncio.run(main())
