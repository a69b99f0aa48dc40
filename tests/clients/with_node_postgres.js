// node-postgres: simple and parameterized queries, named statements, cursors, a pool, several statements at once.
"use strict";
const assert = require("assert");
const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");
const c = require("./common");

const first = (result) => result.rows.map((row) => Object.values(row)[0]);

async function main() {
  const client = new Client();
  await client.connect();
  await c.checks({
    async tables() {
      assert.deepStrictEqual(first(await client.query(c.LIST_TABLES)), c.TABLES);
    },
    async describe() {
      assert.deepStrictEqual(first(await client.query(c.LIST_COLUMNS)), c.COLUMNS);
      const { fields } = await client.query("SELECT * FROM invoices LIMIT 0");
      assert.deepStrictEqual(fields.map((field) => field.name), c.COLUMNS);
    },
    async sum() {
      assert.deepStrictEqual((await client.query(c.TOTAL)).rows, [{ sum: c.SUM }]);
    },
    async parameter() {
      const sales = await client.query(c.TOTAL + " WHERE department = $1", ["Sales"]);
      assert.deepStrictEqual(sales.rows, [{ sum: c.SUM_OF_SALES }]);
      const text = "SELECT id FROM invoices WHERE department = $1 AND amount > $2 ORDER BY id";
      for (let n = 0; n < 3; n += 1) {
        const named = { name: "by-department", text, values: ["Training", 0] };
        assert.deepStrictEqual((await client.query(named)).rows, [{ id: "9" }, { id: "10" }]);
      }
    },
    async cursor() {
      const cursor = client.query(new Cursor(c.READ));
      const rows = [];
      for (let some = await cursor.read(1000); some.length > 0; some = await cursor.read(1000)) rows.push(...some);
      await cursor.close();
      c.allReadings(rows);
    },
    async error() {
      assert.ok((await c.refused(client.query(c.WRITE), "25006")).hint);
      await c.refused(client.query("SELECT 1 / $1::int", [0]), "22012");
      assert.deepStrictEqual(first(await client.query("SELECT 1")), [1]);
    },
    async transaction() {
      await client.query("BEGIN");
      await c.refused(client.query(c.WRITE), "25006");
      await c.refused(client.query("SELECT 1"), "25P02");
      await client.query("ROLLBACK");
      await client.query("BEGIN TRANSACTION READ ONLY");
      assert.deepStrictEqual(first(await client.query(c.TOTAL)), [c.SUM]);
      await client.query("COMMIT");
    },
    async hidden() {
      await c.refused(client.query(c.HIDDEN + " WHERE id = $1", [1]), "42P01");
    },
    // What n8n's Postgres node sends: qualified names in quotes, several statements in one simple query.
    async "several statements"() {
      const several = await client.query('SELECT count(*) FROM "public"."readings"; SELECT 2 AS two;');
      assert.deepStrictEqual(several.map((result) => result.rows), [[{ count: String(c.READINGS) }], [{ two: 2 }]]);
    },
    async pool() {
      const pool = new Pool({ max: 3 });
      const sums = await Promise.all(Array.from({ length: 12 }, () => pool.query(c.TOTAL)));
      for (const result of sums) assert.deepStrictEqual(result.rows, [{ sum: c.SUM }]);
      await pool.end();
    },
  }, () => client.end());
}

main();
