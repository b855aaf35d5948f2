//! [`Tokens`]: clients that give a JSON Web Token as their password.
//!
//! Which algorithm a token must be signed with is said by the key, never by the token.

use std::{
    fmt, fs,
    future::ready,
    path::Path,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use mqtt_broker::{ClientInfo, ConnectRefusal, ConnectRequest, HookFuture};
use serde_json::{Map, Value};
use x509_parser::{
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION},
    pem::parse_x509_pem,
    prelude::FromDer,
    public_key::RSAPublicKey,
    x509::SubjectPublicKeyInfo,
};

use crate::{
    acl::Acl,
    file_error::{FileError, LineError},
    identity::{Identity, IdentityProvider, Verdict},
};

/// Longer passwords are no tokens.
const LONGEST_TOKEN: usize = 16 * 1024;
/// A token cannot bring more lines of an access list than this.
const MOST_LINES: usize = 1_000;
/// A secret that is shorter can be guessed.
const SHORTEST_SECRET: usize = 32;

/// The algorithm that a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenAlgorithm(Algorithm);

/// The keys that tokens may be signed with.
#[derive(Clone)]
pub struct TokenKeys(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// What a token has to say, and in which claims.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenOptions {
    /// The issuer (`iss`) that it must name. Default any.
    pub issuer: Option<String>,
    /// The audience (`aud`) that it must name. Default any.
    pub audience: Option<String>,
    /// The claim that is the user name. Default `sub`.
    pub user_name_claim: String,
    /// The claim that, if it is there, is the client identifier that must be used, or a list of them. Default `client_id`.
    pub client_id_claim: String,
    /// The claim that, if it is there, is the list of the client's rights: lines of an access list. Default `acl`.
    pub acl_claim: String,
    /// How far the clocks of the issuer and of this machine may be apart. Default 30 s.
    pub leeway: Duration,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            user_name_claim: "sub".into(),
            client_id_claim: "client_id".into(),
            acl_claim: "acl".into(),
            leeway: Duration::from_secs(30),
        }
    }
}

/// Whoever gives a token as password that one of these keys has signed is the user that the token names, until it
/// expires: then the connection is closed. Of passwords that are no tokens it has no opinion.
///
/// ```no_run
/// use std::path::Path;
///
/// use mqtt_access::{Access, AccessControl, TokenKeys, TokenOptions, Tokens};
/// use mqtt_broker::Broker;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = TokenKeys::load(Path::new("issuer.pem"), "ES256".parse()?)?;
/// let mut options = TokenOptions::default();
/// options.issuer = Some("https://login.example.org".into());
/// let access = Access::new().identify(Tokens::new(keys, options));
/// let broker = AccessControl::new(access).install(Broker::builder()).build();
/// # Ok(())
/// # }
/// ```
pub struct Tokens {
    keys: TokenKeys,
    options: TokenOptions,
}

impl FromStr for TokenAlgorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384"];
        let algorithm = known.contains(&name).then(|| Algorithm::from_str(name).ok()).flatten();
        algorithm
            .map(Self)
            .ok_or_else(|| format!("`{}` is none of {}", name.escape_debug(), known.join(", ")))
    }
}

impl TokenKeys {
    /// One key: for `HS…` the secret itself (a newline at its end does not count), for `RS…` and `ES…` a public key as PEM.
    pub fn load(path: &Path, algorithm: TokenAlgorithm) -> Result<Self, FileError> {
        let bytes = fs::read(path).map_err(FileError::io(path))?;
        Self::from_bytes(&bytes, algorithm).map_err(|what| whole_file(path, what))
    }

    /// A JSON Web Key Set. Keys for encryption, and those of kinds that are not for tokens of ours, are passed over.
    pub fn load_jwks(path: &Path) -> Result<Self, FileError> {
        let text = fs::read_to_string(path).map_err(FileError::io(path))?;
        Self::from_jwks(&text).map_err(|what| whole_file(path, what))
    }

