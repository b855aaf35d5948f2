//! A certificate for the broker under attack, and its key.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Two PEM files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// Signed by itself, for `localhost`.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Makes a certificate and its key in this folder.
///
/// # Errors
///
/// If they cannot be made or written.
pub fn create(folder: &Path) -> io::Result<CertificateFiles> {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    let files = CertificateFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    fs::write(&files.certificate, signed.cert.pem())?;
    fs::write(&files.key, signed.signing_key.serialize_pem())?;
    Ok(files)
}
