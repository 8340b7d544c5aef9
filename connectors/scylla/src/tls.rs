//! TLS towards the cluster, from PEM files.
//!
//! The crypto provider is named here, not installed for the process: a library that relied on an
//! installed one would panic at the first handshake of a program that forgot.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{config::TlsConfig, error::OpenError};

/// Trusts the certificates of `config.ca` and shows our own, if there is one.
pub(crate) fn client(config: &TlsConfig) -> Result<Arc<ClientConfig>, OpenError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.ca)? {
        roots
            .add(certificate)
            .map_err(|reason| bad(&config.ca, reason))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|reason| bad(&config.ca, reason))?
        .with_root_certificates(roots);
    let client = match (&config.cert, &config.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|reason| bad(key, reason))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|reason| bad(cert, reason))?
        }
        _ => {
            return Err(OpenError::Config(
                "tls: cert and key go together".to_owned(),
            ));
        }
    };
    Ok(Arc::new(client))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let chain = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|reason| bad(file, reason))?;
    if chain.is_empty() {
        return Err(bad(file, "it holds no certificate"));
    }
    Ok(chain)
}

fn bad(file: &Path, reason: impl ToString) -> OpenError {
    OpenError::Config(format!("tls: {}: {}", file.display(), reason.to_string()))
}
