// Reads Tradekeep's cached answers from Redis or Valkey, by any client that has MGET: the envelope
// is described on docs/pages/redis.md. Amounts are strings: give them to a decimal type, never to
// Number, which has sixteen digits. Nothing is written: whoever finds no answer asks the application.

export type Mget = (keys: readonly string[]) => Promise<readonly (string | null)[]>;

export interface Answer<T> {
  readonly data: T;
  // When it was made: no commit has changed it since, however long ago that is.
  readonly madeAt: Date;
}

interface Envelope<T> {
  readonly ct: number;
  readonly v: number;
  readonly fp: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly data: T;
}

// What stands in a key: letters, digits and _.-~/@+=,!$'()* as they are, all else as %XX.
const part = (text: string | null): string =>
  text === null
    ? "~"
    : encodeURIComponent(text).replace(/%(2F|40|2B|3D|2C|24)/g, (code) => decodeURIComponent(code));

// The key of an answer: tier and name as `tradekeep cache inspect` shows them, then its parameters
// in their order; an owner's answer begins with the user.
export const answerKey = (
  prefix: string,
  tier: "hot" | "warm" | "cold" | "session" | "analysis",
  name: string,
  ...parts: readonly (string | null)[]
): string => `${prefix}:${tier}:${name}:{${parts.map(part).join(":") || "~"}}`;

// An answer that holds now, or null. It was true after this call began: the value is read first and
// its tags, all of them in one MGET, afterwards.
export async function readAnswer<T>(mget: Mget, key: string): Promise<Answer<T> | null> {
  const [text] = await mget([key]);
  if (text === null || text === undefined) return null;
  const envelope = JSON.parse(text) as Envelope<T>;
  if (envelope.v !== 2) return null;
  const tags = Object.keys(envelope.tags);
  const stamps = tags.length > 0 ? await mget(tags) : [];
  if (tags.some((tag, index) => stamps[index] !== envelope.tags[tag])) return null;
  return { data: envelope.data, madeAt: new Date(envelope.ct * 1000) };
}
