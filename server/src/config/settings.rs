//! All settings. One line each: what it is called, where it lies, what may be given, why it is as it is.
//!
//! Rule ids are those of `docs/rules.md`.

use super::Config;
use super::setting::{Group, Setting};
use crate::agent::Agent;

type Server = Setting<Config>;
type OfAgent = Setting<Agent>;

/// Settings of the server.
pub(super) const SERVER: &[Setting<Config>] = &[
    Server::new(
        "listen",
        |c| &mut c.listen,
        "Where webhooks, media sockets and the API are served. On loopback, so that nothing is open to the network by \
         accident; a tunnel or proxy on this machine reaches it.",
    )
    .env("PATCHCORD_LISTEN")
    .starter(),
    Server::new(
        "public_url",
        |c| &mut c.public_url,
        "Origin that the carrier reaches us by, without a path. Signatures are checked against it and the media \
         socket's address is made of it. Needed with a real carrier.",
    )
    .schemes(&["http", "https"])
    .env("PATCHCORD_PUBLIC_URL")
    .starter(),
    Server::new("data", |c| &mut c.data, "Folder of records, recordings and traces.").env("PATCHCORD_DATA").starter(),
    Server::variable(
        "PATCHCORD_API_KEY",
        |c| &mut c.api_key,
        "Key of the control API, sent as `Authorization: Bearer`. Without one the API answers on loopback only.",
    ),
    Server::variable(
        "DATABASE_URL",
        |c| &mut c.database,
        "The database of records: `sqlite:FILE`. Unset: `patchcord.db` in the data folder.",
    ),
    Server::variable(
        "PATCHCORD_VOICE_MODELS",
        |c| &mut c.voice_models,
        "Folder of the embedded model's weights. Unset: `voice-models` in the data folder.",
    ),
    Server::new(
        "recogniser",
        |c| &mut c.recogniser,
        "What the embedded model recognises with: \"best\" is base if its weights are here (`patchcord models pull --recogniser \
         base`), else tiny. Base errs less often, and takes more time and memory (`docs/voice.md`).",
    ),
    Server::variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        |c| &mut c.otlp_endpoint,
        "Where traces go by OTLP (HTTP, protobuf), as `http://collector:4318`: a span for each call, turn, response and \
         tool, without numbers or words.",
    )
    .schemes(&["http", "https"]),
    Server::new(
        "max_calls",
        |c| &mut c.max_calls,
        "Calls at once (N9); one more is told that the line is busy. Small enough for the smallest machine; raise it to what yours carries.",
    )
    .within(1, 100_000)
    .starter(),
    Server::new(
        "ears_max",
        |c| &mut c.ears_max,
        "Calls at once that a detector of our own listens to (`local_ears`, `audio_guard`); one more goes without. One \
         thread listens for all of them, at lower priority: 64 take it a fifth of a core, and three times as many \
         are about what it follows beside other work.",
    )
    .within(1, 1_000),
    Server::new(
        "ears_backlog_frames",
        |c| &mut c.ears_backlog_frames,
        "Frames of 20 ms of each of them that may wait for it. What is later than that is no news: the ear is deaf until \
         there is room again.",
    )
    .within(2, 100),
    Server::new(
        "socket_backlog_max_bytes",
        |c| &mut c.socket_backlog_max,
        "What may wait to be written to one peer before its socket counts as lost: a minute of audio, after which a \
         peer that takes nothing is not coming back. Below 64 KiB one long message would be a lost socket.",
    )
    .within(65_536, 1 << 28),
    Server::new(
        "connections_max",
        |c| &mut c.connections_max,
        "HTTP connections at once, those not counted that became media sockets. At the limit, the one that has gone \
         longest without an answer makes room. A carrier that sends one webhook a connection needs a handful a call; \
         with fewer than 16 the callbacks of a few calls would push each other out.",
    )
    .within(16, 1_000_000),
    Server::new(
        "request_head_max_ms",
        |c| &mut c.request_head_max,
        "How long a connection may take for a request's head, from the answer before it on: ends those that dribble \
         and those that idle. Longer than the pauses between the webhooks of a call's beginning.",
    )
    .within(1_000, 600_000),
    Server::new(
        "drain_max_ms",
        |c| &mut c.drain_max,
        "How long calls may go on when the server is told to stop; no new ones are taken. With the two below it stays \
         under the 90 s after which a service manager (systemd) kills.",
    )
    .within(0, 86_400_000),
    Server::new(
        "goodbye_max_ms",
        |c| &mut c.goodbye_max,
        "How long the goodbyes of those that still go on then may take.",
    )
    .within(0, 600_000),
    Server::new("shutdown_max_ms", |c| &mut c.shutdown_max, "How long hanging up the rest may take.")
        .within(0, 600_000),
    Server::table(
        "openai",
        &[
            Server::variable("OPENAI_API_KEY", |c| &mut c.openai.key, "The model account.").starter(),
            Server::variable(
                "OPENAI_REALTIME_URL",
                |c| &mut c.openai.url,
                "The model's endpoint; its name is added as `?model=`.",
            )
            .schemes(&["ws", "wss"]),
            Server::new(
                "ca_file",
                |c| &mut c.openai.ca_file,
                "Certificates (PEM) to trust besides the public ones, for an endpoint of one's own.",
            ),
            Server::new(
                "connect_timeout_ms",
                |c| &mut c.openai.connect_timeout,
                "From dialling to the end of the WebSocket handshake. The caller hears ringing meanwhile.",
            )
            .within(100, 60_000),
            Server::new(
                "ping_every_ms",
                |c| &mut c.openai.ping_every,
                "Silence of the model after which it is sent a WebSocket ping. Shorter than the turn of a caller who \
                 speaks while the connection dies without a word.",
            )
            .within(1_000, 3_600_000),
            Server::new(
                "pong_max_ms",
                |c| &mut c.openai.pong_max,
                "How long it may take to answer a ping, or to say anything else, before the connection counts as lost \
                 (N4). Longer than any pause of a network that comes back.",
            )
            .within(1_000, 3_600_000),
        ],
        "The model account.",
    ),
    Server::table(
        "twilio",
        &[
            Server::variable("TWILIO_ACCOUNT_SID", |c| &mut c.twilio.account_sid, "The carrier account, `AC…`.")
                .starter(),
            Server::variable(
                "TWILIO_AUTH_TOKEN",
                |c| &mut c.twilio.auth_token,
                "Its password: signs webhooks, and lets us hang up.",
            )
            .starter(),
            Server::variable(
                "TWILIO_SHARED_KEYS",
                |c| &mut c.twilio.shared_keys,
                "Keys of yours that Twilio may sign with besides the auth token: `id=secret,id=secret`.",
            ),
            Server::variable(
                "TWILIO_API_KEY_SID",
                |c| &mut c.twilio.api_key_sid,
                "An API key, `SK…`, for REST in place of the auth token; it can be revoked by itself.",
            ),
            Server::variable("TWILIO_API_KEY_SECRET", |c| &mut c.twilio.api_key_secret, "Its secret."),
            Server::variable("TWILIO_API_URL", |c| &mut c.twilio.api_url, "Origin of its REST API.")
                .schemes(&["http", "https"]),
            Server::new(
                "verify",
                |c| &mut c.twilio.verify,
                "Which of the carrier's requests have to be signed. \"unless-loopback\" lets unsigned ones pass if \
                 they come from this machine while we listen on loopback, for trying things out.",
            )
            .starter(),
            Server::new(
                "api_timeout_ms",
                |c| &mut c.twilio.api_timeout,
                "One request to the REST API. A call that is to end can wait that long, and not much longer.",
            )
            .within(100, 60_000),
            Server::new(
                "token_max_ms",
                |c| &mut c.twilio.token_max,
                "How long the media stream's token is good for (L5). The carrier dials within a second or two; until \
                 then the line may ring.",
            )
            .within(1_000, 600_000),
            Server::new(
                "unknown_number",
                |c| &mut c.twilio.unknown_number,
                "What the callers of a number get that no agent answers.",
            ),
            Server::new(
                "busy",
                |c| &mut c.twilio.busy,
                "What the caller gets who is one too many (N9), where the agent has nothing of its own to say.",
            ),
            Server::new(
                "fetch_recordings",
                |c| &mut c.twilio.fetch_recordings,
                "Whether recordings that the carrier made (`carrier_recording`) are copied into their calls' folders.",
            ),
            Server::new(
                "recording_max_bytes",
                |c| &mut c.twilio.recording_bytes_max,
                "The largest one that is. Two hours of two channels are 230 MB.",
            )
            .within(1, 1 << 40),
            Server::new(
                "recording_fetch_max_ms",
                |c| &mut c.twilio.recording_fetch_max,
                "How long one attempt at it may take: 256 MB in ten minutes need 4 Mbit/s.",
            )
            .within(1_000, 86_400_000),
        ],
        "The carrier account.",
    ),
    Server::table(
        "outbound",
        &[
            Server::new(
                "ring_max_ms",
                |c| &mut c.outbound.ring_max,
                "How long it rings, unless whoever places the call says otherwise. The carrier's own default.",
            )
            .within(1_000, 600_000),
            Server::new(
                "create_max_ms",
                |c| &mut c.outbound.create_max,
                "How long the carrier may refuse a call for want of capacity before it is given up.",
            )
            .within(0, 600_000),
            Server::new(
                "lookup_max_ms",
                |c| &mut c.outbound.lookup_max,
                "How long a call is looked for whose request was not answered: it is never placed again blindly. The \
                 carrier's list shows a call within seconds.",
            )
            .within(0, 600_000),
            Server::new(
                "check_every_ms",
                |c| &mut c.outbound.check_every,
                "Silence of the carrier about a call, after which it is asked how the call stands. Callbacks come \
                 within a second; this is for those that are lost.",
            )
            .within(1_000, 600_000),
            Server::new(
                "answer_max_ms",
                |c| &mut c.outbound.answer_max,
                "From the request to the answer, the time in the carrier's queue (a call a second) included.",
            )
            .within(1_000, 86_400_000),
        ],
        "The calls that Patchcord places.",
    ),
];

