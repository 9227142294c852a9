//! Connections to the upstream: plain or TLS, with one deadline over name look-up, TCP and TLS together.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::Settings;
use crate::telemetry::Telemetry;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What opens connections: the network's or a test's pipes. Not for implementing: whatever serves `Uri` with a stream is one.
pub trait Connector:
    Service<
        Uri,
        Response: Read + Write + Unpin + Send + 'static,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<C> Connector for C where
    C: Service<
            Uri,
            Response: Read + Write + Unpin + Send + 'static,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// What the program connects with; tests bring pipes instead.
pub type NetConnector = HttpsConnector<HttpConnector>;

/// Why no connector could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The file in `upstream.ca` does not hold certificates.
    #[error("upstream.ca: {0}")]
    Certificate(String),
    /// The machine has no certificates to trust.
    #[error("can't read the system's certificates for upstream.url (set upstream.ca to use your own): {0}")]
    SystemRoots(std::io::Error),
    /// The TLS library refuses its own defaults.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Bounds the time a connection may take to come about, and counts.
#[derive(Clone, Debug)]
pub(super) struct Bounded<C> {
    inner: C,
    limit: Duration,
    telemetry: Arc<Telemetry>,
}

/// A connection took too long.
#[derive(Debug, thiserror::Error)]
#[error("no connection in time")]
pub(super) struct TooSlow;

/// For `upstream.url` as configured.
pub fn connector(settings: &Settings) -> Result<NetConnector, ConnectorError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // A request is written in one or two pieces: waiting to fill a packet only costs time.
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls_config(settings)?);
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp))
}

fn tls_config(settings: &Settings) -> Result<ClientConfig, ConnectorError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let is_tls = settings.url.scheme_str() == Some("https");
    let config = match &settings.ca {
        Some(pem) => builder.with_root_certificates(roots(pem)?),
        None if is_tls => builder.with_native_roots().map_err(ConnectorError::SystemRoots)?,
        // Plain HTTP needs none, and a container without any must still start.
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(config.with_no_client_auth())
}

/// What is trusted with these certificates: each of them, and there is at least one.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, ConnectorError> {
    let unreadable = |error: &dyn std::fmt::Display| ConnectorError::Certificate(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"no certificate in the file"));
    }
    Ok(roots)
}

impl<C> Bounded<C> {
    pub(super) fn new(inner: C, limit: Duration, telemetry: Arc<Telemetry>) -> Self {
        Self { inner, limit, telemetry }
    }
}

impl<C: Connector> Service<Uri> for Bounded<C> {
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.inner.call(uri));
        let telemetry = Arc::clone(&self.telemetry);
        Box::pin(async move {
            let connected = connecting.await.map_err(|_| TooSlow)?.map_err(Into::into)?;
            telemetry.upstream.connects.add_one();
            Ok(connected)
        })
    }
}
