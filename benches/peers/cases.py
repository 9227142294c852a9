"""What is measured of all peers in every round, in this order: of each peer by one process of it, and case by case, so that what is held
against each other was measured within seconds.

A case proves what it claims: the origin counts, and where it was asked during what should be hits, or was not during what should not
be, the case fails.
"""
import contextlib, subprocess
from typing import NamedTuple

import load
from peers import PEERS
from server import Connection, Server

# What may go wrong of a thousand hits: Traffic Server looks at an entry anew now and then.
MISSES_MAX = 1e-3
HOT = "/hot?size=1024"
DISTINCT = 10_000
ETAG = '"33a64df551425fcc55e4d42a148795d9"'
# Requests a second that leave any server idle for most of the time.
LIGHT_RATE = 500
HERD_DELAY_MS = 200


class NotProven(RuntimeError):
    pass


class Turn(NamedTuple):
    """A round has new processes, and goes around them in so many laps."""
    round: int
    lap: int

    def __str__(self):
        return f"{self.round}.{self.lap}"


def prove_hit(server, path, size):
    """Fills the cache with a path, and has it answered without the origin."""
    connection = Connection(server.port)
    for _ in range(3):
        status, head, body = connection.ask(path)
        if status != 200 or len(body) < size:
            raise NotProven(f"{path}: {status}, {len(body)} bytes\n{head}")
    before = server.origin.tell("count")
    for _ in range(20):
        status, head, _ = connection.ask(path)
    if server.origin.tell("count") != before:
        raise NotProven(f"{path} is not a hit:\n{head}")


def prove_alone(server, path, before, found):
    """The origin was left alone during a run of hits."""
    found["origin"] = server.origin.tell("count") - before
    if server.peer.kind == "proxy" and found["origin"] > found["requests"] * MISSES_MAX:
        raise NotProven(f"{path}: the origin was asked {found['origin']} times during {found['requests']} hits")


def hits(server, runs, path, **how):
    before = server.origin.tell("count")
    found = runs.wrk(server, path, **how)
    prove_alone(server, path, before, found)
    return found


def hit_of(path, size):
    def case(server, runs, turn):
        if server.peer.kind == "proxy":
            prove_hit(server, path, size)
        if not turn.lap:
            runs.warm(server, path)
        return hits(server, runs, path)
    return case


def hit_many(server, runs, turn):
    if server.peer.kind == "proxy":
        # Once more, since Traffic Server takes into memory what is asked for again.
        for _ in range(2):
            load.fill(server.port, 0, DISTINCT)
    if not turn.lap:
        runs.warm(server, "/", load.SOME, [DISTINCT])
    return hits(server, runs, "/", script=load.SOME, arguments=[DISTINCT])


def light(server, runs, _turn):
    """One client at a steady rate: what a hit takes where nobody queues."""
    load.client(server.port, HOT, count=50, rate=LIGHT_RATE)
    found = load.client(server.port, HOT, count=LIGHT_RATE * runs.seconds, rate=LIGHT_RATE)
    return {name: found[name] for name in ("p50_us", "p90_us", "p99_us")}


def not_modified(server, runs, _turn):
    """By our own client: wrk waits for the body whose length a 304 may tell."""
    prove_hit(server, HOT, 1024)
    field = {"fields": [f"If-None-Match: {ETAG}"]}
    load.run_client(server, HOT, count=20_000, connections=load.CONNECTIONS, **field)
    before = server.origin.tell("count")
    found = runs.client(server, HOT, **field)
    if set(found["statuses"]) != {"304"}:
        raise NotProven(f"asked with {field}, it said {found['statuses']}")
    prove_alone(server, HOT, before, found)
    return found


def passed_on(name, query):
    """Each URL is asked for once, so each request must reach the origin."""
    def case(server, runs, turn):
        arguments = [0, f"/{name}{turn}-@/", f"?size=1024{query}"]
        if not turn.lap:
            runs.warm(server, "/", load.UNIQUE, arguments)
        before = server.origin.tell("count")
        found = runs.wrk(server, "/", script=load.UNIQUE, arguments=arguments)
        if server.origin.tell("count") - before < found["requests"]:
            raise NotProven(f"{name}: {found['requests']} requests, but the origin was not asked for each")
        return found
    return case


