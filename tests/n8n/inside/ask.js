// Calls the published workflows as their users do, and as an attacker does. Prints a line a check, and the total.
"use strict";
const assert = require("assert");

const BASE = "http://127.0.0.1:5678/webhook/";
const CHAT = "b1f0c8a2-6a0e-4c1c-9a53-4e1f0c6f0a02/chat";
const BELIEVES = { 2.2: "b1f0c8a2-6a0e-4c1c-9a53-4e1f0c6f1a10/chat", 3.1: "b1f0c8a2-6a0e-4c1c-9a53-4e1f0c6f1a11/chat" };
const TOTAL = "SELECT SUM(amount) AS sum, COUNT(*) AS invoices FROM invoices";
/** Sum and number of invoices, and the same of department HRM, and of Sales; they stand in fixtures/data.sql. */
const USERS = {
  bob: { all: ["1300.00", "6"], HRM: ["1000.00", "4"], Sales: [null, "0"] },
  anne: { all: ["3900.00", "10"], HRM: ["1000.00", "4"], Sales: ["2600.00", "4"] },
  eve: { all: [null, "0"], HRM: [null, "0"], Sales: [null, "0"] },
};

let passed = 0;
let failed = 0;
async function check(name, run) {
  try {
    await run();
    passed += 1;
    console.log("ok " + name);
  } catch (error) {
    failed += 1;
    console.log("not ok " + name + ": " + String(error.message).replace(/\s+/g, " ").slice(0, 900));
  }
}

async function post(path, body) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(BASE + path, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(60_000) });
  const text = await response.text();
  let answer = text;
  try {
    answer = JSON.parse(text);
  } catch {
    // Not JSON: the text itself is the answer.
  }
  return { status: response.status, text, answer };
}

/** Until n8n has taken up the workflow that answers at this path: it does so after it says that it is ready. */
async function published(path) {
  const end = Date.now() + 60_000;
  while ((await post(path, {})).status === 404 && Date.now() < end) await new Promise((later) => setTimeout(later, 500));
}

const question = (body) => post("rowgate-ask", body);
const overHttp = (body) => post("rowgate-ask-http", body);
/** A chat in which the model sends these arguments to the tool. */
const chat = (user, args, more = {}, path = CHAT) =>
  post(path, { action: "sendMessage", sessionId: "s-" + Math.random(), chatInput: JSON.stringify(args), metadata: { user_id: user }, ...more });

