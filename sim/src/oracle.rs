//! What must be true of any call, judged from outside: by what the carrier played and what the model gave.
//!
//! Model and carrier speak the same µ-law and nothing is transcoded (A6), so audio is compared byte by byte: nothing
//! inserted, nothing missing, not a single sample.

use crate::carrier::stream::StreamReport;
use crate::model::{GeneratedItem, Record};

/// Where and how much of an item was played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    pub item_id: String,
    /// Byte of `played` at which it begins.
    pub at: usize,
    /// Bytes of it that were played.
    pub bytes: usize,
}

/// Finds each item in what was played, in order. Items of which nothing was played are left out.
///
/// # Errors
/// In words, when something was played that was not generated, or an item has a hole.
pub fn heard(report: &StreamReport, record: &Record) -> Result<Vec<Heard>, String> {
    let mut found = Vec::new();
    let mut from = 0;
    for item in &record.generated {
        let Some((at, bytes)) = longest_prefix(&report.played[from..], &item.audio) else { continue };
        check_silent(&report.played[from..from + at]).map_err(|offset| {
            format!("{}: {} bytes in, something was played that is no item", item.item_id, from + offset)
        })?;
        found.push(Heard { item_id: item.item_id.clone(), at: from + at, bytes });
        from += at + bytes;
    }
    check_silent(&report.played[from..])
        .map_err(|offset| format!("{} bytes in, something was played after the last item", from + offset))?;
    Ok(found)
}

/// A call in which everything went as it should, whoever interrupted whom: each item whole, or cut off and told so.
///
/// # Errors
/// In words.
pub fn judge(report: &StreamReport, record: &Record, tolerance_ms: u32) -> Result<Vec<Heard>, String> {
    if !report.violations.is_empty() {
        return Err(format!("the carrier would warn: {:?}", report.violations));
    }
    if let Some(error) = record.client_errors.first() {
        return Err(format!("the model complained: {error:?}"));
    }
    let heard = heard(report, record)?;
    for item in &record.generated {
        let bytes = heard.iter().find(|heard| heard.item_id == item.item_id).map_or(0, |heard| heard.bytes);
        judge_item(item, bytes, tolerance_ms)?;
    }
    Ok(heard)
}

fn judge_item(item: &GeneratedItem, heard: usize, tolerance_ms: u32) -> Result<(), String> {
    let name = &item.item_id;
    match (heard, item.truncated_to_ms) {
        (_, Some(told)) => {
            // Where the item itself is silent, nobody can tell whether it was played or not.
            let told_bytes = (told as usize * 8).min(item.audio.len());
            let surely = match item.audio.get(told_bytes..heard) {
                Some(rest) if rest.iter().all(|byte| is_silent(*byte)) => told_bytes,
                Some(_) | None => heard,
            };
            let played = u32::try_from(surely / 8).unwrap_or(u32::MAX);
            if played.abs_diff(told) > tolerance_ms {
                return Err(format!("{name}: {played} ms were heard, the model was told {told} ms"));
            }
        }
        (0, None) if item.deleted || item.audio.is_empty() => {}
        (0, None) => return Err(format!("{name}: nothing was heard, and the model was not told")),
        (heard, None) if heard < item.audio.len() => {
            return Err(format!(
                "{name}: {heard} of {} bytes were heard, and the model was not told",
                item.audio.len()
            ));
        }
        (_, None) if item.deleted => return Err(format!("{name}: was heard, and deleted")),
        (_, None) => {}
    }
    Ok(())
}

/// Where the longest beginning of `audio` stands in `played`, and how long it is. Shorter than a few ms is chance.
fn longest_prefix(played: &[u8], audio: &[u8]) -> Option<(usize, usize)> {
    const SURE: usize = 64;
    // What begins with silence is found by what comes after it.
    let lead = audio.iter().take_while(|byte| is_silent(**byte)).count();
    let key = audio.get(lead..)?;
    let key = &key[..key.len().min(SURE)];
    if key.is_empty() {
        return None;
    }
    let at = played.windows(key.len()).position(|window| window == key)?.checked_sub(lead)?;
    let bytes = played[at..].iter().zip(audio).take_while(|(played, audio)| played == audio).count();
    (bytes >= lead + key.len()).then_some((at, bytes))
}

fn check_silent(audio: &[u8]) -> Result<(), usize> {
    audio.iter().position(|byte| !is_silent(*byte)).map_or(Ok(()), Err)
}

/// Both zeros of µ-law.
pub(crate) fn is_silent(byte: u8) -> bool {
    byte == 0xFF || byte == 0x7F
}
