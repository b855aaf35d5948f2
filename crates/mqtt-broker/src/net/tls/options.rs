//! [`TlsOptions`]: which files a TLS listener reads, and what it makes of them.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::certificate::CertificateField;

/// The files and the policy of TLS. All files are PEM.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The server's certificate, and those between it and its authority's.
    pub certificates: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// Whether clients show certificates. Default [`ClientCertificates::None`].
    pub client_certificates: ClientCertificates,
    /// The authorities that sign the clients' certificates: bundles, all of them trusted.
    pub client_authorities: Vec<PathBuf>,
    /// Lists of revoked client certificates. With any, a certificate of an authority that has none is refused too.
    pub revocation_lists: Vec<PathBuf>,
    /// Which part of a client's certificate is its user name, in place of the CONNECT's. Default none.
    pub user_name: Option<CertificateField>,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for one.
    #[default]
    None,
    /// They may; one that is shown must be good.
    Optional,
    /// They must.
    Required,
}

/// A file of [`TlsOptions`] that is of no use, or files that do not fit each other.
#[derive(Debug)]
pub struct TlsError {
    file: PathBuf,
    why: String,
}

impl TlsOptions {
    /// A server with this certificate and key, and clients without.
    pub fn new(certificates: impl Into<PathBuf>, private_key: impl Into<PathBuf>) -> Self {
        Self {
            certificates: certificates.into(),
            private_key: private_key.into(),
            client_certificates: ClientCertificates::None,
            client_authorities: Vec::new(),
            revocation_lists: Vec::new(),
            user_name: None,
        }
    }

    pub(super) fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let chain = read_all::<CertificateDer<'static>>(&self.certificates, "certificate")?;
        let key = PrivateKeyDer::from_pem_file(&self.private_key)
            .map_err(|error| unreadable(&self.private_key, error, "private key"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(&self.certificates, error))?
            .with_client_cert_verifier(self.verifier()?)
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::new(&self.private_key, error))?;
        Ok(config)
    }

    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        if self.client_certificates == ClientCertificates::None {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let mut authorities = RootCertStore::empty();
        for file in &self.client_authorities {
            for certificate in read_all(file, "certificate")? {
                authorities.add(certificate).map_err(|error| TlsError::new(file, error))?;
            }
        }
        let mut revoked = Vec::new();
        for file in &self.revocation_lists {
            revoked.extend(read_all::<CertificateRevocationListDer<'static>>(file, "revocation list")?);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
            .with_crls(revoked)
            .only_check_end_entity_revocation();
        if self.client_certificates == ClientCertificates::Optional {
            builder = builder.allow_unauthenticated();
        }
        let file = self.client_authorities.first().map_or(Path::new("client_authorities"), PathBuf::as_path);
        builder.build().map_err(|error| TlsError::new(file, error))
    }
}

impl TlsError {
    fn new(file: &Path, why: impl ToString) -> Self {
        Self { file: file.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.why)
    }
}

impl std::error::Error for TlsError {}

/// Everything of one kind that a file holds; at least one.
fn read_all<T: PemObject>(file: &Path, what: &str) -> Result<Vec<T>, TlsError> {
    let found: Result<Vec<T>, pem::Error> = T::pem_file_iter(file).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(unreadable(file, pem::Error::NoItemsFound, what)),
        found => found.map_err(|error| unreadable(file, error, what)),
    }
}

fn unreadable(file: &Path, error: pem::Error, what: &str) -> TlsError {
    match error {
        pem::Error::NoItemsFound => TlsError::new(file, format!("no {what} in it")),
        pem::Error::Io(error) => TlsError::new(file, error),
        error => TlsError::new(file, format!("no PEM: {error:?}")),
    }
}
