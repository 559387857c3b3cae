-- Moves a boot's mark after confirmations, unless a later batch has set it.
-- What is confirmed is stored, so a Redis that does not know of it has lost it:
-- then the room gets another epoch.
--
-- KEYS  state
-- ARGV  1 boot    2 the highest offset that is confirmed    3 the oldest that is not, 0: none
--       4 an epoch, for a new history    5 ms after which an idle room is forgotten
local s = redis.call('HMGET', KEYS[1], 'last', 'o:' .. ARGV[1])
local last, mark, confirmed = tonumber(s[1]), tonumber(s[2]), tonumber(ARGV[2])
if not last or last < confirmed then
  redis.call('HSET', KEYS[1], 'last', ARGV[2], 'epoch', ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('SPUBLISH', KEYS[1], 'E' .. ARGV[4] .. struct.pack('>I8', confirmed))
end
if mark and mark <= confirmed then
  if ARGV[3] == '0' then
    redis.call('HDEL', KEYS[1], 'o:' .. ARGV[1])
  else
    redis.call('HSET', KEYS[1], 'o:' .. ARGV[1], ARGV[3])
  end
end
return 0
