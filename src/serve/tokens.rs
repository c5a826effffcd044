//! Who may come in: whoever shows a token that the configuration knows, by its hash.
//!
//! A feed may send records, and mappings by which they are read; a reader may read; an operator may read, tell the pipeline what to do, and have it read again
//! what it refused, but sends no records. Where no token is configured, and the address is a loopback one, everybody may do everything.

use super::folder::FEED as FOLDER;
use super::intake::drain;
use super::{Doors, Refusal};
use crate::sources::feed_of;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whoever sends may say how they call it.
const CALLED: &str = "x-feed";
/// The feed of all who show no token of one.
const ANYBODY: &str = "http";
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
        if let Some(name) = self.feeds.keys().find(|name| feed_of(name) != name.as_str()) {
            return Err(format!("feeds: {name}: the name of a feed has no colon"));
        }
        if let Some(name) = [ANYBODY, FOLDER].into_iter().find(|name| self.feeds.contains_key(*name)) {
            return Err(format!("feeds: {name}: a feed has this name already that needs no token"));
        }
        let is_hash = |hash: &str| hash.len() == HASH_DIGITS && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let mut all = [&self.feeds, &self.readers, &self.operators].into_iter().flatten();
        match all.find(|(_, hash)| !is_hash(hash)) {
            Some((name, _)) => Err(format!("{name}: not a SHA-256 in {HASH_DIGITS} hexadecimal digits (printf %s TOKEN | sha256sum)")),
            None => Ok(()),
        }
    }

    /// The feeds that there are: those that have one, or anybody where none does, and the watched folder.
    pub(super) fn feeds(&self) -> Vec<&str> {
        let anybody = self.feeds.is_empty().then_some(ANYBODY);
        self.feeds.keys().map(String::as_str).chain(anybody).chain([FOLDER]).collect()
    }

    /// Whether every feed and every reader needs one.
    pub fn are_needed(&self) -> bool {
        *self != Tokens::default()
    }

    fn find<'t>(among: &'t BTreeMap<String, String>, hash: &str) -> Option<&'t str> {
        among.iter().find(|(_, known)| *known == hash).map(|(name, _)| name.as_str())
    }
}

/// What of an address matters to who may ask for it.
#[derive(Default, Deserialize)]
struct Written {
    token: Option<String>,
}

/// How a body is known that comes in: by the feed of whoever sends it, and behind a colon by how they call it.
#[derive(Clone)]
pub(super) struct Name(pub String);

impl Name {
    fn of(feed: Option<&str>, headers: &HeaderMap) -> Name {
        let feed = feed.unwrap_or(ANYBODY);
        let called = headers.get(CALLED).and_then(|value| value.to_str().ok()).filter(|called| !called.is_empty());
        Name(called.map_or(feed.to_owned(), |called| format!("{feed}:{called}")))
    }
}

/// Lets a request in, or not.
pub(super) async fn admit(State(doors): State<Arc<Doors>>, mut request: Request, next: Next) -> Response {
    match doors.tokens.admit(&request) {
        Ok(feed) => {
            let name = Name::of(feed, request.headers());
            request.extensions_mut().insert(name);
            next.run(request).await
        }
        Err(refusal) => {
            drain(request.into_body(), doors.silence).await;
            refusal.into_response()
        }
    }
}

impl Tokens {
    /// Whether a request comes in, and of which feed the token is that it shows.
    fn admit(&self, request: &Request) -> Result<Option<&str>, Refusal> {
        let path = request.uri().path();
        if !self.are_needed() || matches!(path, "/healthz" | "/readyz") {
            return Ok(None);
        }
        let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        // Gateways of others can show theirs in the address alone.
        let is_of_gateway = matches!((request.method(), path), (&Method::GET, "/v1/replies" | "/v1/receipts"));
        let written = Query::<Written>::try_from_uri(request.uri()).map(|Query(written)| written).unwrap_or_default();
        let Some(shown) = shown.or(written.token.as_deref().filter(|_| is_of_gateway)) else {
            return Err(Refusal(StatusCode::UNAUTHORIZED, "no token (authorization: Bearer …)".to_owned()));
        };
        let hash: String = Sha256::digest(shown.trim()).iter().map(|byte| format!("{byte:02x}")).collect();
        let [feed, reader, operator] = [&self.feeds, &self.readers, &self.operators].map(|among| Tokens::find(among, &hash));
        let admitted = match (request.method(), path) {
            (_, "/v1/updates") => feed.is_some(),
            (_, "/v1/mappings") => feed.or(operator).is_some(),
            (&Method::GET, "/v1/replies" | "/v1/receipts") => operator.is_some(),
            (&Method::GET, path) if path.starts_with("/v1/completion/") => feed.or(reader).or(operator).is_some(),
            (&Method::GET, _) => reader.or(operator).is_some(),
            _ => operator.is_some(),
        };
        match admitted {
            true => Ok(feed),
            false => Err(Refusal(StatusCode::FORBIDDEN, "this token opens another door".to_owned())),
        }
    }
}