/// Settings of agents: in `[defaults]` for all of them, in `[agents.NAME]` for one.
pub(super) const AGENT: &[Group<Agent>] = &[
    Group {
        title: "What it is",
        settings: &[
            OfAgent::new("instructions", |a| &mut a.instructions, "What the model is told to be.").starter(),
            OfAgent::new(
                "greeting",
                |a| &mut a.greeting,
                "Said first, word for word (G1). Without one the caller begins.",
            )
            .starter(),
            OfAgent::new(
                "protect_greeting",
                |a| &mut a.call.protect_greeting,
                "How much of the greeting cannot be interrupted (B5). Nothing, because people who know what they want \
                 speak at once.",
            ),
            OfAgent::new(
                "language",
                |a| &mut a.language,
                "What the caller speaks, as a tag such as \"en\" or \"de-AT\": helps the transcription, and decides \
                 whose farewells are known (H9). Without one: any language, English farewells.",
            )
            .starter(),
            OfAgent::new(
                "farewell_languages",
                |a| &mut a.farewell_languages,
                "Languages whose farewells and \"mhm\" are listened for (H9, B4), for agents that speak several. \
                 Empty: that of `language`.",
            ),
            OfAgent::table(
                "model",
                &[
                    OfAgent::new(
                        "provider",
                        |a| &mut a.model.provider,
                        "Who runs the model: \"openai\", or \"local\" for the embedded one, whose weights `patchcord models \
                         pull` fetches. Without OPENAI_API_KEY it is \"local\", unless this says otherwise.",
                    )
                    .starter(),
                    OfAgent::new("name", |a| &mut a.model.name, "As the vendor spells it.").starter(),
                    OfAgent::new("voice", |a| &mut a.model.voice, "As the vendor spells it.").starter(),
                    OfAgent::new(
                        "flow",
                        |a| &mut a.model.flow,
                        "What the embedded model answers: a TOML file (docs/voice.md). Without one, it knows its manners only.",
                    ),
                    OfAgent::table(
                        "chat",
                        &[
                            OfAgent::new(
                                "url",
                                |a| &mut a.model.chat.url,
                                "Where the chat completions are, as in \"http://127.0.0.1:11434/v1/chat/completions\".",
                            )
                            .schemes(&["http", "https"]),
                            OfAgent::new(
                                "model",
                                |a| &mut a.model.chat.model,
                                "Which model is to answer, as that server spells it.",
                            ),
                            OfAgent::new(
                                "key_env",
                                |a| &mut a.model.chat.key,
                                "The variable that has the server's key, or with _FILE after it the path of a file that \
                                 has it. Without one, no key is shown.",
                            ),
                            OfAgent::new(
                                "silence_max_ms",
                                |a| &mut a.model.chat.silence_max,
                                "From the request to the first words, connecting included, and between words: less than \
                                 first_audio_timeout_ms, so that the answer is asked for once more, and the model is not \
                                 taken for lost (R10).",
                            )
                            .within(100, 60_000),
                            OfAgent::new(
                                "answer_max_ms",
                                |a| &mut a.model.chat.answer_max,
                                "From the request to the answer's end: longer than any server writes what is spoken in \
                                 a minute and a half.",
                            )
                            .within(100, 600_000),
                            OfAgent::new(
                                "characters_max",
                                |a| &mut a.model.chat.characters_max,
                                "Length of one answer, a minute and a half of speech: nobody listens for longer. What is \
                                 beyond it is not said.",
                            )
                            .within(20, 20_000),
                            OfAgent::new(
                                "messages_max",
                                |a| &mut a.model.chat.messages_max,
                                "Messages of the conversation that are sent with each request, the newest, some twenty \
                                 turns: a model on a processor reads no more before a caller loses patience.",
                            )
                            .within(1, 400),
                        ],
                        "A chat server, which decides what the embedded model answers in place of a flow (docs/voice.md).",
                    ),
                    OfAgent::new(
                        "transcription",
                        |a| &mut a.model.transcription,
                        "The model that transcribes the caller. Without one, \"gpt-realtime-whisper\".",
                    ),
                    OfAgent::new("speed", |a| &mut a.model.speed, "Of the voice. Without one, the model's own.")
                        .between(0.25, 1.5),
                    OfAgent::new(
                        "max_output_tokens",
                        |a| &mut a.model.max_output_tokens,
                        "Of one response, tool calls included. Without one, as many as the model likes.",
                    )
                    .within(1, 4_096),
                    OfAgent::new(
                        "reasoning_effort",
                        |a| &mut a.model.reasoning_effort,
                        "minimal, low, medium, high or xhigh; models without reasoning refuse it.",
                    ),
                    OfAgent::new(
                        "noise_reduction",
                        |a| &mut a.model.noise_reduction,
                        "What the model does to the caller's audio before it listens: \"near_field\" for handsets, \
                         \"far_field\" for rooms.",
                    ),
                ],
                "Who speaks.",
            ),
            OfAgent::new(
                "recording",
                |a| &mut a.recording,
                "Whether we record the call, caller left, agent right (C3).",
            )
            .starter(),
            OfAgent::new(
                "carrier_recording",
                |a| &mut a.call.carrier_recording,
                "Whether the carrier records it too (C2), at its price.",
            ),
            OfAgent::new(
                "trace",
                |a| &mut a.trace,
                "The trace from which a call can be replayed (N11), and what it keeps of what people said: \"masked\" \
                 keeps the words that decisions are made by, and of all others only the length.",
            ),
        ],
    },
    Group {
        title: "Turns and interruption",
        settings: &[
            OfAgent::new(
                "turns",
                |a| &mut a.call.turns,
                "Who asks for the answers (T1). \"client\": we do, so that false alarms can be undone and tools never \
                 collide; \"model\": the model does, and interrupts by itself.",
            ),
            OfAgent::new(
                "hold",
                |a| &mut a.call.hold,
                "Whether speech during the agent's may turn out to be nothing, \"mhm\" or a cough, and the agent goes \
                 on where hearing stopped (B4).",
            )
            .starter(),
            OfAgent::new(
                "hold_max_ms",
                |a| &mut a.call.hold_max,
                "Speech that goes on for this long is an interruption (B4): longer than any \"mhm\", shorter than a \
                 sentence.",
            )
            .within(100, 10_000),
            OfAgent::new(
                "hold_transcript_wait_ms",
                |a| &mut a.call.hold_transcript_wait,
                "How long after short speech its words are waited for (B4). The agent is silent meanwhile.",
            )
            .within(0, 10_000),
            OfAgent::new(
                "ears_report_max_ms",
                |a| &mut a.call.ears_report_max,
                "How long what only our own ears heard is held before it counts as nothing (B4): longer than a model \
                 takes to report the same speech, no longer than a pause that a listener forgives.",
            )
            .within(100, 5_000),
            OfAgent::new(
                "floor_max_ms",
                |a| &mut a.call.floor_max,
                "Speech that never stops, such as a television, frees the floor after this (R10).",
            )
            .within(1_000, 600_000),
            OfAgent::new(
                "keys",
                |a| &mut a.call.keys,
                "How keys that the caller presses reach the agent (N10): each at once, or together until a key, a \
                 number of them, or a pause ends them.",
            ),
        ],
    },
    Group {
        title: "Audio in",
        settings: &[
            OfAgent::new(
                "simple_mode",
                |a| &mut a.audio.simple_mode,
                "The caller's audio passes through unchanged, and the model's speech detection is trusted: none of the \
                 next seven does anything (O3).",
            ),
            OfAgent::new(
                "local_ears",
                |a| &mut a.audio.local_ears,
                "Whether a speech detector of our own listens beside the model, and stops the agent before the model \
                 reports speech (B4). Needs the weights: `patchcord models pull`.",
            ),
            OfAgent::new(
                "echo_gate",
                |a| &mut a.audio.echo_gate,
                "Whether it compares what it hears with what is being played, so that our own echo does not stop the \
                 agent (B7). Off, a line with echo stops it again and again.",
            ),
            OfAgent::new(
                "ears_threshold",
                |a| &mut a.audio.ears_threshold,
                "How sure it has to be that a sound is speech. The detector's own default; raise it for callers in \
                 company.",
            )
            .between(0.05, 0.95),
            OfAgent::new(
                "audio_guard",
                |a| &mut a.audio.audio_guard,
                "Whether the model hears, while the agent is heard, only what a detector of our own takes for speech, \
                 and silence in place of the rest (O3): coughs and music interrupt nobody, and the first tenth of a \
                 second of an interruption is not heard. Needs the weights.",
            ),
            OfAgent::new(
                "music_mode",
                |a| &mut a.audio.music_mode,
                "Whether music on the line is expected, as when we are put on hold (O3): our own detector believes in \
                 speech only when it is surer, and after a quarter of a second more.",
            ),
            OfAgent::new(
                "noise_gate_min_frames",
                |a| &mut a.audio.noise_gate_min_frames,
                "Frames of 20 ms that have to be loud in a row before any passes to the model, and silence until then \
                 (O3); half a second of quiet shuts the gate again. 0: no gate. 3 keeps clicks out; what it takes from \
                 the beginning of each sentence grows with it.",
            )
            .within(0, 25),
            OfAgent::new(
                "noise_gate_dbfs",
                |a| &mut a.audio.noise_gate_dbfs,
                "How loud a frame has to be for that, in dB of full scale: above the hiss of a line, below a quiet \
                 voice.",
            )
            .between(-70.0, -20.0),
            OfAgent::new(
                "append_frames",
                |a| &mut a.audio.append_frames,
                "Frames of 20 ms that are read from the carrier together and go to the model in one message. More cost \
                 less; the model hears the caller 20 ms later for each, and up to 5 ms more.",
            )
            .within(1, 3),
            OfAgent::new(
                "vad",
                |a| &mut a.audio.vad,
                "How the model hears that a turn begins and ends: by loudness and silence (\"server\"), which is \
                 quick, or by what was said (\"semantic\"), which waits for people who think. The embedded model \
                 hears it by how speech ends, once `patchcord models pull --turn-end` was run; until then, \
                 \"semantic\" waits for a longer silence.",
            ),
            OfAgent::new(
                "vad_threshold",
                |a| &mut a.audio.vad_threshold,
                "How loud speech has to be for vad = \"server\"; raise it for callers in noise. The vendor's default.",
            )
            .between(0.0, 1.0),
            OfAgent::new(
                "vad_prefix_ms",
                |a| &mut a.audio.vad_prefix,
                "Audio from before speech was noticed that the model still hears, for vad = \"server\". The vendor's \
                 default.",
            )
            .within(0, 2_000),
            OfAgent::new(
                "vad_silence_ms",
                |a| &mut a.audio.vad_silence,
                "Silence that ends a turn, for vad = \"server\": shorter answers sooner and cuts off more often. The \
                 vendor's default.",
            )
            .within(100, 5_000),
            OfAgent::new(
                "vad_eagerness",
                |a| &mut a.audio.vad_eagerness,
                "How soon a pause ends a turn that may not be over, for vad = \"semantic\": after 8, 4 or 2 s at the \
                 latest.",
            ),
            OfAgent::new(
                "min_speech_ms",
                |a| &mut a.audio.min_speech,
                "Shortest speech without words that counts as meant (B4): a cough is shorter.",
            )
            .within(0, 5_000),
            OfAgent::new(
                "held_audio_max_ms",
                |a| &mut a.call.held_audio_max,
                "The caller's audio that is kept until the model is ready (T2); a model that takes longer is not \
                 worth what was said before.",
            )
            .within(0, 60_000),
            OfAgent::new(
                "gap_fill_after_ms",
                |a| &mut a.call.gap_fill_after,
                "Gap in the carrier's audio, while the caller speaks, after which silence is sent so that the turn \
                 can end (N7).",
            )
            .within(100, 10_000),
        ],
    },
    Group {
        title: "Audio out",
        settings: &[
            OfAgent::new(
                "lead_ms",
                |a| &mut a.call.lead,
                "Most audio that may lie unplayed at the carrier (A3): enough to ride out a stall of the process, not \
                 so much that an interruption has much to throw away.",
            )
            .within(0, 2_000),
            OfAgent::new(
                "group_frames",
                |a| &mut a.call.group_frames,
                "Frames of 20 ms in one message, after the first of an utterance (A3): more cost less and delay more. A \
                 message of several may wait for up to 20 ms more, to go with what else the call does.",
            )
            .within(1, 3),
            OfAgent::new(
                "queue_frames",
                |a| &mut a.call.queue_frames,
                "Frames in the paced queue; what is beyond waits behind it (A1). A measure of backlog, not a limit.",
            )
            .within(1, 15_000),
            OfAgent::new(
                "response_audio_max_ms",
                |a| &mut a.call.response_audio_max,
                "Most audio of one response that may wait to be played (A1): five minutes of speech is a runaway.",
            )
            .within(1_000, 1_800_000),
            OfAgent::new(
                "mark_every_ms",
                |a| &mut a.call.mark_every,
                "Audio between two marks (A7): often enough to know what was heard, rarely enough to cost little.",
            )
            .within(20, 5_000),
            OfAgent::new(
                "mark_grace_ms",
                |a| &mut a.call.mark_grace,
                "How long after the expected end of playback a mark is still waited for (A8).",
            )
            .within(0, 30_000),
        ],
    },
    Group {
        title: "Waiting for the model",
        settings: &[
            OfAgent::new(
                "configure_timeout_ms",
                |a| &mut a.call.configure_timeout,
                "Connecting to the model and configuring it, together (R10).",
            )
            .within(500, 60_000),
            OfAgent::new(
                "requested_timeout_ms",
                |a| &mut a.call.requested_timeout,
                "From asking for a response to hearing that it began (R10).",
            )
            .within(500, 60_000),
            OfAgent::new(
                "first_audio_timeout_ms",
                |a| &mut a.call.first_audio_timeout,
                "From there to its first audio or tool call (R10): people take longer silence for a dead line.",
            )
            .within(500, 60_000),
            OfAgent::new(
                "next_output_timeout_ms",
                |a| &mut a.call.next_output_timeout,
                "From one sign of a response that goes on to the next, or to its end (R10): a model that stops in the \
                 middle of a word is as lost as one that never began.",
            )
            .within(500, 60_000),
            OfAgent::new(
                "response_max_ms",
                |a| &mut a.call.response_max,
                "From there to its end, whatever it says (R10); it outlasts response_audio_max_ms.",
            )
            .within(1_000, 3_600_000),
            OfAgent::new(
                "cancel_timeout_ms",
                |a| &mut a.call.cancel_timeout,
                "From cancelling a response to its end (R10).",
            )
            .within(500, 60_000),
            OfAgent::new("says_max", |a| &mut a.call.says_max, "Texts of an operator that may wait to be said (R3).")
                .within(1, 100),
            OfAgent::new(
                "tool_timeout_ms",
                |a| &mut a.call.tool_timeout,
                "How long a tool may run before the model is told that it did not answer (N2).",
            )
            .within(100, 600_000),
        ],
    },
    Group {
        title: "A lost model",
        settings: &[
            OfAgent::new(
                "reconnect_max_ms",
                |a| &mut a.call.reconnect_max,
                "How long a lost model is tried again (N4): as long as a person waits on a silent line.",
            )
            .within(100, 300_000),
            OfAgent::new(
                "reconnect_pause_ms",
                |a| &mut a.call.reconnect_pause,
                "Before the second attempt; it doubles from there.",
            )
            .within(10, 30_000),
            OfAgent::new(
                "filler_after_ms",
                |a| &mut a.call.filler_after,
                "How long the caller hears nothing of an outage before being asked to wait (N4).",
            )
            .within(0, 30_000),
            OfAgent::new(
                "history_turns",
                |a| &mut a.call.history_turns,
                "The last turns that a new session of the model is told (N4): what it needs, and what it takes in at \
                 once.",
            )
            .within(0, 10_000),
            OfAgent::table(
                "clips",
                &[
                    OfAgent::new(
                        "filler",
                        |a| &mut a.clips.filler,
                        "WAV file that asks the caller to wait while the model is away. Without one, two tones.",
                    ),
                    OfAgent::new(
                        "apology",
                        |a| &mut a.clips.apology,
                        "WAV file that says that we have to end the call. Without one, tones.",
                    ),
                ],
                "Sounds of our own (N4): 16-bit PCM or µ-law, at most 30 s.",
            ),
        ],
    },
    Group {
        title: "The end",
        settings: &[
            OfAgent::new(
                "silence_max_ms",
                |a| &mut a.call.silence_max,
                "Silence after which the agent asks; after the second, it says goodbye (N8).",
            )
            .within(1_000, 3_600_000)
            .starter(),
            OfAgent::new("call_max_ms", |a| &mut a.call.call_max, "Longest call; then goodbye is said (N8).")
                .within(1_000, 86_400_000)
                .starter(),
            OfAgent::new(
                "call_max_grace_ms",
                |a| &mut a.call.call_max_grace,
                "How much longer it may take to say it, the caller talking on; then it is hung up.",
            )
            .within(0, 3_600_000),
            OfAgent::new(
                "hang_up_attempts",
                |a| &mut a.call.hang_up_attempts,
                "Attempts to hang up by REST before our side of the socket is closed (H10).",
            )
            .within(1, 20),
            OfAgent::new("hang_up_retry_ms", |a| &mut a.call.hang_up_retry, "Between two of them.").within(0, 30_000),
            OfAgent::new("hang_up_timeout_ms", |a| &mut a.call.hang_up_timeout, "How long one of them may take.")
                .within(100, 60_000),
            OfAgent::new(
                "hang_up_grace_ms",
                |a| &mut a.call.hang_up_grace,
                "How long after a hang-up that worked the stream may take to stop (H1).",
            )
            .within(100, 60_000),
        ],
    },
    Group {
        title: "The line",
        settings: &[
            OfAgent::new(
                "announced_max_ms",
                |a| &mut a.call.announced_max,
                "How long a call that was announced may stay away (N1).",
            )
            .within(1_000, 600_000),
            OfAgent::new(
                "callee_first_max_ms",
                |a| &mut a.call.callee_first_max,
                "Outbound: how long the callee's first words are waited for before the greeting (G1).",
            )
            .within(0, 60_000),
            OfAgent::new(
                "stream_lost_grace_ms",
                |a| &mut a.call.stream_lost_grace,
                "How long after its stream was lost a call may still be explained by a status (L7).",
            )
            .within(100, 60_000),
            OfAgent::new(
                "resume_max_ms",
                |a| &mut a.call.resume_max,
                "How long a media stream that broke may take to be brought back (N6): the carrier's webhook may take \
                 15 s, and then it dials. 0: the call ends with its stream.",
            )
            .within(0, 120_000),
            OfAgent::new(
                "carrier_silence_max_ms",
                |a| &mut a.call.carrier_silence_max,
                "No message at all from the carrier for this long is a lost socket (N7).",
            )
            .within(1_000, 600_000),
        ],
    },
    Group {
        title: "Watching",
        settings: &[
            OfAgent::new(
                "pipeline_every_ms",
                |a| &mut a.call.pipeline_every,
                "How often the pipeline is looked at (O2).",
            )
            .within(100, 600_000),
            OfAgent::new(
                "backlog_agent_ms",
                |a| &mut a.call.backlog_agent,
                "More of the agent's audio waiting than this is worth a warning (O1); models speak ten times faster \
                 than they are heard, so much of it is usual.",
            )
            .within(100, 600_000),
            OfAgent::new(
                "backlog_caller_ms",
                |a| &mut a.call.backlog_caller,
                "The same of the caller's, of which none should wait.",
            )
            .within(100, 600_000),
            OfAgent::new(
                "backlog_socket_ms",
                |a| &mut a.call.backlog_socket,
                "The same of what the carrier's socket does not take.",
            )
            .within(100, 600_000),
            OfAgent::new("backlog_pause_ms", |a| &mut a.call.backlog_pause, "Between two warnings about one queue.")
                .within(100, 3_600_000),
        ],
    },
];