    fn from_bytes(bytes: &[u8], TokenAlgorithm(algorithm): TokenAlgorithm) -> Result<Self, String> {
        let key = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                check_secret(secret)?;
                Some(DecodingKey::from_secret(secret))
            }
            _ => public_key(bytes, algorithm),
        };
        let key = key.ok_or_else(|| format!("no public key for {algorithm:?} in PEM"))?;
        Ok(Self(vec![Key { id: None, algorithm, decoding: key }]))
    }

    fn from_jwks(text: &str) -> Result<Self, String> {
        let set: JwkSet =
            serde_json::from_str(text).map_err(|error| format!("no JSON Web Key Set: {error}"))?;
        let mut keys = Vec::new();
        for jwk in &set.keys {
            if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
                continue;
            }
            let Some(algorithm) = algorithm_of(jwk) else { continue };
            let name = jwk.common.key_id.as_deref().unwrap_or("without kid").escape_debug().to_string();
            let key = DecodingKey::from_jwk(jwk).map_err(|error| format!("the key {name}: {error}"))?;
            if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
                let secret = key.try_get_as_bytes().map_err(|error| format!("the key {name}: {error}"))?;
                check_secret(secret).map_err(|what| format!("the key {name}: {what}"))?;
            }
            keys.push(Key { id: jwk.common.key_id.clone(), algorithm, decoding: key });
        }
        if keys.is_empty() { Err("no key for tokens in it".into()) } else { Ok(Self(keys)) }
    }

    /// The keys that a token with this `kid` may be signed with: those of the same name, or, without a `kid`, all.
    fn candidates(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| id.is_none() || key.id.is_none() || key.id.as_deref() == id)
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (&key.id, key.algorithm))).finish()
    }
}

impl Tokens {
    /// Takes tokens that are signed with these keys, and say this.
    pub fn new(keys: TokenKeys, options: TokenOptions) -> Self {
        Self { keys, options }
    }

    fn judge(&self, request: &ConnectRequest, now: SystemTime) -> Verdict {
        let token = request.password.as_deref().filter(|password| password.len() <= LONGEST_TOKEN);
        let Some(token) = token else { return Verdict::NoOpinion };
        let Ok(header) = decode_header(token) else { return Verdict::NoOpinion };
        let mut refusal = "no key of its name".to_owned();
        for key in self.keys.candidates(header.kid.as_deref()) {
            match decode::<Map<String, Value>>(token, &key.decoding, &self.validation(key.algorithm)) {
                Ok(token) => return self.admit(&request.client, &token.claims, now),
                Err(error) => refusal = error.to_string(),
            }
        }
        let peer = request.client.peer;
        tracing::info!(%peer, client_id = &*request.client.client_id, refusal, "a token was refused");
        Verdict::Deny(ConnectRefusal::BadUserNameOrPassword)
    }

    /// Only what the key is for, whatever the token's header says.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let TokenOptions { issuer, audience, leeway, .. } = &self.options;
        let mut validation = Validation::new(algorithm);
        validation.leeway = leeway.as_secs();
        validation.validate_nbf = true;
        validation.validate_aud = audience.is_some();
        let mut required = vec!["exp"];
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    /// The token is genuine and in force.
    fn admit(&self, client: &ClientInfo, claims: &Map<String, Value>, now: SystemTime) -> Verdict {
        let refuse = |refusal, why: String| {
            tracing::info!(peer = %client.peer, client_id = &*client.client_id, why, "a token was refused");
            Verdict::Deny(refusal)
        };
        let user_name = claims.get(&self.options.user_name_claim).and_then(Value::as_str);
        let Some(user_name) = user_name.filter(|name| !name.is_empty()) else {
            let why = format!("it names no user: the claim `{}`", self.options.user_name_claim);
            return refuse(ConnectRefusal::BadUserNameOrPassword, why);
        };
        if !claims.get(&self.options.client_id_claim).is_none_or(|ids| names(ids, &client.client_id)) {
            return refuse(ConnectRefusal::IdentifierRejected, "it is for another client identifier".into());
        }
        let acl = match claims.get(&self.options.acl_claim).map(rights).transpose() {
            Ok(acl) => acl.map(Arc::new),
            Err(why) => return refuse(ConnectRefusal::NotAuthorized, why),
        };
        let ends_at = claims.get("exp").and_then(Value::as_f64).and_then(|expiry| {
            let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let expiry = Duration::try_from_secs_f64(expiry).ok()?.checked_add(self.options.leeway)?;
            client.connected_at.checked_add(expiry.saturating_sub(now))
        });
        let user_name = Some(user_name.into());
        Verdict::Allow(Identity { user_name, acl, ends_at, ..Identity::default() })
    }
}

