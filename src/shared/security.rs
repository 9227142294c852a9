//! TLS: whom we trust, and who we are.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::secret::Secret;

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Whether these are a certificate and its key; in words if not.
pub fn check_client(chain: &[u8], key: &Secret) -> Result<(), &'static str> {
    let (chain, key) = client(chain, key)?;
    let wrong = "does not belong to redis.client_key, or is of a kind that is not understood";
    let builder = builder().map_err(|_| wrong)?.with_root_certificates(RootCertStore::empty());
    builder.with_client_auth_cert(chain, key).map(|_| ()).map_err(|_| wrong)
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn client(chain: &[u8], key: &Secret) -> Result<Chain, &'static str> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|_| "has a certificate that makes no sense")?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|_| "can't be used: redis.client_key makes no sense")?;
    Ok((chain, key))
}
