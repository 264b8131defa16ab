//! Stand-ins for parts of `call` that are not there yet. Each names what replaces it; the file then goes.

use call::farewell::Language;
use call::wire::openai::SessionSettings;

use crate::agent::Agent;

/// Replace by `SessionSettings { model, voice, instructions, transcription_model, language, tools, .. }`.
pub(crate) fn session(_agent: &Agent) -> SessionSettings {
    SessionSettings {}
}

/// Replace by the language data's own look-up of a tag.
pub(crate) fn language(tag: &str) -> Option<Language> {
    tag.eq_ignore_ascii_case("en").then_some(Language::ENGLISH)
}

/// Replace by `call::wire::openai::close_is_fatal`.
pub(crate) fn close_is_fatal(code: Option<u16>) -> bool {
    matches!(code, Some(1000 | 1008 | 4000))
}
