//! What the model was told about things that were not heard: repeated once if it was rejected (B1).

use std::collections::VecDeque;

use crate::fingerprint::Fingerprint;
use crate::id::{ItemId, RequestId};
use crate::output::ModelOutput;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Edit {
    /// At least 1 ms.
    Truncate {
        item: ItemId,
        heard_ms: u32,
    },
    Delete {
        item: ItemId,
    },
}

impl Edit {
    pub fn as_output(self, request: RequestId) -> ModelOutput {
        match self {
            Edit::Truncate { item, heard_ms } => ModelOutput::Truncate { request, item, heard_ms },
            Edit::Delete { item } => ModelOutput::DeleteItem { request, item },
        }
    }
}

/// The last edits, which may still be rejected: nothing says that one was accepted, so the oldest are forgotten.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Edits {
    sent: VecDeque<(RequestId, Edit)>,
    rejected: VecDeque<Edit>,
}

const EDITS_MAX: usize = 16;

impl Edits {
    pub fn sent(&mut self, request: RequestId, edit: Edit) {
        if self.sent.len() == EDITS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((request, edit));
    }

    /// True when this was the first rejection of one of ours: it will be repeated.
    pub fn rejected(&mut self, request: RequestId) -> bool {
        let Some(index) = self.sent.iter().position(|(sent, _)| *sent == request) else { return false };
        self.rejected.extend(self.sent.remove(index).map(|(_, edit)| edit));
        true
    }

    /// The next to be sent once more. It is not remembered: a second rejection is only warned about.
    pub fn next_repeat(&mut self) -> Option<Edit> {
        self.rejected.pop_front()
    }

    /// One that nobody can reject any more is as good as forgotten, while there are fewer than are forgotten anyway.
    pub fn fingerprint(&self, print: &mut Fingerprint<'_>) {
        let Edits { sent, rejected } = self;
        let open: Vec<_> = sent.iter().filter(|(request, _)| print.knows(*request)).collect();
        print.put(open.len());
        for (request, edit) in open {
            print.id(*request);
            edit.fingerprint(print);
        }
        print.put(rejected.len());
        for edit in rejected {
            edit.fingerprint(print);
        }
    }
}

impl Edit {
    fn fingerprint(self, print: &mut Fingerprint<'_>) {
        match self {
            Edit::Truncate { item, heard_ms } => {
                print.put(heard_ms);
                print.id(item);
            }
            Edit::Delete { item } => {
                print.put(0);
                print.id(item);
            }
        }
    }
}
