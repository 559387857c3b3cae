-- Takes some clients of a dead node out of a room.
--
-- KEYS  boots, users, the dead node's clients
-- ARGV  1 boot    2 cursor    3 clients to take, about    4 whether it is the first call
-- Returns a cursor to go on with and the number of clients left. The boot stands in the room until
-- there are none, with an x for its number: a node that is alive after all notices when it writes or
-- looks, and writes everything anew; whoever was taking its clients out then stops.
readable_presence(KEYS)
local b = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[4] == '0' and string.sub(b or 'x', 1, 1) ~= 'x' then return {'0', '0'} end
local guests = b and tonumber(string.match(b, '(%d+)$')) or 0
local page = redis.call('HSCAN', KEYS[3], ARGV[2], 'COUNT', ARGV[3])
local entries = page[2]
for i = 1, #entries, 2 do
  local name = user(entries[i + 1])
  redis.call('HDEL', KEYS[3], entries[i])
  if name == '' then
    guests = guests - 1
  elseif redis.call('HINCRBY', KEYS[2], name, -1) <= 0 then
    redis.call('HDEL', KEYS[2], name)
  end
end
local left = redis.call('HLEN', KEYS[3])
if left > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], 'x ' .. left .. ' ' .. math.max(0, guests))
  return {page[1], tostring(left)}
end
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
return {'0', '0'}
