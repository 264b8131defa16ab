//! Base64 looked at, not decoded: most audio passes through as the text it came in.

/// The number of bytes that `text` stands for, or `None` if it is not base64 as RFC 4648 §4 writes it: padded, and
/// canonical.
pub(super) fn payload_len(text: &str) -> Option<u32> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let symbols = match bytes {
        [symbols @ .., b'=', b'='] | [symbols @ .., b'='] => symbols,
        symbols => symbols,
    };
    // Bits of the last symbol that no byte uses are zero, or decoders would disagree about the text.
    let unused_bits = match bytes.len() - symbols.len() {
        0 => 0,
        1 => 0b11,
        _ => 0b1111,
    };
    if symbols.last().is_some_and(|&last| VALUE[usize::from(last)] & unused_bits != 0) {
        return None;
    }
    let valid = symbols.iter().fold(0, |seen, &symbol| seen | VALUE[usize::from(symbol)]) & INVALID == 0;
    valid.then(|| u32::try_from(symbols.len() * 3 / 4).ok()).flatten()
}

const INVALID: u8 = 0x80;

const VALUE: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [INVALID; 256];
    let mut value = 0;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::payload_len;

    #[test]
    fn lengths() {
        for (text, len) in [("", Some(0)), ("/w==", Some(1)), ("//8=", Some(2)), ("////", Some(3)), ("/w", None)] {
            assert_eq!(payload_len(text), len, "{text}");
        }
        for not_base64 in ["=", "====", "/w=a", "/x==", "//9=", "a\"b=", "a b=", "a-_b", "äa=", "=///"] {
            assert_eq!(payload_len(not_base64), None, "{not_base64}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_decoder(text in "[A-Da-d/+0-1=\"]{0,9}") {
            let decoded = STANDARD.decode(&text).ok().map(|bytes| bytes.len() as u32);
            prop_assert_eq!(payload_len(&text), decoded);
        }
    }
}