/// Settings that only one agent can have.
pub(super) const OWN: &[Setting<Agent>] = &[
    OfAgent::new("numbers", |a| &mut a.numbers, "The called numbers that it answers, as the carrier spells them.")
        .starter(),
    OfAgent::new(
        "caller_id",
        |a| &mut a.caller_id,
        "The number that calls it places are from. Unset: the first of `numbers`.",
    ),
    OfAgent::new("max_calls", |a| &mut a.max_calls, "Its calls at once, in both directions (N9).").within(1, 100_000),
    OfAgent::new(
        "busy",
        |a| &mut a.busy,
        "What the caller gets who is one too many for it, or for the server. Unset: what `[twilio]` says.",
    ),
    OfAgent::new("default", |a| &mut a.default, "Whether it answers the numbers that no other agent does. One may.")
        .starter(),
    OfAgent::new(
        "tools",
        |a| &mut a.tools,
        "Functions that the model may call, each an HTTP service: `name`, `description`, `url`, and `parameters`, a \
         JSON Schema. `{call, name, arguments}` is posted to it, and the answer's body goes to the model.",
    ),
];

/// Variables of the environment that are read elsewhere: name, meaning, default.
pub(super) const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "PATCHCORD_LOG",
        "`minimal` has decisions and warnings, `verbose` all that a call notes; or levels of targets, as `warn,patchcord=debug`.",
        "`minimal`",
    ),
    ("DEBUG", "The old name: `1` is `minimal`, `0` is `verbose`.", "none"),
];
