// @langchain/openai: a chat model, its stream, batches and bound tools, through chat completions and responses.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AIMessageChunk, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAI } from '@langchain/openai';
import { Server, kDemo, recite } from './server.js';
import { kCalls, kFinal, kWeather, kWeatherSchema, kWords } from './recitals.js';

const question = 'What is the capital of France?', answer = 'The capital of France is Paris.';

for (const useResponsesApi of [false, true]) {
  describe(`langchain, ${useResponsesApi ? 'responses' : 'chat completions'}`, () => {
    let demo, recital;
    before(async () => {
      demo = await Server.start(kDemo, ['--served-model-name', 'demo']);
      recital = await recite(kWeather);
    });
    after(() => Promise.all([demo?.stop(), recital?.stop()]));
    const chat = (server, model, more = {}) =>
      new ChatOpenAI({ model, apiKey: 'none', maxRetries: 0, useResponsesApi, configuration: { baseURL: server.v1 }, ...more });

    test('invoke gives the answer and its usage', async () => {
      const reply = await chat(demo, 'demo', { temperature: 0 }).invoke(question);
      assert.equal(reply.text, answer);
      assert.equal(reply.usage_metadata.total_tokens, reply.usage_metadata.input_tokens + reply.usage_metadata.output_tokens);
    });

    test('stream gives it in pieces', async () => {
      const pieces = [];
      for await (const chunk of await chat(demo, 'demo', { temperature: 0 }).stream(question)) pieces.push(chunk.text);
      assert.equal(pieces.join(''), answer);
      assert.ok(pieces.filter(Boolean).length > 3);
    });

    test('batch gives each its answer', async () => {
      const replies = await chat(demo, 'demo', { temperature: 0 }).batch([question, 'What is 2 + 3?', question]);
      assert.equal(replies[0].text, answer);
      assert.equal(replies[2].text, answer);
      assert.notEqual(replies[1].text, answer);
    });

    const weather = tool(({ city }) => `${city}: warm`, { name: 'get_weather', description: 'Weather', schema: kWeatherSchema });
    const called = (message) => message.tool_calls.map(({ name, args }) => ({ name, arguments: args }));

    test('bindTools: the model calls them, and answers with what they give', async () => {
      const model = chat(recital, 'recital').bindTools([weather]);
      const messages = [new HumanMessage('How warm are Paris and Rome?')];
      const first = await model.invoke(messages);
      assert.deepEqual(called(first), kCalls);
      assert.equal(first.text, kWords);
      const results = await Promise.all(first.tool_calls.map((call) => weather.invoke(call)));
      assert.ok(results.every((result) => ToolMessage.isInstance(result)));
      assert.equal((await model.invoke([...messages, first, ...results])).text, kFinal);
    });

    test('bindTools, streamed: chunks add up to the calls', async () => {
      let whole = new AIMessageChunk('');
      for await (const chunk of await chat(recital, 'recital').bindTools([weather]).stream('How warm?')) whole = whole.concat(chunk);
      assert.deepEqual(called(whole), kCalls);
    });
  });
}

describe('langchain, completions', () => {
  let server;
  before(async () => (server = await Server.start(kDemo, ['--served-model-name', 'demo'])));
  after(() => server.stop());

  test('invoke gives the same text twice when greedy', async () => {
    const model = new OpenAI({ model: 'demo', apiKey: 'none', temperature: 0, maxTokens: 10, maxRetries: 0, configuration: { baseURL: server.v1 } });
    const text = await model.invoke('The king');
    assert.match(text, /\w/);
    assert.equal(await model.invoke('The king'), text);
  });

  test('logprobs come with a chat', async () => {
    const model = new ChatOpenAI({ model: 'demo', apiKey: 'none', temperature: 0, logprobs: true, topLogprobs: 2, maxRetries: 0, configuration: { baseURL: server.v1 } });
    const { response_metadata, text } = await model.invoke(question);
    const tokens = response_metadata.logprobs.content;
    assert.ok(tokens.every(({ top_logprobs }) => top_logprobs.length === 2));
    assert.ok(tokens.map(({ token }) => token).join('').startsWith(text));
  });
});
