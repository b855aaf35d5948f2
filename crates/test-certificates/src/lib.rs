//! Certificates for tests: an authority, and what it has signed, as PEM files in one folder.
//!
//! Only a test can wish for it, so it panics where it cannot do as it is told.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

/// An authority. Its key is in no file: once it is dropped, nothing more is signed by it.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The folder, if it is the authority's own.
    goes_with_it: Option<TempDir>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, without the authority's.
    pub certificates: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
}

/// One of each, under names that stay.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// `authority.pem`, which has signed the others.
    pub authority: PathBuf,
    /// `cert.pem` and `key.pem`.
    pub server: Files,
    /// `client-cert.pem` and `client-key.pem`, whose common name is `client`.
    pub client: Files,
    /// `nobody-revoked.pem`, a list of the authority's by which no certificate is revoked.
    pub nobody_revoked: PathBuf,
    /// `client-revoked.pem`, one by which the client's is.
    pub client_revoked: PathBuf,
}

impl Authority {
    /// One of this name, with a folder that goes when it is dropped.
    ///
    /// # Panics
    ///
    /// If no file or key can be made.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut authority = Self::within(folder.path(), name);
        authority.goes_with_it = Some(folder);
        authority
    }

    /// One of this name, in a folder that stays.
    ///
    /// # Panics
    ///
    /// If no file or key can be made.
    pub fn within(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Python asks OpenSSL for its strictest reading, which wants key usages, and key identifiers below.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let authority = Self { folder: folder.to_owned(), issuer, goes_with_it: None };
        fs::write(authority.bundle(), authority.issuer.as_ref().pem()).expect("a file");
        authority
    }

    /// The authority's own certificate.
    pub fn bundle(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// A certificate for `localhost` and `127.0.0.1`, in files whose names begin so.
    ///
    /// # Panics
    ///
    /// If no file or key can be made.
    pub fn server(&self, files: &str) -> Files {
        let hosts = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(hosts).expect("names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, files, 1)
    }

    /// A certificate whose common name is `user_name`, and whose alternative name is `alternative`.
    ///
    /// # Panics
    ///
    /// If no file or key can be made, or the alternative name is not in ASCII.
    pub fn client(&self, user_name: &str, alternative: &str, serial: u64) -> Files {
        self.client_in(&format!("client-{serial}-"), user_name, alternative, serial)
    }

    /// A list that revokes these certificates, in a file of this name.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub fn revoke(&self, file: &str, serials: &[u64]) -> PathBuf {
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
        let list = params.signed_by(&self.issuer).expect("a list").pem().expect("a list in PEM");
        self.write(file, &list)
    }

    fn client_in(&self, files: &str, user_name: &str, alternative: &str, serial: u64) -> Files {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, user_name);
        params.subject_alt_names = vec![SanType::DnsName(alternative.try_into().expect("a name"))];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, files, serial)
    }

    fn sign(&self, mut params: CertificateParams, files: &str, serial: u64) -> Files {
        params.serial_number = Some(SerialNumber::from(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let certificates = self.write(&format!("{files}cert.pem"), &certificate.pem());
        Files { certificates, private_key: self.write(&format!("{files}key.pem"), &key.serialize_pem()) }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl CertificateFiles {
    /// Makes them in this folder, with an authority that is gone as soon as it has signed them.
    ///
    /// # Panics
    ///
    /// If they cannot be made or written.
    pub fn create(folder: &Path) -> Self {
        const SERIAL: u64 = 2;
        let authority = Authority::within(folder, "an authority for tests");
        Self {
            authority: authority.bundle(),
            server: authority.server(""),
            client: authority.client_in("client-", "client", "client.example", SERIAL),
            nobody_revoked: authority.revoke("nobody-revoked.pem", &[]),
            client_revoked: authority.revoke("client-revoked.pem", &[SERIAL]),
        }
    }
}
