// A long call of a tool, streamed through each library, while a rank comes, the one that carries the call is killed
// (kill -9), and the one that carries it then leaves: what the library makes of it is what it makes of a calm run.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { AIMessageChunk } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { Agent, OpenAIProvider, Runner, tool as agent_tool } from '@openai/agents';
import { jsonSchema, Output, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { recite } from './server.js';
import { kLetter, kSend } from './recitals.js';

const schema = { type: 'object', properties: { letter: { type: 'string' } }, required: ['letter'], additionalProperties: false };
const question = 'Send it.';

async function vercel(model, at_piece) {
  const result = streamText({ model, prompt: question, maxRetries: 0, tools: { send: tool({ inputSchema: jsonSchema(schema) }) } });
  const pieces = [];
  for await (const part of result.stream) {
    if (part.type === 'error') throw part.error;
    if (part.type === 'tool-input-delta') await at_piece(pieces.push(part.delta));
  }
  const [call] = await result.toolCalls;
  return { pieces, letter: call.input.letter, finish: await result.finishReason, usage: (await result.usage).outputTokens };
}

// Each: the call's pieces as they came, and what the library made of them. `at_piece` is awaited with each's number.
const libraries = {
  'openai, chat completions': async ({ v1 }, at_piece) => {
    const client = new OpenAI({ baseURL: v1, apiKey: 'none', maxRetries: 0 });
    const stream = client.chat.completions.stream({
      model: 'recital',
      messages: [{ role: 'user', content: question }],
      tools: [{ type: 'function', function: { name: 'send', parameters: schema } }],
      stream_options: { include_usage: true },
    });
    const pieces = [];
    for await (const chunk of stream) {
      const piece = chunk.choices[0]?.delta.tool_calls?.[0].function.arguments;
      if (piece) await at_piece(pieces.push(piece));
    }
    const { choices, usage } = await stream.finalChatCompletion();
    return { pieces, letter: JSON.parse(choices[0].message.tool_calls[0].function.arguments).letter, finish: choices[0].finish_reason, usage };
  },
  'openai, responses': async ({ v1 }, at_piece) => {
    const client = new OpenAI({ baseURL: v1, apiKey: 'none', maxRetries: 0 });
    const stream = client.responses.stream({ model: 'recital', input: question, tools: [{ type: 'function', name: 'send', parameters: schema, strict: false }] });
    const pieces = [];
    for await (const event of stream) {
      if (event.type === 'response.function_call_arguments.delta') await at_piece(pieces.push(event.delta));
    }
    const { output, status, usage } = await stream.finalResponse();
    return { pieces, letter: JSON.parse(output[0].arguments).letter, finish: status, usage };
  },
  'ai, openai (responses)': ({ v1 }, at_piece) => vercel(createOpenAI({ baseURL: v1, apiKey: 'none' })('recital'), at_piece),
  'ai, openai-compatible': ({ v1 }, at_piece) =>
    vercel(createOpenAICompatible({ name: 'concertina', baseURL: v1, includeUsage: true })('recital'), at_piece),
  langchain: async ({ v1 }, at_piece) => {
    const model = new ChatOpenAI({ model: 'recital', apiKey: 'none', maxRetries: 0, configuration: { baseURL: v1 } });
    const pieces = [];
    let whole = new AIMessageChunk('');
    for await (const chunk of await model.bindTools([{ name: 'send', description: 'Sends', schema }]).stream(question)) {
      whole = whole.concat(chunk);
      const piece = chunk.tool_call_chunks?.[0]?.args;
      if (piece) await at_piece(pieces.push(piece));
    }
    return { pieces, letter: whole.tool_calls[0].args.letter, usage: whole.usage_metadata };
  },
  agents: async ({ v1 }, at_piece) => {
    const runner = new Runner({ modelProvider: new OpenAIProvider({ apiKey: 'none', baseURL: v1, useResponses: true }), tracingDisabled: true });
    let letter;
    const send = agent_tool({ name: 'send', description: 'Sends', parameters: schema, strict: false, execute: (given) => ((letter = given.letter), 'sent') });
    const result = await runner.run(new Agent({ name: 'Writer', model: 'recital', tools: [send] }), question, { stream: true });
    const pieces = [];
    for await (const event of result) {
      const raw = event.type === 'raw_model_stream_event' && event.data.type === 'model' ? event.data.event : {};
      if (raw.type === 'response.function_call_arguments.delta') await at_piece(pieces.push(raw.delta));
    }
    return { pieces, letter, answer: result.finalOutput };
  },
  anthropic: async ({ url }, at_piece) => {
    const client = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 });
    const stream = client.messages.stream({
      model: 'recital',
      max_tokens: 30_000,
      messages: [{ role: 'user', content: question }],
      tools: [{ name: 'send', input_schema: schema }],
    });
    const pieces = [];
    for await (const event of stream) {
      if (event.type === 'content_block_delta' && event.delta.partial_json) await at_piece(pieces.push(event.delta.partial_json));
    }
    const { content, stop_reason, usage } = await stream.finalMessage();
    return { pieces, letter: content[0].input.letter, finish: stop_reason, usage };
  },
};

