//! stub
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Language(u8);
impl Language { pub const ENGLISH: Language = Language(0); }