impl IdentityProvider for Tokens {
    fn name(&self) -> &'static str {
        "its token"
    }

    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict> {
        Box::pin(ready(self.judge(request, SystemTime::now())))
    }
}

/// One name, or a list of names, has this one in it.
fn names(claim: &Value, name: &str) -> bool {
    match claim {
        Value::String(one) => one == name,
        Value::Array(several) => several.iter().any(|one| one.as_str() == Some(name)),
        _ => false,
    }
}

/// Lines of an access list, each a string.
fn rights(claim: &Value) -> Result<Acl, String> {
    let lines = claim.as_array().filter(|lines| lines.len() <= MOST_LINES);
    let lines: Option<Vec<&str>> = lines.and_then(|lines| lines.iter().map(Value::as_str).collect());
    let lines = lines.ok_or_else(|| format!("its rights are no list of at most {MOST_LINES} strings"))?;
    Acl::for_one_client(lines)
        .map_err(|errors| errors.first().map_or_else(String::new, |error| format!("its rights, {error}")))
}

/// A public key out of PEM: by itself, in a certificate, or, for RSA, as PKCS#1 has it.
fn public_key(pem: &[u8], algorithm: Algorithm) -> Option<DecodingKey> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let rsa = |der: &[u8]| RSAPublicKey::from_der(der).is_ok().then(|| DecodingKey::from_rsa_der(der));
    let is_elliptic = matches!(algorithm, Algorithm::ES256 | Algorithm::ES384);
    let key = match pem.label.as_str() {
        "PUBLIC KEY" => SubjectPublicKeyInfo::from_der(&pem.contents).ok()?.1,
        "CERTIFICATE" => pem.parse_x509().ok()?.tbs_certificate.subject_pki,
        "RSA PUBLIC KEY" if !is_elliptic => return rsa(&pem.contents),
        _ => return None,
    };
    let (kind, bits) = (&key.algorithm.algorithm, &key.subject_public_key.data);
    if is_elliptic {
        (*kind == OID_KEY_TYPE_EC_PUBLIC_KEY).then(|| DecodingKey::from_ec_der(bits))
    } else {
        (*kind == OID_PKCS1_RSAENCRYPTION).then(|| rsa(bits)).flatten()
    }
}

fn check_secret(secret: &[u8]) -> Result<(), String> {
    if secret.len() < SHORTEST_SECRET {
        return Err(format!("the secret is shorter than {SHORTEST_SECRET} bytes: it can be guessed"));
    }
    Ok(())
}

/// What a key of a set is for: what it says, or what its kind leaves no choice about.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    match (&jwk.algorithm, jwk.common.key_algorithm) {
        (AlgorithmParameters::OctetKey(_), Some(KeyAlgorithm::HS256)) => Some(Algorithm::HS256),
        (AlgorithmParameters::OctetKey(_), Some(KeyAlgorithm::HS384)) => Some(Algorithm::HS384),
        (AlgorithmParameters::OctetKey(_), Some(KeyAlgorithm::HS512)) => Some(Algorithm::HS512),
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Some(Algorithm::RS256),
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS384)) => Some(Algorithm::RS384),
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS512)) => Some(Algorithm::RS512),
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
            if key.curve == EllipticCurve::P256 =>
        {
            Some(Algorithm::ES256)
        }
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES384))
            if key.curve == EllipticCurve::P384 =>
        {
            Some(Algorithm::ES384)
        }
        _ => None,
    }
}

fn whole_file(path: &Path, what: String) -> FileError {
    FileError::lines(path, vec![LineError { line: 1, what }])
}
