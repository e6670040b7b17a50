-- 16 requests in one write.
local batch
function init(args)
  local one = wrk.format("GET", "/")
  local all = {}
  for i = 1, 16 do all[i] = one end
  batch = table.concat(all)
end
function request() return batch end
