//! JSON Web Tokens as passwords.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use mqtt_access::{Access, AccessControl, Acl, TokenKeys, TokenOptions, Tokens};
use mqtt_broker::ConnectRefusal;
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PublicKeyData,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, connect, start};

const SECRET: &[u8] = b"a secret of forty bytes, hard to guess!!";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn in_secs(secs: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + secs
}

fn token(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn hs256(claims: &Value) -> String {
    token(Algorithm::HS256, &EncodingKey::from_secret(SECRET), claims)
}

fn access(keys: TokenKeys, options: TokenOptions) -> AccessControl {
    AccessControl::new(
        Access::new()
            .identify(Tokens::new(keys, options))
            .authorize(Acl::parse("user anna\ntopic a").unwrap()),
    )
}

fn secret_key(files: &Files) -> TokenKeys {
    TokenKeys::load(&files.write("secret", SECRET), "HS256".parse().unwrap()).unwrap()
}

async fn try_connect(address: std::net::SocketAddr, token: &str) -> Result<Client, ConnectRefusal> {
    Client::try_connect(address, connect("c1", Some("whatever"), token.as_bytes())).await
}

#[tokio::test]
async fn a_token_says_who_the_client_is_and_may_bring_its_rights() {
    let control = access(secret_key(&Files::new()), TokenOptions::default());
    let (broker, address) = start(&control).await;
    let mut client = try_connect(address, &hs256(&json!({"sub": "anna", "exp": in_secs(60)}))).await.unwrap();
    assert_eq!(broker.client("c1").unwrap().info().user_name.as_deref(), Some("anna"));
    assert!(client.subscribe("a").await && !client.subscribe("b").await);
    let claims = json!({
        "sub": "anna", "exp": in_secs(60), "client_id": ["c0", "c1"],
        "acl": ["topic read b/#", "pattern write dev/%c"],
    });
    let mut client = try_connect(address, &hs256(&claims)).await.unwrap();
    assert!(client.subscribe("b/+").await && !client.subscribe("a").await);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_refused() {
    let (_broker, address) = start(&strict()).await;
    let good = json!({"sub": "anna", "exp": in_secs(60), "iss": "us", "aud": "mqtt"});
    assert!(try_connect(address, &hs256(&good)).await.is_ok());
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        hs256(&claims)
    };
    let bad = ConnectRefusal::BadUserNameOrPassword;
    for (token, expected) in [
        (with("exp", json!(in_secs(-60))), bad),
        (with("exp", Value::Null), bad),
        (with("nbf", json!(in_secs(120))), bad),
        (with("iss", json!("them")), bad),
        (with("aud", json!(["other"])), bad),
        (with("sub", json!("")), bad),
        (with("client_id", json!("c2")), ConnectRefusal::IdentifierRejected),
        (with("client_id", json!(7)), ConnectRefusal::IdentifierRejected),
        (with("acl", json!("topic #")), ConnectRefusal::NotAuthorized),
        (with("acl", json!(["user anna"])), ConnectRefusal::NotAuthorized),
        (token(Algorithm::HS512, &EncodingKey::from_secret(SECRET), &good), bad),
        (
            token(
                Algorithm::HS256,
                &EncodingKey::from_secret(b"another secret of more than 32 bytes"),
                &good,
            ),
            bad,
        ),
    ] {
        // A broker for each: the attempts are counted.
        let (_broker, address) = start(&strict()).await;
        assert_eq!(try_connect(address, &token).await.err(), Some(expected), "{token}");
    }
}

/// Takes tokens of one issuer for one audience.
fn strict() -> AccessControl {
    let mut options = TokenOptions::default();
    (options.issuer, options.audience) = (Some("us".into()), Some("mqtt".into()));
    access(secret_key(&Files::new()), options)
}

/// PEM says what is in it; a key of another kind, a private one and half of one are found when they are loaded, not when the
/// first client is refused.
#[test]
fn a_public_key_may_stand_by_itself_and_in_a_certificate() {
    let files = Files::new();
    let load = |name: &str, pem: &str| TokenKeys::load(&files.write("key", pem), name.parse().unwrap());
    let elliptic = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    for (name, other, pair) in [("ES256", "RS256", &elliptic), ("RS256", "ES256", &rsa)] {
        let certificate = CertificateParams::default().self_signed(pair).unwrap().pem();
        for pem in [pair.public_key_pem(), certificate] {
            assert!(load(name, &pem).is_ok(), "{pem}");
            assert!(load(other, &pem).unwrap_err().to_string().contains("no public key for"), "{pem}");
            assert!(load(name, &pem[..pem.len() / 2]).is_err());
        }
        assert!(load(name, &pair.serialize_pem()).is_err(), "a private key");
    }
    let pkcs1 = STANDARD.encode(rsa.der_bytes());
    let pkcs1 = format!("-----BEGIN RSA PUBLIC KEY-----\n{pkcs1}\n-----END RSA PUBLIC KEY-----\n");
    assert!(load("RS256", &pkcs1).is_ok() && load("ES256", &pkcs1).is_err());
}

/// The classic: a public key is known to all, and must not be taken for the secret of an HMAC.
#[tokio::test]
async fn the_key_says_which_algorithm_and_never_the_token() {
    let files = Files::new();
    for (algorithm, pair) in [
        (Algorithm::ES256, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()),
        (Algorithm::RS256, KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()),
    ] {
        let public = pair.public_key_pem();
        let name = format!("{algorithm:?}");
        let keys = TokenKeys::load(&files.write(&name, &public), name.parse().unwrap()).unwrap();
        let (_broker, address) = start(&access(keys, TokenOptions::default())).await;
        let claims = json!({"sub": "anna", "exp": in_secs(60)});
        let private = pair.serialize_der();
        let (signing, forged) = match algorithm {
            Algorithm::ES256 => {
                (EncodingKey::from_ec_der(&private), EncodingKey::from_secret(public.as_bytes()))
            }
            _ => (
                EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap(),
                EncodingKey::from_secret(pair.der_bytes()),
            ),
        };
        assert!(try_connect(address, &token(algorithm, &signing, &claims)).await.is_ok(), "{algorithm:?}");
        let refused = try_connect(address, &token(Algorithm::HS256, &forged, &claims)).await;
        assert_eq!(refused.err(), Some(ConnectRefusal::BadUserNameOrPassword));
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIiwiZXhwIjo5OTk5OTk5OTk5fQ.";
        assert!(try_connect(address, none).await.is_err());
    }
}

/// Each of them, by a key alone and out of a set in which it is one of several.
#[tokio::test]
async fn tokens_of_every_algorithm_are_taken() {
    let files = Files::new();
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let small = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let large = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let secret = || (EncodingKey::from_secret(SECRET), SECRET.to_vec());
    let of_rsa = || {
        (
            EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap(),
            rsa.public_key_pem().into_bytes(),
        )
    };
    let elliptic = |pair: &KeyPair| {
        (EncodingKey::from_ec_der(&pair.serialize_der()), pair.public_key_pem().into_bytes())
    };
    let cases = [
        (Algorithm::HS256, secret()),
        (Algorithm::HS384, secret()),
        (Algorithm::HS512, secret()),
        (Algorithm::RS256, of_rsa()),
        (Algorithm::RS384, of_rsa()),
        (Algorithm::RS512, of_rsa()),
        (Algorithm::ES256, elliptic(&small)),
        (Algorithm::ES384, elliptic(&large)),
    ];
    let in_a_set: Vec<Value> = cases
        .iter()
        .map(|(algorithm, (signing, _))| {
            let mut key = json!(Jwk::from_encoding_key(signing, *algorithm).unwrap());
            key["kid"] = json!(format!("{algorithm:?}"));
            key
        })
        .collect();
    let set = TokenKeys::load_jwks(&files.write("set", json!({ "keys": in_a_set }).to_string())).unwrap();
    let claims = json!({"sub": "anna", "exp": in_secs(60)});
    let (_of_set, by_set) = start(&access(set, TokenOptions::default())).await;
    for (algorithm, (signing, verifying)) in &cases {
        let name = format!("{algorithm:?}");
        let keys = TokenKeys::load(&files.write(&name, verifying), name.parse().unwrap()).unwrap();
        let (_broker, alone) = start(&access(keys, TokenOptions::default())).await;
        assert!(try_connect(alone, &token(*algorithm, signing, &claims)).await.is_ok(), "{name}");
        let header = Header { kid: Some(name.clone()), ..Header::new(*algorithm) };
        let named = encode(&header, &claims, signing).unwrap();
        assert!(try_connect(by_set, &named).await.is_ok(), "{name} of a set");
        // Another key's name is no help.
        let other = if name == "HS256" { "HS512" } else { "HS256" };
        let header = Header { kid: Some(other.into()), ..Header::new(*algorithm) };
        let misnamed = encode(&header, &claims, signing).unwrap();
        assert!(try_connect(by_set, &misnamed).await.is_err(), "{name} as {other}");
    }
}

#[tokio::test]
async fn claims_may_have_other_names() {
    let mut options = TokenOptions::default();
    options.user_name_claim = "user".into();
    options.client_id_claim = "device".into();
    options.acl_claim = "rights".into();
    let control = access(secret_key(&Files::new()), options);
    let (broker, address) = start(&control).await;
    let claims = json!({
        "sub": "nobody", "user": "anna", "client_id": "c9", "device": "c1", "acl": ["topic read x"],
        "rights": ["topic read b"], "exp": in_secs(60),
    });
    let mut client = try_connect(address, &hs256(&claims)).await.unwrap();
    assert_eq!(broker.client("c1").unwrap().info().user_name.as_deref(), Some("anna"));
    assert!(client.subscribe("b").await && !client.subscribe("x").await);
    let elsewhere = hs256(&json!({"user": "anna", "device": "c2", "exp": in_secs(60)}));
    assert_eq!(try_connect(address, &elsewhere).await.err(), Some(ConnectRefusal::IdentifierRejected));
    let nameless = hs256(&json!({"sub": "anna", "exp": in_secs(60)}));
    assert!(try_connect(address, &nameless).await.is_err());
}

#[tokio::test]
async fn who_stays_longer_than_his_token_is_disconnected() {
    let mut options = TokenOptions::default();
    options.leeway = Duration::ZERO;
    let (_broker, address) = start(&access(secret_key(&Files::new()), options)).await;
    let mut client = try_connect(address, &hs256(&json!({"sub": "anna", "exp": in_secs(2)}))).await.unwrap();
    assert!(client.recv().await.is_none());
}

#[test]
fn key_sets_are_read_and_weak_or_useless_ones_are_refused() {
    let files = Files::new();
    let secret = "YSBzZWNyZXQgb2YgZm9ydHkgYnl0ZXMsIGhhcmQgdG8gZ3Vlc3MhIQ";
    let set = json!({"keys": [
        {"kty": "oct", "alg": "HS256", "kid": "one", "k": secret},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "oct", "alg": "HS256", "kid": "sealed", "use": "enc", "k": secret},
    ]});
    let keys = TokenKeys::load_jwks(&files.write("good", set.to_string())).unwrap();
    assert_eq!(format!("{keys:?}"), r#"[(Some("one"), HS256)]"#);
    for (set, part) in [
        (json!({"keys": []}), "no key for tokens"),
        (json!({"keys": [{"kty": "oct", "k": secret}]}), "no key for tokens"),
        (
            json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": "weak", "k": "c2hvcnQ"}]}),
            "the key weak: the secret is shorter",
        ),
        (json!([]), "no JSON Web Key Set"),
    ] {
        let error = TokenKeys::load_jwks(&files.write("bad", set.to_string())).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(TokenKeys::load(&files.write("short", "short"), "HS256".parse().unwrap()).is_err());
    assert!(TokenKeys::load(&files.write("pem", SECRET), "RS256".parse().unwrap()).is_err());
    assert!(
        "none".parse::<mqtt_access::TokenAlgorithm>().is_err()
            && "PS256".parse::<mqtt_access::TokenAlgorithm>().is_err()
    );
}
