"""A spoken conversation by OpenAI's Python SDK: session.py <base URL> <key>, with the caller's lines on stdin: µ-law in
base64, one a line.

Every event is also validated against the SDK's own types, which the SDK itself does not do.
"""

import base64
import sys

import openai
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

SERVER_EVENT = TypeAdapter(RealtimeServerEvent)
SECOND = 8_000

url, key = sys.argv[1:]
lines = [base64.b64decode(line) for line in sys.stdin.read().split()]
silence = b"\xff" * SECOND

client = openai.OpenAI(api_key=key, base_url=url, websocket_base_url=url)
with client.realtime.connect(model="gpt-realtime-2.1", max_retries=0) as connection:

    def receive():
        raw = connection.recv_bytes()
        SERVER_EVENT.validate_json(raw)
        return connection.parse_event(raw)

    def until(kind):
        """Events up to the first of this type."""
        events = []
        while not events or events[-1].type != kind:
            events.append(receive())
            assert events[-1].type != "error" or kind == "error", events[-1]
        return events

    def of(events, kind):
        return [event for event in events if event.type == kind]

    assert receive().session.type == "realtime"

    connection.session.update(
        session={
            "type": "realtime",
            "instructions": "You answer the phone for a bike shop.",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "transcription": {"model": "gpt-realtime-whisper", "language": "en"},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": 500,
                        "create_response": False,
                        "interrupt_response": False,
                    },
                },
                "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
            },
            "tools": [
                {
                    "type": "function",
                    "name": "book_slot",
                    "description": "Book a repair slot",
                    "parameters": {"type": "object", "properties": {"day": {"type": "string"}}},
                }
            ],
        }
    )
    session = until("session.updated")[-1].session
    assert session.audio.input.format.type == "audio/pcmu", session
    assert session.audio.input.turn_detection.create_response is False, session
    assert session.tools[0].name == "book_slot", session

    def speak(line):
        """Says a line, and returns the events until it was understood."""
        audio = silence + line + silence
        for start in range(0, len(audio), 1_600):
            connection.input_audio_buffer.append(audio=base64.b64encode(audio[start : start + 1_600]).decode())
        return until("conversation.item.input_audio_transcription.completed")

    # The caller speaks.
    turn = speak(lines[0])
    (started,) = of(turn, "input_audio_buffer.speech_started")
    (stopped,) = of(turn, "input_audio_buffer.speech_stopped")
    (committed,) = of(turn, "input_audio_buffer.committed")
    assert 500 < started.audio_start_ms < 1_200 < stopped.audio_end_ms, (started, stopped)
    assert started.item_id == stopped.item_id == committed.item_id == turn[-1].item_id
    assert turn[-1].transcript.strip(".?") == "When do you open", turn[-1]

    # The agent answers.
    connection.response.create(response={"metadata": {"purpose": "answer"}})
    answer = until("response.done")
    assert of(answer, "response.created")[0].response.metadata == {"purpose": "answer"}
    audio = b"".join(base64.b64decode(event.delta) for event in of(answer, "response.output_audio.delta"))
    assert len(audio) > SECOND // 2
    words = "".join(event.delta for event in of(answer, "response.output_audio_transcript.delta"))
    assert words == "We open at nine." == of(answer, "response.output_audio_transcript.done")[0].transcript
    response = answer[-1].response
    assert response.status == "completed" and response.output[0].content[0].transcript == words, response
    assert response.usage.output_token_details.audio_tokens > 0, response
    spoken = response.output[0].id

    # Only a part of it was heard.
    connection.conversation.item.truncate(item_id=spoken, content_index=0, audio_end_ms=420)
    assert until("conversation.item.truncated")[-1].audio_end_ms == 420

    # A tool is called, and answered.
    assert speak(lines[1])[-1].transcript.strip(".") == "Book a slot on Monday"
    connection.response.create()
    calling = until("response.done")
    (arguments,) = of(calling, "response.function_call_arguments.done")
    (call,) = calling[-1].response.output
    assert (call.type, call.name, call.status) == ("function_call", "book_slot", "completed"), call
    assert call.arguments == arguments.arguments == '{"day":"Monday"}' and call.call_id == arguments.call_id
    connection.conversation.item.create(
        item={"type": "function_call_output", "call_id": call.call_id, "output": '{"booked":true}'}
    )
    assert until("conversation.item.done")[-1].item.output == '{"booked":true}'

    # The next answer is cancelled while it is generated.
    connection.response.create()
    until("response.output_audio.delta")
    connection.response.cancel()
    response = until("response.done")[-1].response
    assert response.status == "cancelled" and response.status_details.reason == "client_cancelled", response
    assert response.output[0].status == "incomplete", response

    connection.conversation.item.delete(item_id=response.output[0].id)
    assert until("conversation.item.deleted")[-1].item_id == response.output[0].id

    connection.response.cancel(event_id="too-late")
    error = until("error")[-1].error
    assert (error.code, error.event_id) == ("response_cancel_not_active", "too-late"), error

print("ok")
