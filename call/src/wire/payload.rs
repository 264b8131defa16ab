//! Audio inside JSON: standard base64, padded (RFC 4648 section 4).
//!
//! The frame path passes a peer's base64 on without decoding it. It may be copied into another message only once
//! [`payload_len`] has accepted it: otherwise a caller's carrier could close the JSON string and write the rest of our
//! message to the model itself.

use base64::Engine;
use base64::engine::general_purpose;

/// With the widest instructions that the processor turns out to have.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static STANDARD: std::sync::LazyLock<base64::engine::simd::Simd> =
    std::sync::LazyLock::new(|| base64::engine::simd::Simd::standard(general_purpose::PAD));

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static STANDARD: general_purpose::GeneralPurpose = general_purpose::STANDARD;

/// What was to be audio is not base64: a character outside the alphabet, or wrong padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the audio is not base64")]
pub struct NotBase64;

/// How many bytes `payload` decodes to; `None` if [`decode_into`] would refuse it.
///
/// Reads each character once and branches on none but the last four, so that the compiler can look at many at a time.
pub fn payload_len(payload: &str) -> Option<u32> {
    let bytes = payload.as_bytes();
    let Some((body, last)) = bytes.split_last_chunk::<4>() else {
        return bytes.is_empty().then_some(0);
    };
    if body.len() % 4 != 0 {
        return None;
    }
    // The bits that a shortened last group leaves over have to be zero, so that equal audio has equal text.
    let (pad, leftover) = match last {
        [_, _, b'=', b'='] => (2, SEXTETS[usize::from(last[1])] & 0b1111),
        [_, _, _, b'='] => (1, SEXTETS[usize::from(last[2])] & 0b11),
        _ => (0, 0),
    };
    let outside = body.iter().fold(0, |seen, &byte| seen | outside(byte));
    let seen = last[..4 - pad].iter().fold(0, |seen, &byte| seen | SEXTETS[usize::from(byte)]);
    if outside != 0 || seen & OUTSIDE != 0 || leftover != 0 {
        return None;
    }
    u32::try_from(bytes.len() / 4 * 3 - pad).ok()
}

/// Appends the decoded bytes to `out`; leaves it as it was if there is an error.
pub fn decode_into(payload: &str, out: &mut Vec<u8>) -> Result<(), NotBase64> {
    let before = out.len();
    STANDARD.decode_vec(payload, out).map_err(|_| {
        out.truncate(before);
        NotBase64
    })
}

/// Appends `audio` to `out` as base64.
pub fn encode_into(audio: &[u8], out: &mut String) {
    STANDARD.encode_string(audio, out);
}

/// 1 for a byte that is not of the alphabet. By comparisons, since a table is looked up byte by byte.
fn outside(byte: u8) -> u8 {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // The slash is the character before the zero.
    let slash_or_digit = byte.wrapping_sub(b'/') < 11;
    u8::from(!(letter | slash_or_digit | (byte == b'+')))
}

/// Marks a byte that is not of the alphabet; no sextet has this bit.
const OUTSIDE: u8 = 0b1000_0000;

/// The six bits that each byte stands for.
const SEXTETS: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [OUTSIDE; 256];
    let mut sextet = 0;
    while sextet < alphabet.len() {
        table[alphabet[sextet] as usize] = sextet as u8;
        sextet += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_length_is_that_of_the_decoded_audio() {
        for (payload, len) in [("", 0), ("//79/w==", 4), ("AAAA", 3), ("AAA=", 2), ("AA==", 1)] {
            assert_eq!(payload_len(payload), Some(len), "{payload}");
        }
    }

    #[test]
    fn what_is_not_base64_has_no_length() {
        let hostile = [
            "A",
            "AA",
            "AAA",
            "AAAAA",
            "====",
            "A===",
            "=AAA",
            "AA=A",
            "AA==AAAA",
            "AAB=",
            "AB==",
            "AA-_",
            "AA\nA",
            "AA A",
            "\"}]}",
            "AAA\"",
            "ÄÄ",
            "AAAA\0\0\0\0",
        ];
        for payload in hostile {
            assert_eq!(payload_len(payload), None, "{payload:?}");
            assert_eq!(decode_into(payload, &mut Vec::new()), Err(NotBase64), "{payload:?}");
        }
    }

    #[test]
    fn every_byte_is_judged_as_the_decoder_does() {
        for byte in 0..=u8::MAX {
            for place in 0..4 {
                let mut text = *b"AAAAAAAA";
                text[place] = byte;
                // Of bytes that are no text by themselves, nothing is asked.
                let Ok(text) = std::str::from_utf8(&text) else { continue };
                let decoded = decode_into(text, &mut Vec::new()).is_ok();
                assert_eq!(payload_len(text), decoded.then_some(6), "{byte:#x} at {place}");
            }
            assert_eq!(outside(byte) == 1, SEXTETS[usize::from(byte)] == OUTSIDE, "{byte:#x}");
        }
    }

    #[test]
    fn a_refused_payload_leaves_the_buffer_alone() {
        let mut out = vec![1, 2, 3];
        assert_eq!(decode_into("AAAA!AAA", &mut out), Err(NotBase64));
        assert_eq!(out, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn audio_survives(audio: Vec<u8>, before: Vec<u8>) {
            let mut text = String::from("x");
            encode_into(&audio, &mut text);
            prop_assert_eq!(payload_len(&text[1..]), u32::try_from(audio.len()).ok());
            let mut out = before.clone();
            decode_into(&text[1..], &mut out).unwrap();
            prop_assert_eq!(out, [before, audio].concat());
        }

        /// Nearly base64, so that both answers happen often.
        #[test]
        fn length_and_decoding_agree(text in "([A-D/+]{4}){0,3}[A-D/+=\"]{0,4}") {
            let mut out = Vec::new();
            let decoded = decode_into(&text, &mut out).is_ok();
            prop_assert_eq!(payload_len(&text), decoded.then_some(u32::try_from(out.len()).unwrap()));
        }
    }
}
