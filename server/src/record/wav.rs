//! The header of a recording: WAV, µ-law (format 7), stereo, 8 kHz.

/// Channels, and so bytes, of one moment.
const CHANNELS: u32 = 2;
const SAMPLE_RATE: u32 = 8_000;
const MULAW: u16 = 7;

pub(crate) const HEADER_LEN: usize = 58;

/// While it is written, and after a crash, the sizes are the largest there are: players and converters then read to
/// the end of the file, and nothing of what reached the disk is lost.
pub(crate) fn unfinished_header() -> [u8; HEADER_LEN] {
    header(u32::MAX, u32::MAX, u32::MAX)
}

/// For a recording of this many bytes of audio.
pub(crate) fn finished_header(audio_bytes: u64) -> [u8; HEADER_LEN] {
    let rest = HEADER_LEN as u64 - 8;
    let fits = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    header(fits(audio_bytes + rest), fits(audio_bytes / u64::from(CHANNELS)), fits(audio_bytes))
}

fn header(riff_size: u32, samples: u32, data_size: u32) -> [u8; HEADER_LEN] {
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend(b"RIFF");
    header.extend(riff_size.to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(18u32.to_le_bytes());
    header.extend(MULAW.to_le_bytes());
    header.extend((CHANNELS as u16).to_le_bytes());
    header.extend(SAMPLE_RATE.to_le_bytes());
    header.extend((SAMPLE_RATE * CHANNELS).to_le_bytes());
    header.extend((CHANNELS as u16).to_le_bytes());
    header.extend(8u16.to_le_bytes());
    // No extension follows; formats other than PCM have to say so, and have to count their samples.
    header.extend(0u16.to_le_bytes());
    header.extend(b"fact");
    header.extend(4u32.to_le_bytes());
    header.extend(samples.to_le_bytes());
    header.extend(b"data");
    header.extend(data_size.to_le_bytes());
    header.try_into().expect("the fields above are 58 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_follows() {
        let header = finished_header(32_000);
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!(u32_at(4), 32_000 + 50);
        assert_eq!((u16_at(20), u16_at(22), u32_at(24)), (7, 2, 8_000));
        assert_eq!((u32_at(28), u16_at(32), u16_at(34)), (16_000, 2, 8));
        assert_eq!((&header[38..42], u32_at(46)), (b"fact".as_slice(), 16_000));
        assert_eq!((&header[50..54], u32_at(54)), (b"data".as_slice(), 32_000));
    }
}
