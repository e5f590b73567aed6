//! The caller's address behind proxies: the rightmost hop that is none of ours. What anybody else
//! claims in these headers is never believed.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR};

use crate::types::network::TrustedProxies;

/// The header in which our proxies name the hop before them. Only that one is read: a proxy adds to
/// its own and passes on the other as the caller sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, a list of addresses.
    XForwardedFor,
    /// `Forwarded` with its `for` parameters (RFC 7239 section 5.2).
    Forwarded,
}

/// The proxies in front of the service, and how they talk.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// Who is believed.
    pub trusted: TrustedProxies,
    /// In which header.
    pub header: ForwardedHeader,
}

impl Proxies {
    /// Where a request from `peer` with these headers came from: `peer` itself unless it is trusted.
    /// Hops are read from the right for as long as they are trusted; what cannot be read ends it.
    pub fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut caller = peer.to_canonical();
        if !self.trusted.trust(caller) {
            return caller;
        }
        let name: HeaderName = match self.header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        let lines: Vec<&[u8]> = headers.get_all(name).map(|line| line.as_bytes()).collect();
        let is_quotable = matches!(self.header, ForwardedHeader::Forwarded);
        for hop in lines.iter().rev().flat_map(|line| from_the_right(line, is_quotable)) {
            let hop = std::str::from_utf8(hop).ok().and_then(|hop| match self.header {
                ForwardedHeader::XForwardedFor => address(hop),
                ForwardedHeader::Forwarded => forwarded_for(hop),
            });
            let Some(hop) = hop else { return caller };
            caller = hop;
            if !self.trusted.trust(caller) {
                return caller;
            }
        }
        caller
    }
}

/// The elements of a header's line, the last one first: what our proxy appended is read before
/// anything that a caller wrote, so that no quote that the caller leaves open swallows it.
fn from_the_right(line: &[u8], is_quotable: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut is_quoted = false;
        let comma = (0..line.len()).rev().find(|at| match line.get(*at) {
            Some(b'"') if is_quotable && !is_escaped(line, *at) => {
                is_quoted = !is_quoted;
                false
            }
            Some(b',') => !is_quoted,
            Some(_) | None => false,
        });
        let (before, element) = match comma.and_then(|comma| line.split_at_checked(comma)) {
            Some((before, element)) => (Some(before), element.get(1..).unwrap_or_default()),
            None => (None, line),
        };
        rest = before;
        Some(element)
    })
}

/// Whether an odd number of backslashes stands before the character at `at`.
fn is_escaped(line: &[u8], at: usize) -> bool {
    let before = line.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|c| **c == b'\\').count() % 2 == 1
}

/// The parts between separators that stand outside quotes; nothing readable where a quote stays
/// open.
fn elements(text: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|c| {
        let was_escaped = is_escaped;
        is_escaped = is_quoted && !was_escaped && c == '\\';
        if c == '"' && !was_escaped {
            is_quoted = !is_quoted;
        }
        c == separator && !is_quoted
    });
    let parts = parts.collect();
    if is_quoted { vec![""] } else { parts }
}

/// The `for` parameter of one element of `Forwarded`; `None` for a name that hides the address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    elements(element, ';').into_iter().find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("for") {
            return None;
        }
        let value = value.trim();
        address(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
    })
}

/// An address, with or without brackets and port. One with a zone means something on one link only:
/// no `node` of RFC 7239 section 6 has one, but the library reads it where there is a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if text.contains('%') {
        return None;
    }
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let address = text.parse::<IpAddr>().ok().or_else(with_port).or_else(bracketed);
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    /// The caller, where `10.0.0.0/8` are our proxies.
    fn caller(peer: &str, header: ForwardedHeader, lines: &[&str]) -> String {
        let proxies = Proxies { trusted: "10.0.0.0/8".parse().unwrap(), header };
        let mut headers = HeaderMap::new();
        for line in lines {
            for name in [X_FORWARDED_FOR, FORWARDED] {
                headers.append(name, HeaderValue::from_str(line).unwrap());
            }
        }
        proxies.caller(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_peer_says_where_a_request_came_from() {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            assert_eq!(caller("192.0.2.9", header, &["10.0.0.1", "for=1.1.1.1"]), "192.0.2.9");
            assert_eq!(caller("10.0.0.1", header, &[]), "10.0.0.1");
        }
    }

    #[test]
    fn the_rightmost_hop_that_is_not_ours_is_the_caller() {
        let of = |lines: &[&str]| caller("10.0.0.1", ForwardedHeader::XForwardedFor, lines);
        assert_eq!(of(&["192.0.2.1"]), "192.0.2.1");
        assert_eq!(of(&["198.51.100.66, 192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(of(&["198.51.100.66", "192.0.2.1", "10.0.0.2"]), "192.0.2.1");
        assert_eq!(of(&["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(of(&["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(of(&["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(of(&["::ffff:192.0.2.1"]), "192.0.2.1");
        // What cannot be read is not passed over, or a caller could put itself behind it.
        assert_eq!(of(&["192.0.2.1, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(of(&["192.0.2.1,"]), "10.0.0.1");
        for zoned in ["fe80::1%1", "[fe80::1%1]", "[fe80::1%1]:4711"] {
            assert_eq!(of(&[zoned]), "10.0.0.1", "{zoned}");
        }
    }

    #[test]
    fn the_for_parameter_of_forwarded_is_read_quotes_and_all() {
        let of = |lines: &[&str]| caller("10.0.0.1", ForwardedHeader::Forwarded, lines);
        assert_eq!(of(&["for=192.0.2.1;proto=https;by=10.0.0.1"]), "192.0.2.1");
        assert_eq!(of(&[r#"For="[2001:db8::1]:4711", for=10.0.0.2"#]), "2001:db8::1");
        let line = r#"for=198.51.100.66;x="a, for=1.1.1.1;\"b", for=10.0.0.2"#;
        assert_eq!(of(&[line]), "198.51.100.66");
        assert_eq!(of(&["for=192.0.2.1, for=_hidden"]), "10.0.0.1");
        assert_eq!(of(&["proto=https"]), "10.0.0.1");
    }

    /// A caller who leaves a quote open, or sends what is no text, swallows nothing of ours.
    #[test]
    fn what_our_proxy_appends_is_read_first_whatever_stands_before_it() {
        for (header, ours) in [
            (ForwardedHeader::XForwardedFor, "192.0.2.1"),
            (ForwardedHeader::Forwarded, "for=192.0.2.1"),
            (ForwardedHeader::Forwarded, "for=\"192.0.2.1:4711\";proto=https"),
        ] {
            for theirs in
                [r#"""#, r#"for=1.1.1.1;x=""#, r#"for=1.1.1.1;x="\"#, "\u{e9}", "\\", ",,"]
            {
                let line = format!("{theirs}, {ours}");
                assert_eq!(caller("10.0.0.1", header, &[&line]), "192.0.2.1", "{line}");
            }
        }
        // What is theirs and cannot be read ends at our own proxy, as before.
        let line = r#"for=1.1.1.1;x=", for=10.0.0.2"#;
        assert_eq!(caller("10.0.0.1", ForwardedHeader::Forwarded, &[line]), "10.0.0.2");
    }
}
