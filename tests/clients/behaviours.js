// What the checks of docs/peer_behaviours.md have in common: their rows, and a server to ask.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Server, kDemo, recite } from './server.js';
import { kWeather } from './recitals.js';

export { assert };

// Rows of the table whose number begins with `letter` and that say "yes" and name no test of their own: number, words.
function rows_of(letter) {
  const table = readFileSync(join(process.env.CONCERTINA_SOURCE_DIR, 'docs/peer_behaviours.md'), 'utf8');
  return [...table.matchAll(/^\| ([LVS]\d+) \| (.*) \| yes \|$/gm)].map(([, number, words]) => ({ number, words })).filter(({ number }) => number.startsWith(letter));
}

export class Asked {
  constructor(server, headers = {}) {
    this.server = server;
    this.headers = headers;
  }
  // Status, headers, body's text and, where it is one, its JSON.
  async ask(method, path, body, headers = {}) {
    const text = body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    const type = text === undefined ? {} : { 'Content-Type': 'application/json' };
    const response = await fetch(this.server.url + path, { method, body: text, headers: { ...type, ...this.headers, ...headers } });
    const answer = { status: response.status, headers: response.headers, text: await response.text() };
    try {
      answer.body = JSON.parse(answer.text);
    } catch {}
    return answer;
  }
  get(path, headers) {
    return this.ask('GET', path, undefined, headers);
  }
  post(path, body, headers) {
    return this.ask('POST', path, body, headers);
  }
  // The body of what must be answered.
  async ok(path, body, headers) {
    const answer = await this.post(path, body, headers);
    assert.equal(answer.status, 200, answer.text);
    return answer.body;
  }
  async refused(path, body, status = 400, headers) {
    const answer = await this.post(path, body, headers);
    assert.equal(answer.status, status, answer.text);
    return answer.body?.error;
  }
  complete(more = {}, headers) {
    return this.ok('/v1/completions', { prompt: 'The king', temperature: 0, max_tokens: 8, ...more }, headers);
  }
  chat(more = {}, headers) {
    return this.ok('/v1/chat/completions', { messages: kQuestion, temperature: 0, ...more }, headers);
  }
  // The events of a stream, without [DONE], which must be the last.
  async events(path, body, headers) {
    const answer = await this.post(path, { ...body, stream: true }, headers);
    assert.equal(answer.status, 200, answer.text);
    const data = [...answer.text.matchAll(/^data: (.*)$/gm)].map(([, text]) => text);
    assert.equal(data.pop(), '[DONE]');
    return data.map((text) => JSON.parse(text));
  }
  stream_completion(more = {}) {
    return this.events('/v1/completions', { prompt: 'The king', temperature: 0, max_tokens: 8, ...more });
  }
  stream_chat(more = {}) {
    return this.events('/v1/chat/completions', { messages: kQuestion, temperature: 0, ...more });
  }
}

export const kQuestion = [{ role: 'user', content: 'What is the capital of France?' }];
export const kAnswer = 'The capital of France is Paris.';
export const kTools = [{ type: 'function', function: { name: 'get_weather', parameters: { type: 'object' } } }];
// A schema that the demo model, which would say something else, can only be held to; each text of it is short.
export const kVerdictSchema = {
  type: 'object',
  properties: { verdict: { enum: ['yes', 'no'] }, score: { type: 'integer', minimum: 0, maximum: 9 } },
  required: ['verdict', 'score'],
  additionalProperties: false,
};
export function is_verdict(text) {
  const { verdict, score, ...more } = JSON.parse(text);
  assert.ok(['yes', 'no'].includes(verdict) && Number.isInteger(score) && score >= 0 && score <= 9, text);
  assert.deepEqual(more, {});
}
export const kGreeting = 'root ::= ("Hello" | "Goodbye") " " [0-9] [0-9] "!"';
export const kGreetings = /^(Hello|Goodbye) [0-9]{2}!$/;
export const user = (content) => [{ role: 'user', content }];
// The text of a streamed choice.
export const joined = (events, index = 0) =>
  events.flatMap(({ choices }) => choices.filter((choice) => choice.index === index).map(({ text, delta }) => text ?? delta.content ?? '')).join('');

// Runs `checks`, by number, one for each row of the table; what is asked of is the demo model, and one that recites.
export function behaviours(name, letter, checks) {
  describe(name, () => {
    const to = {};
    before(async () => {
      const flags = ['--data-parallel-size', '2', '--max-data-parallel-size', '3', '--served-model-name', 'demo,alias', '--peer-timeout-ms', '60000'];
      to.demo = new Asked(await Server.start(kDemo, flags));
      to.recital = new Asked(await recite(kWeather));
      to.locked = new Asked(await Server.start(kDemo, ['--served-model-name', 'demo', '--api-key', 'secret', '--allowed-hosts', 'pages.example', '--trust-request-chat-template'], 'secret'));
    });
    after(() => Promise.all(Object.values(to).map(({ server }) => server.stop())));
    const rows = rows_of(letter);
    for (const { number, words } of rows) test(`${number} ${words}`, () => checks[number](to.demo, to));
    test('each check has its row, and each row its check', () => {
      assert.deepEqual(Object.keys(checks).sort(), rows.map(({ number }) => number).sort());
    });
  });
}
