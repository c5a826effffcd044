//! Who may come in: whoever shows a token that the configuration knows, by its hash.
//!
//! A feed may send records, a reader may read, an operator may do both but send records, and tell the pipeline what to do. Where no token
//! is configured, and the address is a loopback one, everybody may do everything.

use super::intake::drain;
use super::{Doors, Refusal};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whoever sends may say who they are; a feed with a token is known by the token's name.
pub(super) const FEED: &str = "x-feed";
const HASH_DIGITS: usize = 64;

/// By name, the SHA-256 of each token as hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    pub feeds: BTreeMap<String, String>,
    pub readers: BTreeMap<String, String>,
    pub operators: BTreeMap<String, String>,
}

impl Tokens {
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        let is_hash = |hash: &str| hash.len() == HASH_DIGITS && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let mut all = [&self.feeds, &self.readers, &self.operators].into_iter().flatten();
        match all.find(|(_, hash)| !is_hash(hash)) {
            Some((name, _)) => Err(format!("{name}: not a SHA-256 in {HASH_DIGITS} hexadecimal digits (printf %s TOKEN | sha256sum)")),
            None => Ok(()),
        }
    }

    /// Whether every feed and every reader needs one.
    pub fn are_needed(&self) -> bool {
        *self != Tokens::default()
    }

    fn find<'t>(among: &'t BTreeMap<String, String>, hash: &str) -> Option<&'t str> {
        among.iter().find(|(_, known)| *known == hash).map(|(name, _)| name.as_str())
    }
}

#[derive(Deserialize)]
struct Written {
    token: Option<String>,
}

/// Lets a request in, or not.
pub(super) async fn admit(State(doors): State<Arc<Doors>>, mut request: Request, next: Next) -> Response {
    match doors.tokens.admit(&mut request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            drain(request.into_body(), doors.silence).await;
            refusal.into_response()
        }
    }
}

impl Tokens {
    /// Whether a request comes in; whoever has a token of a feed is known by its name from here on.
    fn admit(&self, request: &mut Request) -> Result<(), Refusal> {
        let path = request.uri().path();
        if !self.are_needed() || matches!(path, "/healthz" | "/readyz") {
            return Ok(());
        }
        let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        // Gateways of others can show theirs in the address alone.
        let is_of_gateway = matches!((request.method(), path), (&Method::GET, "/v1/replies" | "/v1/receipts"));
        let written = Query::<Written>::try_from_uri(request.uri()).ok().and_then(|Query(written)| written.token);
        let Some(shown) = shown.or(written.as_deref().filter(|_| is_of_gateway)) else {
            return Err(Refusal(StatusCode::UNAUTHORIZED, "no token (authorization: Bearer …)".to_owned()));
        };
        let hash: String = Sha256::digest(shown.trim()).iter().map(|byte| format!("{byte:02x}")).collect();
        let [feed, reader, operator] = [&self.feeds, &self.readers, &self.operators].map(|among| Tokens::find(among, &hash));
        let admitted = match (request.method(), path) {
            (_, "/v1/updates") => feed.is_some(),
            (&Method::GET, "/v1/replies" | "/v1/receipts") => operator.is_some(),
            (&Method::GET, path) if path.starts_with("/v1/completion/") => feed.or(reader).or(operator).is_some(),
            (&Method::GET, _) => reader.or(operator).is_some(),
            _ => operator.is_some(),
        };
        if !admitted {
            return Err(Refusal(StatusCode::FORBIDDEN, "this token opens another door".to_owned()));
        }
        if let Some(name) = feed {
            let said = request.headers().get(FEED).and_then(|value| value.to_str().ok()).filter(|said| !said.is_empty());
            let known = said.map_or(name.to_owned(), |said| format!("{name}:{said}"));
            match HeaderValue::from_str(&known) {
                Ok(known) => drop(request.headers_mut().insert(FEED, known)),
                Err(_) => return Err(Refusal(StatusCode::BAD_REQUEST, format!("{FEED}: cannot be said"))),
            }
        }
        Ok(())
    }
}
