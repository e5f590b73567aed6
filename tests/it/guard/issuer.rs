//! An issuer: signing keys, and a server that publishes them and answers introspection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// When every test begins, in seconds since the epoch.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://tokens.example.com";
pub(crate) const RESOURCE: &str = "https://api.example.com/photos";

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A signing key with its identifier.
pub(crate) struct Key {
    pub(crate) kid: &'static str,
    pair: Pair,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub(crate) fn eddsa(kid: &'static str) -> Self {
        Self { kid, pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(crate) fn es256(kid: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid, pair: Pair::Ec(pair) }
    }

    pub(crate) fn rs256(kid: &'static str) -> Self {
        Self { kid, pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub(crate) fn alg(&self) -> &'static str {
        match self.pair {
            Pair::Ed(_) => "EdDSA",
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public half, as published.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()) })
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let n = encode(public.modulus().big_endian_without_leading_zero());
                let e = encode(public.exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": n, "e": e })
            }
        };
        jwk["kid"] = self.kid.into();
        jwk["alg"] = self.alg().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// A compact JWS of exactly this header and payload.
    pub(crate) fn sign(&self, header: &Value, payload: &Value) -> String {
        let message = format!("{}.{}", encode(header.to_string()), encode(payload.to_string()));
        let bytes = message.as_bytes();
        let signature = match &self.pair {
            Pair::Ed(pair) => pair.sign(bytes).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature).unwrap();
                signature
            }
        };
        format!("{message}.{}", encode(signature))
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": self.alg(), "kid": self.kid })
    }

    /// An access token with these claims instead of, or beside, the usual ones; null leaves one out.
    pub(crate) fn token(&self, claims: Value) -> String {
        self.sign(&self.header(), &with(claims))
    }
}

/// The usual claims of an access token of an hour, with changes; null takes a claim away.
pub(crate) fn with(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": RESOURCE, "sub": "alice", "client_id": "photos", "jti": "j1",
        "iat": NOW, "exp": NOW + 3600, "scope": "photos.read",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// What the issuer says when it is asked.
#[derive(Clone)]
pub(crate) enum Says {
    Json(Value),
    /// A sound answer under a status that is not 200.
    Status(u16, Value),
    Bytes(Vec<u8>),
    /// The same in chunks, without announcing how many.
    Chunks(Vec<u8>),
    /// Somewhere else.
    Moved(String),
    /// Nothing, for as long as anybody waits.
    Nothing,
}

/// A running issuer.
pub(crate) struct Issuer {
    pub(crate) url: String,
    heard: web::Data<Heard>,
    handle: ServerHandle,
}

struct Heard {
    says: Mutex<Says>,
    questions: AtomicUsize,
    last: Mutex<Option<(String, String)>>,
}

async fn answer(request: HttpRequest, body: String, heard: web::Data<Heard>) -> HttpResponse {
    heard.questions.fetch_add(1, Ordering::SeqCst);
    let authorization = request.headers().get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    *heard.last.lock() = Some((authorization.unwrap_or_default(), body));
    let says = heard.says.lock().clone();
    match says {
        Says::Json(value) => HttpResponse::Ok().json(value),
        Says::Status(status, value) => HttpResponse::build(status.try_into().unwrap()).json(value),
        Says::Bytes(bytes) => HttpResponse::Ok().body(bytes),
        Says::Chunks(bytes) => {
            let chunks = bytes.chunks(1024).map(web::Bytes::copy_from_slice).collect();
            HttpResponse::Ok().body(Chunked(chunks))
        }
        Says::Moved(to) => HttpResponse::Found().insert_header(("location", to)).finish(),
        Says::Nothing => std::future::pending().await,
    }
}

/// A body of unknown length.
struct Chunked(std::collections::VecDeque<web::Bytes>);

impl actix_web::body::MessageBody for Chunked {
    type Error = std::convert::Infallible;

    fn size(&self) -> actix_web::body::BodySize {
        actix_web::body::BodySize::Stream
    }

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<web::Bytes, Self::Error>>> {
        std::task::Poll::Ready(self.0.pop_front().map(Ok))
    }
}

impl Issuer {
    /// An issuer that says this to whoever asks.
    pub(crate) fn saying(says: Says) -> Self {
        let (questions, last) = (AtomicUsize::new(0), Mutex::new(None));
        let heard = web::Data::new(Heard { says: Mutex::new(says), questions, last });
        let data = web::Data::clone(&heard);
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::clone(&data)).default_service(web::to(answer))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { url, heard, handle }
    }

    /// An issuer that publishes these keys.
    pub(crate) fn publishing(keys: &[&Key]) -> Self {
        Self::saying(key_set(keys))
    }

    pub(crate) fn now_says(&self, says: Says) {
        *self.heard.says.lock() = says;
    }

    /// How often it was asked.
    pub(crate) fn questions(&self) -> usize {
        self.heard.questions.load(Ordering::SeqCst)
    }

    /// The `Authorization` header and the body of the last question.
    pub(crate) fn last_question(&self) -> (String, String) {
        self.heard.last.lock().clone().unwrap()
    }

    /// Goes away: connections are refused from here on.
    pub(crate) async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

pub(crate) fn key_set(keys: &[&Key]) -> Says {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    Says::Json(json!({ "keys": keys }))
}

/// A key, and an issuer that publishes it.
pub(crate) fn issuer_with_key() -> (Arc<Key>, Issuer) {
    let key = Arc::new(Key::eddsa("k1"));
    let issuer = Issuer::publishing(&[&key]);
    (key, issuer)
}
