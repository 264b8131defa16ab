//! G.711 µ-law, and the 16-bit PCM at 24 kHz that vendors' SDKs use by default.

/// One sample of 16 bits, as ITU-T G.711 expands it.
pub fn decode(byte: u8) -> i16 {
    let byte = !byte;
    let exponent = (byte >> 4) & 7;
    let magnitude = (((i16::from(byte & 0x0f) << 3) + BIAS) << exponent) - BIAS;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

pub fn encode(sample: i16) -> u8 {
    let magnitude = sample.saturating_abs().min(CLIP) + BIAS;
    // The position of the highest bit, counted from bit 7.
    let exponent = (8 - magnitude.leading_zeros().min(8)) as u8;
    let mantissa = ((magnitude >> (exponent + 3)) & 0x0f) as u8;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | exponent << 4 | mantissa)
}

const BIAS: i16 = 0x84;
const CLIP: i16 = 32_635;

/// 24 kHz little-endian to 8 kHz: the mean of each three samples, good enough for a detector of loudness.
pub fn from_pcm_24k(bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks_exact(6)
        .map(|three| {
            let sum: i32 = three.chunks_exact(2).map(|two| i32::from(i16::from_le_bytes([two[0], two[1]]))).sum();
            encode((sum / 3) as i16)
        })
        .collect()
}

/// 8 kHz to 24 kHz little-endian, each sample thrice: a fake need not sound well.
pub fn to_pcm_24k(audio: &[u8]) -> Vec<u8> {
    audio.iter().flat_map(|&byte| [decode(byte).to_le_bytes(); 3]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, from_pcm_24k, to_pcm_24k};

    #[test]
    fn every_byte_survives() {
        for byte in 0..=255 {
            // Negative zero has the value of zero.
            let expected = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(encode(decode(byte)), expected, "{byte:#x}");
        }
        assert_eq!((decode(0x00), decode(0x80), decode(0xff)), (-32_124, 32_124, 0));
        assert_eq!((encode(i16::MIN), encode(i16::MAX)), (0x00, 0x80));
    }

    #[test]
    fn pcm_and_back() {
        let audio: Vec<u8> = (0x80..=0xff).collect();
        assert_eq!(from_pcm_24k(&to_pcm_24k(&audio)), audio);
    }
}
