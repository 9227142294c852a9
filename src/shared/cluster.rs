//! The driver of a cluster, which keeps connections to all of its nodes and finds out by itself who has what.

use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::{ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisError, TlsCertificates};

use super::address::{Address, Reach};
use super::settings::{Settings, Tls};

/// Times that a cluster's command may be sent on to another node, all of them within the command's time.
const RETRIES: u32 = 3;

/// Milliseconds between two of those.
const WAIT: (u64, u64) = (2, 10);

/// Connects to nothing yet. `node_timeout` is for one node.
pub(super) fn client(
    seeds: &[Address],
    settings: &Settings,
    node_timeout: Duration,
) -> Result<ClusterClient, RedisError> {
    let mut nodes = Vec::new();
    for seed in seeds {
        let Reach::Net { host, port, is_tls } = &seed.reach else {
            continue;
        };
        let (host, port) = (host.clone(), *port);
        let address = if *is_tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        nodes.push(address.into_connection_info()?.set_redis_settings(seed.hello.clone()));
    }
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let tcp = tcp.set_keepalive(socket2::TcpKeepalive::new().with_time(Duration::from_secs(5)));
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(Duration::from_secs(2));
    let mut builder = ClusterClientBuilder::new(nodes)
        .retries(RETRIES)
        .min_retry_wait(WAIT.0)
        .max_retry_wait(WAIT.1)
        .connection_timeout(node_timeout)
        // Whoever asks has a time of their own; what one node may take is said at each connection.
        .overall_response_timeout(None)
        .tcp_settings(tcp);
    if let Some(tls) = &settings.tls {
        builder = builder.certs(certificates(tls));
    }
    builder.build()
}

/// The driver opens a cluster's connections itself, with what it takes for certificates. It reads the system's at each of them,
/// even where it is given others.
fn certificates(tls: &Tls) -> TlsCertificates {
    // It asks for the process's provider. Who has set one before us has set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    TlsCertificates {
        client_tls: tls.client.as_ref().map(|(chain, key)| ClientTlsConfig {
            client_cert: chain.clone(),
            client_key: key.expose().as_bytes().to_vec(),
        }),
        root_cert: tls.ca.clone(),
    }
}
