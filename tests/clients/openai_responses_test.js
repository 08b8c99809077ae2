// The `openai` library's responses API.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { Server, kDemo, recite } from './server.js';
import { kCalls, kFinal, kThought, kWeather, kWeatherSchema, kWords } from './recitals.js';

describe('openai, responses', () => {
  let server, client;
  before(async () => {
    server = await Server.start(kDemo, ['--served-model-name', 'demo']);
    client = new OpenAI({ baseURL: server.v1, apiKey: 'none', maxRetries: 0 });
  });
  after(() => server.stop());
  const body = { model: 'demo', input: 'What is the capital of France?', temperature: 0 };
  const answer = 'The capital of France is Paris.';

  test('are text with usage', async () => {
    const response = await client.responses.create(body);
    assert.equal(response.output_text, answer);
    assert.equal(response.status, 'completed');
    assert.equal(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens);
    assert.equal(response.store, false);
  });

  test('are streamed with every event of an item, in order and numbered', async () => {
    const types = [];
    let text = '', number = 0, completed;
    for await (const event of await client.responses.create({ ...body, stream: true })) {
      assert.equal(event.sequence_number, number++);
      if (types.at(-1) !== event.type) types.push(event.type);
      if (event.type === 'response.output_text.delta') text += event.delta;
      if (event.type === 'response.completed') completed = event.response;
    }
    assert.deepEqual(types, [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    assert.equal(text, answer);
    assert.equal(completed.output[0].content[0].text, answer);
  });

  test('of the helper .stream() are put together by the library', async () => {
    const stream = client.responses.stream(body);
    assert.equal((await stream.finalResponse()).output_text, answer);
  });

  test('that are cut off are incomplete and say why', async () => {
    const response = await client.responses.create({ ...body, max_output_tokens: 2 });
    assert.equal(response.status, 'incomplete');
    assert.equal(response.incomplete_details.reason, 'max_output_tokens');
  });

  test('that would have to be kept are refused by name', async () => {
    for (const [field, value] of [['store', true], ['background', true], ['previous_response_id', 'resp_1']]) {
      await assert.rejects(client.responses.create({ ...body, [field]: value }), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.equal(error.param, field);
        return true;
      });
    }
  });
});

describe('openai, responses with tools', () => {
  let server, client;
  before(async () => {
    server = await recite(kWeather);
    client = new OpenAI({ baseURL: server.v1, apiKey: 'none', maxRetries: 0 });
  });
  after(() => server.stop());
  const tools = [{ type: 'function', name: 'get_weather', parameters: kWeatherSchema, strict: false }];
  const input = [{ role: 'user', content: 'How warm are Paris and Rome?' }];
  const calls_of = (output) =>
    output.filter(({ type }) => type === 'function_call').map(({ name, arguments: text }) => ({ name, arguments: JSON.parse(text) }));

  test('have reasoning, a message and calls as items, and go on with the calls’ outputs', async () => {
    const first = await client.responses.create({ model: 'recital', input, tools });
    assert.deepEqual(first.output.map(({ type }) => type), ['reasoning', 'message', 'function_call', 'function_call']);
    assert.equal(first.output[0].content[0].text, kThought);
    assert.equal(first.output_text, kWords);
    assert.deepEqual(calls_of(first.output), kCalls);
    const outputs = first.output
      .filter(({ type }) => type === 'function_call')
      .map(({ call_id }) => ({ type: 'function_call_output', call_id, output: 'warm' }));
    const second = await client.responses.create({ model: 'recital', input: [...input, ...first.output, ...outputs], tools });
    assert.equal(second.output_text, kFinal);
  });

  test('stream the calls’ arguments', async () => {
    const pieces = ['', ''];
    let done = 0;
    for await (const event of await client.responses.create({ model: 'recital', input, tools, stream: true })) {
      if (event.type === 'response.function_call_arguments.delta') pieces[event.output_index - 2] += event.delta;
      if (event.type === 'response.function_call_arguments.done') assert.equal(event.arguments, pieces[done++]);
    }
    assert.deepEqual(pieces.map((text) => JSON.parse(text)), kCalls.map((call) => call.arguments));
  });
});
