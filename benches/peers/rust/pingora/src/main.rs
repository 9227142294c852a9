//! A caching proxy on pingora with what it brings: its memory cache, its LRU, its cache lock.
//!
//! `pingora-peer LISTEN ORIGIN THREADS CACHE_MB`

use std::error::Error;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use pingora_cache::cache_control::CacheControl;
use pingora_cache::eviction::lru::Manager;
use pingora_cache::key::CacheKey;
use pingora_cache::lock::{CacheKeyLockImpl, CacheLock};
use pingora_cache::{CacheMetaDefaults, MemCache, RespCacheable, filters};
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Entries that each shard of the LRU has room for from the start.
const SHARD_ENTRIES: usize = 16_384;

/// How long a request waits for another's fetch of the same key.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing is kept that does not say for how long.
const DEFAULTS: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);

// pingora wants them to live as long as the process.
static STORE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
static LOCK: LazyLock<Box<CacheKeyLockImpl>> = LazyLock::new(|| CacheLock::new_boxed(LOCK_TIMEOUT));

struct Peer {
    origin: SocketAddr,
    eviction: &'static Manager<16>,
}

#[async_trait]
impl ProxyHttp for Peer {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }

    fn request_cache_filter(&self, session: &mut Session, (): &mut ()) -> Result<()> {
        if filters::request_cacheable(session.req_header()) {
            session.cache.enable(&*STORE, Some(self.eviction), None, Some(LOCK.as_ref()), None);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, (): &mut ()) -> Result<CacheKey> {
        let request = session.req_header();
        let mut key = request.headers.get("host").map(|host| host.as_bytes().to_vec()).unwrap_or_default();
        key.extend_from_slice(request.uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes());
        Ok(CacheKey::new(key, ""))
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        (): &mut (),
    ) -> Result<RespCacheable> {
        let control = CacheControl::from_resp_headers(response);
        let authorized = session.req_header().headers.contains_key("authorization");
        Ok(filters::resp_cacheable(control.as_ref(), response.clone(), authorized, &DEFAULTS))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origin, threads, cache_mb] = arguments.as_slice() else {
        return Err("usage: pingora-peer LISTEN ORIGIN THREADS CACHE_MB".into());
    };
    let threads = threads.parse()?;
    let configuration = ServerConf {
        threads,
        upstream_keepalive_pool_size: 256,
        // With one thread there is nobody to steal from.
        work_stealing: threads > 1,
        ..ServerConf::default()
    };
    let eviction = Manager::with_capacity(cache_mb.parse::<usize>()? * 1_000_000, SHARD_ENTRIES);
    let peer = Peer { origin: origin.parse()?, eviction: Box::leak(Box::new(eviction)) };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, peer);
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}
