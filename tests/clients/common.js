// What every JavaScript client shares: what it is expected to see, and one line a check.
"use strict";
const assert = require("assert");

const env = process.env;
const TABLES = env.EXPECT_TABLES.split(",");
const COLUMNS = env.EXPECT_COLUMNS.split(",");
const SUM = env.EXPECT_SUM;
const SUM_OF_SALES = env.EXPECT_SUM_OF_SALES || null;
const READINGS = Number(env.EXPECT_READINGS);

const LIST_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
const LIST_COLUMNS =
  "SELECT column_name FROM information_schema.columns" +
  " WHERE table_schema = 'public' AND table_name = 'invoices' ORDER BY ordinal_position";
const TOTAL = "SELECT SUM(amount) FROM invoices";
const READ = "SELECT id, value FROM readings ORDER BY id";
const WRITE = "DELETE FROM invoices";
const HIDDEN = "SELECT secret FROM api_keys";

const connection = { host: env.PGHOST, port: Number(env.PGPORT), user: env.PGUSER, password: env.PGPASSWORD, database: env.PGDATABASE };
const url = `postgresql://${env.PGUSER}:${env.PGPASSWORD}@${env.PGHOST}:${env.PGPORT}/${env.PGDATABASE}`;

/** Whether these are all the readings, in their order, as {id, value}. */
function allReadings(rows) {
  assert.strictEqual(rows.length, READINGS);
  rows.forEach((row, index) => {
    assert.strictEqual(Number(row.id), index + 1);
    assert.strictEqual(Number(row.value), (index + 1) % 100);
  });
}

/** The SQLSTATE of an error or of what caused it. */
function state(error) {
  return error.code && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : error.cause ? state(error.cause) : error.driverError ? state(error.driverError) : error.meta ? error.meta.code : String(error);
}

/** Expects that the promise is refused with this SQLSTATE. */
async function refused(promise, expected) {
  try {
    await promise;
  } catch (error) {
    assert.strictEqual(state(error), expected, error);
    return error;
  }
  throw new Error("nothing was refused");
}

/** Runs the checks one after the other and prints how each went; then `close`. */
async function checks(named, close) {
  for (const [name, run] of Object.entries(named)) {
    try {
      await run();
      console.log("ok " + name);
    } catch (error) {
      const cause = error.cause ? " / " + error.cause.message : "";
      console.log("not ok " + name + ": " + String(error.message + cause).replace(/\s+/g, " ").slice(0, 600));
    }
  }
  if (close) await close();
}

module.exports = {
  TABLES, COLUMNS, SUM, SUM_OF_SALES, READINGS, LIST_TABLES, LIST_COLUMNS, TOTAL, READ, WRITE, HIDDEN,
  connection, url, allReadings, state, refused, checks,
};
