//! The body of every form endpoint: `application/x-www-form-urlencoded`, read strictly (RFC 6749
//! sections 3.1 and 3.2, appendix B). Bodies hold secrets, so nothing here prints or keeps them.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::types::secret::Secret;

/// How many bytes a form may take.
pub const FORM_BYTES_MAX: usize = 16 * 1024;
/// How many parameters a form may hold.
pub const PARAMETERS_MAX: usize = 64;
/// How many bytes the name of a parameter may take, decoded.
pub const NAME_BYTES_MAX: usize = 128;
/// How many bytes the value of a parameter may take, decoded.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;

/// The parameters that may stand more than once (RFC 8707 section 2, RFC 8693 section 2.1).
const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// The parameters of one request. It has no `Debug`, and is wiped when dropped.
pub struct Form {
    /// All names and values, decoded, one after the other.
    text: Secret,
    parameters: Vec<Parameter>,
}

/// Where in the text a parameter stands.
struct Parameter {
    name: Range<usize>,
    value: Range<usize>,
}

impl Form {
    /// Reads `body`. A parameter without a value counts as not sent; one that nobody asks for is
    /// ignored.
    ///
    /// # Errors
    /// `invalid_request` for another content type, a body that is too long or not well-formed, or
    /// a parameter that is repeated. The caller sends a correct form.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, ErrorResponse> {
        if !content_type.is_some_and(is_form) {
            return Err(fault("the content type must be application/x-www-form-urlencoded"));
        }
        if FORM_BYTES_MAX < body.len() {
            return Err(fault("the form is longer than 16384 bytes"));
        }
        // Decoding never lengthens, so the buffer never moves and leaves no copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(body.len()));
        let mut parameters = Vec::with_capacity(8);
        let encoding = Encoding::of(body);
        let (mut count, mut rest) = (0, Some(body));
        while let Some(unread) = rest {
            let (written, after) = cut(unread, b'&');
            rest = after;
            if written.is_empty() {
                continue;
            }
            if count == PARAMETERS_MAX {
                return Err(fault("the form has more than 64 parameters"));
            }
            count += 1;
            let (name, value) = cut(written, b'=');
            let name = encoding.decode_onto(&mut text, name, NAME_BYTES_MAX)?;
            let value = value.unwrap_or_default();
            let value = encoding.decode_onto(&mut text, value, VALUE_BYTES_MAX)?;
            if !value.is_empty() {
                parameters.push(Parameter { name, value });
            }
        }
        let text = String::from_utf8(std::mem::take(&mut *text)).map_err(|broken| {
            drop(Zeroizing::new(broken.into_bytes()));
            fault(NOT_UTF8)
        })?;
        let form = Self { text: Secret::new(text), parameters };
        form.refuse_repetition()?;
        Ok(form)
    }

    /// The value of a parameter that may stand once.
    pub fn one<'f>(&'f self, name: &str) -> Option<&'f str> {
        self.all(name).next()
    }

    /// The values of a parameter that may be repeated, in the order sent.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> {
        let named = self.parameters.iter().filter(move |have| self.at(&have.name) == name);
        named.map(|have| self.at(&have.value))
    }

    /// The value of a parameter that is a bearer secret.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.one(name).map(|value| Secret::new(value.to_owned()))
    }

    fn at(&self, range: &Range<usize>) -> &str {
        self.text.expose().get(range.clone()).unwrap_or_default()
    }

    fn refuse_repetition(&self) -> Result<(), ErrorResponse> {
        let mut rest = self.parameters.iter();
        while let Some(parameter) = rest.next() {
            let name = self.at(&parameter.name);
            let repeated = rest.clone().any(|later| self.at(&later.name) == name);
            if repeated && !REPEATABLE.contains(&name) {
                return Err(fault("a parameter stands more than once"));
            }
        }
        Ok(())
    }
}

const NOT_UTF8: &str = "the form is not UTF-8";

fn fault(error_description: &'static str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::InvalidRequest, error_description)
}

/// Whether a `Content-Type` is the one of a form, in UTF-8 where it says so.
fn is_form(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_type = |text: &str| text.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    parts.next().is_some_and(is_type)
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            let value = value.trim_matches('"');
            !name.eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
        })
}

