"""The steps of a job that must be taken whole, as Lua for Redis 6.2.

Keys of a job: `job` a hash; `waiting` a list of indices; `texts`, `results` hashes by index;
`holders` a hash of index to token, `@token` to index, and `#index` to how often it was handed out;
`leases` a sorted set of index by the end of its lease; `sizes` a hash of index to the bytes of its
audio. Beside them `room`, a hash of a tenant's jobs to the bytes of their audio and `total`, and
`room_ends`, a sorted set of the same jobs by their end. All times are Redis' own, in milliseconds.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

_ROOM: Final = """
local function leave(id)
    local held = redis.call('HGET', room, id)
    if held then
        redis.call('HDEL', room, id)
        redis.call('HINCRBY', room, 'total', -held)
    end
    redis.call('ZREM', room_ends, id)
end
local function used()
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', room_ends, '-inf', now)) do leave(id) end
    return tonumber(redis.call('HGET', room, 'total') or 0)
end
"""
"""Gives back what a job's audio took, and tells what all of a tenant's jobs take by now."""

CREATE: Final = (
    _NOW
    + """
local job, waiting, texts, mine, mine_open, all_open, room, room_ends, warm = unpack(KEYS)
local id, ref, spec, ttl, most, room_most, warm_as, warm_most, job_prefix = unpack(ARGV, 1, 9)
local first = 10
"""
    + _ROOM
    + """
if redis.call('EXISTS', job) == 1 then return 1 end
if room_most ~= '' and used() > tonumber(room_most) then return -1 end
local ends = now + tonumber(ttl)
local function open(one)
    local status = one and redis.call('HGET', job_prefix .. one, 'status')
    return status == 'queued' or status == 'running'
end
if warm_as ~= '' then
    if open(redis.call('HGET', warm, warm_as)) then return -2 end
    if redis.call('HLEN', warm) >= tonumber(warm_most) then
        local known = redis.call('HGETALL', warm)
        for i = 1, #known, 2 do
            if not open(known[i + 1]) then redis.call('HDEL', warm, known[i]) end
        end
        if redis.call('HLEN', warm) >= tonumber(warm_most) then return 0 end
    end
    redis.call('HSET', warm, warm_as, id)
    redis.call('PEXPIREAT', warm, ends)
else
    redis.call('ZREMRANGEBYSCORE', mine_open, '-inf', now)
    if redis.call('ZCARD', mine_open) >= tonumber(most) then return 0 end
    redis.call('ZADD', mine_open, ends, id)
end
redis.call('HSET', job, 'spec', spec, 'status', 'queued', 'total', #ARGV - first + 1,
    'succeeded', 0, 'failed', 0, 'created', now, 'ends', ends, 'attended', 0, 'called', now)
for i = first, #ARGV do
    redis.call('HSET', texts, i - first, ARGV[i])
    redis.call('RPUSH', waiting, i - first)
end
for _, key in ipairs({job, waiting, texts}) do redis.call('PEXPIREAT', key, ends) end
redis.call('ZREMRANGEBYSCORE', mine, '-inf', now - 2 * tonumber(ttl))
redis.call('ZADD', mine, now, id)
redis.call('ZADD', all_open, ends, ref)
return 1
"""
)
"""1; 0 where the owner has as many unfinished jobs as it may; -1 where the audio of its jobs takes
more than `room_most` (empty: the job keeps none); -2 where the job before it under the name
`warm_as` is unfinished. A job with such a name is one of the clock's: it does not count against
`most`, and there are `warm_most` names. Sent again, it changes nothing: a client may not know
whether a command was carried out before its connection broke."""

USED: Final = (
    _NOW
    + """
local room, room_ends = unpack(KEYS)
"""
    + _ROOM
    + """
return used()
"""
)
"""Bytes that the audio of a tenant's jobs takes."""

KEEP: Final = (
    _NOW
    + """
local job, holders, sizes, room, room_ends, value = unpack(KEYS)
local id, index, token, most, blob = unpack(ARGV)
"""
    + _ROOM
    + """
local ends = redis.call('HGET', job, 'ends')
if not ends or redis.call('HGET', holders, index) ~= token then return -1 end
local more = #blob - tonumber(redis.call('HGET', sizes, index) or 0)
if used() + more > tonumber(most) then return 0 end
redis.call('HSET', sizes, index, #blob)
redis.call('HINCRBY', room, id, more)
redis.call('HINCRBY', room, 'total', more)
redis.call('ZADD', room_ends, ends, id)
local last = redis.call('ZREVRANGE', room_ends, 0, 0, 'WITHSCORES')[2]
redis.call('PEXPIREAT', sizes, ends)
redis.call('PEXPIREAT', room, last)
redis.call('PEXPIREAT', room_ends, last)
redis.call('SET', value, blob, 'PXAT', ends)
return 1
"""
)
"""1: the audio is kept as long as its job, and counts once however often it is put; 0: there is no
room for it; -1: the token does not hold the item (any more), or the job is gone."""

TAKE: Final = (
    _NOW
    + """
local job, waiting, texts, holders, leases = unpack(KEYS)
local status = redis.call('HGET', job, 'status')
if status ~= 'queued' and status ~= 'running' then return {} end
local index = redis.call('HGET', holders, '@' .. ARGV[1])
if index then
    local taken = tonumber(redis.call('HGET', holders, '#' .. index))
    return {index, redis.call('HGET', texts, index), taken}
end
index = redis.call('LPOP', waiting)
if not index then return {} end
local ends = redis.call('HGET', job, 'ends')
redis.call('HSET', job, 'status', 'running', 'attended', now)
redis.call('HSET', holders, index, ARGV[1], '@' .. ARGV[1], index)
local taken = redis.call('HINCRBY', holders, '#' .. index, 1)
redis.call('ZADD', leases, now + tonumber(ARGV[2]), index)
redis.call('PEXPIREAT', holders, ends)
redis.call('PEXPIREAT', leases, ends)
return {index, redis.call('HGET', texts, index), taken}
"""
)
"""Index, text and how often it was handed out; nothing when there is nothing to take. Sent again
with the same token, it tells the same text."""

