//! [`PasswordHash`]: what a password file keeps in place of a password, in the three formats that it may have.

use std::fmt;

use argon2::{
    Argon2, Params, PasswordHasher, PasswordVerifier,
    password_hash::phc::{self, Ident},
};
use base64::{Engine, engine::general_purpose::STANDARD_PAD_INDIFFERENT};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

/// What a check may cost at most: a file must not be able to stall the broker.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;
const MOST_ITERATIONS: u32 = 2_000_000;

const SHA512_BYTES: usize = 64;

/// A password, hashed.
#[derive(Clone)]
pub(crate) enum PasswordHash {
    /// `$argon2id$…`, a PHC string: what this crate writes.
    Argon2id(Box<phc::PasswordHash>),
    /// `$7$iterations$salt$hash`: what `mosquitto_passwd` of mosquitto 2 writes.
    Pbkdf2 { iterations: u32, salt: Box<[u8]>, hash: Box<[u8; SHA512_BYTES]> },
    /// `$6$salt$hash`: what it wrote before. One round: weak against whoever steals the file.
    Sha512 { salt: Box<[u8]>, hash: Box<[u8; SHA512_BYTES]> },
}

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRandomness;

impl PasswordHash {
    /// Hashes a password anew, as argon2id.
    pub(crate) fn of(password: &[u8]) -> Result<Self, NoRandomness> {
        let hashed: Result<phc::PasswordHash, _> = Argon2::default().hash_password(password);
        hashed.map(|hash| Self::Argon2id(Box::new(hash))).map_err(|_| NoRandomness)
    }

    /// Reads one of the formats; the error says what is wrong, and shows nothing of it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let fields: Vec<&str> = text.split('$').collect();
        match *fields {
            ["", "argon2id", ..] => argon2id(text),
            ["", "7", iterations, salt, hash] => {
                let iterations =
                    iterations.parse().ok().filter(|count| (1..=MOST_ITERATIONS).contains(count));
                let iterations =
                    iterations.ok_or("its number of iterations is not between 1 and 2,000,000")?;
                Ok(Self::Pbkdf2 { iterations, salt: bytes(salt)?, hash: sha512(hash)? })
            }
            ["", "6", salt, hash] => Ok(Self::Sha512 { salt: bytes(salt)?, hash: sha512(hash)? }),
            ["", "argon2i" | "argon2d", ..] => Err("of the argon2 family only argon2id is taken"),
            [_] => Err("not hashed: set it with `gmqtt passwd FILE USER`"),
            _ => Err("not of a known format: $argon2id$, or $7$ or $6$ of mosquitto_passwd"),
        }
    }

    /// Whether it is this password's. Takes the time that hashing takes, whatever the answer.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2id(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Self::Pbkdf2 { iterations, salt, hash } => {
                let mut found = [0; SHA512_BYTES];
                pbkdf2_hmac::<Sha512>(password, salt, *iterations, &mut found);
                found.ct_eq(&**hash).into()
            }
            Self::Sha512 { salt, hash } => {
                let found = Sha512::new().chain_update(password).chain_update(salt).finalize();
                found.as_slice().ct_eq(&**hash).into()
            }
        }
    }

    /// The name of its format, for people.
    pub(crate) fn format(&self) -> &'static str {
        match self {
            Self::Argon2id(_) => "argon2id",
            Self::Pbkdf2 { .. } => "mosquitto $7$ (PBKDF2)",
            Self::Sha512 { .. } => "mosquitto $6$ (one round of SHA-512: weak)",
        }
    }
}

impl fmt::Display for PasswordHash {
    /// As it stands in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = |bytes: &[u8]| STANDARD_PAD_INDIFFERENT.encode(bytes);
        match self {
            Self::Argon2id(hash) => hash.fmt(f),
            Self::Pbkdf2 { iterations, salt, hash } => {
                write!(f, "$7${iterations}${}${}", base64(salt), base64(&**hash))
            }
            Self::Sha512 { salt, hash } => write!(f, "$6${}${}", base64(salt), base64(&**hash)),
        }
    }
}

