//! JWT access tokens (RFC 9068): their claims, and signing them. Reads no clock and keeps no token.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::base64url;
use super::signing::{NotSigned, SigningKey};
use crate::entropy::{Entropy, bytes};
use crate::types::id::{ClientId, GrantId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::secret::{Secret, Wiped};
use crate::types::time::Timestamp;

/// The claims of an access token (RFC 9068 section 2.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer, exactly as in its metadata.
    pub iss: Arc<str>,
    /// The resource owner, or the client itself when there is none.
    pub sub: Arc<str>,
    /// The resources it is for; never empty. A string on the wire when there is one.
    #[serde(with = "audience")]
    pub aud: Resources,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// What it allows; left out when empty.
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// When it was issued, in whole seconds.
    #[serde(with = "numeric_date")]
    pub iat: Timestamp,
    /// From when on it is not to be accepted, in whole seconds.
    #[serde(with = "numeric_date")]
    pub exp: Timestamp,
    /// Its identifier, made by [`new_jti`].
    pub jti: String,
}

impl fmt::Debug for AccessTokenClaims {
    /// Without `sub`, which is a person's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokenClaims")
            .field("jti", &self.jti)
            .field("client_id", &self.client_id)
            .field("exp", &self.exp)
            .finish_non_exhaustive()
    }
}

/// The claims of a signed introspection response (RFC 9701 section 5). Without `sub` and `exp` at
/// the top, so that nobody takes it for an access token.
#[derive(Serialize)]
pub struct IntrospectionClaims<'a, T: Serialize> {
    /// The issuer, exactly as in its metadata.
    pub iss: &'a str,
    /// The resource server that asked.
    pub aud: &'a ClientId,
    /// When it was answered, in whole seconds.
    #[serde(with = "numeric_date")]
    pub iat: Timestamp,
    /// What the answer would be without a signature.
    pub token_introspection: &'a T,
}

/// A fresh `jti` that names its grant: base64url of the grant id and 8 random bytes.
pub fn new_jti(grant: GrantId, entropy: &dyn Entropy) -> String {
    let random = bytes::<8>(entropy);
    base64url::encode([grant.as_bytes().as_slice(), random.as_slice()].concat().as_slice())
}

/// The bytes of one part of a JWT; `None` for what is no base64url.
pub fn decode_part(part: &str) -> Option<Wiped> {
    base64url::decode(part).map(|mut bytes| Wiped::new(std::mem::take(&mut *bytes)))
}

/// The grant that a `jti` of ours names; `None` for any other text.
pub fn grant_of_jti(jti: &str) -> Option<GrantId> {
    let raw = base64url::decode_exact::<24>(jti)?;
    raw.first_chunk().copied().map(GrantId::from_bytes)
}

impl SigningKey {
    /// The signed access token with these claims.
    ///
    /// # Errors
    /// [`NotSigned`] for an empty audience, or when the library fails: issue nothing.
    pub fn sign_access_token(&self, claims: &AccessTokenClaims) -> Result<Secret, NotSigned> {
        self.sign(self.access_token_header(), claims).map(Secret::new)
    }

    /// The signed introspection response with these claims.
    ///
    /// # Errors
    /// [`NotSigned`] when the library fails.
    pub fn sign_introspection<T: Serialize>(
        &self,
        claims: &IntrospectionClaims<'_, T>,
    ) -> Result<String, NotSigned> {
        self.sign(self.introspection_header(), claims)
    }

    fn sign(&self, header: &str, claims: &impl Serialize) -> Result<String, NotSigned> {
        let failed = NotSigned(self.algorithm());
        let claims = serde_json::to_vec(claims).map_err(|_| failed)?;
        // Room for the longest signature too: growing would copy the token.
        let length = header.len() + base64url::text_len(claims.len()) + base64url::text_len(512);
        let mut text = String::with_capacity(length + 2);
        text.push_str(header);
        text.push('.');
        base64url::encode_to(&claims, &mut text);
        self.append_signature(&mut text)?;
        Ok(text)
    }
}

/// Whole seconds since 1970 (RFC 7519 section 2).
mod numeric_date {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::time::Timestamp;

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.seconds())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(from).map(Timestamp::from_seconds)
    }
}

