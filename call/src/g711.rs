//! G.711 µ-law: 8-bit companding of speech at 8,000 samples a second, what telephone networks carry (ITU-T G.711, section 3.2).
//!
//! A byte is a sign, a 3-bit segment and a 4-bit step, all bits inverted. Segments double in size, so that the error stays
//! some 38 dB below the signal over 40 dB of loudness. Samples here are 16-bit: the standard's 14 bits, four times as large.

/// The byte of silence.
pub const SILENCE: u8 = 0xFF;

/// The sample that each byte stands for.
pub const DECODED: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = decoded(byte as u8);
        byte += 1;
    }
    table
};

pub fn decode(byte: u8) -> i16 {
    DECODED[usize::from(byte)]
}

/// The byte that stands for the values around `sample`. Beyond ±32,635 the code has no more room: loudest byte.
pub const fn encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    // The ones' complement of negative samples, as in the ITU's reference code (G.191): steps begin one later than above zero.
    let magnitude = (sample ^ (sample >> 15)) as u16;
    let biased = (if magnitude > LOUDEST { LOUDEST } else { magnitude }) + BIAS;
    // The bias puts the first one bit at bit 7 or above: its place is the segment, the four bits after it the step.
    let segment = 8 - biased.leading_zeros() as u16;
    let step = (biased >> (segment + 3)) & 0x0F;
    !(sign | (segment << 4) as u8 | step as u8)
}

const fn decoded(byte: u8) -> i16 {
    let bits = !byte;
    let segment = (bits >> 4) & 0x07;
    let step = (bits & 0x0F) as u16;
    let magnitude = ((((step << 3) + BIAS) << segment) - BIAS) as i16;
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// Added to a magnitude so that every segment begins at a power of two.
const BIAS: u16 = 0x84;
const LOUDEST: u16 = 0x7FFF - BIAS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_every_sample_agree_with_another_implementation() {
        for byte in 0..=u8::MAX {
            assert_eq!(decode(byte), audio_codec_algorithms::decode_ulaw(byte), "byte {byte:#04x}");
        }
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(encode(sample), audio_codec_algorithms::encode_ulaw(sample), "sample {sample}");
        }
    }

    #[test]
    fn what_was_decoded_encodes_to_the_same_byte() {
        // Except for the second code of zero, 0x7F.
        for byte in (0..=u8::MAX).filter(|&byte| byte != 0x7F) {
            assert_eq!(encode(decode(byte)), byte);
        }
        assert_eq!(decode(SILENCE), 0);
    }
}
