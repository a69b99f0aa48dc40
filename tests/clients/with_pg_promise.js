// pg-promise: formatted and prepared queries, tasks, transactions with savepoints, a stream.
"use strict";
const assert = require("assert");
const Cursor = require("pg-cursor");
const pgp = require("pg-promise")({ noWarnings: true });
const c = require("./common");

const db = pgp(c.connection);

c.checks({
  async tables() {
    assert.deepStrictEqual(await db.map(c.LIST_TABLES, [], (row) => row.table_name), c.TABLES);
  },
  async describe() {
    assert.deepStrictEqual(await db.map(c.LIST_COLUMNS, [], (row) => row.column_name), c.COLUMNS);
  },
  async sum() {
    assert.deepStrictEqual(await db.one(c.TOTAL), { sum: c.SUM });
  },
  async parameter() {
    // Written into the text by the client, and as a prepared statement.
    const sql = c.TOTAL + " WHERE department = $1";
    assert.deepStrictEqual(await db.one(sql, ["Sales"]), { sum: c.SUM_OF_SALES });
    const prepared = new pgp.PreparedStatement({ name: "sales", text: sql, values: ["Sales"] });
    assert.deepStrictEqual(await db.one(prepared), { sum: c.SUM_OF_SALES });
    const named = "SELECT id FROM $<table:name> WHERE id IN ($<ids:csv>) ORDER BY id";
    assert.deepStrictEqual(await db.any(named, { table: "invoices", ids: [1, 2] }), [{ id: "1" }, { id: "2" }]);
  },
  async cursor() {
    const rows = await db.task(async (task) => {
      const cursor = task.client ? task.client.query(new Cursor(c.READ)) : null;
      if (!cursor) {
        const held = await db.connect();
        const read = held.client.query(new Cursor(c.READ));
        const all = [];
        for (let some = await read.read(1000); some.length > 0; some = await read.read(1000)) all.push(...some);
        await read.close();
        await held.done();
        return all;
      }
      return cursor.read(c.READINGS + 1);
    });
    c.allReadings(rows);
  },
  async error() {
    await c.refused(db.any(c.WRITE), "25006");
    await c.refused(db.any("SELECT 1/0"), "22012");
    assert.deepStrictEqual(await db.one("SELECT 1 AS one"), { one: 1 });
  },
  async transaction() {
    await c.refused(db.tx((tx) => tx.any(c.WRITE)), "25006");
    const { TransactionMode, isolationLevel } = pgp.txMode;
    const mode = new TransactionMode({ tiLevel: isolationLevel.repeatableRead, readOnly: true });
    const seen = await db.tx({ mode }, async (tx) => {
      await c.refused(tx.tx((inner) => inner.any("SELECT 1/0")), "22012");
      return tx.one(c.TOTAL);
    });
    assert.deepStrictEqual(seen, { sum: c.SUM });
  },
  async hidden() {
    await c.refused(db.any(c.HIDDEN), "42P01");
  },
}, () => pgp.end());
