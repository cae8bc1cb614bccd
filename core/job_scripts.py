"""The steps of a job that must be taken whole, as Lua for Redis 6.2.

Keys of a job: `job` a hash; `waiting` a list of indices; `later` a sorted set of indices by when
they may be tried again; `texts`, `results` hashes by index; `holders` a hash of index to token,
`@token` to index, `#index` to how often it was handed out, and `!index` to when it failed first;
`leases` a sorted set of index by the end of its lease; `sizes` a hash of index to the bytes of its
audio. `all_open` is a sorted set of everybody's jobs by when a sweep must look at them next: when
their first lease ends, or when nobody is at them. Beside them `room`, a hash of jobs to the bytes
of their audio and `total`, and `ends`, a sorted set of the same jobs by their end: a tenant's, and
everybody's. All times are Redis' own, in milliseconds.

While the memory of the database is full, a script is refused at its first command that may need
more, unless one that needs none has written before it. So scripts that begin something ask first,
and those that keep or end something begin with a command that changes nothing.
"""

from __future__ import annotations

from typing import Final

UNATTENDED_MS: Final = 8_000
"""A job whose texts wait and that nobody took from or worked on for so long has nobody at it."""
CALL_AGAIN_MS: Final = 30_000
"""How long a called worker may take to come before another one is called."""
CLAIM_MS: Final = 5_000
"""How long a sweeper has to call a worker before another one does."""

_NOW: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

_DUE: Final = (
    _NOW
    + f"local stale, again, claim = {UNATTENDED_MS}, {CALL_AGAIN_MS}, {CLAIM_MS}"
    + """
local job, waiting, later, leases, all_open = unpack(KEYS, 1, 5)
local ref = ARGV[1]
local function unfinished()
    local status = redis.call('HGET', job, 'status')
    return status == 'queued' or status == 'running'
end
local function nobody_at()
    if not unfinished() then return nil end
    if redis.call('LLEN', waiting) + redis.call('ZCARD', later) == 0 then return nil end
    local got = redis.call('HMGET', job, 'attended', 'called', 'claimed')
    local attended, called = tonumber(got[1]), tonumber(got[2])
    local at = attended + stale
    if called > attended then at = math.max(at, called + again) end
    return math.max(at, tonumber(got[3] or 0))
end
local function see_to()
    local at = nobody_at()
    local ends = tonumber(redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2])
    if ends then at = math.min(at or ends, ends) end
    if at then redis.call('ZADD', all_open, at, ref) else redis.call('ZREM', all_open, ref) end
end
"""
)
"""Every script that changes a job begins with `job_database.due_parts` and the job's name, and ends
with `see_to`, which tells when a sweep must look at it."""

_EVEN_FULL: Final = """
redis.call('HDEL', job, '')
"""
"""Nothing has that name. After this write the script is not refused when the memory is full."""

_ROOM: Final = """
local function leave(room, ends, name)
    local held = redis.call('HGET', room, name)
    if held then
        redis.call('HDEL', room, name)
        redis.call('HINCRBY', room, 'total', -held)
    end
    redis.call('ZREM', ends, name)
end
local function used(room, ends)
    local gone = redis.call('ZRANGEBYSCORE', ends, '-inf', now)
    for _, name in ipairs(gone) do leave(room, ends, name) end
    return tonumber(redis.call('HGET', room, 'total') or 0)
end
local function over(room, ends, more, most)
    return most ~= '' and used(room, ends) + more > tonumber(most)
end
"""
"""Gives back what a job's audio took, and tells what all jobs of a room take by now."""

CREATE: Final = (
    _DUE
    + _ROOM
    + """
local texts, mine, mine_open, warm, room, ends_of, all_room, all_ends = unpack(KEYS, 6, 13)
local _, id, spec, ttl, most, room_most, all_most, warm_as, warm_most, prefix = unpack(ARGV, 1, 10)
local first = 11
if redis.call('EXISTS', job) == 1 then return 1 end
redis.call('ZADD', all_open, 'XX', 0, ref)
if over(room, ends_of, 0, room_most) then return -1 end
if over(all_room, all_ends, 0, all_most) then return -3 end
local ends = now + tonumber(ttl)
local function open(one)
    local status = one and redis.call('HGET', prefix .. one, 'status')
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
see_to()
return 1
"""
)
"""1; 0 where the owner has as many unfinished jobs as it may; -1 and -3 where the audio of its jobs
or of everybody's takes more than `room_most` and `all_most` (empty: no matter); -2 where the job
before it under the name `warm_as` is unfinished. A job with such a name is one of the clock's: it
does not count against `most`, and there are `warm_most` names. Refused while the memory is full.
Sent again, it changes nothing: a client may not know whether a command was carried out before its
connection broke."""

