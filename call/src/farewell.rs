//! stub
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Language(u8);
impl Language { pub const ENGLISH: Language = Language(0); }
pub fn says_farewell(t:&str,_l:&[Language])->bool{t.contains("oodbye")}
pub fn is_only_farewell(t:&str,_l:&[Language])->bool{t.len()<12&&t.contains("ye")}
pub fn is_back_channel(t:&str,_l:&[Language])->bool{t=="mhm"}
