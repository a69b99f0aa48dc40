// postgres.js: everything prepared, types fetched from the catalogue, cursors, COPY, savepoints.
"use strict";
const assert = require("assert");
const postgres = require("postgres");
const c = require("./common");

// fetch_types: the arrays' types are read from pg_type before the first query.
const sql = postgres({ max: 1, onnotice() {}, fetch_types: true });

c.checks({
  async tables() {
    assert.deepStrictEqual((await sql.unsafe(c.LIST_TABLES)).map((row) => row.table_name), c.TABLES);
  },
  async describe() {
    assert.deepStrictEqual((await sql.unsafe(c.LIST_COLUMNS)).map((row) => row.column_name), c.COLUMNS);
    const { columns } = await sql`SELECT * FROM invoices`.describe();
    assert.deepStrictEqual(columns.map((column) => column.name), c.COLUMNS);
  },
  async sum() {
    assert.deepStrictEqual([...(await sql`SELECT SUM(amount) FROM invoices`)], [{ sum: c.SUM }]);
  },
  async parameter() {
    const sales = await sql`SELECT SUM(amount) FROM invoices WHERE department = ${"Sales"}`;
    assert.deepStrictEqual([...sales], [{ sum: c.SUM_OF_SALES }]);
    const some = await sql`SELECT id FROM ${sql("invoices")} WHERE id IN ${sql([1, 2])} ORDER BY id`;
    assert.deepStrictEqual(some.map((row) => row.id), ["1", "2"]);
    const [{ names }] = await sql`SELECT array_agg(name ORDER BY name) AS names FROM departments WHERE name = ANY (${["HRM", "Training"]})`;
    assert.deepStrictEqual(names, ["HRM", "Training"]);
  },
  async cursor() {
    const rows = [];
    for await (const some of sql`SELECT id, value FROM readings ORDER BY id`.cursor(1000)) rows.push(...some);
    c.allReadings(rows);
  },
  async copy() {
    // After a COPY of some length postgres.js leaves its socket paused, with PostgreSQL itself too: a connection of its own.
    const own = postgres({ max: 1 });
    let text = "";
    for await (const chunk of await own`COPY (SELECT id, value FROM readings ORDER BY id) TO STDOUT`.readable()) text += chunk;
    own.end({ timeout: 0 });
    const rows = text.trimEnd().split("\n").map((line) => line.split("\t"));
    c.allReadings(rows.map(([id, value]) => ({ id, value })));
  },
  async error() {
    await c.refused(sql.unsafe(c.WRITE), "25006");
    await c.refused(sql`SELECT 1 / ${0}::int`, "22012");
    assert.deepStrictEqual([...(await sql`SELECT 1 AS one`)], [{ one: 1 }]);
  },
  async transaction() {
    await c.refused(sql.begin((tx) => tx.unsafe(c.WRITE)), "25006");
    const seen = await sql.begin("read only", async (tx) => {
      await c.refused(tx.savepoint((inner) => inner`SELECT 1/0`), "22012");
      return tx`SELECT SUM(amount) FROM invoices`;
    });
    assert.deepStrictEqual([...seen], [{ sum: c.SUM }]);
  },
  async hidden() {
    await c.refused(sql.unsafe(c.HIDDEN), "42P01");
  },
}, () => sql.end());
