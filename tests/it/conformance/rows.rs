//! The rows of the checklist: what each of them says, in a phrase, and whether it is shown.

/// Whether a row is shown.
pub(super) enum State {
    /// By tests that carry its name.
    Tested,
    /// What it is about is not served; why.
    NotYet(&'static str),
}

/// One row.
pub(super) struct Row {
    pub(super) id: &'static str,
    /// M, S, R or I.
    pub(super) level: &'static str,
    pub(super) says: &'static str,
    /// What was chosen where there was a choice, or what of it is not yet there.
    pub(super) note: &'static str,
    pub(super) state: State,
}

/// A part of the checklist.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

const fn row(id: &'static str, level: &'static str, says: &'static str) -> Row {
    Row { id, level, says, note: "", state: State::Tested }
}

impl Row {
    const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    const fn not_yet(self, why: &'static str) -> Self {
        Self { state: State::NotYet(why), ..self }
    }
}

const NO_MTLS: &str = "no mutual TLS";
const NO_DPOP: &str = "no DPoP";

/// All of them.
pub(super) const SECTIONS: &[Section] = &[
    Section { title: "1. Wire rules of every form endpoint", rows: WIRE },
    Section { title: "2. Client authentication", rows: CLIENTS },
    Section { title: "3. Authorization code at the token endpoint", rows: CODES },
    Section { title: "4. Client credentials", rows: CLIENT_CREDENTIALS },
    Section { title: "5. Refresh tokens", rows: REFRESH },
    Section { title: "6. Bearer tokens at our own protected resources", rows: BEARER },
    Section { title: "7. Revocation", rows: REVOCATION },
    Section { title: "8. Introspection", rows: INTROSPECTION },
    Section { title: "9. Metadata of the authorization server", rows: METADATA },
    Section { title: "10. Resource indicators", rows: RESOURCES },
    Section { title: "11. JWT access tokens", rows: JWT },
    Section { title: "E1. Edge cases: refresh races and replay", rows: RACES },
    Section { title: "E2. Edge cases: scope and resource", rows: SCOPES },
    Section { title: "E3. Edge cases: revocation and introspection", rows: ENDINGS },
    Section { title: "E4. Edge cases: tokens, secrets, logs", rows: SECRETS },
    Section { title: "E5. Edge cases: event sourcing", rows: EVENTS },
];

const WIRE: &[Row] = &[
    row("W1", "M", "POST only, else 405 with `Allow`; credentials in the query are not read"),
    row("W2", "M", "the body is a form in UTF-8; anything else is `invalid_request`"),
    row("W3", "M", "a parameter without a value counts as not sent"),
    row("W4", "M", "unknown parameters are ignored"),
    row("W5", "M", "a repeated parameter is `invalid_request`, but for `resource` and `audience`"),
    row("W6", "M", "`grant_type` missing, unknown, not allowed: three different errors"),
    row("W7", "M", "JSON, `no-store` and `Pragma: no-cache` on everything sensitive")
        .note("OAuth 2.1 drops Pragma; RFC 6749 demands it: both are sent"),
    row("W8", "M", "`access_token`, `token_type`, `expires_in` as a number, `scope`"),
    row("W9", "M", "errors are JSON of the allowed characters and repeat nothing that was sent"),
    row(
        "W10",
        "M",
        "the syntax of scopes; unknown ones are `invalid_scope`; the default is documented",
    ),
    row("W11", "M", "the scope that was issued is told"),
    row("W12", "M", "tokens, codes and secrets hold 256 random bits"),
    row("W13", "M", "guessing is throttled, bounded in memory, and no oracle"),
    row("W14", "R", "413 for long bodies, 429 for haste, and no token in a 5xx"),
    row("W15", "M", "TLS, or an explicit proxy in front; published addresses are https"),
];

const CLIENTS: &[Row] = &[
    row("C1", "M", "Basic and post are both served").note(
        "RFC 6749 demands Basic, OAuth 2.1 demands post: each client uses what it registered",
    ),
    row("C2", "M", "both sides of Basic are form-encoded"),
    row(
        "C3",
        "M",
        "401 with a challenge for a header, without one for a form; always `invalid_client`",
    ),
    row("C4", "M", "more than one method at once is `invalid_request`"),
    row("C5", "M", "unknown client, wrong proof, other method: one answer").note(
        "the same time, too: `cargo bench --bench timing`; but fetching from a `jwks_uri` shows",
    ),
    row("C6", "M", "naming oneself proves nothing; a public client must; the two names must agree"),
    row("C7", "M", "a proof that is sent is checked, needed or not"),
    row("C8", "M", "`private_key_jwt`: every claim and the signature, else `invalid_client`")
        .note("audience by RFC 7523 or its successor, by `assertion_audience`"),
    row("C9", "R", "an assertion proves once, also across a restart"),
    row("C10", "M", "mutual TLS names the client and matches its certificate").not_yet(NO_MTLS),
];

const CODES: &[Row] = &[
    row("A1", "M", "a code expires within ten minutes"),
    row("A2", "M", "a code redeems once; the second time ends what came of the first"),
    row("A3", "S", "only a replay that is otherwise valid ends anything")
        .note("OAuth 2.1 section 7.5.2 before RFC 6749 section 4.1.2, where any replay may"),
    row("A4", "M", "a code is its client's"),
    row("A5", "M", "`redirect_uri` is identical where it is sent")
        .note("OAuth 2.1: may be left out with PKCE; RFC 6749: without PKCE it must be there"),
    row("A6", "M", "PKCE S256; a verifier has 43 to 128 unreserved characters"),
    row("A7", "M", "the method is fixed with the code; `plain`, also by omission, is refused")
        .note("at `POST /admin/grants`; the authorization endpoint is not yet there"),
    row("A8", "M", "a verifier without a challenge, and the reverse, are refused"),
    row("A9", "M", "a public client needs a challenge")
        .note("at `POST /admin/grants`; the authorization endpoint is not yet there"),
    row("A10", "M", "the metadata says `code_challenge_methods_supported`"),
    row("A11", "M", "of many redemptions at once one succeeds"),
];

const CLIENT_CREDENTIALS: &[Row] = &[
    row("CC1", "M", "for confidential clients only, authenticated"),
    row("CC2", "S", "no refresh token"),
    row("CC3", "S", "`sub` is the client, and no person has a client's name"),
];

const REFRESH: &[Row] = &[
    row("R1", "M", "missing is `invalid_request`; useless for any reason is one `invalid_grant`"),
    row("R2", "M", "bound to its client; another's attempt harms nobody and is recorded"),
    row("R3", "M", "client, person and grant must be alive at the moment of use"),
    row("R4", "M", "a scope within the grant; narrower now, the whole again later"),
    row("R5", "M", "the refresh token keeps the scope of the grant"),
    row("R6", "M", "the refresh tokens of public clients rotate"),
    row("R7", "M", "a spent token ends the grant and all its tokens"),
    row("R8", "S", "idle expiry, and an absolute one, per client"),
    row("R9", "M", "bound to scope and resources"),
    row("R10", "M", "unguessable, and whatever is encoded in it is authenticated"),
    row("R11", "M", "only digests at rest, nothing in logs"),
    row("R12", "R", "a password change or logout can end all of a person's tokens"),
    row("R13", "M", "bound to the DPoP key of a public client").not_yet(NO_DPOP),
    row("R14", "S", "bound to the certificate of a public client").not_yet(NO_MTLS),
    row("R15", "M", "a resource outside of the grant is `invalid_target`"),
];

const BEARER: &[Row] = &[
    row("B1", "M", "`Authorization: Bearer`, in any case"),
    row("B2", "M", "without credentials 401 with a challenge that names no error"),
    row("B3", "S", "401 `invalid_token`, 403 `insufficient_scope`, 400 `invalid_request`"),
    row("B4", "M", "each attribute of a challenge at most once"),
    row("B5", "M", "a token in the query is not looked at"),
    row("B6", "S", "an hour or less, and for named servers"),
];

const REVOCATION: &[Row] = &[
    row("V1", "M", "refresh and access tokens can be revoked, JWTs too"),
    row("V2", "M", "`token` is required, and so is client authentication"),
    row("V3", "M", "200 for what is unknown, expired or revoked already"),
    row("V4", "M", "a wrong hint changes nothing"),
    row("V5", "M", "another client's token stays alive")
        .note("refused with `unauthorized_client`, as RFC 7009 section 2.1 has it"),
    row("V6", "M", "in effect before the 200, and after a restart"),
    row("V7", "S", "a refresh token takes its access tokens along"),
    row("V8", "R", "503 with `Retry-After` when it cannot be made durable"),
    row("V9", "M", "throttled as the token endpoint; CORS for registered origins"),
    row("V10", "R", "what can be reached over http, revokes over http, and is not published")
        .note("nothing is reached over plain http but by this machine or a trusted proxy"),
];

const INTROSPECTION: &[Row] = &[
    row("N1", "M", "the caller proves itself before the token is looked at"),
    row("N2", "M", "an active token is explained"),
    row("N3", "M", "all else is `{\"active\":false}`, to the byte")
        .note("the same time, too: `cargo bench --bench timing`"),
    row("N4", "M", "expiry, revocation, signature, and the caller's own resource"),
    row("N5", "M", "a wrong hint changes nothing"),
    row("N6", "R", "GET is 405"),
    row("N7", "S", "only clients of the token's resource may ask"),
    row("N8", "M", "`no-store`"),
    row("N9", "M", "`cnf` of DPoP and mutual TLS").not_yet("neither DPoP nor mutual TLS"),
    row("N10", "M", "a refresh token is active to its own client only, without `token_type`"),
    row("N11", "R", "RFC 9701: a signed answer for who asks for one")
        .note("the text itself was not at hand; by what libraries and secondary sources say of it: `typ`, `iss`, `aud`, `iat` and `token_introspection`; no `sub` and no `exp` at the top; RS256 unless registered"),
];

const METADATA: &[Row] = &[
    row("D1", "M", "at the well-known path, the issuer's own path after it"),
    row("D2", "M", "`issuer` is the identifier, character for character; https"),
    row("D3", "M", "the required members; no empty arrays")
        .note("`authorization_endpoint` is not yet there: a login application calls `POST /admin/grants`"),
    row("D4", "M", "nothing is left to a misleading default"),
    row("D5", "M", "algorithms beside every list of methods; RS256 among them, `none` never"),
    row("D6", "M", "every key says what it is for; the address is https"),
    row("D7", "R", "what is on is listed, and nothing else")
        .note("PAR, DPoP, mutual TLS, the device grant and `iss` in authorization responses are not on, so not listed"),
    row("D8", "M", "GET only"),
];

const RESOURCES: &[Row] = &[
    row("X1", "M", "absolute URIs without fragment; bad, unknown, too many: `invalid_target`"),
    row("X2", "S", "the audience is what was asked for; several may be"),
    row("X3", "M", "a code for a part, the refresh token for the whole, later for another part"),
    row("X4", "R", "without `resource`, all that were granted; `scope` is told")
        .note("a scope means the same at each resource of its client: there is no default resource per scope"),
];

const JWT: &[Row] = &[
    row("J1", "M", "signed, `typ` `at+jwt`, RS256 available"),
    row("J2", "M", "`iss exp aud sub client_id iat jti`, and `scope`")
        .note("`auth_time`, `acr` and `amr` are not known here, so never claimed"),
    row("J3", "M", "`aud` is the resource asked for, else all that were granted")
        .note("RFC 9068 section 5: a scope applies at every resource in `aud`, as the grant says; nothing is ambiguous"),
    row("J4", "M", "our own validation: type, issuer, audience, key, algorithm, time"),
    row("J5", "S", "the keys are published at `jwks_uri`"),
];

const RACES: &[Row] = &[
    row("E1", "I", "N refreshes at once, one successor"),
    row("E2", "I", "the grace window is anchored at the first use"),
    row("E3", "I", "grace never forks: the same successor"),
    row("E4", "I", "the use of the successor closes the window"),
    row("E5", "I", "a retry is the same client's")
        .note("a retry for another scope or resource is a normal race of two tabs: the same successor, and never more than the grant"),
    row("E6", "I", "the successor is derived, not stored"),
    row("E7", "I", "reuse is found after any number of rotations and restarts"),
    row("E8", "I", "reuse is found within the same instant: generations, not clocks"),
    row("E9", "I", "a restart forgets nothing"),
    row("E10", "I", "a crash between durable and answered is a lost response"),
    row("E11", "I", "another client's attempt does not revoke the owner's grant"),
    row("E12", "I", "a replayed code revokes only with its proof"),
    row("E13", "I", "rotation keeps the absolute expiry; policy is judged at use"),
    row("E14", "I", "disabled a moment ago is disabled"),
    row("E15", "I", "a clock that steps back revives nothing; no leeway for own tokens"),
    row("E16", "I", "idle and absolute expiry side by side; nothing is cleaned up that reuse needs"),
];

const SCOPES: &[Row] = &[
    row("E17", "I", "a narrower scope narrows the access token only"),
    row("E18", "I", "a scope that the client lost is left out, and told"),
    row("E19", "I", "resources cannot widen on refresh"),
];

const ENDINGS: &[Row] = &[
    row("E20", "I", "a revoked refresh token kills access tokens that are JWTs"),
    row("E21", "I", "wrong hint, garbage, foreign, dead: no oracle at revocation"),
    row("E22", "I", "introspection authenticates before it parses"),
    row("E23", "I", "introspection checks the caller's audience"),
    row("E24", "I", "JWT access tokens are introspected and revoked like others"),
    row("E25", "I", "unknown, expired, revoked, foreign: the same bytes and headers")
        .note("and time: `cargo bench --bench timing`"),
    row("E26", "I", "revoking everything of a person or client is one record"),
    row("E27", "I", "a revocation of what is not yet known is kept").note(
        "one process: the only early revocation is the blacklisting of a person not yet seen",
    ),
];

const SECRETS: &[Row] = &[
    row("E28", "I", "digests only, compared in constant time; prefixes that scanners find"),
    row("E29", "I", "no secret and no person in files, logs, errors or exports"),
    row("E30", "I", "`no-store` everywhere; no redirects")
        .note("303 and `Referrer-Policy` are for pages, which are not served"),
    row(
        "E31",
        "I",
        "a key is published before its first use and kept after its last; crashes in between",
    ),
    row("E32", "I", "the keys of opaque tokens can be replaced, old tokens live on"),
    row("E33", "I", "DPoP behind proxies").not_yet(NO_DPOP),
    row("E34", "I", "Basic with `+`, `%` and a colon in the identifier"),
    row("E35", "I", "`slow_down` of the device grant").not_yet("no device grant"),
    row("E36", "I", "duplicates, and a second `client_id`, are refused before any work"),
];

const EVENTS: &[Row] = &[
    row("E37", "I", "a refresh touches its own grant and no other"),
    row("E38", "I", "the expected generation is the mutex"),
    row("E39", "I", "snapshots and archives")
        .not_yet("a start reads a snapshot (`snapshots::`), but no segment of the log is archived"),
    row("E40", "I", "decisions see every record before them"),
    row("E41", "I", "retention")
        .not_yet("the log is kept whole, for ever; retention comes with archived segments"),
    row("E42", "I", "a replay has no effects and reads every old version"),
    row("E43", "I", "reading does not wait for the writer")
        .note("introspection and metadata; a reading of the audit is itself a record, so it does"),
    row("E44", "I", "tampering is found"),
    row("E45", "I", "what was valid at an instant, and why"),
];
