//! What tells one state of a call from another, without what cannot matter any more: for exploration (`sim::explore`).
//!
//! The derived `Hash` tells too much apart: two calls that will do the same from now on, one of them an hour older, are
//! different values, and a world in which time passes would never run out of new ones. So each part says next to its
//! struct what of it matters, under these rules:
//!
//! * A moment is how far away it is ([`Fingerprint::until`]). One that has passed is zero: deadlines are asked `at ≤ now`
//!   and not how long ago. One at the end of time is *never*: that is how a world switches a limit off.
//! * Something's name is its turn of appearance ([`Fingerprint::id`]): the call compares names and does nothing else
//!   with them, and new ones are always fresh.
//! * Left out is what no decision reads: counters, latencies, transcripts, notes already made, and the settings, which
//!   do not change within a world.
//!
//! Equal fingerprints must mean equal behaviour, up to names and the time of day, for every sequence of inputs. To keep
//! it so, a part takes its fields apart without `..`: a new field does not compile before somebody has thought of it.
//!
//! Whoever explores puts its own state in first, under the same names. A name that only the call still knows, and that
//! no input can ever mention again, can then be told from one that matters ([`Fingerprint::knows`]).

use std::hash::{Hash, Hasher};

use crate::id::{CommandId, ItemId, MarkId, RequestId, ResponseId, ToolCallId};
use crate::time::CallTime;

pub struct Fingerprint<'a> {
    hasher: &'a mut dyn Hasher,
    now: CallTime,
    /// In the order of their appearance. Few: a list is quicker than a map.
    names: Vec<(Kind, u64)>,
}

/// Names of different kinds are told apart, though both are small numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Response,
    Item,
    ToolCall,
    Request,
    Command,
    Mark,
}

/// A name of something within a call, that is compared and not computed with.
pub trait Name: Copy {
    fn name(self) -> (Kind, u64);
}

impl<'a> Fingerprint<'a> {
    pub fn new(hasher: &'a mut dyn Hasher, now: CallTime) -> Self {
        Fingerprint { hasher, now, names: Vec::with_capacity(32) }
    }

    /// A plain value, for which equal means equal.
    pub fn put(&mut self, value: impl Hash) {
        value.hash(&mut self.hasher);
    }

    pub fn id(&mut self, id: impl Name) {
        let name = id.name();
        let known = self.names.iter().position(|known| *known == name);
        let number = known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        self.put(number as u32);
    }

    pub fn id_of(&mut self, id: Option<impl Name>) {
        self.put(id.is_some());
        if let Some(id) = id {
            self.id(id);
        }
    }

    pub fn ids(&mut self, ids: impl ExactSizeIterator<Item = impl Name>) {
        self.put(ids.len());
        for id in ids {
            self.id(id);
        }
    }

    /// Whether this name has appeared.
    pub fn knows(&self, id: impl Name) -> bool {
        self.names.contains(&id.name())
    }

    /// A moment that is awaited: the time to it, zero once it has come.
    pub fn until(&mut self, at: CallTime) {
        if at == CallTime::NEVER {
            self.put(u64::MAX);
        } else {
            self.put(at.since(self.now).as_micros() as u64);
        }
    }

    pub fn until_some(&mut self, at: Option<CallTime>) {
        self.put(at.is_some());
        if let Some(at) = at {
            self.until(at);
        }
    }
}

macro_rules! name {
    ($($id:ident => $kind:ident),*) => {
        $(impl Name for $id {
            fn name(self) -> (Kind, u64) {
                (Kind::$kind, u64::from(self.0))
            }
        })*
    };
}

name!(ResponseId => Response, ItemId => Item, ToolCallId => ToolCall, RequestId => Request, CommandId => Command);

impl Name for MarkId {
    fn name(self) -> (Kind, u64) {
        (Kind::Mark, u64::from(self.epoch) << 32 | u64::from(self.seq))
    }
}
