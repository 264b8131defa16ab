//! Stress marks in phonemes.

pub const PRIMARY: char = 'ˈ';
pub const SECONDARY: char = 'ˌ';

/// How strongly a word is to be said, against how the lexicon has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Emphasis {
    /// No stress at all.
    Off,
    /// At most secondary stress.
    Reduced,
    /// Exactly secondary stress.
    Light,
    /// At least secondary stress.
    Some,
    /// At least primary stress.
    Strong,
}

pub fn is_vowel(phoneme: char) -> bool {
    "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ".contains(phoneme)
}

pub fn is_consonant(phoneme: char) -> bool {
    "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ".contains(phoneme)
}

/// Whether a mark of either kind is there.
fn is_stressed(phonemes: &str) -> bool {
    phonemes.contains([PRIMARY, SECONDARY])
}

/// `phonemes` with their stress as `emphasis` wants it.
pub fn emphasised(phonemes: &str, emphasis: Option<Emphasis>) -> String {
    let lowered = || phonemes.replace(SECONDARY, "").replace(PRIMARY, "ˌ");
    match emphasis {
        Some(Emphasis::Off) => phonemes.replace([PRIMARY, SECONDARY], ""),
        Some(Emphasis::Reduced | Emphasis::Light) if phonemes.contains(PRIMARY) => lowered(),
        Some(Emphasis::Light | Emphasis::Some) if !is_stressed(phonemes) => before_first_vowel(phonemes, SECONDARY),
        Some(Emphasis::Strong) if !is_stressed(phonemes) => before_first_vowel(phonemes, PRIMARY),
        Some(Emphasis::Strong) if !phonemes.contains(PRIMARY) => phonemes.replace(SECONDARY, "ˈ"),
        _ => phonemes.to_owned(),
    }
}

fn before_first_vowel(phonemes: &str, mark: char) -> String {
    match phonemes.find(is_vowel) {
        Some(at) => format!("{}{mark}{}", &phonemes[..at], &phonemes[at..]),
        None => phonemes.to_owned(),
    }
}

/// How much there is of a word, for whoever decides which part of a compound is the weaker: long sounds count twice.
pub fn weight(phonemes: &str) -> usize {
    phonemes.chars().map(|phoneme| if "AIOQWYʤʧ".contains(phoneme) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stress_is_raised_and_lowered() {
        let of = |phonemes, emphasis| emphasised(phonemes, Some(emphasis));
        assert_eq!(of("həlˈO", Emphasis::Off), "həlO");
        assert_eq!(of("ɹˈifˌʌnd", Emphasis::Reduced), "ɹˌifʌnd");
        assert_eq!(of("ðə", Emphasis::Reduced), "ðə");
        assert_eq!(of("ðə", Emphasis::Some), "ðˌə");
        assert_eq!(of("ðə", Emphasis::Strong), "ðˈə");
        assert_eq!(of("mˌi", Emphasis::Strong), "mˈi");
        assert_eq!(of("s", Emphasis::Strong), "s");
        assert_eq!(emphasised("mˌi", None), "mˌi");
    }
}
