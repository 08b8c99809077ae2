// Structured output and calls that must come, through each library. A model that recites shows that what fits comes as it is,
// the demo model, which would say anything else, that nothing else can come.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { Agent, OpenAIProvider, Runner } from '@openai/agents';
import { generateObject, generateText, Output, streamText } from 'ai';
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { Server, kDemo, recite } from './server.js';
import { call_text } from './recitals.js';

const City = z.object({ city: z.string(), people: z.number().int(), sights: z.array(z.string()) });
const kCity = { city: 'Paris', people: 2_100_000, sights: ['a "tower"', 'Île de la Cité'] };
const Verdict = z.object({ verdict: z.enum(['yes', 'no']), score: z.number().int().min(0).max(9) });
const messages = [{ role: 'user', content: 'What is the capital of France?' }];
const no_key = { apiKey: 'none', maxRetries: 0 };

const servers = {};
before(async () => {
  servers.demo = await Server.start(kDemo, ['--served-model-name', 'demo', '--tool-call-parser', 'hermes']);
  servers.recital = await recite([JSON.stringify(kCity)]);
  servers.caller = await recite([call_text({ name: 'tell', arguments: kCity }), 'Told.']);
});
after(() => Promise.all(Object.values(servers).map((server) => server.stop())));

describe('openai, structured', () => {
  const client = (server) => new OpenAI({ baseURL: servers[server].v1, ...no_key });

  test('chat.completions.parse gives an object of a zod schema', async () => {
    const body = { model: 'recital', messages, response_format: zodResponseFormat(City, 'city') };
    const { choices } = await client('recital').chat.completions.parse(body);
    assert.deepEqual(choices[0].message.parsed, kCity);
    assert.equal(choices[0].finish_reason, 'stop');
  });

  test('a model that would say something else says what fits', async () => {
    const body = { model: 'demo', messages, response_format: zodResponseFormat(Verdict, 'verdict'), max_tokens: 200 };
    for (const seed of [1, 2, 3]) {
      const { choices } = await client('demo').chat.completions.parse({ ...body, seed, temperature: 1 });
      assert.ok(Verdict.safeParse(choices[0].message.parsed).success, choices[0].message.content);
      assert.equal(choices[0].finish_reason, 'stop');
    }
  });

  test('.stream() parses it at its end', async () => {
    const stream = client('recital').chat.completions.stream({ model: 'recital', messages, response_format: zodResponseFormat(City, 'city') });
    const deltas = [];
    stream.on('content.delta', ({ delta }) => deltas.push(delta));
    const { choices } = await stream.finalChatCompletion();
    assert.deepEqual(choices[0].message.parsed, kCity);
    assert.equal(deltas.join(''), JSON.stringify(kCity));
    assert.ok(deltas.length > 5);
  });

  test('json_object is JSON', async () => {
    const { choices } = await client('recital').chat.completions.create({ model: 'recital', messages, response_format: { type: 'json_object' } });
    assert.deepEqual(JSON.parse(choices[0].message.content), kCity);
  });

  test('responses.parse gives an object, and a stream its text', async () => {
    const body = { model: 'recital', input: messages, text: { format: zodTextFormat(City, 'city') } };
    assert.deepEqual((await client('recital').responses.parse(body)).output_parsed, kCity);
    assert.deepEqual((await client('recital').responses.stream(body).finalResponse()).output_parsed, kCity);
  });

  test('a schema that cannot be is a typed error which names the keyword', async () => {
    const schema = { type: 'object', properties: { a: { not: { type: 'string' } } } };
    const body = { model: 'demo', messages, response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } };
    await assert.rejects(client('demo').chat.completions.create(body), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.match(error.message, /\bnot\b/);
      return true;
    });
  });

  test('a strict tool is called with what fits, and parsed', async () => {
    const tools = [zodFunction({ name: 'tell', parameters: City })];
    const { choices } = await client('caller').chat.completions.parse({ model: 'recital', messages, tools });
    assert.deepEqual(choices[0].message.tool_calls[0].function.parsed_arguments, kCity);
  });

  for (const [what, tool_choice] of Object.entries({ required: 'required', named: { type: 'function', function: { name: 'judge' } } })) {
    test(`tool_choice ${what}: a model that calls nothing by itself calls it`, async () => {
      const tools = [zodFunction({ name: 'judge', parameters: Verdict })];
      const { choices } = await client('demo').chat.completions.parse({ model: 'demo', messages, tools, tool_choice, parallel_tool_calls: false, max_tokens: 200, temperature: 0 });
      const [call] = choices[0].message.tool_calls;
      assert.equal(call.function.name, 'judge');
      assert.ok(Verdict.safeParse(call.function.parsed_arguments).success, call.function.arguments);
    });
  }
});

