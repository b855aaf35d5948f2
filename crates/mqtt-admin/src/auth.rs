//! [`Tokens`]: who may use the API, and for what.
//!
//! A token is 256 random bits, so that its SHA-256 can stand in a file that others read: nobody finds the token to a hash
//! by trying, and a slow hash would only make each request dear. The token itself is shown once, when it is made.

use std::{
    fmt::{self, Write},
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// To look at everything, messages included, and to change nothing.
    Read,
    /// To do everything.
    Write,
}

/// A new token: what its bearer shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The tokens that are accepted, as their hashes.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Known>);

#[derive(Clone, Debug)]
struct Known {
    name: String,
    role: Role,
    hash: Hash,
}

type Hash = [u8; 32];

/// A token, or a line about one, that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// Which line of the text, from 1.
    pub line: usize,
    what: &'static str,
}

/// Who made a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// How a token begins, so that it is known for one where it should not be: in a log, or a repository.
const PREFIX: &str = "gmqtt_";
const HASH_PREFIX: &str = "sha256:";

impl Token {
    /// A new one, out of the system's randomness.
    pub fn generate() -> std::io::Result<Self> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).map_err(std::io::Error::other)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))))
    }

    /// What the bearer shows. Keep it to its owner.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// The line that makes [`Tokens`] accept it: `ROLE NAME sha256:HEX`.
    pub fn line(&self, name: &str, role: Role) -> String {
        let mut line = format!("{role} {name} {HASH_PREFIX}");
        for byte in hash(&self.0) {
            let _ = write!(line, "{byte:02x}"); // A string takes everything.
        }
        line
    }
}

impl Tokens {
    /// No token, so nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tokens of a text with a line each, as [`Token::line`] spells them; empty lines and those that begin with `#` are
    /// left out.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines.map(|(number, line)| Known::parse(number, line)).collect::<Result<_, _>>().map(Self)
    }

    /// Accepts one more, by its secret. An error if it is not one that [`Token::generate`] could have made.
    pub fn add(&mut self, name: &str, role: Role, secret: &str) -> Result<(), TokenError> {
        let bits = secret.strip_prefix(PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        if bits.is_none_or(|bits| bits.len() != 32) {
            return Err(TokenError { line: 1, what: "not a token that gmqtt has made" });
        }
        self.0.push(Known { name: name.to_owned(), role, hash: hash(secret) });
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token this is. All are compared to the end, so that the time says nothing.
    pub(crate) fn bearer_of(&self, secret: &str) -> Option<Bearer> {
        let hash = hash(secret);
        let mut found = 0_u64;
        for (place, known) in (1..).zip(&self.0) {
            let is_it: Choice = known.hash.ct_eq(&hash);
            found.conditional_assign(&place, is_it);
        }
        let known = self.0.get(usize::try_from(found).ok()?.checked_sub(1)?)?;
        Some(Bearer { name: known.name.clone(), role: known.role })
    }
}

impl Known {
    fn parse(line: usize, text: &str) -> Result<Self, TokenError> {
        let error = |what| TokenError { line, what };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [role, name, hash] = words.as_slice() else {
            return Err(error("write it like: read NAME sha256:HEX"));
        };
        let role = role.parse().map_err(|_| error("the role is read or write"))?;
        let hex = hash.strip_prefix(HASH_PREFIX).ok_or_else(|| error("the hash begins with sha256:"))?;
        let hash = parse_hash(hex).ok_or_else(|| error("the hash is 64 hexadecimal digits"))?;
        Ok(Self { name: (*name).to_owned(), role, hash })
    }
}

fn hash(secret: &str) -> Hash {
    Sha256::digest(secret).into()
}

fn parse_hash(hex: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if hex.len() != 2 * hash.len() || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            _ => Err("the role is read or write"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_line_alone() {
        let (ours, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        let text =
            format!("# who\n\n{}\n{}\n", other.line("grafana", Role::Read), ours.line("me", Role::Write));
        assert!(!text.contains(ours.secret()));
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(tokens.bearer_of(ours.secret()), Some(Bearer { name: "me".into(), role: Role::Write }));
        assert_eq!(
            tokens.bearer_of(other.secret()),
            Some(Bearer { name: "grafana".into(), role: Role::Read })
        );
        for wrong in ["", "gmqtt_", Token::generate().unwrap().secret(), &ours.secret()[1..]] {
            assert_eq!(tokens.bearer_of(wrong), None);
        }
        assert_eq!(Tokens::new().bearer_of(""), None);
        assert!(!format!("{ours:?}").contains(&ours.secret()[6..]));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        let wrong = [
            ("write me", "write it like"),
            ("root me sha256:00", "role"),
            ("read me 00", "begins with sha256:"),
            ("read me sha256:00", "64 hexadecimal"),
            (&format!("read me sha256:{}", "+1".repeat(32)), "64 hexadecimal"),
        ];
        for (line, what) in wrong {
            let error = Tokens::parse(&format!("# first\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && error.contains(what), "{error}");
        }
        for wrong in ["", "admin", "gmqtt_short"] {
            assert!(Tokens::new().add("me", Role::Write, wrong).is_err(), "{wrong}");
        }
    }
}
