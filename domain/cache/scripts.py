"""What the server does in one step: Lua scripts over the three keys of one answer, or of one tag.

A cached answer at ``k`` has a lease at ``k:l`` (the token of the only reader that may fill it) and
its writers in flight at ``k:w`` (a sorted set: writer to deadline in milliseconds of the server's
clock). A tag at ``t`` holds a stamp that no other time ever had, and its writers at ``t:w``.
Writers carry deadlines instead of a time to live, so that no eviction of volatile keys drops them.

Sent with EVAL, never by hash: a server that restarted or failed over knows no hashes.
"""

from typing import Final

_CLOCK: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

_THOUGH_FULL: Final = "#!lua flags=allow-oom"
"""Writers are let in when the memory is full: what is left out then would go stale."""

_WRITERS: Final = (
    _CLOCK
    + """
local function is_written(w)
  if redis.call('EXISTS', w) == 0 then return false end
  redis.call('ZREMRANGEBYSCORE', w, '-inf', now)
  return redis.call('ZCARD', w) > 0
end
"""
)

FETCH: Final = (
    _WRITERS
    + """
-- KEYS: k, k:l, k:w; ARGV: token, lease in ms
if is_written(KEYS[3]) then return {'writing', false} end
local value = redis.call('GET', KEYS[1])
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return {'busy', value} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'leased', value}
"""
)
"""The right to fill an answer, or that somebody else loads or writes it; and what is stored."""

FILL: Final = """
-- KEYS: k, k:l; ARGV: token, value, time to live in ms
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
"""Stores what was loaded, unless the lease was lost: then a writer came between."""

RELEASE: Final = """
-- KEYS: k:l; ARGV: token
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""Gives the lease back, if it is still held."""

BEGIN: Final = (
    _THOUGH_FULL
    + _CLOCK
    + """
-- KEYS: k, k:l, k:w; ARGV: writer, time to live in ms
redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2])
return 1
"""
)
"""Before COMMIT: nothing is served from here and nothing stored until the writer is through."""

END: Final = (
    _THOUGH_FULL
    + """
-- KEYS: k, k:l, k:w; ARGV: writer
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2])
return 1
"""
)
"""After COMMIT or ROLLBACK."""

READ_TAG: Final = (
    _WRITERS
    + """
-- KEYS: t, t:w; ARGV: stamp for a tag that has none, time to live in ms
if is_written(KEYS[2]) then return false end
local stamp = redis.call('GET', KEYS[1])
if stamp then return stamp end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""
)
"""A tag's stamp, or nothing while somebody writes what it stands for."""

BEGIN_TAG: Final = (
    _THOUGH_FULL
    + _CLOCK
    + """
-- KEYS: t, t:w; ARGV: writer, its time to live in ms, new stamp, the stamp's time to live in ms
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
"""
)
"""Before COMMIT: every answer with the tag's old stamp is out of date."""

END_TAG: Final = (
    _THOUGH_FULL
    + """
-- KEYS: t, t:w; ARGV: writer, new stamp, the stamp's time to live in ms
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
"""
)
"""After COMMIT or ROLLBACK; a tag that lost its writer meanwhile gets a new stamp."""
