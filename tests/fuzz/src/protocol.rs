//! Forms, credentials, redirect URIs, scopes and the other words of the protocol.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderValue, X_FORWARDED_FOR};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use token_ledger::domain::client::keys::JwksUri;
use token_ledger::domain::client::redirect_uri::RedirectUri;
use token_ledger::http::forwarded::{ForwardedHeader, Proxies};
use token_ledger::oauth::credentials::{PresentedCredentials, bearer_token};
use token_ledger::oauth::error::ErrorResponse;
use token_ledger::oauth::form::Form;
use token_ledger::oauth::issuer::Issuer;
use token_ledger::oauth::pkce::{CodeChallenge, parse_verifier};
use token_ledger::oauth::token_request::{PresentedGrant, TokenRequest, token_parameter};
use token_ledger::types::id::{ClientId, GrantId, KeyId, RequestId, Seq, SubjectId};
use token_ledger::types::resource::Resource;
use token_ledger::types::scope::Scope;
use token_ledger::types::secret::Secret;
use token_ledger::types::time::Timestamp;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

/// The characters of a description (RFC 6749 section 5.2). That it repeats nothing is for other tests:
/// the fuzzer learns our sentences and sends them.
fn is_well_formed(fault: &ErrorResponse) {
    let allowed = |c: u8| matches!(c, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
    assert!(fault.error_description().bytes().all(allowed), "{fault}");
}

/// What is accepted is read as the URL standard reads it, by the order of the parameters too.
pub(crate) fn form(data: &[u8]) {
    let form = match Form::parse(FORM, data) {
        Ok(form) => form,
        Err(fault) => return is_well_formed(&fault),
    };
    let pairs: Vec<_> =
        url::form_urlencoded::parse(data).filter(|(_, value)| !value.is_empty()).collect();
    for (name, value) in &pairs {
        let all: Vec<&str> = form.all(name).collect();
        let same = pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_ref());
        assert_eq!(all, same.collect::<Vec<_>>());
        assert_eq!(form.one(name), all.first().copied());
        assert!(all.len() == 1 || ["resource", "audience"].contains(&name.as_ref()), "{value}");
    }
    match TokenRequest::parse(&form) {
        Ok(request) => {
            assert_eq!(Some(request.grant.grant_type().as_str()), form.one("grant_type"));
            if let PresentedGrant::RefreshToken { token } = &request.grant {
                assert_eq!(Some(token.expose()), form.one("refresh_token"));
            }
            if let Some(scope) = request.scope {
                assert_eq!(scope.to_string().parse(), Ok(scope));
            }
        }
        Err(fault) => is_well_formed(&fault),
    }
    assert_eq!(token_parameter(&form).ok(), form.one("token"));
}

/// A pair written as RFC 6749 section 2.3.1 has it.
fn basic(id: &str, secret: &str) -> Vec<u8> {
    let encode =
        |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret)))).into_bytes()
}

/// The first line is a header, the rest a form. Who comes out of a header comes out of it again when
/// the header is written anew; a bearer token stands in its header as it is.
pub(crate) fn credentials(data: &[u8]) {
    let at = data.iter().position(|c| *c == b'\n').unwrap_or(data.len());
    let (header, body) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    if let Ok(Some(token)) = bearer_token(&[header]) {
        let token = token.expose().as_bytes();
        assert!(header.windows(token.len()).any(|part| part == token));
        assert!(!token.contains(&b' ') && !token.contains(&b'"'));
    }
    let Ok(form) = Form::parse(FORM, body) else { return };
    let headers: &[&[u8]] = if header.is_empty() { &[] } else { &[header] };
    let presented = match PresentedCredentials::from_request(headers, &form) {
        Ok(presented) => presented,
        Err(fault) => return is_well_formed(&fault),
    };
    assert!(
        presented.used_header() || headers.is_empty() || body.is_empty() || !is_basic(&presented)
    );
    if let PresentedCredentials::Basic { client_id, secret } = &presented {
        let written = basic(client_id.as_str(), secret.expose());
        match PresentedCredentials::from_request(&[&written], &form) {
            Ok(PresentedCredentials::Basic { client_id: again, secret: same }) => {
                assert_eq!((&again, same.expose()), (client_id, secret.expose()));
            }
            Ok(_) | Err(_) => panic!("what was read is not read again"),
        }
    }
    // Whatever the name and the secret are, they survive the encoding.
    let Ok(secret) = std::str::from_utf8(body) else { return };
    let id = String::from_utf8_lossy(header);
    let empty = Form::parse(FORM, b"").ok().expect("an empty form is one");
    let written = basic(&id, secret);
    let read = PresentedCredentials::from_request(&[&written], &empty);
    if let Ok(PresentedCredentials::Basic { client_id, secret: read }) = read {
        assert_eq!((client_id.as_str(), read.expose()), (id.as_ref(), secret));
    }
}

fn is_basic(presented: &PresentedCredentials) -> bool {
    matches!(presented, PresentedCredentials::Basic { .. })
}

