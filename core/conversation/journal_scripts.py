"""The steps of a journal that must be taken whole, as Lua for Redis 6.2.

A journal is one hash: `epoch`, one more with every taker; `digest`, the SHA-256 of the token that
takes it next; `previous`, that of the token it was taken with, which takes it again until the
taker's client was heard of, since the answer to a handshake may be lost; `head`, `uN` and `cN` as
`core.conversation.journal_records` writes them. A session that was taken before it ended leaves
`ended` with its epoch, so that an owner from before the last taker, who has not heard of it, does
not bring the journal back.
"""

from __future__ import annotations

from typing import Final

WRITE: Final = """
local journal = KEYS[1]
local epoch, digest, ttl, mode, confirmed, gone = unpack(ARGV, 1, 6)
local held = redis.call('HGET', journal, 'epoch')
if held then
    if held ~= epoch or redis.call('HGET', journal, 'digest') ~= digest then return -1 end
else
    if mode == 'known' then return 0 end
    local ended = redis.call('HGET', journal, 'ended')
    if ended and mode == 'lost' and tonumber(ended) > tonumber(epoch) then return -1 end
end
if not held or gone == '-1' then
    local previous = redis.call('HGET', journal, 'previous')
    redis.call('DEL', journal)
    redis.call('HSET', journal, 'epoch', epoch, 'digest', digest)
    if previous then redis.call('HSET', journal, 'previous', previous) end
end
if confirmed == '1' then redis.call('HDEL', journal, 'previous') end
local first = 7 + math.max(0, tonumber(gone))
for i = 7, first - 1 do redis.call('HDEL', journal, ARGV[i]) end
for i = first, #ARGV, 2 do redis.call('HSET', journal, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', journal, ttl)
return 1
"""
"""Fields are removed, `gone` of them or all for -1, then set. `mode`: `new` and `lost` make the
journal where there is none. 1; 0 where there is none; -1 where another holds it."""

RENEW: Final = """
local journal = KEYS[1]
local epoch, digest, ttl = unpack(ARGV)
local held = redis.call('HGET', journal, 'epoch')
if not held then
    local ended = redis.call('HGET', journal, 'ended')
    if ended and tonumber(ended) > tonumber(epoch) then return -1 end
    return 0
end
if held ~= epoch or redis.call('HGET', journal, 'digest') ~= digest then return -1 end
redis.call('PEXPIRE', journal, ttl)
return 1
"""
"""1; 0 where there is none; -1 where another holds it."""

TAKE: Final = """
local journal = KEYS[1]
local digest, next_digest, ttl = unpack(ARGV)
if redis.call('HGET', journal, 'digest') ~= digest
    and redis.call('HGET', journal, 'previous') ~= digest then return {} end
redis.call('HINCRBY', journal, 'epoch', 1)
redis.call('HSET', journal, 'digest', next_digest, 'previous', digest)
redis.call('PEXPIRE', journal, ttl)
return redis.call('HGETALL', journal)
"""
"""The journal, which belongs to the taker now; nothing where the token does not open it."""

END: Final = """
local journal = KEYS[1]
local epoch, digest, ttl = unpack(ARGV)
if redis.call('HGET', journal, 'epoch') ~= epoch then return 0 end
if redis.call('HGET', journal, 'digest') ~= digest then return 0 end
redis.call('DEL', journal)
if tonumber(epoch) > 1 then
    redis.call('HSET', journal, 'ended', epoch)
    redis.call('PEXPIRE', journal, ttl)
end
return 1
"""
"""1; 0 where another holds it or there is none."""