fn argon2id(text: &str) -> Result<PasswordHash, &'static str> {
    let hash =
        phc::PasswordHash::new(text).map_err(|_| "no PHC string: $argon2id$v=19$m=…,t=…,p=…$salt$hash")?;
    if hash.algorithm != Ident::new_unwrap("argon2id") || hash.salt.is_none() || hash.hash.is_none() {
        return Err("a PHC string without salt or hash");
    }
    let params =
        Params::try_from(&hash).map_err(|_| "a PHC string with parameters that argon2id does not have")?;
    let is_cheap =
        params.m_cost() <= MOST_MEMORY_KIB && params.t_cost() <= MOST_PASSES && params.p_cost() <= MOST_LANES;
    if is_cheap {
        Ok(PasswordHash::Argon2id(Box::new(hash)))
    } else {
        Err("too costly to check: at most m=262144 (256 MiB), t=16, p=16")
    }
}

fn bytes(base64: &str) -> Result<Box<[u8]>, &'static str> {
    let bytes = STANDARD_PAD_INDIFFERENT.decode(base64).map_err(|_| "its salt or hash is not base64")?;
    if bytes.is_empty() { Err("its salt or hash is empty") } else { Ok(bytes.into()) }
}

fn sha512(base64: &str) -> Result<Box<[u8; SHA512_BYTES]>, &'static str> {
    let hash: Result<Box<[u8; SHA512_BYTES]>, _> = bytes(base64)?.try_into();
    hash.map_err(|_| "its hash does not have the 64 bytes of SHA-512")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `mosquitto_passwd -b` 2.0.11, passwords `secret` and `geheim`.
    pub(crate) const PBKDF2: &str = "$7$101$+8dg1NJHxHE44+lD$BozQwqEfm74JzRcPaVXmCTAAmj5t6cBPcTqCmFAUf3dptxl+WxHvI6l0fac7XKblQHpoB/S3saeur2+5Kntj8g==";
    pub(crate) const SHA512: &str = "$6$pydW3hIgpFgjX9z8$6c9hNCNjYv7I/OHdh/eNg5mp7yeyk++pqpOWDeOZfc2hOz354REzFm7f/qUcEbfIfZjkfEoDWl4GsJEHaIR+lg==";
    /// Made by the reference implementation: `printf secret | argon2 saltsalt -id -t 1 -m 8 -p 1 -e`.
    const REFERENCE: &str = "$argon2id$v=19$m=256,t=1,p=1$c2FsdHNhbHQ$";

    #[test]
    fn each_format_tells_its_password_from_others_and_is_written_as_it_was_read() {
        let own = PasswordHash::of(b"own").unwrap().to_string();
        for (text, password) in [(PBKDF2, "secret"), (SHA512, "geheim"), (own.as_str(), "own")] {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.is_of(password.as_bytes()), "{text}");
            for wrong in ["", "Secret", "secret ", "geheim\0", "owns"] {
                assert!(!hash.is_of(wrong.as_bytes()), "{text} {wrong:?}");
            }
            assert_eq!(hash.to_string(), text);
        }
        assert_ne!(PasswordHash::of(b"own").unwrap().to_string(), own, "each has a salt of its own");
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused() {
        let zeros = "A".repeat(86) + "==";
        for text in [
            "",
            "secret",
            "$",
            "$7$101$c2FsdA==$",
            "$7$0$c2FsdA==$AAAA",
            "$7$101$$AAAA",
            "$6$c2FsdA==",
            &format!("$7$0$c2FsdA==${zeros}"),
            &format!("$7$99999999$c2FsdA==${zeros}"),
            &format!("$7$101$c2F*dA==${zeros}"),
            &format!("$6$$${zeros}"),
            REFERENCE,
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            "$argon2id$v=19$m=4294967295,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=19456,t=200,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(PasswordHash::parse(text).is_err(), "{text}");
        }
    }
}
