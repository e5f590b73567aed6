//! The bearer token of a request (RFC 6750 section 2.1). Only the `Authorization` header counts:
//! a token in the query string is ignored, and a body belongs to the handler.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use super::refused::Cause;

/// How many bytes a token may take.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The token in `headers`.
pub(super) fn bearer_token(headers: &HeaderMap) -> Result<&str, Cause> {
    let mut found = headers.get_all(AUTHORIZATION);
    let header = match (found.next(), found.next()) {
        (None, _) => return Err(Cause::NoCredentials),
        (Some(header), None) => header,
        (Some(_), Some(_)) => {
            return Err(Cause::InvalidRequest("there is more than one Authorization header"));
        }
    };
    let text = header
        .to_str()
        .map_err(|_| Cause::InvalidRequest("the Authorization header is not printable ASCII"))?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    // The scheme is a token of RFC 9110 section 11.1, so its case does not matter.
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Cause::NoCredentials);
    }
    let token = rest.trim_start_matches(' ');
    if TOKEN_BYTES_MAX < token.len() {
        return Err(Cause::InvalidRequest("the bearer token is too long"));
    }
    if !is_token68(token) {
        return Err(Cause::InvalidRequest("the bearer token is malformed"));
    }
    Ok(token)
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 9110 section 11.2).
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/".contains(&c);
    !body.is_empty() && body.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn token_of(values: &[&[u8]]) -> Result<String, Cause> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).expect("a header value"));
        }
        bearer_token(&headers).map(str::to_owned)
    }

    #[test]
    fn the_scheme_is_read_without_regard_to_case() {
        for header in ["Bearer a.b-c_~+/9==", "bearer a.b-c_~+/9==", "BEARER   a.b-c_~+/9=="] {
            assert_eq!(token_of(&[header.as_bytes()]), Ok("a.b-c_~+/9==".to_owned()), "{header}");
        }
    }

    #[test]
    fn another_scheme_is_no_bearer_token() {
        for headers in [vec![], vec!["Basic YTpi"], vec!["Bearerx a"], vec!["DPoP a"], vec![""]] {
            let headers: Vec<&[u8]> = headers.iter().map(|header| header.as_bytes()).collect();
            assert_eq!(token_of(&headers), Err(Cause::NoCredentials));
        }
    }

    #[test]
    fn a_malformed_header_is_an_invalid_request() {
        let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1));
        for headers in [
            vec!["Bearer"],
            vec!["Bearer "],
            vec!["Bearer ="],
            vec!["Bearer a b"],
            vec!["Bearer a=b"],
            vec!["Bearer a, Bearer b"],
            vec!["Bearer \"a\""],
            vec!["Bearer a", "Bearer a"],
            vec!["Bearer a", "Basic YTpi"],
            vec!["Bearer \u{e9}"],
            vec![long.as_str()],
        ] {
            let bytes: Vec<&[u8]> = headers.iter().map(|header| header.as_bytes()).collect();
            assert!(matches!(token_of(&bytes), Err(Cause::InvalidRequest(_))), "{headers:?}");
        }
    }
}
