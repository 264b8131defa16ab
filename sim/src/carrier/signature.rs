//! How Twilio signs its requests (twilio.com/docs/usage/webhooks/webhooks-security, …/webhook-shared-keys).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// A customer's own key, in place of the auth token.
#[derive(Clone, Debug)]
pub struct SharedKey {
    /// `webhooks_sharedkey_…`.
    pub id: String,
    pub secret: String,
    pub algorithm: Algorithm,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    HmacSha1,
    HmacSha256,
}

impl SharedKey {
    /// The value of `X-Twilio-Webhooks-Signature-Settings`.
    pub fn settings(&self) -> String {
        let algorithm = match self.algorithm {
            Algorithm::HmacSha1 => "HMAC_SHA1",
            Algorithm::HmacSha256 => "HMAC_SHA256",
        };
        format!("key={},algorithm={algorithm}", self.id)
    }

    /// As [`sign`].
    pub fn sign(&self, url: &str, form: &[(String, String)]) -> String {
        match self.algorithm {
            Algorithm::HmacSha1 => mac::<Hmac<Sha1>>(&self.secret, url, form),
            Algorithm::HmacSha256 => mac::<Hmac<Sha256>>(&self.secret, url, form),
        }
    }
}

/// The `X-Twilio-Signature` of a request: base64 of HMAC-SHA1, keyed with the auth token.
///
/// `url` is as Twilio requests it, without a fragment: `https://…?…` for a webhook, `wss://…` for a media stream. `form` has
/// the decoded fields of a form that is posted, and is empty otherwise.
pub fn sign(auth_token: &str, url: &str, form: &[(String, String)]) -> String {
    mac::<Hmac<Sha1>>(auth_token, url, form)
}

fn mac<M: Mac + KeyInit>(key: &str, url: &str, form: &[(String, String)]) -> String {
    // By name, then by value; the same field twice counts once. Bytes, not letters, are compared.
    let mut fields: Vec<_> = form.iter().collect();
    fields.sort();
    fields.dedup();
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(url.as_bytes());
    for (name, value) in fields {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_posted_form() {
        let fields = [
            ("To", "+15005550006"),
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", "CA00000000000000000000000000000002"),
            ("CallStatus", "ringing"),
            ("Called", "+15005550006"),
            ("Caller", "+15005550001"),
            ("Direction", "inbound"),
            ("From", "+15005550001"),
        ];
        let url = "https://calls.example.org/twilio/voice?tenant=acme%20co&v=2";
        assert_eq!(sign(TOKEN, url, &form(&fields)), "Pn4sqQIOcB4UgYIHAJ28Ua6P75E=");
        let with_port = "https://calls.example.org:443/twilio/voice?tenant=acme%20co&v=2";
        assert_eq!(sign(TOKEN, with_port, &form(&fields)), "qeFMiBqYeceOgKc1FbvE9kIQvCE=");
    }

    #[test]
    fn a_body_that_is_no_form() {
        let url = "https://calls.example.org/twilio/events?bodySHA256=2c0666189e06a136563bd761c2f72f38f9bac28ae28ac660caca87f3e6e3fa6f";
        assert_eq!(sign(TOKEN, url, &[]), "X89SaVNYbRAEKJ2xlxozIlzxZko=");
    }

    #[test]
    fn a_media_stream() {
        assert_eq!(sign(TOKEN, "wss://calls.example.org/media/stream", &[]), "tpVcWBuqTHpu4zuBVwEuZquvWpM=");
        assert_eq!(sign(TOKEN, "wss://calls.example.org/media/stream/", &[]), "H3o0XmkV0AFQJZofLSENd/BpFE4=");
    }

    #[test]
    fn a_shared_key() {
        let key = |algorithm| SharedKey { id: "webhooks_sharedkey_1".into(), secret: TOKEN.into(), algorithm };
        let (old, new) = (key(Algorithm::HmacSha1), key(Algorithm::HmacSha256));
        let url = "wss://calls.example.org/media/stream";
        assert_eq!(new.sign(url, &[]), "3+Q3xNXPWLgfvkLaQbFopx0GdnqrJ602QvFF5TrQI3w=");
        assert_eq!(old.sign(url, &[]), sign(TOKEN, url, &[]));
        assert_eq!(new.settings(), "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256");
    }

    #[test]
    fn fields_given_twice() {
        let fields = [
            ("StatusCallbackEvent", "ringing"),
            ("a", "1"),
            ("StatusCallbackEvent", "answered"),
            ("B", "2"),
            ("A", " lead space"),
            ("a", "1"),
        ];
        assert_eq!(sign(TOKEN, "https://calls.example.org/x", &form(&fields)), "1p7SxfLHoSYPi+Y/3SLGWbOg/Os=");
    }

    #[test]
    fn the_published_example() {
        let fields = [
            ("CallSid", "CA1234567890ABCDE"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
            ("Caller", "+14158675309"),
        ];
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        assert_eq!(sign("12345", url, &form(&fields)), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    }

    fn form(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }
}