USED: Final = (
    _NOW
    + _ROOM
    + """
return {used(KEYS[1], KEYS[2]), used(KEYS[3], KEYS[4])}
"""
)
"""Bytes that the audio of a tenant's jobs takes, and of everybody's."""

KEEP: Final = (
    _DUE
    + _ROOM
    + """
local holders, sizes, room, ends_of, all_room, all_ends, value = unpack(KEYS, 6, 12)
local _, id, index, token, most, all_most, blob = unpack(ARGV)
local ends = redis.call('HGET', job, 'ends')
if not ends or redis.call('HGET', holders, index) ~= token then return -1 end
redis.call('HSET', job, 'attended', now)
local more = #blob - tonumber(redis.call('HGET', sizes, index) or 0)
if over(room, ends_of, more, most) then return 0 end
if over(all_room, all_ends, more, all_most) then return -3 end
redis.call('HSET', sizes, index, #blob)
redis.call('PEXPIREAT', sizes, ends)
for _, one in ipairs({{room, ends_of, id}, {all_room, all_ends, ref}}) do
    redis.call('HINCRBY', one[1], one[3], more)
    redis.call('HINCRBY', one[1], 'total', more)
    redis.call('ZADD', one[2], ends, one[3])
    local last = redis.call('ZREVRANGE', one[2], 0, 0, 'WITHSCORES')[2]
    redis.call('PEXPIREAT', one[1], last)
    redis.call('PEXPIREAT', one[2], last)
end
redis.call('SET', value, blob, 'PXAT', ends)
return 1
"""
)
"""1: the audio is kept as long as its job, and counts once however often it is put; 0 and -3: there
is no room for it, the tenant's or everybody's; -1: the token does not hold the item (any more), or
the job is gone. Refused while the memory is full."""

TAKE: Final = (
    _DUE
    + """
local holders, texts = KEYS[6], KEYS[7]
local token, lease = ARGV[2], tonumber(ARGV[3])
if not unfinished() then return {} end
local function told(index)
    local since = math.min(tonumber(redis.call('HGET', job, 'failing') or now),
        tonumber(redis.call('HGET', holders, '!' .. index) or now))
    return {index, redis.call('HGET', texts, index),
        tonumber(redis.call('HGET', holders, '#' .. index)), now - since}
end
local index = redis.call('HGET', holders, '@' .. token)
if index then return told(index) end
local ripe = redis.call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, 100)
if redis.call('LLEN', waiting) + #ripe == 0 then
    local first = tonumber(redis.call('ZRANGE', later, 0, 0, 'WITHSCORES')[2])
    return first and {first - now} or {}
end
local ends = redis.call('HGET', job, 'ends')
redis.call('HSET', job, 'status', 'running', 'attended', now)
for _, one in ipairs(ripe) do
    redis.call('ZREM', later, one)
    redis.call('RPUSH', waiting, one)
end
redis.call('PEXPIREAT', waiting, ends)
index = redis.call('LPOP', waiting)
redis.call('HSET', holders, index, token, '@' .. token, index)
redis.call('HINCRBY', holders, '#' .. index, 1)
redis.call('ZADD', leases, now + lease, index)
redis.call('PEXPIREAT', holders, ends)
redis.call('PEXPIREAT', leases, ends)
see_to()
return told(index)
"""
)
"""Index, text, how often it was handed out and since when it or its job only fails; the time until
the first may be tried again where all that wait were put off; nothing when there is nothing to
take. Refused while the memory is full. Sent again with the same token, it tells the same text."""

BEAT: Final = (
    _DUE
    + _EVEN_FULL
    + """
local holders, lost = KEYS[6], {}
if redis.call('EXISTS', job) == 1 then redis.call('HSET', job, 'attended', now) end
for i = 3, #ARGV, 2 do
    if redis.call('HGET', holders, ARGV[i]) == ARGV[i + 1] then
        redis.call('ZADD', leases, now + tonumber(ARGV[2]), ARGV[i])
    else
        lost[#lost + 1] = ARGV[i]
    end
end
see_to()
return lost
"""
)
"""The indices that are no longer held by who asks."""

FINISH: Final = (
    _DUE
    + """
local holders, texts, results, mine_open = unpack(KEYS, 6, 9)
local _, id, index, token, field, result = unpack(ARGV)
if redis.call('HGET', holders, index) ~= token then return 0 end
redis.call('HDEL', holders, index, '#' .. index, '@' .. token, '!' .. index)
redis.call('ZREM', leases, index)
redis.call('HDEL', texts, index)
redis.call('HSET', results, index, result)
redis.call('PEXPIREAT', results, redis.call('HGET', job, 'ends'))
redis.call('HINCRBY', job, field, 1)
if field == 'succeeded' then redis.call('HDEL', job, 'failing') end
local got = redis.call('HMGET', job, 'total', 'succeeded', 'failed')
if got[2] + got[3] == tonumber(got[1]) and unfinished() then
    redis.call('HSET', job, 'status', tonumber(got[2]) > 0 and 'done' or 'failed', 'finished', now)
    redis.call('ZREM', mine_open, id)
end
see_to()
return 1
"""
)
"""1, or 0 where the token does not hold the item (any more): nothing was written."""

