//! What vendors' SDKs use by default, 16-bit PCM at 24 kHz, from and to G.711 µ-law.

pub use call::g711::{decode, encode};

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
