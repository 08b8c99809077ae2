// docs/peer_behaviours.md, llama-server's.
import { assert, behaviours, is_verdict, joined, kAnswer, kGreeting, kGreetings, kQuestion, kTools, kVerdictSchema, user } from './behaviours.js';

const bad_messages = (messages) => (demo) => demo.refused('/v1/chat/completions', { messages });
const kVerdictFormat = { type: 'json_schema', json_schema: { name: 'verdict', schema: kVerdictSchema } };
const ids_of = async (demo, prompt) => (await demo.ok('/tokenize', { prompt })).tokens;

behaviours('llama-server’s', 'L', {
  L1: async (demo) => assert.equal((await demo.get('/health')).status, 200),
  L2: async (demo) => assert.equal((await demo.get('/v1/models')).body.data[0].id, 'demo'),
  L3: async (demo) => {
    assert.match((await demo.complete()).id, /^cmpl-./);
    assert.match((await demo.chat()).id, /^chatcmpl-./);
  },
  L4: async (demo) => {
    const [prompt] = [await ids_of(demo, 'The king')];
    assert.deepEqual((({ prompt_tokens, completion_tokens, total_tokens }) => [prompt_tokens, completion_tokens, total_tokens])((await demo.complete()).usage), [
      prompt.length,
      8,
      prompt.length + 8,
    ]);
  },
  L5: async (demo) => assert.equal((await demo.chat()).model, 'demo'),
  L6: async (demo) => assert.equal((await demo.chat({ model: null })).model, 'demo'),
  L7: async (demo) => {
    const parts = [{ type: 'text', text: 'What is the capital' }, { type: 'text', text: ' of France?' }];
    const { choices } = await demo.chat({ messages: user(parts) });
    assert.match(choices[0].message.content, /\w/);
  },
  L8: async (demo) => {
    const roles = (await demo.stream_chat()).map(({ choices }) => choices[0].delta.role);
    assert.deepEqual([roles[0], ...new Set(roles.slice(1))], ['assistant', undefined]);
  },
  L9: async (demo) => assert.equal(new Set((await demo.stream_chat()).map(({ id }) => id)).size, 1),
  L10: async (demo) => assert.deepEqual([...new Set((await demo.stream_chat()).map(({ model }) => model))], ['demo']),
  L12: (demo) => demo.refused('/v1/chat/completions', {}),
  L13: bad_messages('Hello'),
  L14: bad_messages({ role: 'user', content: 'Hello' }),
  L15: bad_messages([]),
  L16: bad_messages([null]),
  L17: bad_messages(['Hello']),
  L18: bad_messages(user(123)),
  L19: bad_messages(user([1, 2])),
  L20: bad_messages([{ content: 'Hello' }]),
  L21: async (demo) => {
    const drawn = { temperature: 1, seed: 42, max_tokens: 30 };
    assert.equal((await demo.complete(drawn)).choices[0].text, (await demo.complete(drawn)).choices[0].text);
  },
  L22: async (demo) => {
    const drawn = { temperature: 1, max_tokens: 30 };
    assert.notEqual((await demo.complete({ ...drawn, seed: 1 })).choices[0].text, (await demo.complete({ ...drawn, seed: 2 })).choices[0].text);
  },
  L23: async (demo) => {
    assert.equal(joined(await demo.stream_completion({ max_tokens: 30 })), (await demo.complete({ max_tokens: 30 })).choices[0].text);
    assert.equal(joined(await demo.stream_chat()), kAnswer);
  },
  L24: async (demo) => {
    const error = await demo.refused('/v1/completions', { prompt: 'word '.repeat(2000) });
    assert.equal(error.code, 'context_length_exceeded');
    assert.match(error.message, /1024/);
  },
  L25: async (demo) => {
    const prompt = await ids_of(demo, 'The king');
    assert.equal((await demo.complete({ prompt })).choices[0].text, (await demo.complete()).choices[0].text);
  },
  L26: async (demo) => {
    const prompt = [await ids_of(demo, 'The king'), await ids_of(demo, 'A ship')];
    const texts = (await demo.complete({ prompt })).choices.map(({ text }) => text);
    assert.deepEqual(texts, (await demo.complete({ prompt: ['The king', 'A ship'] })).choices.map(({ text }) => text));
  },
  L27: async (demo) => {
    const prompt = ['The king', await ids_of(demo, 'A ship')];
    const texts = (await demo.complete({ prompt })).choices.map(({ text }) => text);
    assert.deepEqual(texts, (await demo.complete({ prompt: ['The king', 'A ship'] })).choices.map(({ text }) => text));
  },
  L28: async (demo) => {
    const prompts = ['The king', 'A ship', 'One day', 'He said', 'The sea', 'In the'];
    const text_of = async (prompt) => (await demo.complete({ prompt, max_tokens: 40 })).choices[0].text;
    const alone = [];
    for (const prompt of prompts) alone.push(await text_of(prompt));
    assert.deepEqual(await Promise.all(prompts.map(text_of)), alone);
  },
  L29: async (demo) => {
    const { choices, usage } = await demo.chat({ ignore_eos: true, max_tokens: 50 });
    assert.equal(usage.completion_tokens, 50);
    assert.equal(choices[0].finish_reason, 'length');
  },
  L30: async (demo) => assert.equal((await demo.chat({ stop: [' is', 'zzz'] })).choices[0].message.content, 'The capital of France'),
  L31: async (demo) => {
    const { text, headers } = await demo.get('/metrics');
    assert.match(headers.get('content-type'), /^text\/plain/);
    assert.match(text, /^# TYPE vllm:num_requests_running gauge$/m);
  },
  L32: (demo) => demo.complete({ 'speculative.n_max': 4, 'speculative.p_min': 0.5 }),
  L33: (demo) => demo.refused('/v1/completions', Buffer.concat([Buffer.from('{"prompt": "'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])),
  L34: (demo) => demo.refused('/v1/chat/completions', { messages: user([{ type: 'input_audio', input_audio: { data: 'AAAA', format: 'ogg' } }]) }),
  L35: async (demo) => assert.equal((await demo.get('/health')).body.status, 'ok'),
  L39: async (demo) => assert.equal((await demo.get('/v1/health')).status, 200),
  L40: async (demo) => assert.equal((await demo.get('/models')).body.data[0].id, 'demo'),
  L41: async (demo) =>
    assert.equal((await demo.ok('/chat/completions', { messages: kQuestion, temperature: 0 })).choices[0].message.content, kAnswer),
  L42: async (demo) => assert.equal((await demo.ok('/completions', { prompt: 'The king', max_tokens: 3 })).usage.completion_tokens, 3),
  L43: async (demo) => {
    const body = { prompt: 'The king', n_predict: 8, temperature: 0 };
    const whole = await demo.ok('/completion', body);
    assert.equal(whole.content, (await demo.complete()).choices[0].text);
    assert.deepEqual([whole.stop, whole.stop_type, whole.tokens_predicted], [true, 'limit', 8]);
    const { text } = await demo.post('/completion', { ...body, stream: true });
    const events = [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data));
    assert.equal(events.map(({ content }) => content).join(''), whole.content);
    assert.deepEqual(events.map(({ stop }) => stop), [...Array(8).fill(false), true]);
    const stopped = await demo.ok('/completion', { ...body, n_predict: -1, stop: [whole.content.slice(-3)] });
    assert.deepEqual([stopped.stop_type, stopped.stopping_word], ['word', whole.content.slice(-3)]);
  },
  L44: async (demo) => {
    const { body } = await demo.get('/props');
    assert.equal(body.default_generation_settings.n_ctx, 1024);
    assert.match(body.model_path, /models\/demo$/);
    assert.match(body.chat_template, /im_start/);
  },
  L46: async (demo) => {
    const { status, headers, text } = await demo.get('/');
    assert.deepEqual([status, headers.get('content-type')], [200, 'text/html; charset=utf-8']);
    assert.match(text, /<table>/);
    assert.equal(headers.get('content-security-policy'), "frame-ancestors 'none'");
  },
  L47: async (demo) => {
    assert.equal((await demo.chat({ model: 'alias' })).choices[0].message.content, kAnswer);
    assert.deepEqual((await demo.get('/v1/models')).body.data.map(({ id }) => id), ['demo', 'alias']);
  },
  L48: async (demo) => {
    const { system_fingerprint } = await demo.complete();
    assert.match(system_fingerprint, /./);
    assert.equal((await demo.chat()).system_fingerprint, system_fingerprint);
  },
  L50: async (demo) => assert.match((await demo.ok('/apply-template', { messages: kQuestion })).prompt, /^<\|im_start\|>user\nWhat is/),
  L51: async (demo) => {
    // That its end is likely: an object may be of any length.
    const [brace] = await ids_of(demo, '}');
    const { message, finish_reason } = (await demo.chat({ response_format: { type: 'json_object' }, logit_bias: { [brace]: 30 }, max_tokens: 200 })).choices[0];
    assert.equal(finish_reason, 'stop');
    assert.equal(JSON.parse(message.content).constructor, Object);
  },
  L52: async (demo) => is_verdict((await demo.chat({ response_format: { type: 'json_object', schema: kVerdictSchema } })).choices[0].message.content),
  L53: async (demo) => is_verdict((await demo.chat({ response_format: kVerdictFormat })).choices[0].message.content),
  L54: async (demo) => {
    const text = joined(await demo.stream_chat({ response_format: kVerdictFormat }));
    is_verdict(text);
    assert.equal(text, (await demo.chat({ response_format: kVerdictFormat })).choices[0].message.content);
  },
  L55: async (demo) => {
    const { content } = await demo.ok('/completion', { prompt: 'The king', grammar: kGreeting, temperature: 0 });
    assert.match(content, kGreetings);
    assert.equal((await demo.complete({ grammar: kGreeting, max_tokens: 50 })).choices[0].text, content);
  },
  L56: async (demo) => {
    const { timings } = await demo.complete({ timings_per_token: true });
    assert.deepEqual([timings.prompt_n > 0, timings.prompt_ms > 0, timings.predicted_n, timings.predicted_ms > 0], [true, true, 8, true]);
    assert.equal((await demo.stream_chat({ timings_per_token: true, max_tokens: 4 })).at(-1).timings.predicted_n, 4);
    assert.equal((await demo.complete()).timings, undefined);
  },
  L58: async (demo) => {
    const { logprobs, text } = (await demo.complete({ logprobs: 2 })).choices[0];
    assert.equal(logprobs.tokens.join(''), text);
    assert.ok(logprobs.top_logprobs.every((top) => Object.keys(top).length >= 2));
    logprobs.tokens.forEach((token, i) => assert.equal(logprobs.top_logprobs[i][token], logprobs.token_logprobs[i]));
  },
  L59: async (demo) => {
    const whole = (await demo.chat({ logprobs: true, top_logprobs: 2 })).choices[0].logprobs.content;
    const streamed = (await demo.stream_chat({ logprobs: true, top_logprobs: 2 })).flatMap(({ choices }) => choices[0].logprobs?.content ?? []);
    assert.deepEqual(streamed, whole);
  },
  L60: async (demo) => {
    const [{ token_ids }] = (await demo.complete({ return_token_ids: true })).choices;
    const forbidden = (await demo.complete({ return_token_ids: true, logit_bias: { [token_ids[0]]: -100 } })).choices[0].token_ids;
    assert.notEqual(forbidden[0], token_ids[0]);
    const wanted = (await demo.complete({ return_token_ids: true, logit_bias: { 500: 100 } })).choices[0].token_ids;
    assert.deepEqual(new Set(wanted), new Set([500]));
  },
  L61: async (demo) => {
    const { completion_probabilities } = await demo.ok('/completion', { prompt: 'The king', n_predict: 3, temperature: 0, n_probs: 4 });
    assert.deepEqual(completion_probabilities.map(({ top_logprobs }) => top_logprobs.length), [4, 4, 4]);
    assert.ok(completion_probabilities.every(({ logprob, top_logprobs }) => logprob === top_logprobs[0].logprob));
  },
  L62: async (demo) => assert.deepEqual((await demo.ok('/tokenize', { content: 'The king' })).tokens, await ids_of(demo, 'The king')),
  L63: async (demo) => {
    const text = 'What happened — “to him”?';
    assert.equal((await demo.ok('/detokenize', { tokens: await ids_of(demo, text) })).content, text);
  },
  L64: async (demo) => {
    const ids = await ids_of(demo, 'The');
    const mixed = await demo.complete({ prompt: [...ids, ' king'], return_token_ids: true });
    assert.deepEqual(mixed.choices[0].prompt_token_ids, [...ids, ...(await ids_of(demo, ' king'))]);
    assert.equal(mixed.choices.length, 1);
  },
  L65: async (demo) => assert.equal((await demo.ok('/v1/responses', { input: kQuestion, temperature: 0 })).output[0].content[0].text, kAnswer),
  L66: async (demo) =>
    assert.equal((await demo.ok('/v1/messages', { messages: kQuestion, temperature: 0, max_tokens: 50 })).content[0].text, kAnswer),
  L67: async (demo) => {
    const { usage } = await demo.ok('/v1/messages', { messages: kQuestion, max_tokens: 5 });
    assert.equal((await demo.ok('/v1/messages/count_tokens', { messages: kQuestion })).input_tokens, usage.input_tokens);
  },
  L71: async (demo, { locked }) => {
    const page = { Origin: 'https://pages.example:8443', Authorization: 'Bearer secret' };
    const { status, headers } = await locked.post('/v1/completions', { prompt: 'x', max_tokens: 2, stream: true }, page);
    assert.deepEqual([status, headers.get('access-control-allow-origin'), headers.get('vary')], [200, page.Origin, 'Origin']);
    const stranger = await locked.get('/v1/models', { ...page, Origin: 'https://elsewhere.example' });
    assert.equal(stranger.headers.get('access-control-allow-origin'), null);
  },
  L72: async (demo, { locked }) => {
    const asks = { Origin: 'https://pages.example', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,content-type' };
    const { status, headers } = await locked.ask('OPTIONS', '/v1/chat/completions', undefined, asks);
    assert.equal(status, 204);
    assert.match(headers.get('access-control-allow-methods'), /POST/);
    assert.equal(headers.get('access-control-allow-headers'), 'authorization,content-type');
    const stranger = await locked.ask('OPTIONS', '/v1/chat/completions', undefined, { ...asks, Origin: 'https://elsewhere.example' });
    assert.equal(stranger.status, 405);
  },
  L73: async (_, { locked }) => {
    for (const headers of [{}, { Authorization: 'Bearer wrong' }]) {
      await locked.refused('/v1/completions', { prompt: 'x' }, 401, headers);
      assert.equal((await locked.get('/v1/models', headers)).status, 401);
    }
    await locked.ok('/v1/completions', { prompt: 'x' }, { Authorization: 'Bearer secret' });
  },
  L74: async (_, { recital }) => {
    const { choices } = await recital.chat({ tools: kTools });
    assert.equal(choices[0].finish_reason, 'tool_calls');
    assert.deepEqual(choices[0].message.tool_calls.map((call) => call.function.name), ['get_weather', 'get_weather']);
  },
});
