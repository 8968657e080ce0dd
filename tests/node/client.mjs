// A department's own program: takes assignments, accepts and resolves them, by docs/protocol/ alone. Imports nothing of the hub's.
// usage: node client.mjs CREDENTIALS DOCUMENTS JOURNAL
//   stdout: one JSON line for everything it does; ends on SIGTERM. Every message, in and out, is checked against the published schemas.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, createInbox, headers, nkeyAuthenticator } from "@nats-io/transport-node";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [credentialsFile, documents, journalFile] = process.argv.slice(2);
const credentials = JSON.parse(readFileSync(credentialsFile, "utf8"));
const name = credentials.adapter;

const ajv = new Ajv({ allErrors: true, strict: false });
addFormats(ajv);
const schemas = {};
for (const file of readdirSync(join(documents, "schemas"))) {
  schemas[file.replace(/\.json$/, "")] = ajv.compile(JSON.parse(readFileSync(join(documents, "schemas", file), "utf8")));
}
function checked(schema, message) {
  const check = schemas[schema];
  if (check === undefined) throw new Error(`no schema named ${schema}`);
  if (!check(message)) throw new Error(`${schema}: ${ajv.errorsText(check.errors)}`);
  return message;
}
function says(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

// What was begun and what came of it, kept before anything is sent: key → ticket. (The department's own books in one file.)
const journal = existsSync(journalFile) ? JSON.parse(readFileSync(journalFile, "utf8")) : {};
function file(key) {
  if (journal[key] === undefined) {
    journal[key] = `N-${Object.keys(journal).length + 1}`;
    writeFileSync(journalFile, JSON.stringify(journal));
  }
  return journal[key];
}

const inboxPrefix = `_INBOX_${name}`;
const bus = await connect({
  servers: credentials.urls,
  authenticator: nkeyAuthenticator(new TextEncoder().encode(credentials.seed)),
  inboxPrefix,
  maxReconnectAttempts: -1,
  tls: credentials.authority ? { ca: credentials.authority } : undefined,
});

async function report(kind, id, data, cause) {
  const event = {
    specversion: "1.0",
    id,
    source: `/adapters/${name}`,
    type: `city-hub.answer.${kind}.v1`,
    time: new Date().toISOString(),
    datacontenttype: "application/json",
    subject: data.key,
    data,
  };
  if (event.subject === undefined) delete event.subject;
  if (cause) event.traceparent = cause;
  checked(`answer.${kind}`, event);
  const marked = headers();
  marked.set("Nats-Msg-Id", `${name}:${kind}:${id}`);
  for (;;) {
    try {
      const stored = (await bus.request(`answer.${name}.${kind}`, JSON.stringify(event), { timeout: 5000, headers: marked })).json();
      if (stored.error) throw new Error(stored.error.description);
      says({ did: kind, key: data.key });
      return;
    } catch (problem) {
      says({ waits: kind, because: String(problem) });
      await new Promise((done) => setTimeout(done, 500));
    }
  }
}

async function deliver(event) {
  const order = event.data;
  let contact;
  if (order.contact_available) {
    const question = checked("contact-question", { key: order.key });
    const answer = checked("contact-answer", (await bus.request(`contact.${name}`, JSON.stringify(question), { timeout: 5000 })).json());
    contact = answer.contact?.phone;
  }
  const ticket = file(order.key);
  says({ took: order.key, title: order.title, attempt: order.attempt, contact });
  await report("receipt", `${event.id}#${order.attempt}`, { key: order.key, ticket, attempt: order.attempt }, event.traceparent);
  await report("accepted", `${ticket}/accepted`, { key: order.key, at: new Date().toISOString(), by: "值班室" });
  await report("resolved", `${ticket}/resolved`, {
    ticket,
    at: new Date().toISOString(),
    note: "已现场处置完毕",
    files: [{ name: "现场.txt", media_type: "text/plain", content: Buffer.from("处置前后对比").toString("base64") }],
  });
}

async function effect(event) {
  says({ heard: event.type, key: event.data.key });
  await report("effect", `${event.id}#done`, { case: event.data.case, effect: event.data.effect });
}

async function take(message) {
  const event = message.json();
  const kind = event.type?.match(/^city-hub\.order\.([a-z]+)\.v1$/)?.[1];
  checked(`order.${kind}`, event);
  await (kind === "deliver" ? deliver(event) : effect(event));
  message.respond("+ACK");
}

async function beat() {
  const sign = checked("beat", { plugin: "node-client", version: "1.0.0", capabilities: ["recall", "urge"] });
  try {
    const terms = checked("terms", (await bus.request(`beat.${name}`, JSON.stringify(sign), { timeout: 2000 })).json());
    says({ terms });
    return terms;
  } catch (problem) {
    says({ unheard: String(problem) });
    return {};
  }
}

let ending = false;
process.on("SIGTERM", () => (ending = true));

await beat();
const beating = setInterval(beat, 10_000);
while (!ending) {
  const inbox = createInbox(inboxPrefix);
  const arriving = bus.subscribe(inbox, { max: 1, timeout: 2500 });
  bus.publish(`$JS.API.CONSUMER.MSG.NEXT.ORDERS.remote-${name}`, JSON.stringify({ batch: 1, expires: 2_000_000_000 }), { reply: inbox });
  try {
    for await (const message of arriving) {
      if (message.headers?.hasError || message.headers?.code > 0 || message.data.length === 0) break;
      await take(message);
    }
  } catch (problem) {
    if (problem.name !== "TimeoutError") throw problem;
  }
}
clearInterval(beating);
await bus.drain();
