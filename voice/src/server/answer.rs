//! A response whose words come from a chat server: asked for with the conversation so far, spoken while they come, and the
//! function calls made when all has come.

use call::wire::openai::{Item, Modality, Tool, ToolSpec};
use serde_json::json;

use super::response::{Active, End, Phase};
use super::session::{Held, Out, Session};
use crate::chat::aloud::Aloud;
use crate::chat::calls::Calls;
use crate::chat::request::{NOT_UNDERSTOOD, Request, SILENT, Turn};
use crate::chat::{Finish, Limits, Piece};

/// What a chat server has answered so far.
#[derive(Default)]
pub(super) struct Answer {
    aloud: Aloud,
    calls: Calls,
    /// Characters that may still come.
    room: usize,
    /// `None`: more may come.
    pub finish: Option<Finish>,
}

/// Longest id of a call that is passed on.
const CALL_ID_MAX: usize = 64;

impl Session {
    /// Asks the chat server for the response under way.
    pub(super) fn ask_chat(&mut self, limits: Limits) {
        let Some(mut active) = self.active.take() else { return };
        let params = &active.params;
        let instructions = params.instructions.as_ref().or(self.settings.instructions.as_ref());
        let turns = match &params.input {
            Some(input) => {
                let items = input.iter().filter_map(|item| serde_json::from_value::<Item>(item.clone()).ok());
                items.filter_map(|item| Turn::of(&item)).collect()
            }
            None => self.conversation.iter().filter_map(|held| self.turn(held)).collect(),
        };
        let tokens_max = params.max_output_tokens.as_ref().or(self.settings.max_output_tokens.as_ref());
        let reasoning = params.reasoning.as_ref().or(self.settings.reasoning.as_ref().and_then(Option::as_ref));
        let request = Request {
            instructions: instructions.cloned().unwrap_or_default(),
            turns,
            tools: self.tools(params).iter().filter_map(function).collect(),
            tool_choice: self.tool_choice(params).cloned(),
            // "inf" is none.
            tokens_max: tokens_max.and_then(|tokens_max| tokens_max.as_u64()),
            reasoning_effort: reasoning.and_then(|reasoning| reasoning.effort.clone()),
        };
        self.ready.push_back(Out::Ask(Box::new(request)));
        active.phase = Phase::Asking;
        active.answer = Some(Answer { room: limits.characters_max, ..Answer::default() });
        self.active = Some(active);
    }

    /// An item as a chat server is told of it: of what the agent spoke, what was heard.
    fn turn(&self, held: &Held) -> Option<Turn> {
        if let Some(spoken) = &held.spoken {
            let words = spoken.iter().map(|(sentence, _)| sentence.as_str()).filter(|words| !words.is_empty());
            return Some(Turn::Agent(words.collect::<Vec<_>>().join(" ")));
        }
        match &held.heard {
            Some(heard) if !heard.trim().is_empty() => Some(Turn::Caller(heard.clone())),
            Some(_) if self.idle_item.is_some() && held.item.id == self.idle_item => Some(Turn::Caller(SILENT.into())),
            Some(_) => Some(Turn::Caller(NOT_UNDERSTOOD.into())),
            None => Turn::of(&held.item),
        }
    }

    pub(super) fn piece(&mut self, piece: Piece) {
        let Some(active) = &mut self.active else { return };
        // What comes of an answer that was stopped is of no use.
        let Some(answer) = active.answer.as_mut().filter(|answer| answer.finish.is_none()) else { return };
        match piece {
            Piece::Text(text) => self.text(&text),
            Piece::Call(piece) => {
                if let Err(failure) = answer.calls.add(piece) {
                    self.cancel(End::Failed(failure));
                }
            }
            Piece::End(Ok(finish)) => self.all_has_come(finish),
            Piece::End(Err(failure)) => {
                // Not to be stopped any more.
                answer.finish = Some(Finish::Cut);
                self.cancel(End::Failed(failure));
            }
        }
    }

    fn text(&mut self, text: &str) {
        let Some(active) = &mut self.active else { return };
        let Some(answer) = &mut active.answer else { return };
        let end = text.char_indices().nth(answer.room).map(|(end, _)| end);
        let text = &text[..end.unwrap_or(text.len())];
        answer.room -= text.chars().count();
        match active.modality {
            Modality::Text if text.is_empty() => {}
            Modality::Text => self.write(text),
            Modality::Audio => {
                let sentences = answer.aloud.add(text);
                self.say(sentences);
            }
        }
        if end.is_some() {
            self.ready.push_back(Out::StopAsking);
            self.all_has_come(Finish::Cut);
        }
    }

    fn all_has_come(&mut self, finish: Finish) {
        let Some(active) = &mut self.active else { return };
        let Some(answer) = &mut active.answer else { return };
        if active.modality == Modality::Audio {
            let last = answer.aloud.end();
            self.say(last);
        }
        let Some(mut active) = self.active.take() else { return };
        if let Some(answer) = &mut active.answer {
            answer.finish = Some(finish);
        }
        // While a sentence is under way, its sound comes first.
        let speaking = matches!(active.phase, Phase::Speaking { under_way: Some(_), .. });
        if speaking {
            self.active = Some(active);
            return;
        }
        self.end_message(&mut active, "completed");
        self.finish(active);
    }

    /// Has these sentences said after those that wait.
    fn say(&mut self, sentences: Vec<String>) {
        let Some(active) = &mut self.active else { return };
        match &mut active.phase {
            _ if sentences.is_empty() => {}
            Phase::Speaking { rest, under_way, .. } => {
                rest.extend(sentences);
                if under_way.is_none() {
                    self.speak();
                }
            }
            Phase::Thinking | Phase::Asking | Phase::Writing { .. } => self.begin_message(sentences),
        }
    }

    /// Ends a response all of which was said: makes its function calls.
    pub(super) fn finish(&mut self, mut active: Active) {
        let Some(answer) = active.answer.take() else { return self.over(&active, End::Completed) };
        let end = match answer.finish {
            Some(Finish::Cut) => End::Incomplete("max_output_tokens"),
            Some(Finish::Filtered) => End::Incomplete("content_filter"),
            Some(Finish::Completed) | None => End::Completed,
        };
        // The arguments of an answer that was cut may be cut too.
        let calls: Vec<_> = if end == End::Completed { answer.calls.whole().collect() } else { Vec::new() };
        for call in calls {
            let known = |id: &String| self.conversation.iter().any(|held| held.item.call_id.as_ref() == Some(id));
            let call_id = call.id.filter(|id| id.len() <= CALL_ID_MAX && !known(id));
            self.call(&mut active, call_id, call.name, call.arguments);
        }
        self.over(&active, end);
    }
}

/// A tool that a chat server can be told of.
fn function(tool: &Tool) -> Option<ToolSpec> {
    let Tool::Function { name, description, parameters, .. } = tool else { return None };
    Some(ToolSpec {
        name: name.clone(),
        description: description.clone().unwrap_or_default(),
        parameters: parameters.clone().unwrap_or_else(|| json!({"type": "object", "properties": {}})),
    })
}
