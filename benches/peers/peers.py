"""Who is measured: how each is started, with which configuration, and what it can do.

`@NAME@` in a command or a file of configs/ is replaced when a server is started; server.py knows the names.
"""
import os
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CONFIGS = os.path.join(HERE, "configs")
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
# Where the crates under rust/ are built.
BUILT = os.path.join(TARGET, "peers", "release")
FLOOR, ORIGIN, CLIENT, PINGORA = (os.path.join(BUILT, name) for name in ("floor", "origin", "client", "pingora-peer"))


@dataclass
class Peer:
    title: str
    # "proxy": keeps answers; "floor": answers all by itself; "bare proxy": keeps nothing.
    kind: str
    command: list
    # Path below the server's directory → path below configs/, or None for an empty file.
    files: dict = field(default_factory=dict)
    directories: tuple = ()
    # What is replaced beside what every server is told.
    values: dict = field(default_factory=dict)
    # The only cases that it is there for; None for all that its kind has.
    only: tuple = None
    version: list = None
    # The package of Debian that has it, and the program by which it is known to be there.
    package: str = None
    program: str = None
    # How one URL, and how all items, are purged: method and target; None where the program has no way.
    purge: tuple = None
    purge_all: tuple = None


def floor(title, mode, only=("hit", "hit-many", "hit-100k", "light")):
    command = [FLOOR, mode, "127.0.0.1:@PORT@", "threads=@WORKERS@", "size=@BODY_BYTES@"]
    return Peer(title, "floor", command, only=only)


def nginx(title, sendfile, only=None):
    return Peer(title, "proxy", ["nginx", "-p", "@DIR@", "-c", "@DIR@/nginx.conf"], {"nginx.conf": "nginx.conf"},
                values={"SENDFILE": sendfile}, only=only, version=["nginx", "-v"], package="nginx", program="nginx")


# What each request would write to the log in memory, and nobody reads here.
VARNISH_SILENT = ("-ReqHeader,-RespHeader,-ReqMethod,-ReqURL,-ReqProtocol,-RespProtocol,-RespStatus,-RespReason,-VCL_call,-VCL_return,"
                  "-Timestamp,-ReqAcct,-ReqStart,-Begin,-End,-Hit,-Link,-SessOpen,-SessClose,-BereqHeader,-BerespHeader,"
                  "-BackendOpen,-Length")

TRAFFICSERVER_FILES = ("records.config", "remap.config", "storage.config", "ip_allow.yaml")
TRAFFICSERVER_EMPTY = ("plugin", "cache", "volume", "hosting", "parent", "splitdns", "ssl_multicert", "socks")

LARDER_BINARY = os.path.join(TARGET, "release", "larder")
LARDER = "larder"
BARE = "bare hyper"
BARE_PROXY = "bare proxy"

PEERS = {
    LARDER: Peer("Larder", "proxy", [LARDER_BINARY, "run", "-c", "@DIR@/larder.toml"], {"larder.toml": "larder.toml"},
                 version=[LARDER_BINARY, "--version"]),
    "epoll": floor("raw epoll", "epoll", only=("hit", "hit-100k", "hit-1m", "light", "entries")),
    "sendfile": floor("raw epoll, sendfile", "sendfile", only=("hit-100k", "hit-1m")),
    BARE: floor("bare hyper", "percore", only=("hit", "hit-many", "hit-100k", "hit-1m", "light", "cores")),
    "multi": floor("bare hyper, one runtime", "multi", only=("hit", "cores")),
    "smallest": floor("hyper + smallest cache", "cache", only=("hit", "hit-many", "hit-100k", "light", "cores", "entries")),
    BARE_PROXY: Peer("bare hyper proxy", "bare proxy",
                     [FLOOR, "proxy", "127.0.0.1:@PORT@", "threads=@WORKERS@", "upstream=127.0.0.1:@ORIGIN_PORT@"]),
    # One writev instead of sendfile is quicker for small bodies, so each nginx is held against what it is better at.
    "nginx": nginx("nginx", "sendfile off; output_buffers 1 128k;"),
    "nginx-sendfile": nginx("nginx, sendfile", "sendfile on;", only=("hit-100k", "hit-1m")),
    "haproxy": Peer("HAProxy", "proxy", ["haproxy", "-db", "-f", "@DIR@/haproxy.cfg"], {"haproxy.cfg": "haproxy.cfg"},
                    version=["haproxy", "-v"], package="haproxy", program="haproxy"),
    "varnish": Peer("Varnish", "proxy",
                    ["varnishd", "-F", "-j", "none", "-n", "@DIR@/varnish", "-a", "127.0.0.1:@PORT@", "-f", "@DIR@/varnish.vcl",
                     "-T", "none", "-s", "malloc,@CACHE_MB@m", "-p", "thread_pools=@WORKERS@", "-p", "thread_pool_min=300",
                     "-p", "thread_pool_max=1000", "-p", "http_gzip_support=off", "-p", f"vsl_mask={VARNISH_SILENT}"],
                    {"varnish.vcl": "varnish.vcl"}, version=["varnishd", "-V"], package="varnish", program="varnishd",
                    purge=("PURGE", "/item/{n}?size=1024"), purge_all=("BAN", "^/item/")),
    "ats": Peer("Traffic Server", "proxy", ["traffic_server", "--run-root=@DIR@/runroot.yaml"],
                {"runroot.yaml": "trafficserver/runroot.yaml",
                 **{f"etc/{name}": f"trafficserver/{name}" for name in TRAFFICSERVER_FILES},
                 **{f"etc/{name}.config": None for name in TRAFFICSERVER_EMPTY}},
                directories=("etc", "cache", "var", "run", "log"), version=["traffic_server", "-V"], package="trafficserver",
                program="traffic_server", purge=("PURGE", "/item/{n}?size=1024")),
    "squid": Peer("Squid", "proxy", ["squid", "-N", "-f", "@DIR@/squid.conf"], {"squid.conf": "squid.conf"},
                  version=["squid", "-v"], package="squid", program="squid", purge=("PURGE", "/item/{n}?size=1024")),
    "pingora": Peer("pingora", "proxy", [PINGORA, "127.0.0.1:@PORT@", "127.0.0.1:@ORIGIN_PORT@", "@WORKERS@", "@CACHE_MB@"]),
}
