//! What the load's audio says about itself: each frame of 20 ms begins with nine bytes that name it, so that whoever it
//! arrives at knows which frame of whom it is, and when it was sent. Nine bytes are twelve characters of base64, which are
//! looked at without decoding the frame.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// 20 ms of µ-law.
pub(crate) const FRAME_BYTES: usize = 160;

/// Characters of base64 that a stamp takes.
const CHARS: usize = 12;

const MAGIC: u8 = 0xB5;

/// What the rest of a frame consists of: not silence, and never [`MAGIC`].
const FILLING: u8 = 0x55;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// Of the call, counted from 0.
    pub call: u16,
    /// The caller speaks in this frame. Of no meaning for the agent's.
    pub speech: bool,
    /// Of the caller's frames: when it was sent, µs on the load's clock, 32 bits of it. Of the agent's: the utterance in
    /// the upper half, the frame within it in the lower.
    pub number: u32,
}

impl Stamp {
    pub(crate) fn utterance(self) -> u16 {
        (self.number >> 16) as u16
    }

    pub(crate) fn frame(self) -> u32 {
        self.number & 0xFFFF
    }

    fn bytes(self) -> [u8; 9] {
        let [c1, c0] = self.call.to_be_bytes();
        let [n3, n2, n1, n0] = self.number.to_be_bytes();
        [MAGIC, !MAGIC, u8::from(self.speech), c1, c0, n3, n2, n1, n0]
    }

    fn of_bytes(bytes: &[u8]) -> Option<Stamp> {
        let [MAGIC, magic, speech, c1, c0, n3, n2, n1, n0] = *bytes.first_chunk::<9>()? else { return None };
        let number = u32::from_be_bytes([n3, n2, n1, n0]);
        (magic == !MAGIC).then_some(Stamp { call: u16::from_be_bytes([c1, c0]), speech: speech == 1, number })
    }

    /// The stamp of the frame that this base64 begins with.
    pub(crate) fn of_payload(payload: &[u8]) -> Option<Stamp> {
        let mut bytes = [0; 9];
        STANDARD.decode_slice(payload.get(..CHARS)?, &mut bytes).ok()?;
        Stamp::of_bytes(&bytes)
    }

    /// The stamps of all frames that this base64 holds, whole frames from its beginning on.
    pub(crate) fn all_of_payload<'a>(payload: &[u8], audio: &'a mut Vec<u8>) -> impl Iterator<Item = Stamp> + use<'a> {
        audio.clear();
        // What is not base64 has no stamps.
        let _ = STANDARD.decode_vec(payload, audio);
        audio.chunks(FRAME_BYTES).filter_map(Stamp::of_bytes)
    }

    /// Writes the whole frame.
    pub(crate) fn write_frame(self, frame: &mut [u8]) {
        frame.fill(FILLING);
        frame[..9].copy_from_slice(&self.bytes());
    }

    /// Puts the stamp over the beginning of a frame that is in base64 already.
    pub(crate) fn write_over_payload(self, payload: &mut [u8]) {
        let room = &mut payload[..CHARS];
        let written = STANDARD.encode_slice(self.bytes(), room);
        debug_assert_eq!(written, Ok(CHARS));
    }
}

/// A frame in base64, to be stamped by [`Stamp::write_over_payload`].
pub(crate) fn blank_payload() -> Vec<u8> {
    STANDARD.encode([FILLING; FRAME_BYTES]).into_bytes()
}

/// How many bytes this much base64 is, if it is whole.
pub(crate) fn decoded_len(payload: &[u8]) -> usize {
    let pad = payload.iter().rev().take(2).filter(|byte| **byte == b'=').count();
    (payload.len() / 4 * 3).saturating_sub(pad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_base64_and_is_found_without_decoding_the_frame() {
        let stamp = Stamp { call: 517, speech: true, number: 0xFFF0_1234 };
        let mut payload = blank_payload();
        assert_eq!(Stamp::of_payload(&payload), None);
        stamp.write_over_payload(&mut payload);
        assert_eq!((Stamp::of_payload(&payload), decoded_len(&payload)), (Some(stamp), FRAME_BYTES));
        assert_eq!((stamp.utterance(), stamp.frame()), (0xFFF0, 0x1234));
    }

    #[test]
    fn grouped_frames_are_all_found() {
        let stamps = [1, 2, 3].map(|number| Stamp { call: 9, speech: false, number });
        let mut audio = vec![0; 3 * FRAME_BYTES];
        for (frame, stamp) in audio.chunks_mut(FRAME_BYTES).zip(stamps) {
            stamp.write_frame(frame);
        }
        let payload = STANDARD.encode(&audio);
        let mut buffer = Vec::new();
        assert!(Stamp::all_of_payload(payload.as_bytes(), &mut buffer).eq(stamps));
        assert_eq!(Stamp::all_of_payload(b"no base64", &mut buffer).count(), 0);
    }
}
