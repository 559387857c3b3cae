-- Writes what a node tells of itself, and reads what all have told.
--
-- KEYS  nodes
-- ARGV  1 ms after which a node that is not heard of is forgotten   2 boot, empty: only read
--       3 its record, empty: it has ended
-- Returns the time in ms, whether the node's record was there before, and for each node boot, when it
-- was heard of, its record. The field boot:a has no time: it is the last order the node has applied.
set_aside(KEYS[1], 'hash')
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local known = 1
if ARGV[2] ~= '' then
  known = 1 - redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f', now) .. ' ' .. ARGV[3])
  redis.call('PEXPIRE', KEYS[1], 86400000)
end
local list = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at, record = string.match(all[i + 1], '^(%d+) (.*)$')
  if not at then
    list[#list + 1] = all[i]
    list[#list + 1] = '0'
    list[#list + 1] = all[i + 1]
  elseif math.abs(now - at) > tonumber(ARGV[1]) then
    if ARGV[2] ~= '' then redis.call('HDEL', KEYS[1], all[i], all[i] .. ':a') end
  else
    list[#list + 1] = all[i]
    list[#list + 1] = at
    list[#list + 1] = record
  end
end
return {string.format('%.0f', now), known, list}
