// Reads Tradekeep's live data and cached answers from Redis or Valkey: the contract is on
// docs/pages/redis.md. Needs nothing but node. Amounts are strings: give them to a decimal type,
// never to Number, which has sixteen digits.
import net from "node:net";

export interface Quote {
  readonly symbol: string;
  readonly time: string;
  readonly bid?: string;
  readonly ask?: string;
  readonly last?: string;
  readonly bid_size?: string;
  readonly ask_size?: string;
  readonly volume?: string;
}

export interface Happening<Payload = unknown> {
  readonly event_id: string;
  readonly topic: string;
  readonly at: string;
  readonly user_id: string | null;
  readonly data: Payload;
}

// What stands in a key: letters, digits and _.-~/@+=,!$'()* as they are, all else as %XX.
export const part = (text: string): string =>
  encodeURIComponent(text).replace(/%(2F|40|2B|3D|2C|24)/g, (code) => decodeURIComponent(code));

export const keys = (prefix = "tradekeep") => ({
  latestPrice: (symbol: string) => `${prefix}:price:latest:{${part(symbol)}}`,
  quotes: (symbol: string) => `${prefix}:quotes:{${part(symbol)}}`,
  events: (topic: string, userId?: string) => `${prefix}:events:{${userId ?? "~"}}:${part(topic)}`,
  recentTrades: (agentId: string) => `${prefix}:trades:recent:{${agentId}}`,
  positions: (agentId: string) => `${prefix}:positions:{${agentId}}`,
  leaderboardTop: () => `${prefix}:{leaderboard}:top`,
  sinceInception: (agentId: string) => `${prefix}:since_inception:{${agentId}}`,
});

// A cached answer comes in an envelope; null: not there, ask the API.
export const cached = <T>(text: string | null): T | null =>
  text === null ? null : (JSON.parse(text) as { data: T }).data;

type Reply = string | number | null | Error | Reply[];

// One connection and as much of the protocol (RESP 2) as reading needs.
export class Connection {
  readonly #socket: net.Socket;
  #buffer = Buffer.alloc(0);
  #waiting: ((reply: Reply) => void)[] = [];
  onPush: ((reply: Reply[]) => void) | null = null;

  constructor(target: string) {
    const url = new URL(target);
    this.#socket =
      url.protocol === "unix:"
        ? net.connect(decodeURIComponent(url.pathname))
        : net.connect(Number(url.port || 6379), url.hostname);
    this.#socket.on("data", (data) => this.#read(data));
    // A "close" follows every error and tells who listens.
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => {
      for (const answer of this.#waiting.splice(0)) answer(new Error("the connection is lost"));
    });
  }

  onClose(then: () => void): void {
    this.#socket.once("close", then);
  }

  close(): void {
    this.#socket.destroy();
  }

  async ask(...words: string[]): Promise<Reply> {
    const sent = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("");
    const reply = await new Promise<Reply>((answer) => {
      if (this.#socket.destroyed) return answer(new Error("the connection is lost"));
      this.#waiting.push(answer);
      this.#socket.write(`*${words.length}\r\n${sent}`);
    });
    if (reply instanceof Error) throw reply;
    return reply;
  }

  async get(key: string): Promise<string | null> {
    return (await this.ask("GET", key)) as string | null;
  }

  #read(data: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    for (let found = this.#parse(0); found; found = this.#parse(0)) {
      this.#buffer = this.#buffer.subarray(found.end);
      const { reply } = found;
      if (Array.isArray(reply) && reply[0] === "message") this.onPush?.(reply);
      else this.#waiting.shift()?.(reply);
    }
  }

  #parse(start: number): { reply: Reply; end: number } | null {
    const line = this.#buffer.indexOf("\r\n", start);
    if (line < 0) return null;
    const text = this.#buffer.toString("utf8", start + 1, line);
    const kind = String.fromCharCode(this.#buffer[start] ?? 0);
    if (kind === "+") return { reply: text, end: line + 2 };
    if (kind === "-") return { reply: new Error(text), end: line + 2 };
    if (kind === ":") return { reply: Number(text), end: line + 2 };
    const size = Number(text);
    if (size < 0) return { reply: null, end: line + 2 };
    return kind === "$" ? this.#bulk(line + 2, size) : this.#array(line + 2, size);
  }

  #bulk(start: number, size: number): { reply: Reply; end: number } | null {
    const end = start + size;
    if (this.#buffer.length < end + 2) return null;
    return { reply: this.#buffer.toString("utf8", start, end), end: end + 2 };
  }

  #array(start: number, size: number): { reply: Reply; end: number } | null {
    const reply: Reply[] = [];
    let end = start;
    while (reply.length < size) {
      const found = this.#parse(end);
      if (found === null) return null;
      reply.push(found.reply);
      end = found.end;
    }
    return { reply, end };
  }
}

export interface Following {
  close(): void;
}

// Gives the newest quote of each symbol first and every change after it. Subscribes before it
// reads, so nothing falls between, and does so again after each lost connection.
export function followQuotes(
  target: string,
  symbols: readonly string[],
  onQuote: (quote: Quote) => void,
  prefix?: string,
): Following {
  const names = keys(prefix);
  const newest = new Map<string, string>();
  let isClosed = false;
  let open: Connection[] = [];

  const tell = (text: string | null): void => {
    if (text === null) return;
    const quote = JSON.parse(text) as Quote;
    // What waited while the snapshot was read is older than it. Times are ISO 8601 in UTC.
    if (Date.parse(quote.time) < Date.parse(newest.get(quote.symbol) ?? quote.time)) return;
    newest.set(quote.symbol, quote.time);
    onQuote(quote);
  };

  const start = async (): Promise<void> => {
    const [listening, asking] = [new Connection(target), new Connection(target)];
    open = [listening, asking];
    listening.onPush = (reply) => tell(reply[2] as string);
    listening.onClose(() => {
      asking.close();
      if (!isClosed) setTimeout(start, 50 + Math.random() * 200);
    });
    try {
      for (const symbol of symbols) await listening.ask("SUBSCRIBE", names.quotes(symbol));
      for (const symbol of symbols) tell(await asking.get(names.latestPrice(symbol)));
    } catch {
      listening.close();
    }
  };

  void start();
  return {
    close: () => {
      isClosed = true;
      for (const connection of open) connection.close();
    },
  };
}
