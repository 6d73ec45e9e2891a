// Prints the quotes of some symbols, one JSON object a line:
// node build/follow.js redis://127.0.0.1:6379 tradekeep AAPL MSFT
import { followQuotes } from "./reader.js";

const [target, prefix, ...symbols] = process.argv.slice(2);
if (target === undefined || symbols.length === 0) {
  console.error("give a URL, a prefix and symbols");
  process.exit(2);
}
const following = followQuotes(
  target,
  symbols,
  (quote) => console.log(JSON.stringify(quote)),
  prefix,
);
process.stdin.on("end", () => following.close()).resume();
