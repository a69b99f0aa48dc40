// Code node of n8n, "Run Once for All Items": signs the token that the node JWT ("Sign token") signs in the workflows.
// n8n lets code nodes load a module only if NODE_FUNCTION_ALLOW_BUILTIN=crypto is set where it runs (its task runner),
// and read the environment only if N8N_BLOCK_ENV_ACCESS_IN_NODE=false is.
const { createHmac } = require("crypto");

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const now = Math.floor(Date.now() / 1000);
// By the trigger's name: what the trigger received, before any model wrote anything.
const claims = { sub: String($("Webhook").first().json.body.user_id), aud: "rowgate", iat: now, exp: now + 300 };
const unsigned = part({ alg: "HS256", typ: "JWT", kid: "n8n" }) + "." + part(claims);
const signature = createHmac("sha256", $env.ROWGATE_TOKEN_SECRET).update(unsigned).digest("base64url");
return [{ json: { token: unsigned + "." + signature } }];
