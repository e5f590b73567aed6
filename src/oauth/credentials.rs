//! How a caller says who it is: client credentials (RFC 6749 section 2.3) and bearer tokens (RFC
//! 6750 section 2.1). It reads the claim; whether the claim is true is decided elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::oauth::form::{self, Form};
use crate::types::id::ClientId;
use crate::types::secret::Secret;

/// How many bytes the credentials after `Basic` may take.
pub const BASIC_BYTES_MAX: usize = 4 * 1024;
/// How many bytes a bearer token in a header may take.
pub const BEARER_BYTES_MAX: usize = 8 * 1024;

/// The value of `client_assertion_type` for a JWT (RFC 7523 section 2.2).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a request presents as client authentication.
pub enum PresentedCredentials {
    /// `client_secret_basic`.
    Basic {
        /// Who it says it is.
        client_id: ClientId,
        /// What shall prove it.
        secret: Secret,
    },
    /// `client_secret_post`.
    Post {
        /// Who it says it is.
        client_id: ClientId,
        /// What shall prove it.
        secret: Secret,
    },
    /// `private_key_jwt`.
    Assertion {
        /// Who it says it is, if it says so beside the assertion.
        client_id: Option<ClientId>,
        /// The JWT that shall prove it, unread.
        assertion: Secret,
    },
    /// `none`: a public client names itself.
    None {
        /// Who it says it is.
        client_id: ClientId,
    },
    /// Nothing at all.
    Absent,
    /// Something that no client can have sent in good order: it is answered like an unknown
    /// client, `invalid_client` (RFC 6749 section 5.2).
    Malformed {
        /// Whether it stood in the `Authorization` header.
        basic: bool,
    },
}

impl PresentedCredentials {
    /// Reads the values of all `Authorization` headers and the form; the query string has no say
    /// (RFC 6749 section 2.3.1).
    ///
    /// # Errors
    /// `invalid_request` for more than one `Authorization` header, more than one method, or a
    /// `client_id` that contradicts the header. The caller uses one method.
    pub fn from_request(authorization: &[&[u8]], form: &Form) -> Result<Self, ErrorResponse> {
        let header = only_header(authorization)?;
        let has_secret = form.one("client_secret").is_some();
        let assertion_type = form.one("client_assertion_type");
        let has_assertion = form.one("client_assertion").is_some() || assertion_type.is_some();
        let methods = [header.is_some(), has_secret, has_assertion];
        if 1 < methods.into_iter().filter(|used| *used).count() {
            return Err(fault("use one method of client authentication only"));
        }
        if let Some(header) = header {
            return Self::from_header(header, form.one("client_id"));
        }
        let client_id = form.one("client_id").map(str::parse::<ClientId>);
        if has_assertion {
            let assertion = form.secret("client_assertion");
            return Ok(match (client_id.transpose(), assertion) {
                (Ok(client_id), Some(assertion)) if assertion_type == Some(JWT_BEARER) => {
                    Self::Assertion { client_id, assertion }
                }
                (Ok(_) | Err(_), _) => Self::Malformed { basic: false },
            });
        }
        Ok(match (client_id, form.secret("client_secret")) {
            (Some(Ok(client_id)), Some(secret)) => Self::Post { client_id, secret },
            (Some(Ok(client_id)), None) => Self::None { client_id },
            (Some(Err(_)), _) | (None, Some(_)) => Self::Malformed { basic: false },
            (None, None) => Self::Absent,
        })
    }

    fn from_header(header: &[u8], in_form: Option<&str>) -> Result<Self, ErrorResponse> {
        let Some((client_id, secret)) = parse_basic(header) else {
            return Ok(Self::Malformed { basic: true });
        };
        if in_form.is_some_and(|in_form| in_form != client_id.as_str()) {
            return Err(fault("client_id differs from the Authorization header"));
        }
        Ok(Self::Basic { client_id, secret })
    }

