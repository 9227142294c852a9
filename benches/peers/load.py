"""The load: wrk for what is asked as fast as it goes, our own client for what is asked at a known time or a known number of times."""
import json, os, re, subprocess, time

import server
from peers import CLIENT
from server import LOAD_CPU, SERVER_CPU, SCRATCH, busy, cpu_seconds, pinned

CONNECTIONS = 64
# What wrk says in the fields that a browser's request would have more of. All peers get the same.
HEADERS = ["-H", "User-Agent: bench/1.0", "-H", "Accept: */*"]

SUMMARY = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests":%d,"us":%d,"bytes":%d,"errors":%d,"p50_us":%d,"p99_us":%d}\\n', summary.requests,
    summary.duration, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""

# So many different URLs in no order, made beforehand so that the generator has little to do.
SOME = SUMMARY + """
local requests, count = {}, nil
init = function(arguments)
  count = tonumber(arguments[1])
  math.randomseed(os.time())
  for item = 0, count - 1 do requests[item] = wrk.format("GET", "/item/" .. item .. "?size=1024") end
end
request = function() return requests[math.random(0, count - 1)] end
"""

# Too many to be made beforehand: the number is put between the beginning and the end of a request.
SPLIT = SUMMARY + """
local number, count, first, last = 0, nil, nil, nil
init = function(arguments)
  count, first = tonumber(arguments[1]), "GET " .. arguments[2]
  last = arguments[3] .. " HTTP/1.1\\r\\nHost: " .. wrk.headers["Host"] .. "\\r\\nUser-Agent: bench/1.0\\r\\nAccept: */*\\r\\n\\r\\n"
  math.randomseed(os.time())
end
"""
MANY = SPLIT + """
request = function() return first .. math.random(0, count - 1) .. last end
"""
UNIQUE = SPLIT + """
request = function() number = number + 1; return first .. number .. last end
"""


class Load:
    """How long a measurement takes, and how often it is tried on a machine that others use as well."""

    def __init__(self, seconds, tries=2, foreign_max=0.06):
        self.seconds, self.tries, self.foreign_max = seconds, tries, foreign_max

    def calmest(self, run):
        """The least disturbed of some runs, each told which it is."""
        best = None
        for attempt in range(self.tries):
            server.wait_until_quiet(8 if self.tries > 1 else 1)
            found = run(attempt)
            if best is None or found["foreign"] < best["foreign"]:
                best = found
            if found["foreign"] <= self.foreign_max:
                break
        return best

    def wrk(self, target, path, script=SUMMARY, arguments=(), **how):
        return self.calmest(lambda attempt: run_wrk(target, path, script, marked(arguments, attempt), self.seconds, **how))

    def warm(self, target, path, script=SUMMARY, arguments=(), **how):
        run_wrk(target, path, script, marked(arguments, "warm"), 1, **how)

    def client(self, target, path, **plan):
        """Our own client as fast as it goes, for answers that wrk can't read."""
        return self.calmest(lambda _: run_client(target, path, seconds=self.seconds, count=10**9, connections=CONNECTIONS, **plan))


def marked(arguments, run):
    """`@` stands for the run: some URLs must be new in each."""
    return [str(part).replace("@", str(run)) for part in arguments]


def watched(target, work):
    """What it gives, and the seconds it took: by the clock, of the server's CPU, and of both CPUs for others."""
    origin = target.origin.pids()

    def now():
        known = target.cpu_seconds() + cpu_seconds(origin) + sum(os.times()[:4])
        return time.monotonic(), target.cpu_seconds(), known, busy(SERVER_CPU) + busy(LOAD_CPU)
    before = now()
    found = work()
    clock, cpu, known, both = (end - start for start, end in zip(before, now()))
    return found, {"clock": clock, "cpu": cpu, "foreign": max(0, both - known)}


def run_wrk(target, path, script, arguments, seconds, cpus=LOAD_CPU, threads=1):
    script_path = os.path.join(SCRATCH, "wrk.lua")
    with open(script_path, "w") as out:
        out.write(script)
    command = ["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", script_path, *HEADERS,
               f"http://127.0.0.1:{target.port}{path}", "--", *arguments]
    said, took = watched(target, lambda: output_of(pinned(cpus, command), seconds + 60))
    line = re.search(r"^RESULT (.*)$", said, re.M)
    if not line:
        raise RuntimeError(f"wrk: {said[-500:]}")
    result = json.loads(line[1])
    # wrk tells of a connection that broke once in some ten thousand answers where other clients meet with none.
    if not result["requests"] or result["errors"] > max(1, result["requests"] * 1e-4):
        raise RuntimeError(f"{target.name}: {result['errors']} errors beside {result['requests']} answers: {said[-300:]}")
    return figures(result, result["requests"], result["us"] / 1e6, took)


def run_client(target, path, **plan):
    result, took = watched(target, lambda: client(target.port, path, **plan))
    if result["failed"] or not result["answered"]:
        raise RuntimeError(f"{target.name}: {result}")
    return {**figures(result, result["answered"], result["seconds"], took), "statuses": result["statuses"]}


def figures(result, requests, seconds, took):
    size = result["bytes"]
    return {"requests": requests, "rps": requests / seconds, "cpu_us": took["cpu"] / requests * 1e6, "p50_us": result["p50_us"],
            "p99_us": result["p99_us"], "cpu_s_per_gb": took["cpu"] / size * 1e9, "mb_s": size / seconds / 1e6,
            "server_busy": took["cpu"] / took["clock"], "foreign": took["foreign"] / took["clock"]}


def output_of(command, seconds_max):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds_max)
    return done.stdout


def client(port, target, seconds_max=300, **plan):
    """What our own client says (rust/ends/src/bin/client.rs)."""
    fields = plan.pop("fields", ())
    options = [*(f"{name}={value}" for name, value in plan.items()), *(f"field={value}" for value in fields)]
    said = output_of(pinned(LOAD_CPU, [CLIENT, f"127.0.0.1:{port}", target, *options]), seconds_max)
    if not said.startswith("{"):
        raise RuntimeError(f"client: {said[-500:]}")
    return json.loads(said)


def fill(port, first, end, connections=16, **plan):
    """Asks for each of these items once."""
    found = client(port, "/item/{n}?size=1024", first=first, count=end - first, connections=connections, **plan)
    if found["failed"] or found["statuses"] != {"200": end - first}:
        raise RuntimeError(f"filling: {found}")
    return found


def herd(target, path, clients=200):
    """So many who ask for the same at once: when each was answered, and what the origin saw of them."""
    target.origin.tell("reset")
    found = client(target.port, path, count=clients, connections=clients, together=1)
    if found["failed"] or found["statuses"] != {"200": clients}:
        raise RuntimeError(f"{target.name}, herd: {found}")
    return {"fetches": target.origin.tell("late"), "at_once": target.origin.tell("max"), "first_ms": found["first_us"] / 1e3,
            "p50_ms": found["p50_us"] / 1e3, "last_ms": found["last_us"] / 1e3}