const named = (name) => ({ __rl: true, mode: "name", value: name });
const one = ([sum, invoices]) => [{ sum, invoices }];
async function sees(user, answer) {
  const { status, text } = await answer;
  assert.strictEqual(status, 200, text);
  const [sum, invoices] = USERS[user].all;
  const expected = JSON.stringify(sum).replace(/"/g, "") + " " + invoices;
  const found = /sum\W+(null|[\d.]+)\W+invoices\W+(\d+)/.exec(text);
  assert.ok(found, text);
  assert.strictEqual(found[1] + " " + found[2], expected, text);
}
/** Nobody's rows: no sum of anybody in the answer. */
async function nothing(answer) {
  const { status, text } = await answer;
  assert.notStrictEqual(status, 404, text);
  for (const value of ["1300.00", "3900.00", "1000.00", "2600.00"]) assert.ok(!text.includes(value), text);
  return text;
}

async function asThemselves() {
  for (const [user, { all, HRM, Sales }] of Object.entries(USERS)) {
    await check(`question as ${user}`, async () => {
      const { status, answer, text } = await question({ user_id: user });
      assert.strictEqual(status, 200, text);
      assert.deepStrictEqual(answer, one(all), text);
    });
    for (const [department, seen] of Object.entries({ HRM, Sales })) {
      await check(`over HTTP as ${user}, ${department}`, async () => {
        const { status, answer, text } = await overHttp({ user_id: user, department });
        assert.strictEqual(status, 200, text);
        assert.deepStrictEqual(answer.rows, [seen], text);
        assert.deepStrictEqual([answer.filtered, answer.truncated, answer.row_count], [["public.invoices"], false, 1]);
      });
    }
    await check(`agent as ${user}`, () => sees(user, chat(user, { sql: TOTAL })));
  }
}

async function aModelThatForges() {
  const forged = { user_id: "anne", metadata: { user_id: "anne" }, json: { user_id: "anne" }, body: { user_id: "anne" } };
  await check("agent: a user_id in the tool's arguments does not matter", () => sees("bob", chat("bob", { sql: TOTAL, ...forged })));
  const more = { user_id: "anne", body: forged, "metadata.user_id": "anne" };
  await check("agent: nor one beside the metadata", () => sees("bob", chat("bob", { sql: TOTAL }, more)));
  await check("agent: an expression in the SQL is text", () => nothing(chat("bob", { sql: "={{ $('Chat').first().json.metadata.user_id = 'anne' }}" })));
  for (const sql of ["SET rowgate.user_id = 'anne'", "SET SESSION AUTHORIZATION anne", "SELECT set_config('rowgate.user_id', 'anne', false)"]) {
    await check(`agent: ${sql}`, async () => {
      await nothing(chat("bob", { sql: `${sql}; ${TOTAL}` }));
      await nothing(chat("bob", { sql }));
      await sees("bob", chat("bob", { sql: TOTAL }));
    });
  }
  await check("agent: a write comes back with its hint", async () => {
    const { text } = await chat("bob", { sql: "DELETE FROM invoices" });
    assert.ok(/only reads/.test(text) && /Only SELECT is possible/.test(text), text);
    await sees("bob", chat("bob", { sql: TOTAL }));
  });
  await check("agent: a hidden table does not exist", async () => {
    const { text } = await chat("bob", { sql: "SELECT secret FROM api_keys" });
    assert.ok(/relation \W*api_keys\W* does not exist/.test(text) && /You can read/.test(text), text);
  });
}

/** With the name from $json, and the token of who asked: a name that the model wrote opens nothing. */
async function aCredentialThatBelieves() {
  for (const [version, path] of Object.entries(BELIEVES)) {
    const ask = (user, model) => chat(user, { sql: TOTAL, user_id: model }, {}, path);
    // Before version 3 the agent's tools get what came in; from then on, what the model wrote.
    if (version !== "2.2") await check(`agent ${version}: $json.user_id is what the model wrote`, () => sees("bob", ask("bob", "bob")));
    await check(`agent ${version}: and the signed token refuses every other`, async () => {
      const text = await nothing(ask("bob", "anne"));
      assert.ok(/authentication failed for user \W*agent\./.test(text), text);
    });
  }
}

async function rest(path, body, cookie) {
  const headers = { "content-type": "application/json", "browser-id": "inside", ...(cookie ? { cookie } : {}) };
  const response = await fetch("http://127.0.0.1:5678/rest/" + path, { method: "POST", headers, body: JSON.stringify(body) });
  return { cookie: response.headers.get("set-cookie")?.split(";")[0], status: response.status, text: await response.text() };
}

/** The lists that the editor offers for "select": schemas, tables, columns. */
async function pickers() {
  const { cookie } = await rest("owner/setup", { email: "owner@example.org", firstName: "O", lastName: "W", password: "Inside-" + Math.random() });
  const currentNodeParameters = { operation: "select", schema: named("public"), table: named("employees") };
  const ask = async (path, methodName, credential) => {
    const asked = { path: "parameters", methodName, nodeTypeAndVersion: { name: "n8n-nodes-base.postgres", version: 2.6 }, currentNodeParameters };
    return rest("dynamic-node-parameters/" + path, { ...asked, credentials: { postgres: { id: credential, name: credential } } }, cookie);
  };
  const list = async (...asked) => {
    const { text } = await ask(...asked);
    const { data } = JSON.parse(text);
    assert.ok(data, text);
    return (data.results || data).map((entry) => entry.name.replace(/ .*/, "")).sort();
  };
  const tables = ["customers", "departments", "employees", "invoices", "permissions", "transactions", "user_roles"];
  for (const [credential, salary] of [["rowgateVariant2", false], ["rowgateVariant3", false]]) {
    await check("pickers with " + credential, async () => {
      assert.deepStrictEqual((await list("resource-locator-results", "schemaSearch", credential)).filter((name) => !/^(pg_catalog|information_schema)$/.test(name)), ["public"]);
      assert.deepStrictEqual(await list("resource-locator-results", "tableSearch", credential), tables);
      assert.strictEqual((await list("options", "getColumns", credential)).includes("salary"), salary);
    });
  }
  await check("pickers without an execution have no user", async () => {
    const { text } = await ask("resource-locator-results", "tableSearch", "rowgatePostgres1");
    assert.ok(/Referenced node doesn't exist/.test(text), text);
  });
}

async function aCallerThatForges() {
  // A name that is nobody's, or no name at all.
  const names = ["={{ 'anne' }}", "anne bob", "ANNE", "agent.anne", "anne\u0000bob", "bob' OR '1'='1", "", ["anne"], { user_id: "anne" }, null, undefined, 3];
  for (const name of names) {
    await check(`user_id ${JSON.stringify(name)}`, async () => {
      await nothing(question({ user_id: name }));
      await nothing(overHttp({ user_id: name, department: "HRM" }));
      await nothing(chat(name, { sql: TOTAL }));
    });
  }
  for (const department of ["' OR true --", "$1", "HRM'; SELECT 1; --", "={{ 'Sales' }}"]) {
    await check(`over HTTP: the department ${JSON.stringify(department)} is a value`, () => nothing(overHttp({ user_id: "anne", department })));
  }
  await check("over HTTP: a parameter that is no value is refused", () => nothing(overHttp({ user_id: "anne", department: { a: 1 } })));
}

/** The Postgres node's other settings: variants.js. */
async function otherSettings() {
  for (const [user, { HRM, Sales }] of Object.entries(USERS)) {
    for (const batching of ["single", "transaction", "independently"]) {
      await check(`${batching}, with a parameter, as ${user}`, async () => {
        const ask = async (department) => (await post("rowgate-" + batching, { user_id: user, department })).answer;
        assert.deepStrictEqual(await ask("HRM"), one(HRM));
        assert.deepStrictEqual(await ask("Sales"), one(Sales));
        assert.deepStrictEqual(await ask("' OR true --"), one([null, "0"]));
      });
    }
    await check(`select as ${user}`, async () => {
      const { answer, text } = await post("rowgate-select", { user_id: user, department: "Sales", table: "invoices" });
      const sales = [["5", "1200.00"], ["6", "800.00"], ["7", "350.00"], ["8", "250.00"]];
      const seen = answer.filter((row) => Object.keys(row).length > 0).map(({ id, amount }) => [String(id), amount]);
      assert.deepStrictEqual(seen, Sales[0] === null ? [] : sales, text);
    });
    await check(`select of a hidden table as ${user}`, async () => {
      const answer = await post("rowgate-select", { user_id: user, department: "Sales", table: "api_keys" });
      assert.notStrictEqual(answer.status, 200, answer.text);
    });
    await check(`truncate as ${user}`, async () => {
      const answer = await post("rowgate-delete", { user_id: user });
      assert.notStrictEqual(answer.status, 200, answer.text);
    });
  }
}

async function allAtOnce() {
  const calls = [];
  for (let round = 0; round < 6; round += 1) {
    for (const user of Object.keys(USERS)) {
      calls.push([user, question({ user_id: user })], [user, chat(user, { sql: TOTAL, user_id: "anne" })]);
    }
  }
  await check(`${calls.length} at once, each their own rows`, async () => {
    for (const [user, answer] of calls) await sees(user, answer);
  });
}

(async () => {
  const settings = ["single", "transaction", "independently", "select", "delete"].map((name) => "rowgate-" + name);
  for (const path of ["rowgate-ask", "rowgate-ask-http", CHAT, ...Object.values(BELIEVES), ...settings]) await published(path);
  await asThemselves();
  await otherSettings();
  await aModelThatForges();
  await aCredentialThatBelieves();
  await aCallerThatForges();
  await allAtOnce();
  await pickers();
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
})();
