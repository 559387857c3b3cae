-- Moves a boot's mark after confirmations, unless a later batch has set it.
--
-- KEYS  state
-- ARGV  1 boot    2 the highest offset that is confirmed    3 the oldest that is not, 0: none
local mark = tonumber(redis.call('HGET', KEYS[1], 'o:' .. ARGV[1]))
if mark and mark <= tonumber(ARGV[2]) then
  if ARGV[3] == '0' then
    redis.call('HDEL', KEYS[1], 'o:' .. ARGV[1])
  else
    redis.call('HSET', KEYS[1], 'o:' .. ARGV[1], ARGV[3])
  end
end
return 0
