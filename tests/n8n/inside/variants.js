// More workflows, made from the example's: the Postgres node's other settings, and a credential that believes the model.
// variants.js FOLDER writes them there, and their credentials to FOLDER.credentials.json.
"use strict";
const fs = require("fs");
const path = require("path");

const folder = process.argv[2];
const example = path.join(__dirname, "../../../examples/n8n");
const read = (file) => JSON.parse(fs.readFileSync(path.join(example, file), "utf8"));
const write = (file, value) => fs.writeFileSync(file, JSON.stringify(value, null, 2));
const BY_DEPARTMENT = "SELECT SUM(amount) AS sum, COUNT(*) AS invoices FROM invoices WHERE department = $1";
const value = "={{ $('Webhook').first().json.body.department }}";
const executeQuery = (options) => ({ operation: "executeQuery", query: BY_DEPARTMENT, options: { queryReplacement: value, ...options } });
const named = (name) => ({ __rl: true, mode: "name", value: name });

const VARIANTS = {
  "rowgate-single": executeQuery({ queryBatching: "single" }),
  "rowgate-transaction": executeQuery({ queryBatching: "transaction" }),
  "rowgate-independently": executeQuery({ queryBatching: "independently" }),
  "rowgate-select": {
    operation: "select",
    schema: named("public"),
    table: named("={{ $('Webhook').first().json.body.table }}"),
    returnAll: true,
    where: { values: [{ column: "department", value }] },
    sort: { values: [{ column: "id", direction: "ASC" }] },
    options: { outputColumns: ["id", "amount"] },
  },
  "rowgate-delete": { operation: "deleteTable", schema: named("public"), table: named("invoices"), deleteCommand: "truncate", options: {} },
};

fs.mkdirSync(folder);
Object.entries(VARIANTS).forEach(([name, parameters], index) => {
  const workflow = read("workflows/question.json");
  const node = (wanted) => workflow.nodes.find((found) => found.name === wanted);
  Object.assign(workflow, { id: `rowgateVariant00${index}`, name });
  Object.assign(node("Webhook"), { webhookId: `b1f0c8a2-6a0e-4c1c-9a53-4e1f0c6f1a0${index}` });
  node("Webhook").parameters.path = name;
  node("Ask").parameters = parameters;
  write(path.join(folder, `${name}.json`), workflow);
});

// The mistake that the README warns of: $json may be what the model wrote. With both ways in which n8n runs tools.
for (const [version, number] of [[2.2, 10], [3.1, 11]]) {
  const agent = read("workflows/agent.json");
  const node = (wanted) => agent.nodes.find((found) => found.name === wanted);
  Object.assign(agent, { id: `rowgateVariant0${number}`, name: "believes the model " + version });
  node("Chat").webhookId = `b1f0c8a2-6a0e-4c1c-9a53-4e1f0c6f1a${number}`;
  node("AI Agent").typeVersion = version;
  node("Run SQL").credentials = { postgres: { id: "rowgateVariant1", name: "believes the model" } };
  // The model may fill in only what some $fromAI of the node asks for.
  node("Run SQL").parameters.query += " /* {{ $fromAI('user_id', 'who asks', 'string') }} */";
  write(path.join(folder, `believes-${number}.json`), agent);
}

const [chatting] = read("credentials.json").filter((credential) => credential.id === "rowgatePostgres2");
const credential = (id, name, data) => ({ ...chatting, id, name, data: { ...chatting.data, ...data } });
write(folder + ".credentials.json", [
  credential("rowgateVariant1", "believes the model", { user: "=agent.{{ $json.user_id }}" }),
  // What somebody uses while building a workflow: there is no execution, so no user to sign for.
  credential("rowgateVariant2", "Bob himself", { user: "bob", password: "demo" }),
  credential("rowgateVariant3", "Anne herself", { user: "anne", password: "demo" }),
]);
