//! Ways in which phone agents go wrong, built in on purpose: exploration and simulation have to find every one of them.
//!
//! A search that finds nothing has proved nothing unless it is known to bite. Each [`Fault`] is a defect that a handler of
//! calls really had, or nearly had. One at a time is switched on, for one thread, by tests alone: without the feature
//! `planted` the question is answered by a constant, and nothing of this is compiled.

macro_rules! faults {
    ($($name:ident $rule:literal $what:literal,)+) => {
        /// One defect. What each does is said by [`Fault::what`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fault { $($name,)+ }

        impl Fault {
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)+];

            /// The rule of `docs/rules.md` that it breaks.
            pub fn rule(self) -> &'static str {
                match self { $(Fault::$name => $rule,)+ }
            }

            pub fn what(self) -> &'static str {
                match self { $(Fault::$name => $what,)+ }
            }
        }
    };
}

faults! {
    // RACES a: two responses want the slot.
    CollisionForgotten "R8" "what collided is not asked again",
    OwnResponseAnswersAll "R8" "the model's own response stands for a tool's result too",
    EarlyCancelForgotten "B6" "a cancel before the response began is forgotten",
    // RACES b: audio after the clear.
    StaleAudioPlayed "R6" "audio of a cancelled response is accepted",
    RetiredOnItemDone "R6" "the end of an item's audio ends its response",
    // RACES c: what was heard.
    SentIsHeard "A7" "what was sent counts as heard",
    FlushedIsHeard "A7" "what a clear flushed counts as heard",
    UnheardItemsStay "B1" "items of which nothing was heard stay in the conversation",
    HoldPlaysOn "B4" "playing goes on while it is open whether the caller meant to interrupt",
    HoldNeverDecided "B4" "speech that goes on is never found to be an interruption",
    TranscriptWaitedFor "B4" "a hold waits for its transcript for ever",
    // Two who listen: our own ears, and the model.
    EarsTrustedForEver "B4" "a hold that the model never reports is not ended",
    EarsBelieved "B4" "what only our own ears heard is an interruption",
    ReportNotJoined "B4" "what the model reports is no part of the hold that our own ears opened",
    EarsOpenNothing "B4" "what our own ears hear over the agent holds nothing",
    // RACES d: goodbye while audio is at the carrier.
    SentGoodbyeIsHeard "H8" "hangs up when the goodbye was sent, not heard",
    GoodbyeSurvivesInterruption "H7" "an interrupted goodbye stays pending",
    // RACES e: a socket dies.
    TurnLostWithModel "N4" "what the lost model had not answered is not asked again",
    NewSessionKnowsNothing "N4" "a new session is not told what was said",
    StreamLossEatsAudio "N6" "what was not heard when the stream broke is forgotten",
    SilentModelTrusted "R10" "a model that says nothing is waited for without end",
    // RACES f: speech during the greeting.
    ProtectedSpeechLost "B5" "what is said during a protected greeting is not answered",
    GreetedAgain "G1" "a stream that comes back is greeted again",
    // RACES g: tools.
    ResultLostToCaller "N2" "a tool's result that comes while the caller speaks is not spoken about",
    OutputTooEarly "N2" "a tool's output is told while its response is going on",
    ToolTrusted "N2" "a tool that does not answer is waited for without end",
    // RACES h: twice the same.
    SecondStart "L5" "a second start begins the call anew",
    LifeAfterDeath "L7" "inputs after the end are handled",
    // RACES i: one session follows another.
    OldSessionHeard "R11" "inputs of an older connection count",
    OldItemsSpokenOf "N4" "a new session is told about items of the old one",
    // RACES j: bursts and stalls.
    EverythingAtOnce "A3" "audio is sent as fast as it comes",
    CatchesUpTooMuch "A3" "after a pause the missed time is caught up beyond the lead",
    // The conditions of H2, one by one, and what surrounds them.
    HangUpAgreedIsDone "H1" "a hang-up that was agreed to and brings no stop is waited for without end",
    HungUpBeforeDone "H2" "hangs up before the goodbye's response is done",
    CancelledGoodbyeCounts "H2" "a cancelled response counts as a goodbye",
    AnyResponseIsGoodbye "H2" "the goodbye is bound to no response",
    HungUpOverCaller "H2" "hangs up while the caller speaks",
    HungUpDuringHold "H2" "hangs up while a hold is open",
    HungUpOverResponse "H2" "hangs up while another response is on its way",
    IssuedTooLate "H3" "two who hang up at once both ask the carrier",
    GoodbyeForgotten "H4" "a goodbye is forgotten when other responses follow it",
    TranscriptFirstForgotten "H5" "a farewell known before the audio is complete ends nothing",
    TranscriptLastForgotten "H6" "a farewell known after the audio is complete ends nothing",
    InterruptedGoodbyeLater "H7" "what an interrupted response turns out to have said still ends the call",
    CallerFarewellIgnored "H9" "the caller's goodbye is answered as if it were a question",
    HangUpNotRepeated "H10" "a hang-up that fails is not tried again",
    EndCallIgnored "H11" "the tool that ends the call does nothing without speech",
    // Nobody sits in silence.
    SilenceUnnoticed "N8" "silence is never broken",
    GapsStay "N7" "gaps in the carrier's audio are not filled",
    KeysLost "N10" "keys that the caller presses are not told",
}

/// Whether the call is to go wrong in this way.
#[cfg(feature = "planted")]
pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether the call is to go wrong in this way: never.
#[cfg(not(feature = "planted"))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Has every call of this thread go wrong in this way while `run` runs.
#[cfg(feature = "planted")]
pub fn with<T>(fault: Fault, run: impl FnOnce() -> T) -> T {
    struct Clean;
    impl Drop for Clean {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
    PLANTED.set(Some(fault));
    let _clean = Clean;
    run()
}