const providers = {
  'openai (responses)': ({ v1 }) => createOpenAI({ baseURL: v1, apiKey: 'none' }),
  'openai.chat': ({ v1 }) => createOpenAI({ baseURL: v1, apiKey: 'none' }).chat,
  'openai-compatible': ({ v1 }) => createOpenAICompatible({ name: 'concertina', baseURL: v1, supportsStructuredOutputs: true }),
};
for (const [name, provider] of Object.entries(providers)) {
  describe(`ai with ${name}, structured`, () => {
    const ask = (server, model, more = {}) => ({ model: provider(servers[server])(model), messages, maxRetries: 0, ...more });

    test('generateObject gives an object of a zod schema', async () => {
      assert.deepEqual((await generateObject(ask('recital', 'recital', { schema: City }))).object, kCity);
      const { object } = await generateObject(ask('demo', 'demo', { schema: Verdict, maxOutputTokens: 200 }));
      assert.ok(Verdict.safeParse(object).success);
    });

    test('generateText with an output gives one, too', async () => {
      const { output } = await generateText(ask('recital', 'recital', { output: Output.object({ schema: City }) }));
      assert.deepEqual(output, kCity);
    });

    test('streamText gives more and more of it', async () => {
      const result = streamText(ask('recital', 'recital', { output: Output.object({ schema: City }) }));
      const partials = [];
      for await (const partial of result.partialOutputStream) partials.push(partial);
      assert.deepEqual(partials.at(-1), kCity);
      assert.ok(partials.length > 3);
    });
  });
}

describe('langchain, structured', () => {
  const chat = (server, model, more = {}) => new ChatOpenAI({ model, ...no_key, configuration: { baseURL: servers[server].v1 }, ...more });

  for (const method of ['jsonSchema', 'functionCalling']) {
    test(`withStructuredOutput by ${method}`, async () => {
      const recited = method === 'jsonSchema' ? 'recital' : 'caller';
      assert.deepEqual(await chat(recited, 'recital').withStructuredOutput(City, { method, name: 'tell' }).invoke('Tell.'), kCity);
      const verdict = await chat('demo', 'demo', { maxTokens: 200 }).withStructuredOutput(Verdict, { method, name: 'judge' }).invoke('Judge.');
      assert.ok(Verdict.safeParse(verdict).success);
    });
  }
});

describe('agents, structured', () => {
  for (const useResponses of [true, false]) {
    test(`an agent’s output is of its outputType, ${useResponses ? 'responses' : 'chat completions'}`, async () => {
      const modelProvider = new OpenAIProvider({ apiKey: 'none', baseURL: servers.recital.v1, useResponses });
      const agent = new Agent({ name: 'Geographer', model: 'recital', outputType: City });
      const result = await new Runner({ modelProvider, tracingDisabled: true }).run(agent, 'Tell.');
      assert.deepEqual(result.finalOutput, kCity);
    });
  }
});

describe('anthropic, calls that must come', () => {
  for (const [what, tool_choice] of Object.entries({ any: { type: 'any', disable_parallel_tool_use: true }, tool: { type: 'tool', name: 'judge' } })) {
    test(`tool_choice ${what}: a model that calls nothing by itself calls it`, async () => {
      const client = new Anthropic({ baseURL: servers.demo.url, ...no_key });
      const tools = [{ name: 'judge', input_schema: z.toJSONSchema(Verdict) }];
      const { content, stop_reason } = await client.messages.create({ model: 'demo', max_tokens: 200, messages, tools, tool_choice });
      const use = content.find(({ type }) => type === 'tool_use');
      assert.equal(use.name, 'judge');
      assert.ok(Verdict.safeParse(use.input).success, JSON.stringify(use.input));
      assert.equal(stop_reason, 'tool_use');
    });
  }
});