/// A string, or an array when there are several (RFC 7519 section 4.1.3).
mod audience {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::types::resource::{Resource, Resources};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Resource),
        Many(Resources),
    }

    pub(super) fn serialize<S: Serializer>(aud: &Resources, to: S) -> Result<S::Ok, S::Error> {
        let mut each = aud.iter();
        match (each.next(), each.next()) {
            (None, _) => Err(S::Error::custom("an access token has an audience")),
            (Some(one), None) => to.serialize_str(one.as_str()),
            (Some(_), Some(_)) => aud.serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Resources, D::Error> {
        let many = match OneOrMany::deserialize(from)? {
            OneOrMany::One(one) => Resources::new(vec![one]).map_err(D::Error::custom)?,
            OneOrMany::Many(many) => many,
        };
        if many.is_empty() {
            return Err(D::Error::custom("an access token has an audience"));
        }
        Ok(many)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Verifier;
    use serde_json::json;

    use super::*;
    use crate::crypto::signing::SigningAlgorithm;
    use crate::entropy::SeededEntropy;

    fn claims(aud: &[&str]) -> AccessTokenClaims {
        let aud = aud.iter().map(|text| text.parse().expect("a resource")).collect();
        AccessTokenClaims {
            iss: "https://as.example".into(),
            sub: "alice".into(),
            aud: Resources::new(aud).expect("few"),
            client_id: "photos".parse().expect("a client id"),
            scope: "read write".parse().expect("a scope"),
            iat: Timestamp::from_micros(1_000_999_999),
            exp: Timestamp::from_seconds(1_300),
            jti: new_jti(GrantId::from_bytes([7; 16]), &SeededEntropy::new(1)),
        }
    }

    fn part(token: &str, index: usize) -> serde_json::Value {
        let part = token.split('.').nth(index).expect("three parts");
        serde_json::from_slice(&base64url::decode(part).expect("base64url")).expect("JSON")
    }

    #[test]
    fn a_token_says_what_rfc_9068_asks_for() {
        let key = SigningKey::from_ed25519_seed(&[9; 32]).expect("a key");
        let one = claims(&["https://api.example/photos"]);
        let token = key.sign_access_token(&one).expect("signed");
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": key.kid()});
        assert_eq!(part(token.expose(), 0), header);
        let expected = json!({
            "iss": "https://as.example", "sub": "alice", "aud": "https://api.example/photos",
            "client_id": "photos", "scope": "read write", "iat": 1000, "exp": 1300, "jti": one.jti,
        });
        assert_eq!(part(token.expose(), 1), expected);

        let mut two = claims(&["https://b.example", "https://a.example"]);
        two.scope = Scope::default();
        let token = key.sign_access_token(&two).expect("signed");
        let payload = part(token.expose(), 1);
        assert_eq!(payload.get("aud"), Some(&json!(["https://a.example", "https://b.example"])));
        assert_eq!(payload.get("scope"), None);

        assert_eq!(
            key.sign_access_token(&claims(&[])).err(),
            Some(NotSigned(SigningAlgorithm::EdDSA))
        );
    }

    #[test]
    fn another_implementation_verifies_the_signature() {
        let key = SigningKey::from_ed25519_seed(&[9; 32]).expect("a key");
        let token = key.sign_access_token(&claims(&["urn:a"])).expect("signed");
        let (message, signature) = token.expose().rsplit_once('.').expect("three parts");
        let signature = base64url::decode_exact::<64>(signature).expect("64 bytes");
        let public = ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key();
        let signature = ed25519_dalek::Signature::from_bytes(&signature);
        assert!(public.verify(message.as_bytes(), &signature).is_ok());
        assert!(public.verify(b"another message", &signature).is_err());
    }

    #[test]
    fn a_jti_names_its_grant() {
        let (grant, entropy) = (GrantId::from_bytes([7; 16]), SeededEntropy::new(1));
        let jti = new_jti(grant, &entropy);
        assert_eq!((jti.len(), grant_of_jti(&jti)), (32, Some(grant)));
        assert_ne!(jti, new_jti(grant, &entropy));
        for text in ["", "abc", &jti[1..], &format!("{jti}A"), &jti.replace('B', "+")] {
            assert_eq!(grant_of_jti(text), None, "{text:?}");
        }
    }

    #[test]
    fn claims_do_not_show_whose_they_are() {
        assert!(!format!("{:?}", claims(&["urn:a"])).contains("alice"));
    }
}
