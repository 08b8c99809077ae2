// @anthropic-ai/sdk: messages, streams, tools, countTokens.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { Server, eventually, kDemo, recite } from './server.js';
import { kCalls, kFinal, kThought, kWeather, kWeatherSchema, kWords } from './recitals.js';

const messages = [{ role: 'user', content: 'What is the capital of France?' }];
const answer = 'The capital of France is Paris.';

describe('anthropic, messages', () => {
  let server, client;
  before(async () => {
    server = await Server.start(kDemo, ['--served-model-name', 'demo', '--api-key', 'secret'], 'secret');
    client = new Anthropic({ baseURL: server.url, apiKey: 'secret', maxRetries: 0 });
  });
  after(() => server.stop());
  const body = { model: 'demo', max_tokens: 100, temperature: 0, messages };

  test('are answered', async () => {
    const message = await client.messages.create(body);
    assert.deepEqual(message.content.map(({ type, text }) => ({ type, text })), [{ type: 'text', text: answer }]);
    assert.equal(message.stop_reason, 'end_turn');
    assert.ok(message.usage.input_tokens > 5 && message.usage.output_tokens > 5);
    assert.match(message._request_id, /./);
  });

  test('count as many tokens as they are asked with', async () => {
    const { input_tokens } = await client.messages.countTokens({ model: 'demo', messages });
    assert.equal(input_tokens, (await client.messages.create(body)).usage.input_tokens);
  });

  test('are streamed with all events of a block', async () => {
    const types = [];
    let text = '';
    for await (const event of await client.messages.create({ ...body, stream: true })) {
      if (types.at(-1) !== event.type && event.type !== 'ping') types.push(event.type);
      if (event.type === 'content_block_delta') text += event.delta.text;
    }
    assert.deepEqual(types, ['message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop']);
    assert.equal(text, answer);
  });

  test('of the helper .stream() are put together by the library', async () => {
    const stream = client.messages.stream(body);
    const heard = [];
    stream.on('text', (delta) => heard.push(delta));
    const whole = await stream.finalMessage();
    assert.equal(whole.content[0].text, answer);
    assert.equal(heard.join(''), answer);
    assert.deepEqual(whole.usage.output_tokens, (await client.messages.create(body)).usage.output_tokens);
  });

  test('say why they ended: max_tokens, or which stop sequence', async () => {
    assert.equal((await client.messages.create({ ...body, max_tokens: 2 })).stop_reason, 'max_tokens');
    const stopped = await client.messages.create({ ...body, stop_sequences: [' is', ' zebra'] });
    assert.equal(stopped.stop_reason, 'stop_sequence');
    assert.equal(stopped.stop_sequence, ' is');
    assert.equal(stopped.content[0].text, 'The capital of France');
  });

  test('that are aborted end at the server', async () => {
    const stream = client.messages.stream({ ...body, temperature: 1, max_tokens: 900, messages: [{ role: 'user', content: 'Tell me a long fable.' }] });
    for await (const event of stream) if (event.type === 'content_block_delta') break;
    stream.abort();
    await eventually('the stream is over', async () => (await server.n_requests()) === 0, 5_000);
  });

  test('that cannot be are the library’s typed errors', async () => {
    await assert.rejects(client.messages.create({ ...body, model: 'claude' }), Anthropic.NotFoundError);
    await assert.rejects(client.messages.create({ ...body, temperature: 'hot' }), (error) => {
      assert.ok(error instanceof Anthropic.BadRequestError);
      assert.equal(error.error.error.type, 'invalid_request_error');
      assert.match(error.message, /temperature/);
      return true;
    });
    const stranger = new Anthropic({ baseURL: server.url, apiKey: 'guessed', maxRetries: 0 });
    await assert.rejects(stranger.messages.create(body), Anthropic.AuthenticationError);
  });
});

describe('anthropic, tools', () => {
  let server, client;
  before(async () => {
    server = await recite(kWeather);
    client = new Anthropic({ baseURL: server.url, apiKey: 'none', maxRetries: 0 });
  });
  after(() => server.stop());
  const tools = [{ name: 'get_weather', description: 'Weather', input_schema: kWeatherSchema }];
  const body = { model: 'recital', max_tokens: 2000, messages: [{ role: 'user', content: 'How warm are Paris and Rome?' }], tools };
  const used = ({ content }) => content.filter(({ type }) => type === 'tool_use').map(({ name, input }) => ({ name, arguments: input }));

  test('are used, after thinking and text, and their results answered', async () => {
    const first = await client.messages.create(body);
    assert.deepEqual(first.content.map(({ type }) => type), ['thinking', 'text', 'tool_use', 'tool_use']);
    assert.equal(first.content[0].thinking, kThought);
    assert.equal(first.content[1].text, kWords);
    assert.deepEqual(used(first), kCalls);
    assert.equal(first.stop_reason, 'tool_use');
    const results = first.content.filter(({ type }) => type === 'tool_use').map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'warm' }));
    const second = await client.messages.create({
      ...body,
      messages: [...body.messages, { role: 'assistant', content: first.content }, { role: 'user', content: results }],
    });
    assert.equal(second.content[0].text, kFinal);
  });

  test('are streamed as JSON in pieces', async () => {
    const stream = client.messages.stream(body);
    const snapshots = [];
    stream.on('inputJson', (_, snapshot) => snapshots.push(snapshot));
    const whole = await stream.finalMessage();
    assert.deepEqual(used(whole), kCalls);
    assert.ok(snapshots.length > 10);
  });

  test('are run by the library’s toolRunner until the model answers', async () => {
    const asked = [];
    const runner = client.beta.messages.toolRunner({
      ...body,
      tools: [{ ...tools[0], type: 'custom', run: (input) => (asked.push(input), 'warm'), parse: (input) => input }],
    });
    const last = await runner;
    assert.equal(last.content.at(-1).text, kFinal);
    assert.deepEqual(asked, kCalls.map((call) => call.arguments));
  });
});
