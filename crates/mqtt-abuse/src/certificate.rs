//! Certificates for tests: of an authority of their own, which is gone as soon as it has signed them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// The common name in the client's certificate.
pub const CLIENT: &str = "client";

/// PEM files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The authority that has signed the others.
    pub authority: PathBuf,
    /// The server's, for `localhost` and `127.0.0.1`.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// A client's, by the name of [`CLIENT`].
    pub client_certificate: PathBuf,
    /// Its private key.
    pub client_key: PathBuf,
}

/// Makes an authority, and certificates for a server and a client with their keys, in this folder.
///
/// # Errors
///
/// If they cannot be made or written.
pub fn create(folder: &Path) -> io::Result<CertificateFiles> {
    let files = CertificateFiles {
        authority: folder.join("authority.pem"),
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        client_certificate: folder.join("client-cert.pem"),
        client_key: folder.join("client-key.pem"),
    };
    let issuer = authority().map_err(io::Error::other)?;
    fs::write(&files.authority, issuer.as_ref().pem())?;
    let server = signed(&issuer, &["localhost", "127.0.0.1"], "server", ExtendedKeyUsagePurpose::ServerAuth);
    write(server, &files.certificate, &files.key)?;
    let client = signed(&issuer, &[], CLIENT, ExtendedKeyUsagePurpose::ClientAuth);
    write(client, &files.client_certificate, &files.client_key)?;
    Ok(files)
}

/// As OpenSSL's strictest reading wants it, which Python turns on: with key usages and key identifiers.
fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "an authority for tests");
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// A certificate and its key, in PEM.
fn signed(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    hosts: &[&str],
    common_name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<(String, String), Error> {
    let mut params = CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(signed: Result<(String, String), Error>, certificate: &Path, key: &Path) -> io::Result<()> {
    let (certificate_pem, key_pem) = signed.map_err(io::Error::other)?;
    fs::write(certificate, certificate_pem)?;
    fs::write(key, key_pem)
}
