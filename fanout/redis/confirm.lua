-- Moves a boot's mark after confirmations, unless the boot got more here than
-- the caller knew of: then the mark may stand for that, however late or twice
-- this call is executed.
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
local function text(n) return string.format('%.0f', n) end

local s = redis.call('HMGET', KEYS[1], 'last', 'o:' .. ARGV[1])
local last, mark, confirmed, lowest = tonumber(s[1]), s[2], tonumber(ARGV[2]), tonumber(ARGV[5])
local lost = not last or last < confirmed
if not lost and lowest > 0 and #redis.call('XRANGE', KEYS[2], ARGV[5], ARGV[5]) == 0 then
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  lost = oldest and tonumber((string.gsub(oldest[1], '-.*', ''))) > lowest
end
if lost then
  last = math.max(last or 0, confirmed)
  redis.call('HSET', KEYS[1], 'last', text(last), 'epoch', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  redis.call('SPUBLISH', KEYS[1], 'E' .. ARGV[6] .. struct.pack('>I8', last))
end
if mark then
  local oldest, newest = string.match(mark, '^(%d+) (%d+)$')
  if tonumber(oldest) <= confirmed and newest == ARGV[4] then
    if ARGV[3] == '0' then
      redis.call('HDEL', KEYS[1], 'o:' .. ARGV[1])
    else
      redis.call('HSET', KEYS[1], 'o:' .. ARGV[1], ARGV[3] .. ' ' .. newest)
    end
  end
end
return 0
