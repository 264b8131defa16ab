//! WebSocket frames (RFC 6455), as far as a load needs them: whole text messages, written with one copy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// What is to be done with a frame that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Ping,
    Close,
    /// Nothing to us.
    Other,
}

/// A frame in a buffer: its kind, where its payload lies, and where the next frame begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub kind: Kind,
    pub payload: std::ops::Range<usize>,
    pub end: usize,
}

/// Whose frames are written: a client's carry a mask, which is zero here, so that there is nothing to compute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

/// Appends a text message to `out`.
pub(super) fn write_text(out: &mut Vec<u8>, side: Side, text: &[u8]) {
    write(out, side, 1, text);
}

pub(super) fn write_pong(out: &mut Vec<u8>, side: Side, payload: &[u8]) {
    write(out, side, 10, payload);
}

/// Appends a normal closure.
pub(super) fn write_close(out: &mut Vec<u8>, side: Side) {
    write(out, side, 8, &1000_u16.to_be_bytes());
}

fn write(out: &mut Vec<u8>, side: Side, opcode: u8, payload: &[u8]) {
    let masked = if side == Side::Client { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..126 => out.push(masked | len as u8),
        len @ 126..0x1_0000 => {
            out.push(masked | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    if side == Side::Client {
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(payload);
}

/// The frame that begins at `from`, if all of it is there; its payload is unmasked where it lies. The peers that are under
/// load send no message in parts.
pub(super) fn find(buffer: &mut [u8], from: usize) -> Option<Found> {
    let head = buffer.get(from..)?;
    let (first, second) = (*head.first()?, *head.get(1)?);
    let (len, mut at) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(*head.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*head.get(2..)?.first_chunk()?), 10),
        len => (u64::from(len), 2),
    };
    let mask = if second & 0x80 != 0 {
        let mask = *head.get(at..)?.first_chunk::<4>()?;
        at += 4;
        Some(mask)
    } else {
        None
    };
    let payload = from + at..(from + at).checked_add(usize::try_from(len).ok()?)?;
    let bytes = buffer.get_mut(payload.clone())?;
    if let Some(mask) = mask.filter(|mask| *mask != [0; 4]) {
        unmask(bytes, mask);
    }
    let kind = match first & 0x0F {
        1 => Kind::Text,
        8 => Kind::Close,
        9 => Kind::Ping,
        _ => Kind::Other,
    };
    Some(Found { kind, end: payload.end, payload })
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}

/// The answer to a client's handshake, if its head is whole: `None` while it is not. What follows the head begins at the
/// second value.
pub(super) fn answer_handshake(head: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (text, end) = whole_head(head)?;
    let key = header(text, "sec-websocket-key").unwrap_or_default();
    let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Some((answer.into_bytes(), end))
}

/// A client's handshake.
pub(super) fn handshake(host: &str, path: &str) -> Vec<u8> {
    // The key keeps caches from answering; there is none on loopback.
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// An HTTP head that has come in whole, and where it ends.
pub(super) fn whole_head(bytes: &[u8]) -> Option<(&str, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    Some((std::str::from_utf8(&bytes[..end]).unwrap_or_default(), end))
}

pub(super) fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_masked_or_not_and_only_when_it_is_whole() {
        for len in [0, 1, 125, 126, 300, 70_000] {
            let text = vec![b'x'; len];
            for side in [Side::Client, Side::Server] {
                let mut bytes = b"before".to_vec();
                write_text(&mut bytes, side, &text);
                let whole = bytes.len();
                assert_eq!(find(&mut bytes[..whole - 1], 6), None);
                bytes.extend_from_slice(b"after");
                let found = find(&mut bytes, 6).unwrap();
                assert_eq!((found.kind, found.end), (Kind::Text, whole));
                assert_eq!(bytes[found.payload], text[..]);
            }
        }
    }

    #[test]
    fn a_mask_is_taken_off() {
        // RFC 6455, section 5.7.
        let mut hello = vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let found = find(&mut hello, 0).unwrap();
        assert_eq!(&hello[found.payload], b"Hello");
    }

    #[test]
    fn the_handshake_is_answered_as_the_rfc_does() {
        // RFC 6455, section 1.3.
        let mut request = handshake("h", "/p");
        assert!(answer_handshake(&request[..request.len() - 1]).is_none());
        request.extend_from_slice(b"rest");
        let (answer, end) = answer_handshake(&request).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(header(&answer, "Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(&request[end..], b"rest");
    }
}