def herd(name, query):
    def case(server, _runs, turn):
        return load.herd(server, f"/{name}/{turn.round}?delay={HERD_DELAY_MS}{query}")
    return case


# Name: what is done.
CASES = {
    "hit": hit_of(HOT, 1024),
    "light": light,
    "not-modified": not_modified,
    "hit-many": hit_many,
    "hit-100k": hit_of("/large?size=102400", 102_400),
    "hit-1m": hit_of("/huge?size=1048576", 1_048_576),
    "pass": passed_on("pass", "&nostore=1"),
    "miss": passed_on("miss", ""),
    "herd": herd("kept", ""),
    "herd-pass": herd("not-kept", "&nostore=1"),
    # The same path again: by now it is known that it can't be kept.
    "herd-pass-known": herd("not-kept", "&nostore=1"),
    "cores": None,
}
# A floor has one body only, so these need another process of it.
BODY_BYTES = {"hit-100k": 102_400, "hit-1m": 1_048_576}
OF_BARE_PROXIES = ("pass", "miss")
# Each once in a life of the server's: the first time is another than the next.
HERDS = ("herd", "herd-pass", "herd-pass-known")
# One core and two: of whom it is asked.
CORES_OF = ("larder", "nginx", "haproxy")


def cases_of(name, peer, wanted):
    """The cases of a peer, in order."""
    if peer.only:
        own = peer.only
    elif peer.kind == "bare proxy":
        own = OF_BARE_PROXIES
    else:
        own = [case for case in CASES if case != "cores" or name in CORES_OF]
    return [case for case in CASES if case in own and case in wanted]


def round_of(peers, origin, runs, number, laps, wanted, tell):
    """By lap and peer: what was found in each case, or the reason why not."""
    rows = [{name: {} for name in peers} for _ in range(laps)]

    def attempt(turn, name, case, work):
        try:
            found = work()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            found = {"failed": str(error)}
        rows[turn.lap][name][case] = found
        tell(turn, name, case, found)

    first = Turn(number, 0)
    with contextlib.ExitStack() as started:
        servers = {}
        for name in peers:
            if any(needs_no_other(name, case) for case in cases_of(name, PEERS[name], wanted)):
                def start():
                    servers[name] = started.enter_context(Server(name, PEERS[name], origin))
                    return {"ms": servers[name].start_seconds * 1e3}
                attempt(first, name, "start", start)
        for case in filter(wanted.__contains__, CASES):
            asked = [name for name in peers if case in cases_of(name, PEERS[name], wanted)]
            if case == "cores":
                for name in asked:
                    attempt(first, name, case, lambda: cores(name, PEERS[name], origin, runs))
                continue
            with contextlib.ExitStack() as others:
                of_case = {}
                for name in asked:
                    if needs_no_other(name, case):
                        of_case[name] = servers.get(name)
                        continue
                    try:
                        other = Server(name, PEERS[name], origin, body_bytes=BODY_BYTES[case])
                        of_case[name] = others.enter_context(other)
                    except (RuntimeError, OSError) as error:
                        rows[0][name][case] = {"failed": str(error)}
                        tell(first, name, case, rows[0][name][case])
                for lap in range(1 if case in HERDS else laps):
                    turn = Turn(number, lap)
                    # Another goes first each time.
                    for name in [*asked[lap % len(asked):], *asked[:lap % len(asked)]]:
                        if server := of_case.get(name):
                            attempt(turn, name, case, lambda: CASES[case](server, runs, turn))
    return rows


def needs_no_other(name, case):
    """The process that a peer has for a round will do."""
    return case != "cores" and not (PEERS[name].kind == "floor" and case in BODY_BYTES)


def cores(name, peer, origin, runs):
    """CPU of a hit with one worker and with two, each time with the load on the same two CPUs."""
    found = {}
    for workers in (1, 2):
        with Server(name, peer, origin, cpus="0,1", workers=workers) as server:
            how = {"cpus": "0,1", "threads": 2}
            runs.warm(server, HOT, **how)
            found[f"cpu_us_{workers}"] = hits(server, runs, HOT, **how)["cpu_us"]
    found["growth"] = found["cpu_us_2"] / found["cpu_us_1"] - 1
    return found