BEAT: Final = (
    _NOW
    + """
local job, holders, leases = unpack(KEYS)
local lost = {}
if redis.call('EXISTS', job) == 1 then redis.call('HSET', job, 'attended', now) end
for i = 2, #ARGV, 2 do
    if redis.call('HGET', holders, ARGV[i]) == ARGV[i + 1] then
        redis.call('ZADD', leases, now + tonumber(ARGV[1]), ARGV[i])
    else
        lost[#lost + 1] = ARGV[i]
    end
end
return lost
"""
)
"""The indices that are no longer held by who asks."""

FINISH: Final = (
    _NOW
    + """
local job, texts, holders, leases, results, mine_open, all_open = unpack(KEYS)
local id, ref, index, token, field, result = unpack(ARGV)
if redis.call('HGET', holders, index) ~= token then return 0 end
redis.call('HDEL', holders, index, '#' .. index, '@' .. token)
redis.call('ZREM', leases, index)
redis.call('HDEL', texts, index)
redis.call('HSET', results, index, result)
redis.call('PEXPIREAT', results, redis.call('HGET', job, 'ends'))
redis.call('HINCRBY', job, field, 1)
local got = redis.call('HMGET', job, 'total', 'succeeded', 'failed', 'status')
if got[2] + got[3] == tonumber(got[1]) and got[4] ~= 'cancelled' then
    redis.call('HSET', job, 'status', tonumber(got[2]) > 0 and 'done' or 'failed', 'finished', now)
    redis.call('ZREM', mine_open, id)
    redis.call('ZREM', all_open, ref)
end
return 1
"""
)
"""1, or 0 where the token does not hold the item (any more): nothing was written."""

GIVE_BACK: Final = """
local job, waiting, holders, leases = unpack(KEYS)
local given = 0
for i = 2, #ARGV, 2 do
    if redis.call('HGET', holders, ARGV[i]) == ARGV[i + 1] then
        redis.call('HDEL', holders, ARGV[i], '@' .. ARGV[i + 1])
        if ARGV[1] == '1' then redis.call('HINCRBY', holders, '#' .. ARGV[i], -1) end
        redis.call('ZREM', leases, ARGV[i])
        if redis.call('HGET', job, 'status') == 'running' then
            redis.call('RPUSH', waiting, ARGV[i])
            redis.call('PEXPIREAT', waiting, redis.call('HGET', job, 'ends'))
            if ARGV[1] == '1' then redis.call('HSET', job, 'attended', 0, 'called', 0) end
        end
        given = given + 1
    end
end
return given
"""
"""How many items wait again. With 1 as first argument the try does not count and the job has nobody
at it, so that the next sweep calls a worker."""

SWEEP: Final = (
    _NOW
    + """
local job, waiting, holders, leases, all_open = unpack(KEYS)
local ref, stale, again = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local got = redis.call('HMGET', job, 'status', 'ends', 'attended', 'called')
if got[1] ~= 'queued' and got[1] ~= 'running' then
    redis.call('ZREM', all_open, ref)
    return {0, 0}
end
local late = redis.call('ZRANGEBYSCORE', leases, '-inf', now)
for _, index in ipairs(late) do
    redis.call('ZREM', leases, index)
    redis.call('HDEL', holders, index, '@' .. (redis.call('HGET', holders, index) or ''))
    redis.call('RPUSH', waiting, index)
end
if #late > 0 then redis.call('PEXPIREAT', waiting, got[2]) end
local attended, called = tonumber(got[3]), tonumber(got[4])
local call = redis.call('LLEN', waiting) > 0
    and (#late > 0 or (now - attended > stale and (called <= attended or now - called > again)))
if call then redis.call('HSET', job, 'called', now) end
return {#late, call and 1 or 0}
"""
)
"""How many leases had ended, and whether whoever asks shall call a worker to this job: where one
ended, or where nobody is at it. Whoever is at it may only be waiting for its own last text."""

CANCEL: Final = (
    _NOW
    + """
local job, waiting, texts, holders, leases, results, sizes = unpack(KEYS, 1, 7)
local mine, mine_open, all_open, room, room_ends = unpack(KEYS, 8, 12)
local id, ref, deleter, audio_prefix = unpack(ARGV)
"""
    + _ROOM
    + """
local status = redis.call('HGET', job, 'status')
if not status then return 0 end
redis.call('ZREM', mine_open, id)
redis.call('ZREM', all_open, ref)
if status == 'queued' or status == 'running' then
    redis.call('HSET', job, 'status', 'cancelled', 'finished', now, 'cancelled_by', deleter)
    redis.call('DEL', waiting, texts)
    return 1
end
if redis.call('HGET', job, 'cancelled_by') == deleter then return 1 end
for _, index in ipairs(redis.call('HKEYS', sizes)) do
    redis.call('UNLINK', audio_prefix .. string.format('%08x', index))
end
leave(id)
redis.call('DEL', job, waiting, texts, holders, leases, results, sizes)
redis.call('ZREM', mine, id)
return 2
"""
)
"""0: no such job; 1: no item is begun any more; 2: it had ended and is gone with its audio. The
same command sent again removes nothing."""
