-- A wrk script: requests from templates, given by the environment.
--   METHOD, TARGET, BODY, BODY2     BODY2 is sent every second time, for a row that BODY was sent for some time before
--   TOKEN                           bearer token
--   ROWS                            file of lines "id name"
--   TAG                             makes {n} unique among runs
-- In TARGET and the bodies {id} and {name} are of a random row (with BODY2: of one after the other), {n} is a new name each time.
local method, target = os.getenv("METHOD") or "GET", os.getenv("TARGET")
local body, second = os.getenv("BODY"), os.getenv("BODY2")
local tag = os.getenv("TAG") or tostring(os.time())
local headers = { ["Content-Type"] = "application/scim+json", ["Accept"] = "application/scim+json" }
if (os.getenv("TOKEN") or "") ~= "" then headers["Authorization"] = "Bearer " .. os.getenv("TOKEN") end

local ids, names, rows, sent, current = {}, {}, 0, 0, 1

function init()
  math.randomseed(os.time())
  local file = io.open(os.getenv("ROWS") or "", "r")
  if not file then return end
  for line in file:lines() do
    local id, name = line:match("^(%S+) (%S+)")
    if id then rows = rows + 1; ids[rows] = id; names[rows] = name end
  end
  file:close()
end

local LAG = 200 -- more than there are connections: the request with BODY has been answered by then

local function choose()
  if rows == 0 then return body end
  if not second then current = math.random(rows); return body end
  local turn = math.floor((sent - 1) / 2)
  if sent % 2 == 0 and turn >= LAG then current = (turn - LAG) % rows + 1; return second end
  current = turn % rows + 1
  return body
end

function request()
  sent = sent + 1
  local chosen = choose()
  local values = { id = ids[current], name = names[current], n = tag .. "x" .. sent }
  local function fill(text) return text and (text:gsub("{(%l+)}", values)) end
  return wrk.format(method, fill(target), headers, fill(chosen))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%.4f,"p50":%.3f,"p99":%.3f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
