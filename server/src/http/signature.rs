//! Whether a request is the carrier's: Twilio's signature over the URL and what comes with it.
//!
//! There are two schemes. The classic one is HMAC-SHA1 with the account's auth token; with a SharedKey the request names
//! key and algorithm in a header of its own (twilio.com/docs/usage/webhooks/webhooks-security, …/webhook-shared-keys).
//!
//! The URL is the one that Twilio was told, so it is built of the configured origin and the request's raw path and
//! query; `Host` and forwarding headers are the sender's to choose. What Twilio is not of one mind about (the default
//! port, the slash at the end of a media socket's path) is tried both ways.

use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::Twilio;

const SIGNATURE: &str = "x-twilio-signature";

/// `key=webhooks_sharedkey_…,algorithm=HMAC_SHA256`. Without it, or without an algorithm in it: the classic scheme.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

/// The query's parameter with the hash of a body that is no form.
const BODY_HASH: &str = "bodySHA256";

/// Names and values, decoded, in the order in which they came.
pub(crate) type Fields = Vec<(String, String)>;

/// What is signed besides the URL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// All is in the URL: GET, and the handshake of a media socket.
    None,
    Form(&'a Fields),
    /// JSON and whatever else there may be: the URL has its hash.
    Other(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Algorithm {
    HmacSha1,
    HmacSha256,
}

/// Why a request is not believed to be the carrier's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error("X-Twilio-Signature is missing")]
    Unsigned,
    #[error("it is signed with the auth token, and TWILIO_AUTH_TOKEN is not set")]
    NoAuthToken,
    #[error("it is signed with a SharedKey that TWILIO_SHARED_KEYS does not have")]
    UnknownKey,
    #[error("it is signed by an algorithm other than HMAC_SHA1 and HMAC_SHA256")]
    UnknownAlgorithm,
    #[error("the URL does not have the hash of this body")]
    OtherBody,
    #[error(
        "X-Twilio-Signature does not fit this request: is public_url what the carrier is configured with, and the \
         secret the account's?"
    )]
    Mismatch,
}

/// Whether the carrier signed this. `url` begins with the scheme that Twilio uses: `wss` for a media socket.
pub(crate) fn check(twilio: &Twilio, headers: &HeaderMap, url: &str, content: Content<'_>) -> Result<(), Untrusted> {
    let signature = headers.get(SIGNATURE).ok_or(Untrusted::Unsigned)?;
    let (algorithm, secret) = match headers.get(SETTINGS).map(|settings| named_key(settings.as_bytes())) {
        None | Some(NamedKey { algorithm: None, .. }) => {
            (Algorithm::HmacSha1, twilio.auth_token.as_ref().ok_or(Untrusted::NoAuthToken)?)
        }
        Some(NamedKey { id, algorithm: Some(algorithm) }) => {
            let known = [("HMAC_SHA1", Algorithm::HmacSha1), ("HMAC_SHA256", Algorithm::HmacSha256)];
            let named = |(name, _): &(&str, Algorithm)| algorithm.eq_ignore_ascii_case(name.as_bytes());
            let (_, algorithm) = known.into_iter().find(named).ok_or(Untrusted::UnknownAlgorithm)?;
            let known = twilio.shared_keys.0.iter().find(|key| id == Some(key.id.as_bytes()));
            (algorithm, &known.ok_or(Untrusted::UnknownKey)?.secret)
        }
    };
    let none = Fields::new();
    let fields = match content {
        Content::Form(fields) => fields,
        Content::None => &none,
        Content::Other(body) if has_hash(url, body) => &none,
        Content::Other(_) => return Err(Untrusted::OtherBody),
    };
    // All spellings are tried, whichever fits: how long it takes says nothing.
    let fits = spellings(url).iter().fold(Choice::from(0), |fits, url| {
        fits | sign(algorithm, secret.reveal(), url, fields).as_bytes().ct_eq(signature.as_bytes())
    });
    if fits.into() { Ok(()) } else { Err(Untrusted::Mismatch) }
}

/// What Twilio would send.
pub(crate) fn sign(algorithm: Algorithm, secret: &str, url: &str, fields: &Fields) -> String {
    // By name, then by value, as bytes; the same field twice counts once.
    let mut sorted: Vec<&(String, String)> = fields.iter().collect();
    sorted.sort();
    sorted.dedup();
    let parts = || std::iter::once(url).chain(sorted.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
    match algorithm {
        Algorithm::HmacSha1 => mac::<Hmac<Sha1>>(secret, parts()),
        Algorithm::HmacSha256 => mac::<Hmac<Sha256>>(secret, parts()),
    }
}

fn mac<'a, M: Mac + KeyInit>(secret: &str, parts: impl Iterator<Item = &'a str>) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    parts.for_each(|part| mac.update(part.as_bytes()));
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

struct NamedKey<'a> {
    id: Option<&'a [u8]>,
    algorithm: Option<&'a [u8]>,
}

