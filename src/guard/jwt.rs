//! JWT access tokens (RFC 9068 section 4): form, type and signature. The times in them are judged
//! elsewhere, against the guard's own clock.

use std::collections::HashSet;

use jsonwebtoken::{Header, Validation};

use crate::types::id::KeyId;

use super::claims::Claims;
use super::jwks::VerificationKey;
use super::keys::Keys;
use super::options::SignatureAlgorithm;
use super::refused::Cause;

const MALFORMED: Cause = Cause::InvalidToken("the access token is not a JWT that this API takes");

/// The claims of `token`, once its signature has been found to be the issuer's.
pub(super) async fn verify(keys: &Keys, token: &str) -> Result<Claims, Cause> {
    // `none` and everything unknown end here already: they are not among the library's names.
    let header = jsonwebtoken::decode_header(token).map_err(|_| MALFORMED)?;
    let algorithm = keys
        .algorithms()
        .iter()
        .find(|algorithm| algorithm.algorithm() == header.alg)
        .copied()
        .ok_or(MALFORMED)?;
    check_header(&header)?;
    let key_id = match header.kid.map(|kid| kid.parse::<KeyId>()) {
        None => None,
        Some(Ok(key_id)) => Some(key_id),
        Some(Err(_)) => return Err(MALFORMED),
    };
    let key = keys.find(key_id.as_ref(), algorithm).await?;
    let claims = decode(&key, algorithm, token)?;
    check_profile(&claims)?;
    Ok(claims)
}

/// An ID token, or any other JWT that the issuer signs with the same key, is not an access token
/// (RFC 8725 section 3.11).
fn check_header(header: &Header) -> Result<(), Cause> {
    let typ = header.typ.as_deref().unwrap_or_default();
    if !["at+jwt", "application/at+jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name)) {
        return Err(Cause::InvalidToken("the token is not an access token"));
    }
    // None of the extensions is understood here, so none that is critical may pass
    // (RFC 7515 section 4.1.11).
    if header.crit.is_some() { Err(MALFORMED) } else { Ok(()) }
}

fn decode(
    key: &VerificationKey,
    algorithm: SignatureAlgorithm,
    token: &str,
) -> Result<Claims, Cause> {
    let mut validation = Validation::new(algorithm.algorithm());
    validation.required_spec_claims = HashSet::new();
    // The library reads the system's clock, and takes a token without `aud`; both are ours to do.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode::<Claims>(token, key.decoding_key(), &validation) {
        Ok(data) => Ok(data.claims),
        Err(error) => {
            tracing::debug!(%error, "a JWT was not accepted");
            Err(Cause::InvalidToken("the access token is forged or malformed"))
        }
    }
}

/// The claims that every JWT access token has (RFC 9068 section 2.2); the rest is checked for any
/// kind of token.
fn check_profile(claims: &Claims) -> Result<(), Cause> {
    let complete = claims.sub.is_some()
        && claims.client_id.is_some()
        && claims.iat.is_some()
        && claims.jti.is_some();
    if complete {
        Ok(())
    } else {
        Err(Cause::InvalidToken("the access token lacks a required claim"))
    }
}
