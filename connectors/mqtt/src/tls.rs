//! TLS from PEM files: the listener's certificate, the clients' roots and their own certificates.
//!
//! The crypto provider is named here, not installed for the process: a library that relied on an
//! installed one would panic at the first handshake of a program that forgot.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{config::TlsConfig, error::TlsError};

/// The listener's side: certificate chain and key of `config`.
pub(crate) fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&config.cert)?;
    let key = private(&config.key)?;
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(server))
}

/// A client's side that trusts the certificates in the PEM file `roots`, and nothing else.
pub fn client(roots: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    client_with(roots, None)
}

/// As [`client`], showing a certificate of its own: the PEM files of its chain and its private key.
pub(crate) fn client_with(
    roots: &Path,
    own: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(roots)? {
        store.add(certificate)?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store);
    let client = match own {
        Some((chain, key)) => builder.with_client_auth_cert(certificates(chain)?, private(key)?)?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(client))
}

fn private(key: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(key).map_err(|reason| pem(key, "private key", &reason))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|reason| pem(file, "certificates", &reason))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(file.to_owned()));
    }
    Ok(chain)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn pem(file: &Path, what: &'static str, reason: &rustls::pki_types::pem::Error) -> TlsError {
    TlsError::Pem {
        file: file.to_owned(),
        what,
        reason: reason.to_string(),
    }
}
