//! Certificates for tests: of an authority of their own, which is gone as soon as it has signed them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, Error,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

/// The common name in the client's certificate.
pub const CLIENT: &str = "client";

const SERVER_SERIAL: u64 = 1;
const CLIENT_SERIAL: u64 = 2;

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
    /// A list of the authority's by which no certificate is revoked.
    pub nobody_revoked: PathBuf,
    /// One by which the client's is.
    pub client_revoked: PathBuf,
}

/// Makes an authority, certificates for a server and a client with their keys, and lists of revoked ones, in this folder.
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
        nobody_revoked: folder.join("nobody-revoked.pem"),
        client_revoked: folder.join("client-revoked.pem"),
    };
    let issuer = authority().map_err(io::Error::other)?;
    fs::write(&files.authority, issuer.as_ref().pem())?;
    let server = ("server", SERVER_SERIAL, ExtendedKeyUsagePurpose::ServerAuth);
    let server = signed(&issuer, &["localhost", "127.0.0.1"], server);
    write(server, &files.certificate, &files.key)?;
    let client = signed(&issuer, &[], (CLIENT, CLIENT_SERIAL, ExtendedKeyUsagePurpose::ClientAuth));
    write(client, &files.client_certificate, &files.client_key)?;
    fs::write(&files.nobody_revoked, revoked(&issuer, &[]).map_err(io::Error::other)?)?;
    fs::write(&files.client_revoked, revoked(&issuer, &[CLIENT_SERIAL]).map_err(io::Error::other)?)?;
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
    (common_name, serial, purpose): (&str, u64, ExtendedKeyUsagePurpose),
) -> Result<(String, String), Error> {
    let mut params = CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// A list of what is revoked, in PEM.
fn revoked(issuer: &CertifiedIssuer<'static, KeyPair>, serials: &[u64]) -> Result<String, Error> {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer)?.pem()
}

fn write(signed: Result<(String, String), Error>, certificate: &Path, key: &Path) -> io::Result<()> {
    let (certificate_pem, key_pem) = signed.map_err(io::Error::other)?;
    fs::write(certificate, certificate_pem)?;
    fs::write(key, key_pem)
}
