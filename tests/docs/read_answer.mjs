// node read_answer.mjs FOLDER URL PREFIX TIER NAME PART…: prints what the compiled reader reads.
import net from "node:net";
import { pathToFileURL } from "node:url";

const [folder, target, prefix, tier, name, ...parts] = process.argv.slice(2);
const { answerKey, readAnswer } = await import(pathToFileURL(`${folder}/cached.js`).href);
const url = new URL(target);
const socket =
  url.protocol === "unix:"
    ? net.connect(decodeURIComponent(url.pathname))
    : net.connect(Number(url.port || 6379), url.hostname);
let trips = 0;

// MGET over RESP 2; the answers are JSON in one line, so lines are enough to tell them apart.
const mget = (keys) =>
  new Promise((answer) => {
    trips += 1;
    let text = "";
    const read = (data) => {
      text += data.toString("utf8");
      const lines = text.split("\r\n");
      const found = [];
      for (let at = 1; at < lines.length && found.length < keys.length; at += 1) {
        if (lines[at] === "$-1") found.push(null);
        else if (lines[at].startsWith("$") && at + 2 < lines.length) found.push(lines[(at += 1)]);
      }
      if (found.length < keys.length) return;
      socket.off("data", read);
      answer(found);
    };
    socket.on("data", read);
    const words = ["MGET", ...keys].map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    socket.write(`*${keys.length + 1}\r\n${words.join("")}`);
  });

const found = await readAnswer(
  mget,
  answerKey(prefix, tier, name, ...parts.map((part) => (part === "~" ? null : part))),
);
console.log(JSON.stringify({ found, trips }));
socket.destroy();
