// @openai/agents: agents with tools, run and streamed, through responses (its default) and chat completions.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Agent, OpenAIProvider, Runner, tool } from '@openai/agents';
import { Server, kDemo, recite } from './server.js';
import { kCalls, kFinal, kWeather, kWeatherSchema } from './recitals.js';

for (const useResponses of [true, false]) {
  describe(`agents, ${useResponses ? 'responses' : 'chat completions'}`, () => {
    let demo, recital;
    before(async () => {
      demo = await Server.start(kDemo, ['--served-model-name', 'demo']);
      recital = await recite(kWeather);
    });
    after(() => Promise.all([demo?.stop(), recital?.stop()]));
    const runner = (server) =>
      new Runner({ modelProvider: new OpenAIProvider({ apiKey: 'none', baseURL: server.v1, useResponses }), tracingDisabled: true });

    test('an agent answers', async () => {
      const agent = new Agent({ name: 'Geographer', model: 'demo', modelSettings: { temperature: 0 } });
      const result = await runner(demo).run(agent, 'What is the capital of France?');
      assert.equal(result.finalOutput, 'The capital of France is Paris.');
      assert.ok(result.state.usage.totalTokens > 10);
    });

    for (const stream of [false, true]) {
      test(`an agent calls its tools, then answers${stream ? ', streamed' : ''}`, async () => {
        const asked = [];
        const weather = tool({
          name: 'get_weather',
          description: 'Weather',
          parameters: { ...kWeatherSchema, additionalProperties: true },
          strict: false,
          execute: (given) => (asked.push(given), 'warm'),
        });
        const agent = new Agent({ name: 'Weather', instructions: 'Look it up.', model: 'recital', tools: [weather] });
        const result = await runner(recital).run(agent, 'How warm are Paris and Rome?', { stream });
        if (stream) {
          const names = [];
          for await (const event of result) if (event.type === 'run_item_stream_event') names.push(event.name);
          assert.deepEqual(names.filter((name) => name.startsWith('tool_')), ['tool_called', 'tool_called', 'tool_output', 'tool_output']);
        }
        assert.equal(result.finalOutput, kFinal);
        assert.deepEqual(asked, kCalls.map((call) => call.arguments));
      });
    }
  });
}
