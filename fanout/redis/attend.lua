-- Writes who has come into a room on one node, and who has gone.
--
-- KEYS  boots, users, the node's clients
-- ARGV  1 boot    2 number of this write    3 number of the one before, 0: none, empty: does not matter
--       4 ms after which a room that is not heard of is forgotten
--       then two for each client: its id, its entry (2 bytes of length, user, info), empty: it has gone
-- Returns whether all is there that the node has written before, and the number of its clients.
-- A field of boots is: number of the last write, clients, guests among them. The users hash counts
-- the clients of each user; a guest is a user of its own and not in it.
readable_presence(KEYS)
local number, guests = '0', 0
local b = redis.call('HGET', KEYS[1], ARGV[1])
if b then
  local n, _, g = string.match(b, '^(%S+) (%d+) (%d+)$')
  if n then
    number, guests = n, tonumber(g)
  else
    forget_presence(KEYS)
  end
else
  redis.call('DEL', KEYS[3]) -- what is left of it is in no count
end
local whole = (ARGV[3] == '' or number == ARGV[3] or number == ARGV[2]) and 1 or 0

local function count(name, by)
  if name == '' then
    guests = guests + by
  elseif redis.call('HINCRBY', KEYS[2], name, by) <= 0 then
    redis.call('HDEL', KEYS[2], name)
  end
end
for i = 5, #ARGV, 2 do
  local before = redis.call('HGET', KEYS[3], ARGV[i])
  if ARGV[i + 1] ~= '' then
    redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
    if not before then count(user(ARGV[i + 1]), 1) end
  elseif before then
    redis.call('HDEL', KEYS[3], ARGV[i])
    count(user(before), -1)
  end
end

local clients = redis.call('HLEN', KEYS[3])
if clients > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. clients .. ' ' .. math.max(0, guests))
else
  redis.call('HDEL', KEYS[1], ARGV[1])
  if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
end
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
return {whole, clients}