/// As Twilio's own libraries read it: an empty algorithm is none.
fn named_key(settings: &[u8]) -> NamedKey<'_> {
    let value = |wanted: &[u8]| {
        settings.split(|byte| *byte == b',').find_map(|part| {
            let (name, value) = part.split_at(part.iter().position(|byte| *byte == b'=')?);
            let value = value[1..].trim_ascii();
            (name.trim_ascii() == wanted && !value.is_empty()).then_some(value)
        })
    };
    NamedKey { id: value(b"key"), algorithm: value(b"algorithm") }
}

/// Whether the URL's query has the body's hash, in lower-case hexadecimal.
fn has_hash(url: &str, body: &[u8]) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == BODY_HASH && value == hash)
}

/// The URLs that Twilio may have signed when it requested this one.
fn spellings(url: &str) -> Vec<String> {
    let mut spellings = vec![url.to_owned()];
    spellings.extend(port_toggled(url));
    if url.starts_with("ws") {
        let toggled = |url: &String| url.strip_suffix('/').map_or_else(|| format!("{url}/"), str::to_owned);
        spellings.extend(spellings.iter().map(toggled).collect::<Vec<_>>());
    }
    spellings
}

/// Without its port, or with the scheme's own.
fn port_toggled(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // The colons of an IPv6 address are in brackets.
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let host = match authority[host_end..].find(':') {
        Some(colon) => return Some(format!("{scheme}://{}{path}", &authority[..host_end + colon])),
        None => authority,
    };
    let port = if matches!(scheme, "https" | "wss") { 443 } else { 80 };
    Some(format!("{scheme}://{host}:{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, SharedKey, SharedKeys};
    use axum::http::HeaderValue;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const KEY: &str = "webhooks_sharedkey_01k0000000000000000000000a";

    fn twilio() -> Twilio {
        let shared = SharedKey { id: KEY.to_owned(), secret: Secret::new(TOKEN) };
        Twilio {
            auth_token: Some(Secret::new(TOKEN)),
            shared_keys: SharedKeys(vec![shared]),
            ..crate::Config::default().twilio
        }
    }

    fn fields(list: &[(&str, &str)]) -> Fields {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn classic(url: &str, content: Content<'_>, signature: &str) -> Result<(), Untrusted> {
        check(&twilio(), &headers(&[(SIGNATURE, signature)]), url, content)
    }

    fn shared(settings: &str, url: &str, content: Content<'_>, signature: &str) -> Result<(), Untrusted> {
        check(&twilio(), &headers(&[(SIGNATURE, signature), (SETTINGS, settings)]), url, content)
    }

    /// Vector A of the protocol notes.
    const VOICE: &str = "https://calls.example.org/twilio/voice?tenant=acme%20co&v=2";

    fn voice() -> Fields {
        fields(&[
            ("To", "+15005550006"),
            ("From", "+15005550001"),
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", "CA00000000000000000000000000000002"),
            ("CallStatus", "ringing"),
            ("Called", "+15005550006"),
            ("Caller", "+15005550001"),
            ("Direction", "inbound"),
        ])
    }

    #[test]
    fn a_form_with_a_query() {
        let fields = voice();
        let right = "Pn4sqQIOcB4UgYIHAJ28Ua6P75E=";
        assert_eq!(classic(VOICE, Content::Form(&fields), right), Ok(()));
        for wrong in ["Pn4sqQIOcB4UgYIHAJ28Ua6P75F=", "", "x", &right[1..]] {
            assert_eq!(classic(VOICE, Content::Form(&fields), wrong), Err(Untrusted::Mismatch), "{wrong}");
        }
        assert_eq!(classic(VOICE, Content::Form(&fields[1..].to_vec()), right), Err(Untrusted::Mismatch));
        assert_eq!(classic(VOICE, Content::None, right), Err(Untrusted::Mismatch));
        let another = Twilio { auth_token: Some(Secret::new("another")), ..twilio() };
        let signed = headers(&[(SIGNATURE, right)]);
        assert_eq!(check(&another, &signed, VOICE, Content::Form(&fields)), Err(Untrusted::Mismatch));
        assert_eq!(check(&twilio(), &HeaderMap::new(), VOICE, Content::Form(&fields)), Err(Untrusted::Unsigned));
    }

    #[test]
    fn a_default_port_may_be_signed_or_not() {
        let fields = voice();
        let (without, with) = ("Pn4sqQIOcB4UgYIHAJ28Ua6P75E=", "qeFMiBqYeceOgKc1FbvE9kIQvCE=");
        for url in [VOICE, "https://calls.example.org:443/twilio/voice?tenant=acme%20co&v=2"] {
            for signature in [without, with] {
                assert_eq!(classic(url, Content::Form(&fields), signature), Ok(()), "{url} {signature}");
            }
        }
    }

    #[test]
    fn a_shared_key_names_itself_and_its_algorithm() {
        let fields = voice();
        let (sha1, sha256) = ("Pn4sqQIOcB4UgYIHAJ28Ua6P75E=", "079wZe9gqq91X94wAh0s9CKOylX5+HDuq5IvVtQSYYQ=");
        let with = |settings: &str, signature| shared(settings, VOICE, Content::Form(&fields), signature);
        assert_eq!(with(&format!("key={KEY},algorithm=HMAC_SHA256"), sha256), Ok(()));
        assert_eq!(with(&format!(" algorithm=HMAC_SHA1 , key={KEY}"), sha1), Ok(()));
        assert_eq!(with(&format!("key={KEY},algorithm=HMAC_SHA256"), sha1), Err(Untrusted::Mismatch));
        assert_eq!(with(&format!("key={KEY},algorithm=HMAC_MD5"), sha1), Err(Untrusted::UnknownAlgorithm));
        assert_eq!(with(&format!("key={KEY}x,algorithm=HMAC_SHA1"), sha1), Err(Untrusted::UnknownKey));
        assert_eq!(with("algorithm=HMAC_SHA256", sha256), Err(Untrusted::UnknownKey));
        // Without an algorithm it is the classic scheme, whatever the rest says.
        assert_eq!(with(&format!("key={KEY}"), sha1), Ok(()));
        assert_eq!(with(&format!("key={KEY},algorithm="), sha1), Ok(()));
        assert_eq!(with(&format!("key={KEY}"), sha256), Err(Untrusted::Mismatch));
        let keys_only = Twilio { auth_token: None, ..twilio() };
        let signed = headers(&[(SIGNATURE, sha1)]);
        assert_eq!(check(&keys_only, &signed, VOICE, Content::Form(&fields)), Err(Untrusted::NoAuthToken));
    }

    #[test]
    fn a_body_that_is_no_form_is_known_by_its_hash() {
        let hash = "2c0666189e06a136563bd761c2f72f38f9bac28ae28ac660caca87f3e6e3fa6f";
        let url = format!("https://calls.example.org/twilio/events?bodySHA256={hash}");
        let (body, signature) = (br#"{"event":"demo","n":1}"#, "X89SaVNYbRAEKJ2xlxozIlzxZko=");
        assert_eq!(classic(&url, Content::Other(body), signature), Ok(()));
        assert_eq!(classic(&url, Content::Other(&body[1..]), signature), Err(Untrusted::OtherBody));
        let unhashed = "https://calls.example.org/twilio/events";
        let its_own = sign(Algorithm::HmacSha1, TOKEN, unhashed, &Fields::new());
        assert_eq!(classic(unhashed, Content::Other(body), &its_own), Err(Untrusted::OtherBody));
    }

    #[test]
    fn a_media_socket_with_or_without_a_slash() {
        for url in ["wss://calls.example.org/media/stream", "wss://calls.example.org/media/stream/"] {
            assert_eq!(classic(url, Content::None, "tpVcWBuqTHpu4zuBVwEuZquvWpM="), Ok(()));
            assert_eq!(classic(url, Content::None, "H3o0XmkV0AFQJZofLSENd/BpFE4="), Ok(()));
            assert_eq!(classic(url, Content::None, "tO75i8UEnOKZ+2eoVMa8LJNL+X0="), Err(Untrusted::Mismatch));
            let settings = format!("key={KEY},algorithm=HMAC_SHA256");
            assert_eq!(shared(&settings, url, Content::None, "3+Q3xNXPWLgfvkLaQbFopx0GdnqrJ602QvFF5TrQI3w="), Ok(()));
        }
        // Only of a socket is the slash in doubt.
        let form = "https://calls.example.org/media/stream";
        assert_eq!(classic(form, Content::None, "tpVcWBuqTHpu4zuBVwEuZquvWpM="), Err(Untrusted::Mismatch));
        let slash = sign(Algorithm::HmacSha1, TOKEN, &format!("{form}/"), &Fields::new());
        assert_eq!(classic(form, Content::None, &slash), Err(Untrusted::Mismatch));
    }

    #[test]
    fn repeated_names_capitals_and_spaces() {
        let fields = fields(&[
            ("StatusCallbackEvent", "ringing"),
            ("StatusCallbackEvent", "answered"),
            ("StatusCallbackEvent", "answered"),
            ("B", "2"),
            ("a", "1"),
            ("A", " lead space"),
        ]);
        let url = "https://calls.example.org/x";
        assert_eq!(classic(url, Content::Form(&fields), "1p7SxfLHoSYPi+Y/3SLGWbOg/Os="), Ok(()));
    }

    #[test]
    fn the_published_example() {
        let fields = fields(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
            ("Caller", "+14158675309"),
        ]);
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        assert_eq!(sign(Algorithm::HmacSha1, "12345", url, &fields), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    }

    #[test]
    fn ports_of_all_sorts() {
        let toggled = |url| port_toggled(url).unwrap();
        assert_eq!(toggled("https://h/x"), "https://h:443/x");
        assert_eq!(toggled("wss://h"), "wss://h:443");
        assert_eq!(toggled("http://h?a:b=1"), "http://h:80?a:b=1");
        assert_eq!(toggled("https://h:8443/x:1"), "https://h/x:1");
        assert_eq!(toggled("http://[::1]:8080/x"), "http://[::1]/x");
        assert_eq!(toggled("http://[::1]/x"), "http://[::1]:80/x");
    }
}