    /// Who it says it is, if it names a client at all.
    pub fn client_id(&self) -> Option<&ClientId> {
        match self {
            Self::Basic { client_id, .. }
            | Self::Post { client_id, .. }
            | Self::None { client_id } => Some(client_id),
            Self::Assertion { client_id, .. } => client_id.as_ref(),
            Self::Absent | Self::Malformed { .. } => None,
        }
    }

    /// Whether the `Authorization` header was used, so that a failure is answered with a
    /// challenge (RFC 6749 section 5.2).
    pub fn used_header(&self) -> bool {
        match self {
            Self::Basic { .. } => true,
            Self::Malformed { basic } => *basic,
            Self::Post { .. } | Self::Assertion { .. } | Self::None { .. } | Self::Absent => false,
        }
    }
}

/// The bearer token of a request to our own protected resources; `None` where there is no
/// `Authorization` header, or one of another scheme (RFC 6750 section 2.1).
///
/// # Errors
/// `invalid_request` for more than one header, or what is no token after `Bearer`.
pub fn bearer_token(authorization: &[&[u8]]) -> Result<Option<Secret>, ErrorResponse> {
    let Some(header) = only_header(authorization)? else { return Ok(None) };
    let Some(token) = after_scheme(header, b"Bearer") else { return Ok(None) };
    let no_token = || fault("the Authorization header holds no bearer token");
    let token = std::str::from_utf8(token).map_err(|_| no_token())?;
    let body = token.trim_end_matches('=');
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/".contains(&c);
    if body.is_empty() || BEARER_BYTES_MAX < token.len() || !body.bytes().all(is_token) {
        return Err(no_token());
    }
    Ok(Some(Secret::new(token.to_owned())))
}

fn fault(error_description: &'static str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::InvalidRequest, error_description)
}

fn only_header<'a>(authorization: &[&'a [u8]]) -> Result<Option<&'a [u8]>, ErrorResponse> {
    match authorization {
        [] => Ok(None),
        [header] => Ok(Some(header)),
        [_, _, ..] => Err(fault("there is more than one Authorization header")),
    }
}

/// What follows `scheme` in a header value; the case of the scheme has no meaning (RFC 9110
/// section 11.1). `None` for another scheme.
fn after_scheme<'a>(header: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = header.trim_ascii().split_at_checked(scheme.len())?;
    let ends = rest.first().is_none_or(|c| *c == b' ');
    (ends && start.eq_ignore_ascii_case(scheme)).then(|| rest.trim_ascii_start())
}

/// Base64, then the first colon, then the form encoding of each side (RFC 6749 section 2.3.1).
fn parse_basic(header: &[u8]) -> Option<(ClientId, Secret)> {
    let encoded = after_scheme(header, b"Basic").filter(|text| text.len() <= BASIC_BYTES_MAX)?;
    let mut pair = Zeroizing::new(Vec::with_capacity(encoded.len() + 3));
    STANDARD.decode_vec(encoded, &mut pair).ok()?;
    let (client_id, secret) = form::cut(&pair, b':');
    let client_id = decode_side(client_id)?.expose().parse().ok()?;
    Some((client_id, decode_side(secret?)?))
}

