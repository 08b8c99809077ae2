// docs/peer_behaviours.md, SGLang's.
import { assert, behaviours, kGreeting, kGreetings } from './behaviours.js';
import { eventually } from './server.js';

behaviours('SGLang’s', 'S', {
  S1: async (demo) => {
    assert.equal((await demo.get('/v1/models/demo')).body.id, 'demo');
    assert.equal((await demo.get('/v1/models/other')).status, 404);
  },
  S2: async (demo) => {
    const prompt = Array(1500).fill(5);
    assert.match((await demo.refused('/v1/completions', { prompt })).message, /1500 tokens.* 1024 /);
  },
  S3: async (demo) => {
    const answer = await demo.post('/v1/completions', { prompt: Array(1500).fill(5), stream: true });
    assert.equal(answer.status, 400);
    assert.equal(answer.headers.get('content-type'), 'application/json');
  },
  S4: async (demo) => assert.match((await demo.refused('/v1/completions', { prompt: 'x', model: 'other' }, 404)).message, /"other".*"demo"/),
  S5: async (demo) => {
    const ends = (await demo.stream_completion({ n: 2, temperature: 1 })).flatMap(({ choices }) => choices.filter(({ finish_reason }) => finish_reason));
    assert.deepEqual(ends.map(({ index }) => index).sort(), [0, 1]);
  },
  S7: async (demo) => assert.equal((await demo.complete({ rid: 'job-1' })).id, 'cmpl-job-1'),
  S8: async (demo) => {
    const { status, body } = await demo.get('/health_generate');
    assert.equal(status, 200);
    assert.equal(body.usage.completion_tokens, 1);
  },
  S9: async (demo) => {
    const { body } = await demo.get('/get_model_info');
    assert.match(body.model_path, /models\/demo$/);
    assert.equal(body.is_generation, true);
  },
  S10: async (demo) => {
    const { body } = await demo.get('/get_server_info');
    assert.equal(body.served_model_name, 'demo');
    assert.equal(body.data_parallel_size, 2);
    assert.match(body.version, /^\d+\.\d+/);
  },
  S11: async (demo) => assert.deepEqual((await demo.get('/model_info')).body, (await demo.get('/get_model_info')).body),
  S12: async (demo) => {
    const sampling_params = { temperature: 0, max_new_tokens: 8 };
    const { text, output_ids, meta_info } = await demo.ok('/generate', { text: 'The king', sampling_params, rid: 'native-1' });
    assert.equal(text, (await demo.complete()).choices[0].text);
    assert.equal(output_ids.length, 8);
    assert.deepEqual([meta_info.id, meta_info.finish_reason], ['native-1', { type: 'length', length: 8 }]);
    const { tokens } = await demo.ok('/tokenize', { prompt: 'The king' });
    assert.equal((await demo.ok('/generate', { input_ids: tokens, sampling_params })).text, text);
    for (const more of [{ stream: true }, { sampling_params: { stream: true } }]) assert.match((await demo.refused('/generate', { text: 'x', ...more })).message, /stream/);
  },
  S13: async (demo) => assert.equal((await demo.post('/flush_cache')).status, 200),
  S14: async (demo) => {
    const running = demo.complete({ rid: 'long-1', max_tokens: 1000, ignore_eos: true });
    await demo.server.busy_rank();
    assert.equal((await demo.ok('/abort_request', { rid: 'long-1' })).aborted, 1);
    assert.equal((await running).choices[0].finish_reason, 'abort');
    await eventually('nothing runs', async () => (await demo.server.n_requests()) === 0, 5_000);
  },
  S17: async (demo) => {
    const { body } = await demo.get('/get_load');
    assert.equal(body.ranks.length, 2);
    assert.equal(body.ranks[0].num_waiting_reqs, 0);
  },
  S18: async (demo) => {
    const [regex, matches] = ['[a-f]{3}-[0-9]{4}', /^[a-f]{3}-[0-9]{4}$/];
    assert.match((await demo.chat({ regex })).choices[0].message.content, matches);
    assert.match((await demo.ok('/generate', { text: 'The king', sampling_params: { regex, temperature: 0 } })).text, matches);
  },
  S19: async (demo) => {
    assert.match((await demo.chat({ ebnf: kGreeting })).choices[0].message.content, kGreetings);
    assert.match((await demo.ok('/generate', { text: 'The king', sampling_params: { ebnf: kGreeting, temperature: 0 } })).text, kGreetings);
  },
  S20: async (demo) => {
    const { choices } = await demo.chat({ stop: [' is'] });
    assert.equal(choices[0].matched_stop, ' is');
  },
  S21: async (_, { recital }) => {
    const { usage } = await recital.chat();
    const { reasoning_tokens } = usage.completion_tokens_details;
    assert.ok(reasoning_tokens > 3 && reasoning_tokens < usage.completion_tokens);
  },
  S22: async (demo) => {
    // What fits the body's limit: megabytes of blanks, which take long to tokenize, in a list so that none is refused by its bytes.
    const prompt = Array.from({ length: 400 }, () => ' '.repeat(9000));
    let is_read = false;
    const large = demo.post('/v1/completions', { prompt, max_tokens: 1, n: 1 }).finally(() => (is_read = true));
    let n_healthy = 0;
    while (!is_read && n_healthy < 200) {
      assert.equal((await demo.get('/health')).status, 200);
      n_healthy += 1;
    }
    assert.ok(n_healthy > 5, `${n_healthy} answers of /health beside the prompts`);
    await large;
  },
});
