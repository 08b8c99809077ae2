// The `openai` library: chat, completions, tools, errors, aborts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { Server, eventually, kDemo, recite } from './server.js';
import { kCalls, kFinal, kThought, kWeather, kWeatherSchema, kWords } from './recitals.js';

const question = [{ role: 'user', content: 'What is the capital of France?' }];
const answer = 'The capital of France is Paris.';

describe('openai, a chat', () => {
  let server, client;
  before(async () => {
    server = await Server.start(kDemo, ['--data-parallel-size', '2', '--served-model-name', 'demo', '--api-key', 'secret'], 'secret');
    client = new OpenAI({ baseURL: server.v1, apiKey: 'secret', maxRetries: 0 });
  });
  after(() => server.stop());
  const ask = (more = {}, options = {}) =>
    client.chat.completions.create({ model: 'demo', messages: question, temperature: 0, ...more }, options);

  test('is answered, with usage, fingerprint and request id', async () => {
    const reply = await ask();
    assert.equal(reply.choices[0].message.content, answer);
    assert.equal(reply.choices[0].message.role, 'assistant');
    assert.equal(reply.choices[0].finish_reason, 'stop');
    assert.equal(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens);
    assert.match(reply.system_fingerprint, /./);
    assert.match(reply._request_id, /./);
  });

  test('is streamed in deltas whose concatenation is the answer', async () => {
    const stream = await ask({ stream: true, stream_options: { include_usage: true } });
    const deltas = [], finish = [];
    let usage;
    for await (const chunk of stream) {
      if (chunk.usage) usage = chunk.usage;
      for (const choice of chunk.choices) {
        if (choice.delta.content) deltas.push(choice.delta.content);
        if (choice.finish_reason) finish.push(choice.finish_reason);
      }
    }
    assert.equal(deltas.join(''), answer);
    assert.ok(deltas.length > 3, `${deltas.length} deltas`);
    assert.deepEqual(finish, ['stop']);
    assert.deepEqual(usage, (await ask()).usage);
  });

  test('of the helper .stream() is put together by the library', async () => {
    const stream = client.chat.completions.stream({ model: 'demo', messages: question, temperature: 0, stream_options: { include_usage: true } });
    const heard = [];
    stream.on('content', (delta) => heard.push(delta));
    const whole = await stream.finalChatCompletion();
    assert.equal(whole.choices[0].message.content, answer);
    assert.equal(heard.join(''), answer);
    assert.equal((await stream.totalUsage()).total_tokens, whole.usage.total_tokens);
  });

  test('tells logprobs, of which the chosen one is the likeliest when greedy', async () => {
    const { logprobs, message } = (await ask({ logprobs: true, top_logprobs: 3 })).choices[0];
    assert.equal(logprobs.content.filter(({ token }) => !token.startsWith('<|')).map(({ token }) => token).join(''), message.content);
    for (const { token, logprob, bytes, top_logprobs } of logprobs.content) {
      assert.equal(top_logprobs.length, 3);
      assert.equal(top_logprobs[0].token, token);
      assert.equal(top_logprobs[0].logprob, logprob);
      assert.ok(logprob <= 0 && top_logprobs[1].logprob <= logprob);
      assert.equal(Buffer.from(bytes).toString(), token);
    }
  });

  test('streams the logprobs of the whole answer', async () => {
    const whole = (await ask({ logprobs: true, top_logprobs: 2 })).choices[0].logprobs.content;
    const streamed = [];
    for await (const chunk of await ask({ logprobs: true, top_logprobs: 2, stream: true })) {
      streamed.push(...(chunk.choices[0]?.logprobs?.content ?? []));
    }
    assert.deepEqual(streamed, whole);
  });

  test('with n = 3 and a seed has three answers, the same ones again', async () => {
    const texts = async () =>
      (await client.chat.completions.create({ model: 'demo', messages: [{ role: 'user', content: 'Tell me a fable.' }], n: 3, seed: 7, temperature: 1, max_tokens: 20 })).choices.map(
        ({ message }) => message.content,
      );
    const first = await texts();
    assert.equal(new Set(first).size, 3);
    assert.deepEqual(await texts(), first);
  });

  test('obeys stop, max_tokens, logit_bias and penalties', async () => {
    const stopped = await ask({ stop: ' is' });
    assert.equal(stopped.choices[0].message.content, 'The capital of France');
    assert.equal((await ask({ max_completion_tokens: 2 })).choices[0].finish_reason, 'length');
    const { logprobs } = (await ask({ logprobs: true, max_tokens: 1, return_tokens_as_token_ids: true })).choices[0];
    const first = logprobs.content[0].token.replace('token_id:', '');
    assert.notEqual((await ask({ logit_bias: { [first]: -100 } })).choices[0].message.content, answer);
    const loop = { messages: [{ role: 'user', content: 'Say ho ho ho ho ho ho ho ho.' }], max_tokens: 60, ignore_eos: true };
    assert.notEqual((await ask({ ...loop, frequency_penalty: 2, presence_penalty: 2 })).choices[0].message.content, (await ask(loop)).choices[0].message.content);
  });

  test('that is aborted gives its place and its KV back at once', async () => {
    const long = { messages: question, ignore_eos: true, max_tokens: 900 };
    const stream = await ask({ ...long, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0].delta.content) break; // which aborts
    }
    await eventually('the stream is over', async () => (await server.n_requests()) === 0, 5_000);
    const abort = new AbortController();
    const waiting = ask(long, { signal: abort.signal });
    await server.busy_rank();
    abort.abort();
    await assert.rejects(waiting, OpenAI.APIUserAbortError);
    await eventually('the request is over', async () => (await server.n_requests()) === 0, 5_000);
    for (const rank of (await server.cluster()).ranks) assert.equal(rank.kv_blocks_used, 0);
  });

  test('that takes longer than the client waits is a timeout of the library, and ends at the server', async () => {
    await assert.rejects(ask({ ignore_eos: true, max_tokens: 1000 }, { timeout: 30 }), OpenAI.APIConnectionTimeoutError);
    await eventually('the request is over', async () => (await server.n_requests()) === 0, 5_000);
  });

  test('that cannot be is refused with the typed error of the library', async () => {
    const error_of = async (call) => {
      try {
        await call;
      } catch (error) {
        return error;
      }
      assert.fail('it was taken');
    };
    const not_found = await error_of(ask({ model: 'gpt-9' }));
    assert.ok(not_found instanceof OpenAI.NotFoundError);
    assert.equal(not_found.code, 'model_not_found');
    const too_long = await error_of(ask({ messages: [{ role: 'user', content: 'word '.repeat(3000) }] }));
    assert.ok(too_long instanceof OpenAI.BadRequestError);
    assert.equal(too_long.code, 'context_length_exceeded');
    const wrong = await error_of(ask({ temperature: -1 }));
    assert.ok(wrong instanceof OpenAI.BadRequestError);
    assert.equal(wrong.param, 'temperature');
    assert.match(wrong.requestID, /./);
    const stranger = new OpenAI({ baseURL: server.v1, apiKey: 'guessed', maxRetries: 0 });
    assert.ok((await error_of(stranger.models.list())) instanceof OpenAI.AuthenticationError);
    assert.ok((await error_of(client.embeddings.create({ model: 'demo', input: 'x' }))) instanceof OpenAI.NotFoundError);
  });

  test('lists its model, and tells of it', async () => {
    const models = [];
    for await (const model of client.models.list()) models.push(model.id);
    assert.deepEqual(models, ['demo']);
    assert.equal((await client.models.retrieve('demo')).object, 'model');
  });
});

