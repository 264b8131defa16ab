//! Text inside JSON that is as it stands there.

/// Whether this is what it stands for in JSON, without an escape. Branches on none of the bytes, so that many are looked at
/// at a time.
pub(super) fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |odd, byte| odd | (byte == b'"') | (byte == b'\\') | (byte < b' '))
}

/// The text with one of its characters another one, missing, or there twice.
#[cfg(test)]
pub(super) fn nearly(text: &'static str) -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;

    let with =
        prop::sample::select(vec!['"', '\\', '0', '9', 'a', '}', '{', ',', ':', ' ', '\n', '\u{1}', 'ä', '-', '.']);
    (0..text.len(), 0..3, with).prop_map(move |(at, change, with)| {
        let (before, after) = text.split_at(at);
        match change {
            0 => format!("{before}{with}{}", &after[1..]),
            1 => format!("{before}{}", &after[1..]),
            _ => format!("{before}{with}{after}"),
        }
    })
}
