"""Processes that are measured or needed for it: started on a CPU of our choosing, asked, weighed and ended.

The server under test has CPU 0; the origin, the load and this program have CPU 1.
"""
import atexit, os, re, shutil, signal, socket, subprocess, tempfile, time

from peers import CONFIGS, ORIGIN

SERVER_CPU, LOAD_CPU = "0", "1"
TICKS = os.sysconf("SC_CLK_TCK")
CACHE_MB = 512
SCRATCH = tempfile.mkdtemp(prefix="larder-peers-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


def pinned(cpus, command):
    # Other work on the machine should not come between; who is not root has to do without.
    first = ["nice", "-n", "-15"] if os.geteuid() == 0 else []
    return [*first, "taskset", "-c", cpus, *command]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def family(pid):
    """A process and all that descend from it."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def cpu_seconds(pids):
    """User and system time, threads that have ended included."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def cpu_nanoseconds(pids):
    """The same of the threads that live, and finer: for work too short to be counted in ticks."""
    total = 0
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
                    total += int(stat.read().split()[0])
        except OSError:
            continue
    return total


def resident_mb(pids):
    """What is resident; pages that processes share count once."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as text:
                total += int(re.search(r"^Pss:\s+(\d+)", text.read(), re.M)[1])
        except (OSError, TypeError):
            continue
    return total * 1024 / 1e6


def busy(cpu):
    """Seconds that a CPU of this machine has worked for anybody."""
    with open("/proc/stat") as stat:
        fields = next(line.split()[1:] for line in stat if line.startswith(f"cpu{cpu} "))
    user, nice, system, _, _, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / TICKS


def wait_until_quiet(seconds_max=8, share_max=0.15):
    """Until both CPUs have had next to nothing to do for a moment, or that long."""
    deadline = time.monotonic() + seconds_max
    while True:
        before = [busy(cpu) for cpu in (SERVER_CPU, LOAD_CPU)]
        time.sleep(0.4)
        after = [busy(cpu) for cpu in (SERVER_CPU, LOAD_CPU)]
        if max(end - start for start, end in zip(before, after)) / 0.4 < share_max or time.monotonic() > deadline:
            return


class Connection:
    """The least of an HTTP/1.1 client, for what must be looked at rather than counted."""

    def __init__(self, port):
        self.port, self.socket = port, None

    def ask(self, target, method="GET", headers="", body=""):
        """Status, head and body of the answer."""
        if body:
            headers += f"Content-Length: {len(body)}\r\n"
        fields = f"Host: 127.0.0.1:{self.port}\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n{headers}"
        request = f"{method} {target} HTTP/1.1\r\n{fields}\r\n{body}"
        for last_try in (False, True):
            try:
                return self.exchange(request.encode(), method)
            except OSError:
                self.socket = None
                if last_try:
                    raise

    def exchange(self, request, method):
        if not self.socket:
            self.socket = socket.create_connection(("127.0.0.1", self.port), 30)
        self.socket.sendall(request)
        received = b""
        while (end := answer_end(received)) is None:
            part = self.socket.recv(262144)
            if not part:
                raise ConnectionError("closed")
            received += part
        head, body = received[:end].split(b"\r\n\r\n", 1)
        if b"connection: close" in head.lower():
            self.socket.close()
            self.socket = None
        return int(head.split()[1]), head.decode(errors="replace"), body


def answer_end(received):
    """Where the answer at the beginning ends, once all of it is there."""
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head, body_start = received[:head_end], head_end + 4
    if head.split()[1] in (b"304", b"204"):
        return body_start
    if length := re.search(rb"\r\ncontent-length:\s*(\d+)", head, re.I):
        end = body_start + int(length[1])
        return end if len(received) >= end else None
    if re.search(rb"\r\ntransfer-encoding:\s*chunked", head, re.I):
        return len(received) if received.endswith(b"0\r\n\r\n") else None
    return None


class Process:
    """A process of ours, in a directory of its own, ended with the block it was started for."""

    def __init__(self, name, command, port, cpus, environment=None):
        self.name, self.port = name, port
        self.directory = getattr(self, "directory", None) or tempfile.mkdtemp(prefix=f"{name}-".replace(" ", "-"), dir=SCRATCH)
        self.log = os.path.join(self.directory, "output.log")
        with open(self.log, "w") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen(pinned(cpus, command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                                            env={**os.environ, **(environment or {})}, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_for_answer(self, target, seconds_max=30):
        """How long it took from the start to the first answer."""
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if Connection(self.port).ask(target)[0] == 200:
                    return time.monotonic() - self.started
            except OSError:
                pass
            time.sleep(0.002)
        said = open(self.log, errors="replace").read()[-1500:]
        status = self.process.poll()
        self.stop()
        raise RuntimeError(f"{self.name} did not start (status {status}): {said}")

    def pids(self):
        return family(self.process.pid)

    def cpu_seconds(self):
        return cpu_seconds(self.pids())

    def stop(self, with_signal=signal.SIGTERM):
        pids = self.pids()
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        for pid in pids:
            # What is left of its own family.
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Origin(Process):
    def __init__(self, *arguments):
        port = free_port()
        super().__init__("origin", [ORIGIN, f"127.0.0.1:{port}", *arguments], port, LOAD_CPU)
        self.wait_for_answer("/__count")
        self.connection = Connection(port)

    def tell(self, what):
        return int(self.connection.ask(f"/__{what}")[2])


class Server(Process):
    """A peer under test, with its configuration written out."""

    def __init__(self, name, peer, origin, cpus=SERVER_CPU, workers=1, cache_mb=CACHE_MB, body_bytes=1024, arguments=(),
                 wrap=(), environment=None, start_seconds_max=30):
        self.peer, self.origin, self.admin = peer, origin, free_port()
        port = free_port()
        self.directory = tempfile.mkdtemp(prefix=f"{name}-".replace(" ", "-"), dir=SCRATCH)
        # Some give up being root, and must find their files all the same.
        os.chmod(SCRATCH, 0o755)
        os.chmod(self.directory, 0o777)
        values = {"PORT": port, "ADMIN_PORT": self.admin, "ORIGIN_PORT": origin.port, "DIR": self.directory, "WORKERS": workers,
                  # Where answers are files, each takes a page or more.
                  "CACHE_MB": cache_mb, "FILES_MB": 4 * cache_mb, "BODY_BYTES": body_bytes, "REUSEPORT": "reuseport" if workers > 1 else "",
                  "USER": "user root;" if os.geteuid() == 0 else "", **peer.values}

        def filled_in(text):
            for key, value in values.items():
                text = text.replace(f"@{key}@", str(value))
            return text

        for directory in peer.directories:
            os.makedirs(os.path.join(self.directory, directory))
        for path, source in peer.files.items():
            text = open(os.path.join(CONFIGS, source)).read() if source else ""
            with open(os.path.join(self.directory, path), "w") as out:
                out.write(filled_in(text))
        super().__init__(name, [*wrap, *map(filled_in, peer.command), *arguments], port, cpus, environment)
        self.start_seconds = self.wait_for_answer("/start?size=1024", start_seconds_max)
