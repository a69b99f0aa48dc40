// node-postgres as bob: simple and parameterized queries, a named statement, errors, a pool, what n8n sends.
"use strict";
const assert = require("assert");
const { Client, Pool } = require("pg");

const SUM = "SELECT SUM(amount) FROM invoices";

async function main() {
  const client = new Client();
  await client.connect();
  assert.deepStrictEqual((await client.query(SUM)).rows, [{ sum: "1300.00" }]);

  const byDepartment = "SELECT id FROM invoices WHERE department = $1 AND amount > $2 ORDER BY id";
  assert.deepStrictEqual((await client.query(byDepartment, ["HRM", 300])).rows, [{ id: "1" }]);
  assert.deepStrictEqual((await client.query(byDepartment, ["Finance", 0])).rows, []);
  for (let n = 0; n < 3; n += 1) {
    const named = { name: "by-department", text: byDepartment, values: ["Training", 0] };
    assert.deepStrictEqual((await client.query(named)).rows, [{ id: "9" }, { id: "10" }]);
  }

  // n8n's Postgres node: qualified names in quotes, several statements in one simple query.
  const several = await client.query('SELECT count(*) FROM "public"."invoices"; SELECT 2 AS two;');
  assert.deepStrictEqual(several.map((result) => result.rows), [[{ count: "6" }], [{ two: 2 }]]);

  await assert.rejects(client.query("DELETE FROM invoices"), (error) => {
    assert.strictEqual(error.code, "25006");
    assert.ok(error.hint);
    return true;
  });
  await assert.rejects(client.query("SELECT secret FROM api_keys WHERE id = $1", [1]), { code: "42P01" });
  assert.deepStrictEqual((await client.query(SUM)).rows, [{ sum: "1300.00" }]);
  await client.end();

  const pool = new Pool({ max: 3 });
  const sums = await Promise.all(Array.from({ length: 12 }, () => pool.query(SUM)));
  for (const result of sums) {
    assert.deepStrictEqual(result.rows, [{ sum: "1300.00" }]);
  }
  await pool.end();
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
