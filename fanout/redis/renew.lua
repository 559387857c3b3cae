-- Gives a room another epoch, if it still has the one the caller knows, and
-- tells all nodes: members load its history anew. A state that cannot be read
-- is for sync.lua, which needs to know more.
--
-- KEYS  state
-- ARGV  1 the epoch the caller knows, or its first half    2 another    3 how long the first is
-- Returns whether it did.
local s = redis.pcall('HMGET', KEYS[1], 'last', 'epoch')
local last = not s.err and number(s[1])
if not last or not readable(s[2]) or string.sub(s[2], 1, ARGV[3]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2])
redis.call('SPUBLISH', KEYS[1], 'E' .. ARGV[2] .. struct.pack('>I8', last))
return 1
