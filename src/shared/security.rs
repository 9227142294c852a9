//! TLS: whom we trust, and who we are.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::settings::Tls;
use crate::secret::Secret;

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Whether these are a certificate and its key; in words if not.
pub fn check_client(chain: &[u8], key: &Secret) -> Result<(), &'static str> {
    let (chain, key) = client(chain, key)?;
    let wrong = "does not belong to redis.client_key, or is of a kind that is not understood";
    let builder = builder().map_err(|_| wrong)?.with_root_certificates(RootCertStore::empty());
    builder.with_client_auth_cert(chain, key).map(|_| ()).map_err(|_| wrong)
}

/// Whether there is somebody to trust; in words if not.
pub fn check_trust(tls: &Tls) -> Result<(), String> {
    config(tls).map(drop)
}

/// What connections are secured with; in words if there is no way.
pub(super) fn config(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let builder = builder().map_err(|error| error.to_string())?;
    let builder = match &tls.ca {
        Some(pem) => builder.with_root_certificates(roots(pem)?),
        None => builder.with_native_roots().map_err(|error| {
            format!("can't read the system's certificates (set redis.ca to use your own): {error}")
        })?,
    };
    let config = match &tls.client {
        Some((chain, key)) => {
            let (chain, key) = client(chain, key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

fn client(chain: &[u8], key: &Secret) -> Result<Chain, &'static str> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|_| "has a certificate that makes no sense")?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|_| "can't be used: redis.client_key makes no sense")?;
    Ok((chain, key))
}
