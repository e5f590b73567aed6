//! The last gate before anything is shown: whatever looks like a bearer secret is cut to its prefix
//! and its last four characters, wherever it stands in a text.

use crate::crypto::leak::{abbreviate, looks_like_jwt};

/// From how many characters on a text with a token's prefix is taken for one.
const TOKEN_CHARS_MIN: usize = 12;

/// `text` with every token in it abbreviated.
pub(super) fn shorten(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_token_character) {
        let (before, from) = rest.split_at(start);
        shown.push_str(before);
        let end = from.find(|c| !is_token_character(c)).unwrap_or(from.len());
        let (run, after) = from.split_at(end);
        // The full stop of a sentence is not part of a token.
        let word = run.trim_end_matches('.');
        shown.push_str(&if is_secret(word) { abbreviate(word) } else { word.to_owned() });
        shown.push_str(run.get(word.len()..).unwrap_or_default());
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_secret(word: &str) -> bool {
    let has_prefix =
        word.starts_with("tl") && word.split_at_checked(4).is_some_and(|(p, _)| p.ends_with('_'));
    let is_jwt = word.starts_with("eyJ") && looks_like_jwt(word);
    TOKEN_CHARS_MIN < word.len() && (has_prefix || is_jwt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_cut_wherever_they_stand() {
        let refresh = format!("tlr_{}wxyz", "A-_".repeat(30));
        let jwt = format!("eyJ{}.eyJ{}.{}wxyz", "a".repeat(20), "b".repeat(20), "c".repeat(20));
        for (text, expected) in [
            (format!("refresh_token={refresh}&x=y"), "refresh_token=tlr_\u{2026}wxyz&x=y"),
            (format!("Bearer {jwt}"), "Bearer jwt \u{2026}wxyz"),
            (format!("{{\"access_token\":\"{jwt}\"}}"), "{\"access_token\":\"jwt \u{2026}wxyz\"}"),
            (format!("It is {refresh}."), "It is tlr_\u{2026}wxyz."),
            (format!("{refresh} {refresh}"), "tlr_\u{2026}wxyz tlr_\u{2026}wxyz"),
        ] {
            assert_eq!(shorten(&text), expected);
        }
    }

    #[test]
    fn what_is_no_token_stays() {
        for text in ["", "POST /oauth/token", "tlr_", "the tls_ prefix...", "a.b.c", "\u{2192} 1."]
        {
            assert_eq!(shorten(text), text);
        }
    }
}