fn decode_side(encoded: &[u8]) -> Option<Secret> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
    form::decode(encoded, &mut decoded)?;
    std::str::from_utf8(&decoded).ok()?;
    String::from_utf8(std::mem::take(&mut *decoded)).ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(body: &str) -> Form {
        let content_type = Some("application/x-www-form-urlencoded");
        Form::parse(content_type, body.as_bytes()).map_err(|fault| fault.to_string()).unwrap()
    }

    fn basic(pair: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    /// The method, and what was presented by it; `Err` is the code of the refusal.
    fn read(authorization: &[&[u8]], body: &str) -> Result<String, ErrorCode> {
        let presented = PresentedCredentials::from_request(authorization, &form(body));
        Ok(match presented.map_err(|fault| fault.error())? {
            PresentedCredentials::Basic { client_id, secret } => {
                format!("basic {client_id} {}", secret.expose())
            }
            PresentedCredentials::Post { client_id, secret } => {
                format!("post {client_id} {}", secret.expose())
            }
            PresentedCredentials::Assertion { client_id, assertion } => {
                let named = client_id.map_or("nobody".to_owned(), |id| id.to_string());
                format!("assertion {named} {}", assertion.expose())
            }
            PresentedCredentials::None { client_id } => format!("none {client_id}"),
            PresentedCredentials::Absent => "absent".to_owned(),
            PresentedCredentials::Malformed { basic } => format!("malformed {basic}"),
        })
    }

    fn ok(text: &str) -> Result<String, ErrorCode> {
        Ok(text.to_owned())
    }

    #[test]
    fn c1_a_secret_comes_in_the_header_or_in_the_form() {
        assert_eq!(read(&[&basic("app:s")], ""), ok("basic app s"));
        assert_eq!(read(&[&basic("app:s")], "client_id=app"), ok("basic app s"));
        assert_eq!(read(&[], "client_id=app&client_secret=s"), ok("post app s"));
        assert_eq!(read(&[], "client_id=app"), ok("none app"));
        assert_eq!(read(&[], "code=1"), ok("absent"));
    }

    #[test]
    fn c1_the_example_of_rfc_6749_section_2_3_1_is_read() {
        let header = b"Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3";
        assert_eq!(read(&[header], ""), ok("basic s6BhdRkqt3 7Fjfp0ZBr1KtDRbnfVdmIw"));
    }

    #[test]
    fn c2_both_sides_of_the_colon_are_form_encoded() {
        assert_eq!(read(&[&basic("client%3Aid:s%20ecret%2B")], ""), ok("basic client:id s ecret+"));
        assert_eq!(read(&[&basic("app:a+b%C3%A9")], ""), ok("basic app a b\u{e9}"));
        assert_eq!(read(&[&basic("app:a:b")], ""), ok("basic app a:b"));
        assert_eq!(read(&[&basic("app:")], ""), ok("basic app "));
        let body = "client_id=client%3Aid&client_secret=s%20ecret%2B";
        assert_eq!(read(&[], body), ok("post client:id s ecret+"));
    }

    #[test]
    fn the_case_of_the_scheme_has_no_meaning() {
        assert_eq!(read(&[b"bAsIc  YXBwOnM="], ""), ok("basic app s"));
        assert!(bearer_token(&[b"bEaReR abc"]).is_ok_and(|token| token.is_some()));
    }

    #[test]
    fn c4_one_method_at_a_time() {
        let header = basic("app:s");
        for body in [
            "client_id=app&client_secret=s",
            "client_secret=s",
            "client_assertion=x",
            "client_assertion_type=x",
        ] {
            assert_eq!(read(&[&header], body), Err(ErrorCode::InvalidRequest), "{body}");
        }
        let body = "client_id=app&client_secret=s&client_assertion=x";
        assert_eq!(read(&[], body), Err(ErrorCode::InvalidRequest));
        assert_eq!(read(&[&header, &header], ""), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn c8_an_assertion_says_that_it_is_a_jwt() {
        let kind = JWT_BEARER.replace(':', "%3A");
        let of = |more: &str| read(&[], &format!("client_assertion_type={kind}{more}"));
        assert_eq!(of("&client_assertion=a.b.c"), ok("assertion nobody a.b.c"));
        assert_eq!(of("&client_assertion=a.b.c&client_id=app"), ok("assertion app a.b.c"));
        assert_eq!(of("&client_assertion=a.b.c&client_id=a+b"), ok("malformed false"));
        assert_eq!(of(""), ok("malformed false"));
        assert_eq!(read(&[], "client_assertion=a.b.c&client_id=app"), ok("malformed false"));
        let more = "&client_assertion=a.b.c&client_secret=s";
        assert_eq!(of(more), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn c5_what_cannot_name_a_client_is_an_unknown_client() {
        for header in [
            "Basic",
            "Basic ",
            "Basic !!!!",
            "Basic YXBwOnM",
            "Basicx YXBwOnM=",
            "Bearer abc",
            "Digest username=app",
            "",
        ] {
            assert_eq!(read(&[header.as_bytes()], ""), ok("malformed true"), "{header}");
        }
        let long = format!("app:{}", "s".repeat(BASIC_BYTES_MAX));
        for pair in ["app", ":s", "a b:s", "a%zz:s", "app:%", "app:%FF", "caf\u{e9}:s", &long] {
            assert_eq!(read(&[&basic(pair)], ""), ok("malformed true"), "{pair}");
        }
        for body in [
            "client_id=a+b",
            "client_id=a%22b&client_secret=s",
            "client_secret=s",
            "client_id=app&client_assertion=x&client_assertion_type=y",
        ] {
            assert_eq!(read(&[], body), ok("malformed false"), "{body}");
        }
    }

    #[test]
    fn c6_a_client_id_in_the_form_agrees_with_the_header() {
        let found = read(&[&basic("app:s")], "client_id=other");
        assert_eq!(found, Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn c6_an_empty_secret_in_the_form_is_no_secret() {
        assert_eq!(read(&[], "client_id=app&client_secret="), ok("none app"));
    }

    #[test]
    fn c3_only_the_header_calls_for_a_challenge() {
        for (authorization, body, used) in [
            (vec![basic("app:s")], "", true),
            (vec![b"Basic !".to_vec()], "", true),
            (vec![], "client_id=app&client_secret=s", false),
            (vec![], "client_id=app", false),
            (vec![], "client_secret=s", false),
            (vec![], "", false),
        ] {
            let headers: Vec<&[u8]> = authorization.iter().map(Vec::as_slice).collect();
            let presented = PresentedCredentials::from_request(&headers, &form(body));
            assert_eq!(presented.is_ok_and(|presented| presented.used_header()), used, "{body}");
        }
    }

    fn bearer(authorization: &[&[u8]]) -> Result<Option<String>, ErrorCode> {
        let token = bearer_token(authorization).map_err(|fault| fault.error())?;
        Ok(token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn b1_a_bearer_token_is_a_token68() {
        assert_eq!(bearer(&[b"Bearer aZ0-._~+/=="]), Ok(Some("aZ0-._~+/==".to_owned())));
        assert_eq!(bearer(&[]), Ok(None));
        assert_eq!(bearer(&[b"Basic YXBwOnM="]), Ok(None));
        assert_eq!(bearer(&[b"Bearertoken"]), Ok(None));
    }

    #[test]
    fn b3_a_malformed_or_second_token_is_an_invalid_request() {
        let long = format!("Bearer {}", "a".repeat(BEARER_BYTES_MAX + 1));
        for header in
            ["Bearer", "Bearer ", "Bearer a b", "Bearer =", "Bearer a=b", "Bearer \"a\"", &long]
        {
            assert_eq!(bearer(&[header.as_bytes()]), Err(ErrorCode::InvalidRequest), "{header}");
        }
        assert_eq!(bearer(&[b"Bearer \xFF"]), Err(ErrorCode::InvalidRequest));
        assert_eq!(bearer(&[b"Bearer a", b"Bearer a"]), Err(ErrorCode::InvalidRequest));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let empty = form("");
            let inner = [b"Basic ", STANDARD.encode(&bytes).as_bytes()].concat();
            for scheme in [b"".as_slice(), b"Basic ", b"Bearer "] {
                let header = [scheme, &bytes].concat();
                prop_assert!(PresentedCredentials::from_request(&[&header], &empty).is_ok());
                let _ = bearer_token(&[&header]);
            }
            prop_assert!(PresentedCredentials::from_request(&[&inner], &empty).is_ok());
        }

        #[test]
        fn what_was_encoded_comes_back(id in "[!#-\\[\\]-~]{1,40}", secret in ".{0,40}") {
            let encode = |text: &str| text.bytes().map(|c| format!("%{c:02x}")).collect::<String>();
            let header = basic(&format!("{}:{}", encode(&id), encode(&secret)));
            prop_assert_eq!(read(&[&header], ""), Ok(format!("basic {id} {secret}")));
        }
    }
}
