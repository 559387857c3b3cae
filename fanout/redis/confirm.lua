-- Moves a boot's mark after confirmations: whatever the boot got here up to the newest offset that the
-- caller knew is durable, but for what the caller says. What the boot got since, the mark keeps, however
-- late or twice this call is executed; it only ever rises. So the stream of a room whose node always
-- has a batch under way is trimmed as well.
--
-- What is confirmed is stored, and until now the mark kept it in the stream. A
-- Redis that does not have it has lost something, and others may have gone on
-- without it: then the room gets another epoch.
--
-- KEYS  state, stream
-- ARGV  1 boot    2 the highest offset that is confirmed    3 the oldest that is not, 0: none
--       4 the newest that the boot got, as far as the caller knows
--       5 the lowest offset that was confirmed since the last call, 0: do not look for it
--       6 an epoch, for a new history    7 ms after which an idle room is forgotten
set_aside(KEYS[1], 'hash')
local lost = set_aside(KEYS[2], 'stream')
local s = redis.call('HMGET', KEYS[1], 'last', 'o:' .. ARGV[1])
local last, mark, confirmed, lowest = number(s[1]), s[2], tonumber(ARGV[2]), tonumber(ARGV[5])
lost = lost or not last or last < confirmed
if not lost and lowest > 0 and #redis.call('XRANGE', KEYS[2], ARGV[5], ARGV[5]) == 0 then
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  lost = oldest and id(oldest) > lowest
end
if lost then
  local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  last = math.max(last or 0, confirmed, newest and id(newest) or 0)
  redis.call('HSET', KEYS[1], 'last', text(last), 'epoch', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  redis.call('SPUBLISH', KEYS[1], 'E' .. ARGV[6] .. struct.pack('>I8', last))
end
if mark then
  local newest = number(string.match(mark, '^%d+ (%d+)$')) or 0
  local known, open = tonumber(ARGV[4]), tonumber(ARGV[3])
  local oldest = known + 1
  if open > 0 then oldest = math.min(open, oldest) end
  if newest <= known and open == 0 then
    redis.call('HDEL', KEYS[1], 'o:' .. ARGV[1])
  elseif oldest > oldest_of(mark) then
    redis.call('HSET', KEYS[1], 'o:' .. ARGV[1], text(oldest) .. ' ' .. text(newest))
  end
end
return 0
