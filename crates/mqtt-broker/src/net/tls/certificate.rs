//! The user name that a client certificate gives.

use std::{io, sync::Arc};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, parse_x509_certificate, prelude::X509Certificate};

/// The part of a client certificate that is its owner's user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateField {
    /// The common name of the subject: `sensor-7`.
    CommonName,
    /// The whole subject: `C=CH, O=Example, CN=sensor-7`.
    DistinguishedName,
    /// The first subject alternative name that is a DNS name, a mail address or a URI.
    SubjectAltName,
}

/// An access rule may put a user name into a topic filter. None must reach beyond its level.
const FORBIDDEN: [char; 3] = ['+', '#', '/'];

pub(super) fn user_name(certificate: &CertificateDer<'_>, field: CertificateField) -> io::Result<Arc<str>> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else {
        return Err(refuse("cannot be read"));
    };
    let name = field.of(&certificate).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| refuse("has no such field for a user name"))?;
    if name.contains(FORBIDDEN) || name.contains(char::is_control) {
        return Err(refuse("has a user name with +, #, / or a control character in it"));
    }
    Ok(name.into())
}

impl CertificateField {
    fn of(self, certificate: &X509Certificate<'_>) -> Option<String> {
        match self {
            Self::CommonName => {
                let mut names = certificate.subject().iter_common_name();
                Some(names.next()?.as_str().ok()?.to_owned())
            }
            Self::DistinguishedName => Some(certificate.subject().to_string()),
            Self::SubjectAltName => {
                let names = &certificate.subject_alternative_name().ok()??.value.general_names;
                names.iter().find_map(|name| match name {
                    GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                        Some((*name).to_owned())
                    }
                    _ => None,
                })
            }
        }
    }
}

fn refuse(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("the client's certificate {why}"))
}