/// What stands before the first `separator`, and after it where there is one.
pub(super) fn cut(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(separator, text) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

/// Whether there is anything to decode in a body.
#[derive(Clone, Copy)]
enum Encoding {
    /// Visible ASCII and spaces, and none of them stands for another: it is what it says. Nearly
    /// all bodies are so, as tokens, secrets and names need no encoding.
    Plain,
    /// Anything else: each name and each value is looked at.
    Form,
}

impl Encoding {
    fn of(body: &[u8]) -> Self {
        let plain = |c: u8| matches!(c, b' '..=b'~') & !matches!(c, b'+' | b'%');
        // Without an early end, so that many characters are looked at in one step.
        match body.iter().fold(true, |all, c| all & plain(*c)) {
            true => Self::Plain,
            false => Self::Form,
        }
    }

    /// Decodes one name or value onto the end of `text`, and says where it stands. It is UTF-8 by
    /// itself: a character may not begin in a name and end in a value.
    fn decode_onto(
        self,
        text: &mut Vec<u8>,
        encoded: &[u8],
        bytes_max: usize,
    ) -> Result<Range<usize>, ErrorResponse> {
        let start = text.len();
        match self {
            Self::Plain => text.extend_from_slice(encoded),
            Self::Form => {
                if encoded.iter().any(u8::is_ascii_control) {
                    let what = "the form holds a control character that is not percent-encoded";
                    return Err(fault(what));
                }
                decode(encoded, text)
                    .ok_or_else(|| fault("the form has a broken percent-encoding"))?;
            }
        }
        let decoded = text.get(start..).unwrap_or_default();
        if bytes_max < decoded.len() {
            return Err(fault("the form has a parameter that is too long"));
        }
        match self {
            Self::Form if std::str::from_utf8(decoded).is_err() => Err(fault(NOT_UTF8)),
            Self::Form | Self::Plain => Ok(start..text.len()),
        }
    }
}

/// Undoes the form encoding (`+` is a space, `%XX` a byte), onto the end of `decoded`. `None` where
/// a `%` is not followed by two hexadecimal digits. What is decoded is never longer.
pub(super) fn decode(encoded: &[u8], decoded: &mut Vec<u8>) -> Option<()> {
    if memchr::memchr2(b'+', b'%', encoded).is_none() {
        decoded.extend_from_slice(encoded);
        return Some(());
    }
    let mut bytes = encoded.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(*bytes.next()?).to_digit(16)?;
                let low = char::from(*bytes.next()?).to_digit(16)?;
                u8::try_from(high << 4 | low).ok()?
            }
            other => *other,
        });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    fn refusal(body: &[u8]) -> Option<ErrorCode> {
        Form::parse(FORM, body).err().map(|fault| fault.error())
    }

    fn form(body: &str) -> Form {
        Form::parse(FORM, body.as_bytes()).map_err(|fault| fault.to_string()).unwrap()
    }

    #[test]
    fn w2_only_a_form_in_utf_8_is_read() {
        for content_type in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded",
            "application/x-www-form-urlencoded;charset=UTF-8",
            "application/x-www-form-urlencoded ; charset=\"utf-8\"",
        ] {
            assert!(Form::parse(Some(content_type), b"a=b").is_ok(), "{content_type}");
        }
        for content_type in [
            None,
            Some(""),
            Some("application/json"),
            Some("multipart/form-data"),
            Some("application/x-www-form-urlencoded2"),
            Some("application/x-www-form-urlencoded; charset=iso-8859-1"),
        ] {
            let fault = Form::parse(content_type, b"a=b").err().map(|fault| fault.error());
            assert_eq!(fault, Some(ErrorCode::InvalidRequest), "{content_type:?}");
        }
    }

    #[test]
    fn names_and_values_are_decoded() {
        let form = form("a=x+y%2B%26%3d%C3%A9&%62=1=2&c=caf\u{e9}");
        assert_eq!(form.one("a"), Some("x y+&=\u{e9}"));
        assert_eq!(form.one("b"), Some("1=2"));
        assert_eq!(form.one("c"), Some("caf\u{e9}"));
        assert_eq!(form.one("d"), None);
        assert_eq!(
            form.secret("b").map(|secret| secret.expose().to_owned()).as_deref(),
            Some("1=2")
        );
    }

    #[test]
    fn w2_broken_encoding_is_refused() {
        for body in ["a=%", "a=%4", "a=%4x", "a=%+1", "%zz=1", "a=%FF", "a=%C3", "%C3=%A9", "a=1\n"]
        {
            assert_eq!(refusal(body.as_bytes()), Some(ErrorCode::InvalidRequest), "{body}");
        }
        assert_eq!(refusal(b"a=\xFF"), Some(ErrorCode::InvalidRequest));
    }

    #[test]
    fn w3_a_parameter_without_value_was_not_sent() {
        let form = form("scope=&refresh_token&=&&code=1");
        assert_eq!(form.one("scope"), None);
        assert_eq!(form.one("refresh_token"), None);
        assert_eq!(form.one("code"), Some("1"));
        assert_eq!(refusal(b""), None);
    }

    #[test]
    fn w4_unknown_parameters_are_ignored() {
        assert_eq!(form("code=1&foo=bar").one("code"), Some("1"));
    }

    #[test]
    fn w5_a_repeated_parameter_is_refused() {
        for body in ["code=1&code=1", "client_id=a&x=1&client_id=b", "foo=1&foo=2", "a=1&%61=2"] {
            assert_eq!(refusal(body.as_bytes()), Some(ErrorCode::InvalidRequest), "{body}");
        }
        // What has no value was not sent, and so is not a repetition.
        assert_eq!(form("code=&code=1").one("code"), Some("1"));
    }

    #[test]
    fn w5_resource_and_audience_may_be_repeated() {
        let form = form("resource=a&audience=c&resource=b&audience=d");
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(form.all("audience").collect::<Vec<_>>(), ["c", "d"]);
    }

    #[test]
    fn w9_a_fault_does_not_repeat_what_was_sent() {
        let fault = Form::parse(FORM, b"code=tls_secret%").err().unwrap();
        assert!(!fault.to_string().contains("tls_secret"));
    }

    #[test]
    fn w14_each_bound_holds_at_its_last_byte() {
        let parameters = |n: usize| (0..n).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(refusal(parameters(PARAMETERS_MAX).as_bytes()), None);
        assert!(refusal(parameters(PARAMETERS_MAX + 1).as_bytes()).is_some());
        let name = |n: usize| format!("{}=1", "n".repeat(n));
        assert_eq!(refusal(name(NAME_BYTES_MAX).as_bytes()), None);
        assert!(refusal(name(NAME_BYTES_MAX + 1).as_bytes()).is_some());
        let value = |n: usize| format!("v={}", "v".repeat(n));
        assert_eq!(refusal(value(VALUE_BYTES_MAX).as_bytes()), None);
        assert!(refusal(value(VALUE_BYTES_MAX + 1).as_bytes()).is_some());
        assert_eq!(refusal("&".repeat(FORM_BYTES_MAX).as_bytes()), None);
        assert!(refusal("&".repeat(FORM_BYTES_MAX + 1).as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            text in "[a-cr%&=+0-9A-F\u{e9}]{0,120}",
        ) {
            for body in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(form) = Form::parse(FORM, body) {
                    prop_assert_eq!(form.all("resource").next(), form.one("resource"));
                }
            }
            let content_type = String::from_utf8_lossy(&bytes);
            prop_assert!(Form::parse(Some(content_type.as_ref()), b"").is_err());
        }

        #[test]
        fn what_was_encoded_comes_back(value in ".{1,60}") {
            let encode = |c: u8| format!("%{c:02X}");
            let body = format!("v={}", value.bytes().map(encode).collect::<String>());
            let form = form(&body);
            prop_assert_eq!(form.one("v"), Some(value.as_str()));
        }

        #[test]
        fn what_needs_no_encoding_is_read_the_same_beside_what_does(body in "[a-c=&+ -$!~]{0,90}") {
            let parameters = |body: &str| {
                let form = Form::parse(FORM, body.as_bytes()).map_err(|fault| fault.error())?;
                let shown = |p: &Parameter| (form.at(&p.name).to_owned(), form.at(&p.value).to_owned());
                Ok::<Vec<_>, ErrorCode>(form.parameters.iter().map(shown).collect())
            };
            let beside = parameters(&format!("{body}&v=%31")).map(|mut all| {
                prop_assert_eq!(all.pop(), Some(("v".to_owned(), "1".to_owned())));
                Ok(all)
            });
            match (parameters(&body), beside) {
                (Ok(plain), Ok(beside)) => prop_assert_eq!(plain, beside?),
                (plain, beside) => prop_assert!(plain.is_err() && beside.is_err()),
            }
        }
    }
}