describe('openai, completions', () => {
  let server, client;
  before(async () => {
    server = await Server.start(kDemo, ['--served-model-name', 'demo']);
    client = new OpenAI({ baseURL: server.v1, apiKey: 'none', maxRetries: 0 });
  });
  after(() => server.stop());

  test('of several prompts come in their order, streamed and not', async () => {
    const body = { model: 'demo', prompt: ['The king', 'A ship'], max_tokens: 12, temperature: 0, n: 1 };
    const whole = await client.completions.create(body);
    assert.deepEqual(whole.choices.map(({ index }) => index), [0, 1]);
    const texts = ['', ''];
    for await (const chunk of await client.completions.create({ ...body, stream: true })) {
      for (const choice of chunk.choices) texts[choice.index] += choice.text;
    }
    assert.deepEqual(texts, whole.choices.map(({ text }) => text));
  });

  test('echo the prompt with its logprobs', async () => {
    const reply = await client.completions.create({ model: 'demo', prompt: 'The king of France', echo: true, logprobs: 2, max_tokens: 0 });
    const { text, logprobs } = reply.choices[0];
    assert.equal(text, 'The king of France');
    assert.equal(logprobs.tokens.join(''), text);
    assert.equal(logprobs.token_logprobs[0], null);
    assert.ok(logprobs.token_logprobs.slice(1).every((logprob) => logprob < 0));
    assert.deepEqual(logprobs.text_offset, logprobs.tokens.map((_, i) => logprobs.tokens.slice(0, i).join('').length));
  });
});

