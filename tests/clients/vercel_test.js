// Vercel's `ai` with @ai-sdk/openai (responses, its default, and chat) and @ai-sdk/openai-compatible.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateText, isStepCount, jsonSchema, streamText, tool } from 'ai';
import { Server, eventually, kDemo, recite } from './server.js';
import { kCalls, kFinal, kThought, kWeather, kWeatherSchema, kWords } from './recitals.js';

// Each provider with its way to name a model.
const providers = {
  'openai (responses)': (server) => createOpenAI({ baseURL: server.v1, apiKey: 'none' }),
  'openai.chat': (server) => createOpenAI({ baseURL: server.v1, apiKey: 'none' }).chat,
  'openai-compatible': (server) => createOpenAICompatible({ name: 'concertina', baseURL: server.v1, includeUsage: true }),
};
const prompt = 'What is the capital of France?', answer = 'The capital of France is Paris.';

for (const [name, provider] of Object.entries(providers)) {
  describe(`ai with ${name}`, () => {
    let demo, recital;
    before(async () => {
      demo = await Server.start(kDemo, ['--served-model-name', 'demo']);
      recital = await recite(kWeather);
    });
    after(() => Promise.all([demo?.stop(), recital?.stop()]));
    const ask = (more = {}) => ({ model: provider(demo)('demo'), prompt, temperature: 0, maxRetries: 0, ...more });

    test('generateText gives text, usage and why it ended', async () => {
      const { text, usage, finishReason } = await generateText(ask());
      assert.equal(text, answer);
      assert.equal(finishReason, 'stop');
      assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
      assert.ok(usage.inputTokens > 5 && usage.outputTokens > 5);
      assert.equal((await generateText(ask({ maxOutputTokens: 2 }))).finishReason, 'length');
    });

    test('streamText gives the same text in pieces, and the same usage', async () => {
      const result = streamText(ask());
      const pieces = [];
      for await (const piece of result.textStream) pieces.push(piece);
      assert.equal(pieces.join(''), answer);
      assert.ok(pieces.length > 3);
      const { usage } = await generateText(ask());
      assert.equal((await result.usage).totalTokens, usage.totalTokens);
      assert.equal(await result.finishReason, 'stop');
    });

    test('an aborted stream ends at the server', async () => {
      const abort = new AbortController();
      const result = streamText(ask({ prompt: 'Tell me a long fable.', temperature: 1, maxOutputTokens: 900, abortSignal: abort.signal, onError() {} }));
      for await (const piece of result.textStream) {
        assert.ok(piece);
        abort.abort();
      }
      await eventually('the stream is over', async () => (await demo.n_requests()) === 0, 5_000);
    });

    test('an error is the library’s APICallError with the server’s words', async () => {
      await assert.rejects(generateText(ask({ model: provider(demo)('gpt-9') })), (error) => {
        assert.ok(APICallError.isInstance(error));
        assert.equal(error.statusCode, 404);
        assert.match(error.message, /gpt-9/);
        return true;
      });
    });

    const asked = [];
    const with_tools = () => {
      asked.length = 0;
      return {
        model: provider(recital)('recital'),
        prompt: 'How warm are Paris and Rome?',
        maxRetries: 0,
        stopWhen: isStepCount(3),
        tools: {
          get_weather: tool({
            description: 'Weather',
            inputSchema: jsonSchema(kWeatherSchema),
            execute: (given) => (asked.push(given), { degrees: 21 }),
          }),
        },
      };
    };

    test('generateText calls tools and goes on with what they give', async () => {
      const { text, steps } = await generateText(with_tools());
      assert.equal(text, kFinal);
      assert.deepEqual(steps.map(({ finishReason }) => finishReason), ['tool-calls', 'stop']);
      assert.deepEqual(steps[0].toolCalls.map(({ toolName, input }) => ({ name: toolName, arguments: input })), kCalls);
      assert.equal(steps[0].text, kWords);
      assert.equal(steps[0].reasoningText ?? kThought, kThought);
      assert.deepEqual(asked, kCalls.map((call) => call.arguments));
    });

    test('streamText streams the tools’ inputs', async () => {
      const result = streamText(with_tools());
      const inputs = [];
      for await (const part of result.stream) {
        if (part.type === 'tool-input-start') inputs.push('');
        if (part.type === 'tool-input-delta') inputs[inputs.length - 1] += part.delta;
        if (part.type === 'error') throw part.error;
      }
      assert.deepEqual(inputs.map((text) => JSON.parse(text)), kCalls.map((call) => call.arguments));
      assert.equal(await result.text, kFinal);
    });
  });
}
