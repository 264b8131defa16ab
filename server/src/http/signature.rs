//! Whether a request is the carrier's: Twilio's classic signature, HMAC-SHA1 over the URL and the form.
//!
//! The URL is the one that Twilio was told, so it is built of the configured origin and the request's raw path and
//! query; `Host` and forwarding headers are the sender's to choose.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

pub(crate) const HEADER: &str = "x-twilio-signature";

/// A form's fields, decoded, in the order in which they came.
pub(crate) type Fields = Vec<(String, String)>;

/// Whether `signature` is right for this URL and these fields. For the media socket the URL's scheme is `wss`, the
/// fields are none, and Twilio is not of one mind about a trailing slash.
pub(crate) fn is_valid(token: &str, url: &str, fields: &Fields, signature: &str) -> bool {
    let toggled = url.strip_suffix('/').map_or_else(|| format!("{url}/"), str::to_owned);
    let slash_may_differ = url.starts_with("ws");
    matches(token, url, fields, signature) || (slash_may_differ && matches(token, &toggled, fields, signature))
}

/// What Twilio would send. Also for those who play Twilio, in tests and in the demo.
pub fn sign(token: &str, url: &str, fields: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = fields.iter().collect();
    sorted.sort();
    sorted.dedup();
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn matches(token: &str, url: &str, fields: &Fields, signature: &str) -> bool {
    sign(token, url, fields).as_bytes().ct_eq(signature.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn fields(list: &[(&str, &str)]) -> Fields {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_form_with_a_query() {
        let url = "https://calls.example.org/twilio/voice?tenant=acme%20co&v=2";
        let fields = fields(&[
            ("To", "+15005550006"),
            ("From", "+15005550001"),
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", "CA00000000000000000000000000000002"),
            ("CallStatus", "ringing"),
            ("Called", "+15005550006"),
            ("Caller", "+15005550001"),
            ("Direction", "inbound"),
        ]);
        assert!(is_valid(TOKEN, url, &fields, "Pn4sqQIOcB4UgYIHAJ28Ua6P75E="));
        assert!(!is_valid(TOKEN, url, &fields, "Pn4sqQIOcB4UgYIHAJ28Ua6P75F="));
        assert!(!is_valid(TOKEN, url, &fields[1..].to_vec(), "Pn4sqQIOcB4UgYIHAJ28Ua6P75E="));
        assert!(!is_valid("another", url, &fields, "Pn4sqQIOcB4UgYIHAJ28Ua6P75E="));
        assert!(!is_valid(TOKEN, url, &fields, ""));
    }

    #[test]
    fn a_media_socket_with_or_without_a_slash() {
        for url in ["wss://calls.example.org/media/stream", "wss://calls.example.org/media/stream/"] {
            assert!(is_valid(TOKEN, url, &Fields::new(), "tpVcWBuqTHpu4zuBVwEuZquvWpM="));
            assert!(is_valid(TOKEN, url, &Fields::new(), "H3o0XmkV0AFQJZofLSENd/BpFE4="));
            assert!(!is_valid(TOKEN, url, &Fields::new(), "tO75i8UEnOKZ+2eoVMa8LJNL+X0="));
        }
        let form = "https://calls.example.org/media/stream";
        assert!(!is_valid(TOKEN, form, &Fields::new(), "tpVcWBuqTHpu4zuBVwEuZquvWpM="));
    }

    #[test]
    fn repeated_names_capitals_and_spaces() {
        let fields = fields(&[
            ("StatusCallbackEvent", "ringing"),
            ("StatusCallbackEvent", "answered"),
            ("B", "2"),
            ("a", "1"),
            ("A", " lead space"),
        ]);
        assert!(is_valid(TOKEN, "https://calls.example.org/x", &fields, "1p7SxfLHoSYPi+Y/3SLGWbOg/Os="));
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
        assert!(is_valid("12345", url, &fields, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
    }
}