describe('openai, tools with tool_choice auto', () => {
  let server, client;
  before(async () => {
    server = await recite(kWeather);
    client = new OpenAI({ baseURL: server.v1, apiKey: 'none', maxRetries: 0 });
  });
  after(() => server.stop());
  const tools = [{ type: 'function', function: { name: 'get_weather', description: 'Weather', parameters: kWeatherSchema } }];
  const messages = [{ role: 'user', content: 'How warm are Paris and Rome?' }];
  const is_called = (calls) =>
    assert.deepEqual(
      calls.map((call) => ({ name: call.function.name, arguments: JSON.parse(call.function.arguments) })),
      kCalls,
    );

  test('come as calls with arguments, beside content and reasoning', async () => {
    const { choices } = await client.chat.completions.create({ model: 'recital', messages, tools });
    const { message, finish_reason } = choices[0];
    is_called(message.tool_calls);
    assert.equal(finish_reason, 'tool_calls');
    assert.equal(message.content, kWords);
    assert.equal(message.reasoning_content, kThought);
    assert.equal(new Set(message.tool_calls.map(({ id }) => id)).size, 2);
  });

  test('are streamed: first id and name of each, then pieces of its arguments', async () => {
    const calls = [];
    const finish = [];
    let n_pieces = 0;
    for await (const chunk of await client.chat.completions.create({ model: 'recital', messages, tools, stream: true })) {
      const [choice] = chunk.choices;
      if (choice.finish_reason) finish.push(choice.finish_reason);
      for (const { index, id, type, function: piece } of choice.delta.tool_calls ?? []) {
        if (id) {
          assert.equal(index, calls.length);
          assert.equal(type, 'function');
          calls.push({ id, function: { name: piece.name, arguments: '' } });
        }
        calls[index].function.arguments += piece.arguments ?? '';
        n_pieces += piece.arguments ? 1 : 0;
      }
    }
    is_called(calls);
    assert.ok(n_pieces > 10, `${n_pieces} pieces`);
    assert.deepEqual(finish, ['tool_calls']);
  });

  test('of the helper .stream() are events with the arguments so far', async () => {
    const stream = client.chat.completions.stream({ model: 'recital', messages, tools });
    const done = [];
    let so_far;
    stream.on('tool_calls.function.arguments.delta', ({ arguments: text, arguments_delta }) => {
      assert.ok(text.endsWith(arguments_delta));
      so_far = text;
    });
    stream.on('tool_calls.function.arguments.done', ({ name, arguments: text }) => done.push({ name, arguments: JSON.parse(text) }));
    is_called((await stream.finalMessage()).tool_calls);
    assert.deepEqual(done, kCalls);
    assert.deepEqual(JSON.parse(so_far), kCalls[1].arguments);
  });

  for (const stream of [false, true]) {
    test(`are run by runTools until the model answers${stream ? ', streamed' : ''}`, async () => {
      const asked = [];
      const runner = client.chat.completions.runTools({
        model: 'recital',
        messages,
        stream,
        tools: [
          {
            type: 'function',
            function: {
              name: 'get_weather',
              parameters: kWeatherSchema,
              parse: JSON.parse,
              function: (given) => (asked.push(given), `${given.city}: warm`),
            },
          },
        ],
      });
      assert.equal(await runner.finalContent(), kFinal);
      assert.deepEqual(asked, kCalls.map((call) => call.arguments));
      assert.deepEqual(
        runner.messages.map(({ role }) => role),
        ['user', 'assistant', 'tool', 'tool', 'assistant'],
      );
    });
  }

  test('with parallel_tool_calls false end with the first call', async () => {
    const { choices } = await client.chat.completions.create({ model: 'recital', messages, tools, parallel_tool_calls: false });
    assert.deepEqual(JSON.parse(choices[0].message.tool_calls[0].function.arguments), kCalls[0].arguments);
    assert.equal(choices[0].message.tool_calls.length, 1);
  });

  test('with tool_choice none are content', async () => {
    const { choices } = await client.chat.completions.create({ model: 'recital', messages, tools, tool_choice: 'none' });
    assert.equal(choices[0].message.tool_calls, undefined);
    assert.match(choices[0].message.content, /<tool_call>/);
    assert.equal(choices[0].finish_reason, 'stop');
  });
});