GIVE_BACK: Final = (
    _DUE
    + _EVEN_FULL
    + """
local holders = KEYS[6]
local unspent, ending, pause = ARGV[2] == '1', ARGV[3] == '1', tonumber(ARGV[4])
local given, ends = 0, redis.call('HGET', job, 'ends')
for i = 5, #ARGV, 2 do
    local index, token = ARGV[i], ARGV[i + 1]
    if redis.call('HGET', holders, index) == token then
        redis.call('HDEL', holders, index, '@' .. token)
        if unspent then redis.call('HINCRBY', holders, '#' .. index, -1) end
        redis.call('ZREM', leases, index)
        given = given + 1
        if unfinished() and pause > 0 then
            redis.call('ZADD', later, now + pause, index)
            redis.call('PEXPIREAT', later, ends)
            redis.call('HSETNX', holders, '!' .. index, now)
            redis.call('HSETNX', job, 'failing', now)
        elseif unfinished() then
            redis.call('RPUSH', waiting, index)
            redis.call('PEXPIREAT', waiting, ends)
        end
        if unfinished() and ending then
            redis.call('HSET', job, 'attended', 0, 'called', 0, 'claimed', 0)
        end
    end
end
see_to()
return given
"""
)
"""How many items wait again, `pause` milliseconds at the least; one that pauses has failed for now.
`unspent`: the try does not count. `ending`: the job has nobody at it, so that the next sweep calls
a worker."""

SWEEP: Final = (
    _DUE
    + _EVEN_FULL
    + """
local holders = KEYS[6]
local late = redis.call('ZRANGEBYSCORE', leases, '-inf', now)
for _, index in ipairs(late) do
    redis.call('ZREM', leases, index)
    redis.call('HDEL', holders, index, '@' .. (redis.call('HGET', holders, index) or ''))
    if unfinished() then redis.call('RPUSH', waiting, index) end
end
if #late > 0 and unfinished() then
    redis.call('PEXPIREAT', waiting, redis.call('HGET', job, 'ends'))
end
local at = nobody_at()
local claimed = tonumber(redis.call('HGET', job, 'claimed') or 0)
local call = at and now >= claimed and (#late > 0 or now >= at)
if call then redis.call('HSET', job, 'claimed', now + claim) end
see_to()
return {#late, call and 1 or 0}
"""
)
"""How many leases had ended, and whether whoever asks shall call a worker to this job: where one
ended, or where nobody is at it. Whoever is at it may only be waiting for its own last text."""

CALLED: Final = (
    _DUE
    + _EVEN_FULL
    + """
if redis.call('EXISTS', job) == 1 then redis.call('HSET', job, 'called', now, 'claimed', 0) end
see_to()
"""
)
"""A worker was called, which has its time to come."""

CANCEL: Final = (
    _DUE
    + """
local texts, mine_open = KEYS[6], KEYS[7]
local _, id, canceller = unpack(ARGV)
if redis.call('EXISTS', job) == 0 then return 0 end
if not unfinished() then
    return redis.call('HGET', job, 'cancelled_by') == canceller and 1 or 2
end
redis.call('ZREM', mine_open, id)
redis.call('HSET', job, 'status', 'cancelled', 'finished', now, 'cancelled_by', canceller)
redis.call('DEL', waiting, later, texts)
see_to()
return 1
"""
)
"""0: no such job; 1: no item is begun any more; 2: it had ended and stays as it is. The same
command sent again tells the same."""

REMOVE: Final = (
    _DUE
    + _ROOM
    + """
local texts, holders, results, sizes, mine, room, ends_of, all_room, all_ends = unpack(KEYS, 6, 14)
local _, id, audio_prefix = unpack(ARGV)
if redis.call('EXISTS', job) == 0 then return 0 end
if unfinished() then return 1 end
for _, index in ipairs(redis.call('HKEYS', sizes)) do
    redis.call('UNLINK', audio_prefix .. string.format('%08x', index))
end
leave(room, ends_of, id)
leave(all_room, all_ends, ref)
redis.call('DEL', job, waiting, later, leases, texts, holders, results, sizes)
redis.call('ZREM', mine, id)
redis.call('ZREM', all_open, ref)
return 2
"""
)
"""0: no such job; 1: it is unfinished and stays; 2: it is gone with its audio."""