/// A URI is kept as it was written, reaches what its text says, and matches itself; two lines, of which
/// the second is given where the first was registered.
pub(crate) fn redirect_uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, given) = text.split_once('\n').unwrap_or((&text, &text));
    if let Ok(uri) = first.parse::<JwksUri>() {
        assert_eq!(uri.as_str(), first);
        assert!(url::Url::parse(first).is_ok_and(|url| url.host().is_some()));
    }
    let Ok(registered) = first.parse::<RedirectUri>() else { return };
    assert_eq!(registered.as_str(), first);
    assert!(registered.matches(first));
    let there = url::Url::parse(first).expect("a redirect URI is a URL");
    assert_eq!((there.fragment(), there.username(), there.password()), (None, "", None));
    if there.scheme() == "http" {
        let host = there.host().expect("http has a host");
        assert!(match host {
            url::Host::Domain(name) => name == "localhost",
            url::Host::Ipv4(address) => address.is_loopback(),
            url::Host::Ipv6(address) => address.is_loopback(),
        });
    }
    if registered.matches(given) && given != first {
        // The port is all that may differ, and only where it cannot be known before.
        let mut here = url::Url::parse(given).expect("what matches is a URL");
        let mut there = there;
        assert_eq!((here.scheme(), there.scheme()), ("http", "http"));
        here.set_port(None).and(there.set_port(None)).expect("http has ports");
        assert_eq!(here, there);
    }
}

/// A word that is read is written as it was, or has one way to be written.
pub(crate) fn words(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    same::<ClientId>(&text);
    same::<KeyId>(&text);
    same::<GrantId>(&text);
    same::<SubjectId>(&text);
    same::<RequestId>(&text);
    same::<Resource>(&text);
    settles::<Scope>(&text);
    settles::<Timestamp>(&text);
    settles::<Seq>(&text);
    if let Ok(challenge) = CodeChallenge::parse(&text, Some("S256")) {
        assert_eq!(challenge.to_string(), text);
    }
    if let Ok(verifier) = parse_verifier(Secret::new(text.clone().into_owned())) {
        assert_eq!(verifier.expose(), text);
        let challenge = CodeChallenge::of(&verifier);
        assert!(CodeChallenge::parse(&challenge.to_string(), Some("S256")) == Ok(challenge));
    }
    if let Ok(issuer) = text.parse::<Issuer>() {
        assert_eq!(issuer.as_str(), text);
        // Its endpoints are where it says, and nothing of it is lost on the way.
        let endpoint =
            url::Url::parse(&issuer.endpoint("/oauth/token")).expect("an endpoint is a URL");
        assert_eq!(endpoint.origin(), url::Url::parse(&text).expect("an issuer is a URL").origin());
        assert!(endpoint.path().ends_with("/oauth/token"));
    }
}

fn same<T: std::str::FromStr + std::fmt::Display>(text: &str) {
    if let Ok(word) = text.parse::<T>() {
        assert_eq!(word.to_string(), text);
    }
}

fn settles<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) {
    if let Ok(word) = text.parse::<T>() {
        let written = word.to_string();
        let again = written.parse::<T>().ok().expect("what is written can be read");
        assert!(again == word && again.to_string() == written, "{text:?} {written:?}");
    }
}

/// The caller is the peer, or an address that stands in the header of a trusted proxy; a stranger's
/// header says nothing.
pub(crate) fn forwarded(data: &[u8]) {
    let proxy = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let stranger = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    for (header, name) in
        [(ForwardedHeader::XForwardedFor, X_FORWARDED_FOR), (ForwardedHeader::Forwarded, FORWARDED)]
    {
        let proxies = Proxies { trusted: "127.0.0.0/8".parse().expect("a network"), header };
        let mut headers = HeaderMap::new();
        for line in data.split(|c| *c == b'\n') {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append(name.clone(), value);
            }
        }
        assert_eq!(proxies.caller(stranger, &headers), stranger);
        let caller = proxies.caller(proxy, &headers);
        let text = String::from_utf8_lossy(data);
        let parts = text.split([',', ';', '=', '"', ' ', '\t', '\n']).map(|part| part.trim());
        let mut addresses = parts.flat_map(addresses);
        assert!(caller == proxy || addresses.any(|address| address == caller), "{caller} {text:?}");
        // What a proxy appends is believed, whatever stood before.
        let last = HeaderValue::from_static(match header {
            ForwardedHeader::XForwardedFor => "198.51.100.7",
            ForwardedHeader::Forwarded => "for=198.51.100.7",
        });
        headers.append(name, last);
        assert_eq!(proxies.caller(proxy, &headers).to_string(), "198.51.100.7");
    }
}

/// The addresses that a part could mean: alone, in brackets, or with a port.
fn addresses(part: &str) -> Vec<IpAddr> {
    let inner = part.trim_start_matches('[').split(']').next().unwrap_or_default();
    let host = part.rsplit_once(':').map_or(part, |(host, _)| host);
    let parsed = [part, inner, host].map(|text| text.parse::<IpAddr>().ok());
    parsed.into_iter().flatten().map(|address| address.to_canonical()).collect()
}
