"""The tier that instances share: Redis as it is started here, and what a hit costs that lies only there."""
import re, statistics, subprocess, time, urllib.request

import load, server
from cases import NotProven
from peers import LARDER, PEERS
from report import Table, number
from server import LOAD_CPU, SERVER_CPU, Process, Server

TOOLS = {"redis-server": "redis-server", "redis-benchmark": "redis-tools"}
BODY_BYTES = 1024
ENTRIES = 40_000
# Part of a key: two instances share what they are asked for by the same name.
HOST = "bench.example"


class Redis(Process):
    """redis-server, as an operator would run it for a cache."""

    def __init__(self):
        port = server.free_port()
        command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
        super().__init__("redis", command, port, LOAD_CPU)
        deadline = time.monotonic() + 10
        while self.ask("ping") != "PONG":
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise RuntimeError("redis did not start")
            time.sleep(0.05)
        self.url = f"redis://127.0.0.1:{port}/0"

    def ask(self, *command):
        command = ["redis-cli", "-p", str(self.port), *command]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()

    def round_trip_us(self):
        """What redis-benchmark measures of a GET of such a value over one connection."""
        command = ["redis-benchmark", "-p", str(self.port), "-c", "1", "-n", "20000", "-d", str(BODY_BYTES), "-t", "get", "--csv"]
        said = subprocess.run(server.pinned(LOAD_CPU, command), stdout=subprocess.PIPE, text=True, check=True).stdout
        head, *_, last = [line.replace('"', "").split(",") for line in said.splitlines()]
        return float(last[head.index("p50_latency_ms")]) * 1000


def metric(larder, name):
    text = urllib.request.urlopen(f"http://127.0.0.1:{larder.admin}/metrics", timeout=5).read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))


def hits(chosen, origin, _runs, attempt):
    """One Larder fills Redis; another that has never seen the entries is asked for each once, then once more."""
    if LARDER not in chosen.peers:
        return None
    with Redis() as redis:
        return attempt(LARDER, lambda: hits_of(chosen, origin, redis))


def hits_of(chosen, origin, redis):
    def larder(cpus, cache_mb):
        return Server(LARDER, PEERS[LARDER], origin, cpus=cpus, cache_mb=cache_mb, arguments=["--redis", redis.url])
    trip, found = redis.round_trip_us(), {}
    with larder(LOAD_CPU, 32) as filler, larder(SERVER_CPU, 1000) as reader:
        for turn in range(chosen.rounds):
            for connections, count in ((load.CONNECTIONS, ENTRIES), (1, ENTRIES // 8)):
                first = (2 * turn + (connections == 1)) * ENTRIES
                load.fill(filler.port, first, first + count, host=HOST)
                deadline = time.monotonic() + 60
                while metric(filler, "larder_redis_queued_bytes") and time.monotonic() < deadline:
                    time.sleep(0.1)
                before = metric(reader, "larder_redis_hits_total")
                for tier in ("Redis", "memory"):
                    run = load.run_client(reader, "/item/{n}?size=1024", first=first, count=count, connections=connections, host=HOST)
                    found.setdefault((tier, connections), []).append(run)
                if metric(reader, "larder_redis_hits_total") - before < 0.99 * count:
                    raise NotProven("not all of them were found in Redis")
    rows = []
    for connections, name, unit in ((load.CONNECTIONS, "cpu_us", "CPU µs of a hit, 64 connections"),
                                    (1, "p50_us", "latency p50 µs, one connection"), (1, "p99_us", "latency p99 µs, one connection")):
        pairs = [(there[name], here[name]) for there, here in zip(found["Redis", connections], found["memory", connections])]
        there, here = (statistics.median(values) for values in zip(*pairs))
        rows.append([unit, number(there), number(here), number(statistics.median(there / here for there, here in pairs))])
        if name == "cpu_us":
            ratio = statistics.median(there / here for there, here in pairs)
    table = Table("A hit that lies in Redis only, beside the same from memory", ["", "Redis", "memory", "ratio"], rows,
                 f"A round trip to Redis takes {trip:.0f} µs (redis-benchmark, one connection).")
    return table, [["CPU of a hit from Redis", "the same from memory", ratio, 3.0]]
