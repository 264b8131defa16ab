//! `patchcord demo`: a whole phone call on one machine. Its story, its caller's voice, and the picture it leaves behind.

pub mod picture;
pub mod story;
pub mod wav;
