// A spoken conversation by OpenAI's SDK for Node: session.mjs <base URL> <key>, with the caller's lines on stdin: µ-law in
// base64, one a line.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';

// The packages are not beside this file: NODE_PATH, which only `require` looks at, says where.
const require = createRequire(import.meta.url);
const OpenAI = require('openai');
const { OpenAIRealtimeWS } = require('openai/realtime/ws');

const [url, key] = process.argv.slice(2);
const lines = readFileSync(0, 'utf8').trim().split('\n').map((line) => Buffer.from(line, 'base64'));
const second = 8_000;

const { hostname, port } = new URL(url);
const client = new OpenAI({ apiKey: key, baseURL: url.replace(/^ws/, 'http') });
const realtime = new OpenAIRealtimeWS(
  // The SDK insists on wss; the server is on this machine and has no certificate.
  { model: 'gpt-realtime-2.1', options: { createConnection: () => net.connect(Number(port), hostname) } },
  client,
);

const received = [];
let wake = () => {};
realtime.on('event', (event) => {
  received.push(event);
  wake();
});
// Errors are events too, and looked at there.
realtime.on('error', () => {});
realtime.socket.on('close', () => wake());

async function receive() {
  while (received.length === 0) {
    assert.ok(realtime.socket.readyState <= 1, 'the connection closed');
    await new Promise((resolve) => (wake = resolve));
  }
  return received.shift();
}

// Events up to the first of this type.
async function until(kind) {
  const events = [];
  while (events.at(-1)?.type !== kind) {
    events.push(await receive());
    assert.ok(events.at(-1).type !== 'error' || kind === 'error', JSON.stringify(events.at(-1)));
  }
  return events;
}

const of = (events, kind) => events.filter((event) => event.type === kind);
const last = async (kind) => (await until(kind)).at(-1);

assert.equal((await last('session.created')).session.type, 'realtime');

realtime.send({
  type: 'session.update',
  session: {
    type: 'realtime',
    instructions: 'You answer the phone for a bike shop.',
    audio: {
      input: {
        format: { type: 'audio/pcmu' },
        transcription: { model: 'gpt-realtime-whisper', language: 'en' },
        turn_detection: { type: 'server_vad', create_response: false, interrupt_response: false },
      },
      output: { format: { type: 'audio/pcmu' }, voice: 'marin' },
    },
    tools: [{ type: 'function', name: 'book_slot', description: 'Book a repair slot', parameters: { type: 'object' } }],
  },
});
const { session } = await last('session.updated');
assert.equal(session.audio.output.format.type, 'audio/pcmu');
assert.equal(session.tools[0].name, 'book_slot');

// Says a line, and returns the events until it was understood.
const silence = Buffer.alloc(second, 0xff);
async function speak(line) {
  const audio = Buffer.concat([silence, line, silence]);
  for (let start = 0; start < audio.length; start += 1_600) {
    const piece = audio.subarray(start, start + 1_600);
    realtime.send({ type: 'input_audio_buffer.append', audio: piece.toString('base64') });
  }
  return until('conversation.item.input_audio_transcription.completed');
}

// The caller speaks.
const turn = await speak(lines[0]);
const [started] = of(turn, 'input_audio_buffer.speech_started');
const [stopped] = of(turn, 'input_audio_buffer.speech_stopped');
const [committed] = of(turn, 'input_audio_buffer.committed');
assert.ok(started.audio_start_ms < 1_200 && stopped.audio_end_ms > 1_200);
assert.equal(started.item_id, committed.item_id);
assert.match(turn.at(-1).transcript, /^When do you open/);

// The agent answers.
realtime.send({ type: 'response.create', response: { metadata: { purpose: 'answer' } } });
const answer = await until('response.done');
assert.deepEqual(of(answer, 'response.created')[0].response.metadata, { purpose: 'answer' });
const heard = Buffer.concat(of(answer, 'response.output_audio.delta').map(({ delta }) => Buffer.from(delta, 'base64')));
assert.ok(heard.length > second / 2);
const words = of(answer, 'response.output_audio_transcript.delta').map(({ delta }) => delta);
assert.equal(words.join(''), 'We open at nine.');
const [spoken] = answer.at(-1).response.output;
assert.equal(spoken.content[0].transcript, 'We open at nine.');

// Only a part of it was heard.
realtime.send({ type: 'conversation.item.truncate', item_id: spoken.id, content_index: 0, audio_end_ms: 420 });
assert.equal((await last('conversation.item.truncated')).audio_end_ms, 420);

// A tool is called, and answered.
assert.match((await speak(lines[1])).at(-1).transcript, /^Book a slot on Monday/);
realtime.send({ type: 'response.create' });
const [call] = (await last('response.done')).response.output;
assert.equal(call.name, 'book_slot');
assert.deepEqual(JSON.parse(call.arguments), { day: 'Monday' });
realtime.send({
  type: 'conversation.item.create',
  item: { type: 'function_call_output', call_id: call.call_id, output: '{"booked":true}' },
});
assert.equal((await last('conversation.item.done')).item.output, '{"booked":true}');

// The next answer is cancelled while it is generated.
realtime.send({ type: 'response.create' });
await until('response.output_audio.delta');
realtime.send({ type: 'response.cancel' });
const { response } = await last('response.done');
assert.equal(response.status, 'cancelled');
assert.equal(response.status_details.reason, 'client_cancelled');

realtime.send({ type: 'conversation.item.delete', item_id: response.output[0].id });
assert.equal((await last('conversation.item.deleted')).item_id, response.output[0].id);

realtime.send({ type: 'response.cancel', event_id: 'too-late' });
const { error } = await last('error');
assert.deepEqual([error.code, error.event_id], ['response_cancel_not_active', 'too-late']);

realtime.close();
console.log('ok');
