//! Signatures of others (RFC 7515), checked with a key that says by itself which algorithm it is
//! for. Nothing here reads an algorithm from what was signed.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc;

use super::base64url;
use super::signing::SigningAlgorithm;

/// Whether `signature`, in base64url, is one of `message` by the private half of `key`.
pub(super) fn is_signed(
    algorithm: SigningAlgorithm,
    key: &DecodingKey,
    message: &str,
    signature: &str,
) -> bool {
    let Some(signature) = base64url::decode(signature) else {
        return false;
    };
    // The provider by name: the process-wide default panics when two are compiled in.
    let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&algorithm.jws(), key);
    verifier.is_ok_and(|verifier| verifier.verify(message.as_bytes(), &signature).is_ok())
}
