//! G.711 A-law, as ITU-T G.711 has it. The telephone's own coding here is µ-law ([`call::g711`]); this is for clients that
//! want the other one.

/// What is written for silence.
#[cfg(test)]
const SILENCE: u8 = 0xD5;

/// Every other bit is sent inverted.
const INVERTED: u8 = 0x55;

/// A byte as a sample.
pub fn decode(byte: u8) -> i16 {
    let byte = byte ^ INVERTED;
    let (segment, step) = (u32::from(byte >> 4 & 7), i16::from(byte & 15) << 4);
    let magnitude = if segment == 0 { step + 8 } else { (step + 0x108) << (segment - 1) };
    if byte & 0x80 != 0 { magnitude } else { -magnitude }
}

/// A sample as a byte.
pub fn encode(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 { (0x80, sample >> 3) } else { (0, !(sample >> 3)) };
    // 32 steps in the first two segments, 16 in each that follows.
    let segment = 11 - (magnitude | 0x1F).leading_zeros();
    let step = magnitude >> segment.max(1) & 15;
    (sign | (segment as u8) << 4 | step as u8) ^ INVERTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_its_own_and_the_ends_are_those_of_the_recommendation() {
        for byte in 0..=u8::MAX {
            assert_eq!(encode(decode(byte)), byte);
        }
        assert_eq!((decode(SILENCE), decode(0xAA), decode(0x2A)), (8, 32_256, -32_256));
        assert_eq!((encode(i16::MAX), encode(i16::MIN), encode(0)), (0xAA, 0x2A, SILENCE));
    }

    #[test]
    fn no_sample_is_further_away_than_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let off = (i32::from(decode(encode(sample))) - i32::from(sample)).abs();
            let step = (i32::from(sample).abs() / 16).max(16);
            assert!(off <= step / 2 + 8 || i32::from(sample).abs() > 32_256, "{sample} is off by {off}");
        }
    }
}
