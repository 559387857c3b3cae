-- Gives a room another epoch, if it still has the one the caller knows, and
-- tells all nodes: members load its history anew.
--
-- KEYS  state
-- ARGV  1 the epoch the caller knows    2 another
-- Returns whether it did.
local s = redis.call('HMGET', KEYS[1], 'last', 'epoch')
if not s[1] or s[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2])
redis.call('SPUBLISH', KEYS[1], 'E' .. ARGV[2] .. struct.pack('>I8', tonumber(s[1])))
return 1
