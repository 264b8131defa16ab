//! The carrier's media socket: axum's WebSocket, with buffers of the size of its messages.

use axum::extract::ws::{self, WebSocket, WebSocketUpgrade};

use crate::socket::{Message, OutText, Received, Socket};

pub(crate) type CarrierSocket = Socket<WebSocket, ws::Message>;

/// The carrier's messages are some 400 bytes; OpenAI's own example for this socket allows as much as this.
const MESSAGE_MAX: usize = 64 * 1024;

/// A frame. What is left of the buffer is cleared at each read, also when there is nothing to be read: of 128 KiB, the
/// default, that costs more than all the rest of a call. What does not fit was read all the same (`read_ahead.rs`).
pub(crate) const READ_BUFFER: usize = 512;

/// What is said in one round of the loop goes out in one write, being flushed at the round's end, up to five frames. Only
/// when an utterance begins there are more: the room for them all would be kept for the whole call.
pub(crate) const WRITE_BUFFER: usize = 1536;

pub(crate) fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
}

impl Message for ws::Message {
    type Text = ws::Utf8Bytes;

    fn text(text: OutText) -> Self {
        ws::Message::Text(text.into_utf8())
    }

    fn ping() -> Self {
        ws::Message::Ping(axum::body::Bytes::new())
    }

    fn received(self) -> Option<Received<ws::Utf8Bytes>> {
        match self {
            ws::Message::Text(text) => Some(Received::Text(text)),
            ws::Message::Close(frame) => Some(Received::Closed(frame.map(|frame| frame.code))),
            ws::Message::Binary(_) | ws::Message::Ping(_) | ws::Message::Pong(_) => None,
        }
    }
}
