//! Function calls, put together of the pieces that they are streamed in.

use super::Failure;

/// A piece of a function call. All that is not there came before, or is still to come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallPiece {
    /// Which of the answer's calls it is of. Some servers leave it out, or give all calls the same.
    pub index: Option<u64>,
    pub id: Option<String>,
    pub name: Option<String>,
    /// What is added to the arguments (JSON).
    pub arguments: String,
}

/// A whole function call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolCall {
    /// The server's name for it, if it has one.
    pub id: Option<String>,
    pub name: String,
    /// JSON, if the model made no mistake.
    pub arguments: String,
}

/// Calls of one answer. Nobody waits for more tools than that.
const CALLS_MAX: usize = 16;

/// Bytes of the arguments of one call: more than is said in a minute.
const ARGUMENTS_MAX: usize = 16 << 10;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Calls(Vec<(Option<u64>, ToolCall)>);

impl Calls {
    /// # Errors
    /// If it is too much.
    pub fn add(&mut self, piece: CallPiece) -> Result<(), Failure> {
        let CallPiece { index, id, name, arguments } = piece;
        let (id, name) = (id.filter(|id| !id.is_empty()), name.filter(|name| !name.is_empty()));
        let continued = match index {
            Some(_) => self.0.iter().rposition(|(known, _)| *known == index),
            None if name.is_some() => None,
            None => self.0.len().checked_sub(1),
        };
        // Another id is another call, whatever its index.
        let is_same = |at: &usize| id.is_none() || self.0[*at].1.id.is_none() || id == self.0[*at].1.id;
        let at = match continued.filter(is_same) {
            Some(at) => at,
            None if self.0.len() == CALLS_MAX => {
                return Err(Failure::passing(format!(
                    "The chat server called more than {CALLS_MAX} functions at once."
                )));
            }
            None => {
                self.0.push((index, ToolCall { id: None, name: String::new(), arguments: String::new() }));
                self.0.len() - 1
            }
        };
        let call = &mut self.0[at].1;
        call.id = call.id.take().or(id);
        if call.name.is_empty() {
            call.name = name.unwrap_or_default();
        }
        call.arguments.push_str(&arguments);
        if call.arguments.len() > ARGUMENTS_MAX {
            return Err(Failure::passing(format!("The arguments of a function have more than {ARGUMENTS_MAX} bytes.")));
        }
        Ok(())
    }

    /// All of them, once nothing more comes. What has no name calls nothing.
    pub fn whole(self) -> impl Iterator<Item = ToolCall> {
        self.0.into_iter().map(|(_, call)| call).filter(|call| !call.name.is_empty()).map(|mut call| {
            if call.arguments.trim().is_empty() {
                call.arguments = "{}".to_owned();
            }
            call
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(pieces: &[(Option<u64>, &str, &str, &str)]) -> Vec<(Option<String>, String, String)> {
        let mut calls = Calls::default();
        for &(index, id, name, arguments) in pieces {
            let given = |text: &str| Some(text.to_owned());
            calls.add(CallPiece { index, id: given(id), name: given(name), arguments: arguments.into() }).unwrap();
        }
        calls.whole().map(|call| (call.id, call.name, call.arguments)).collect()
    }

    #[test]
    fn pieces_become_calls_by_their_index() {
        let pieces = [
            (Some(0), "a", "book", ""),
            (Some(0), "", "", r#"{"day":"#),
            (Some(1), "b", "ask", r#"{"#),
            (Some(0), "", "", r#""Monday"}"#),
            (Some(1), "", "", "}"),
        ];
        let call = |id: &str, name: &str, arguments: &str| (Some(id.to_owned()), name.to_owned(), arguments.to_owned());
        assert_eq!(whole(&pieces), [call("a", "book", r#"{"day":"Monday"}"#), call("b", "ask", "{}")]);
        // Each whole, all with the same index, as some servers have it; or with none.
        let same = [(Some(0), "a", "book", "{}"), (Some(0), "b", "ask", "")];
        assert_eq!(whole(&same), [call("a", "book", "{}"), call("b", "ask", "{}")]);
        let none = [(None, "", "book", r#"{"a""#), (None, "", "", ":1}"), (None, "", "ask", "{}")];
        let nameless = |name: &str, arguments: &str| (None, name.to_owned(), arguments.to_owned());
        assert_eq!(whole(&none), [nameless("book", r#"{"a":1}"#), nameless("ask", "{}")]);
        assert_eq!(whole(&[(Some(0), "a", "", "{}")]), []);
    }

    #[test]
    fn too_much_is_refused() {
        let mut calls = Calls::default();
        let piece = |index: u64, length: usize| CallPiece {
            index: Some(index),
            arguments: " ".repeat(length),
            ..CallPiece::default()
        };
        for index in 0..CALLS_MAX as u64 {
            calls.add(piece(index, ARGUMENTS_MAX)).unwrap();
        }
        assert!(calls.clone().add(piece(CALLS_MAX as u64, 0)).unwrap_err().message.contains("more than 16 functions"));
        assert!(calls.add(piece(3, 1)).unwrap_err().message.contains("16384 bytes"));
    }
}
