"""The scripts that write voice agents and their phrases: compare-and-set in one step.

A value is `REVISION:JSON`. Revisions come from one count of the owner, so that none comes again.
The answer is `done` and the new revision, or why nothing was done: `missing`, `exists`, `changed`,
`full`.
"""

from __future__ import annotations

from typing import Final

WRITE_AGENT: Final = """
local agents, mark_key, changed, phrases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, action, expected, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, tenant, mark = tonumber(ARGV[5]), ARGV[6], ARGV[7]

local function state(name)
  local found = redis.call('HGET', agents, name)
  if not found then return nil, false end
  local colon = string.find(found, ':', 1, true)
  return string.sub(found, 1, colon - 1), colon < #found
end

local revision, live = state(id)
if redis.call('HGET', changed, tenant) == mark then
  return {'done', tonumber(revision or 0), 0}
end
local count = redis.call('HLEN', agents) - redis.call('HEXISTS', agents, '')
local default = false
for i = 8, #ARGV do
  local known, alive = state(ARGV[i])
  if not known then count = count + 1 elseif not alive then count = count - 1 end
  if ARGV[i] == id then
    default = true
    if not known then revision, live = '0', true end
  end
end

if action == 'delete' and not live then return {'missing'} end
if expected == 'absent' then
  if live then return {'exists'} end
elseif expected ~= '' then
  local fits = live and (expected == 'present'
    or string.find(expected, ',' .. revision .. ',', 1, true))
  if not fits then return {'changed'} end
end
if action == 'put' and not live and count >= most then return {'full'} end

local new = redis.call('HINCRBY', agents, '', 1)
if action == 'put' then
  redis.call('HSET', agents, id, new .. ':' .. body)
else
  if default then redis.call('HSET', agents, id, new .. ':') else redis.call('HDEL', agents, id) end
  redis.call('DEL', phrases)
end
redis.call('SET', mark_key, mark)
redis.call('HSET', changed, tenant, mark)
return {'done', new, live and 0 or 1}
"""
"""The last argument before the ids of default agents is the caller's mark for this write. It also
makes the script safe to be sent twice: a connection may break after it ran."""

WRITE_PHRASES: Final = """
local phrases, agents = KEYS[1], KEYS[2]
local language, expected, body, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local agent = redis.call('HGET', agents, id)
if agent then
  if string.find(agent, ':', 1, true) == #agent then return {'missing'} end
else
  local default = false
  for i = 5, #ARGV do default = default or ARGV[i] == id end
  if not default then return {'missing'} end
end
local found = redis.call('HGET', phrases, language)
local revision = found and string.sub(found, 1, string.find(found, ':', 1, true) - 1) or '0'
if found and found == revision .. ':' .. body then return {'done', tonumber(revision)} end
if expected == 'absent' then
  if found then return {'changed'} end
elseif expected == 'present' then
  if not found then return {'changed'} end
elseif expected ~= '' and not string.find(expected, ',' .. revision .. ',', 1, true) then
  return {'changed'}
end
if body == '' then
  redis.call('HDEL', phrases, language)
  return {'done', 0}
end
local new = redis.call('HINCRBY', agents, '', 1)
redis.call('HSET', phrases, language, new .. ':' .. body)
return {'done', new}
"""