// What befalls the rank that carries the stream, at these pieces of it.
const befalls = {
  100: (server) => server.scale(2),
  200: (server) => server.kill_busy_rank(),
  1000: async (server) => server.scale(1, { retire: [(await server.busy_rank()).rank] }),
};

// A test for each library, on a server that recites `texts`.
function while_ranks_come_and_go(what, texts, runs) {
  describe(`${what}, while ranks come, die and leave, through`, () => {
    let server;
    before(async () => (server = await recite(texts, ['--max-data-parallel-size', '3', '--peer-timeout-ms', '60000'])));
    after(() => server.stop());

    for (const [name, run] of Object.entries(runs)) {
      test(name, async () => {
        await server.settled();
        const calm = await run(server, () => {});
        assert.equal(calm.letter, kLetter);
        let n_befell = 0;
        const disturbed = await run(server, async (n) => {
          if (!befalls[n]) return;
          await befalls[n](server);
          ++n_befell;
        });
        assert.equal(n_befell, 3);
        assert.deepEqual(disturbed, calm);
      });
    }
  });
}

while_ranks_come_and_go('a call of a tool', kSend, libraries);

// The same of an answer that a schema binds: the automaton's state is wherever the stream is.
const structured = {
  'openai, json_schema': async ({ v1 }, at_piece) => {
    const client = new OpenAI({ baseURL: v1, apiKey: 'none', maxRetries: 0 });
    const response_format = { type: 'json_schema', json_schema: { name: 'letter', schema, strict: true } };
    const stream = client.chat.completions.stream({ model: 'recital', messages: [{ role: 'user', content: question }], response_format, stream_options: { include_usage: true } });
    const pieces = [];
    for await (const chunk of stream) {
      const piece = chunk.choices[0]?.delta.content;
      if (piece) await at_piece(pieces.push(piece));
    }
    const { choices, usage } = await stream.finalChatCompletion();
    return { pieces, letter: JSON.parse(choices[0].message.content).letter, finish: choices[0].finish_reason, usage };
  },
  'openai, responses with text.format': async ({ v1 }, at_piece) => {
    const client = new OpenAI({ baseURL: v1, apiKey: 'none', maxRetries: 0 });
    const stream = client.responses.stream({ model: 'recital', input: question, text: { format: { type: 'json_schema', name: 'letter', schema, strict: true } } });
    const pieces = [];
    for await (const event of stream) {
      if (event.type === 'response.output_text.delta') await at_piece(pieces.push(event.delta));
    }
    const { output_text, status, usage } = await stream.finalResponse();
    return { pieces, letter: JSON.parse(output_text).letter, finish: status, usage };
  },
  'ai, an output of streamText': async ({ v1 }, at_piece) => {
    const model = createOpenAI({ baseURL: v1, apiKey: 'none' })('recital');
    const result = streamText({ model, prompt: question, maxRetries: 0, output: Output.object({ schema: jsonSchema(schema) }) });
    const pieces = [];
    for await (const piece of result.textStream) await at_piece(pieces.push(piece));
    return { pieces, letter: (await result.output).letter, usage: (await result.usage).outputTokens };
  },
};

while_ranks_come_and_go('an answer that a schema binds', [JSON.stringify({ letter: kLetter })], structured);
