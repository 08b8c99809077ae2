// docs/peer_behaviours.md, vLLM's.
import { assert, behaviours, is_verdict, joined, kAnswer, kGreeting, kGreetings, kQuestion, kTools, kVerdictSchema, user } from './behaviours.js';
import { eventually } from './server.js';

const body_refused = (body) => (demo) => demo.refused('/v1/completions', body);
const field_refused = (field, value) => async (demo) => {
  assert.equal((await demo.refused('/v1/completions', { prompt: 'x', [field]: value })).param, field);
};
const scale_refused = (size, more = {}) => async (demo) => {
  const error = await demo.refused('/scale_elastic_ep', { new_data_parallel_size: size, ...more });
  assert.equal(error.param, Object.keys(more)[0] ?? 'new_data_parallel_size');
};
const drawn = { prompt: 'The king', temperature: 1, seed: 3, max_tokens: 12, n: 3 };
const texts_of = ({ choices }) => choices.map(({ text }) => text);
const ids_of = async (demo, prompt, more = {}) => (await demo.ok('/tokenize', { prompt, ...more })).tokens;
const structured = async (demo, structured_outputs) => {
  const { text, finish_reason } = (await demo.complete({ structured_outputs, max_tokens: 100 })).choices[0];
  assert.equal(finish_reason, 'stop');
  return text;
};
const usages = (events) => events.map(({ usage }) => usage ?? null);
const is_idle = (demo) => eventually('nothing runs', async () => (await demo.server.n_requests()) === 0, 10_000);
const scaled = async (demo, size) => {
  const answer = await demo.post('/scale_elastic_ep', { new_data_parallel_size: size, drain_timeout: 60 });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.message, `Scaled to ${size} data parallel engines`);
};

behaviours('vLLM’s', 'V', {
  V1: async (demo) => assert.match((await demo.get('/version')).body.version, /^\d+\.\d+/),
  V2: async (demo) => {
    const { headers } = await demo.get('/v1/models', { Origin: 'http://example.com' });
    assert.equal(headers.get('access-control-allow-origin'), null);
  },
  V3: async (demo) => {
    assert.equal((await demo.complete()).choices[0].logprobs, null);
    assert.equal((await demo.chat()).choices[0].logprobs, null);
  },
  V4: async (demo) => {
    for (const events of [await demo.stream_chat(), await demo.stream_completion()]) {
      const reasons = events.map(({ choices }) => choices[0].finish_reason);
      assert.ok(reasons.pop());
      assert.ok(reasons.every((reason) => reason === null));
    }
  },
  V5: async (demo) => assert.equal(new Set(texts_of(await demo.complete(drawn))).size, 3),
  V6: async (demo) => {
    const events = await demo.stream_completion(drawn);
    assert.deepEqual([0, 1, 2].map((index) => joined(events, index)), texts_of(await demo.complete(drawn)));
  },
  V7: async (demo) => assert.deepEqual((await demo.chat({ n: 2 })).choices.map(({ message }) => message.content), [kAnswer, kAnswer]),
  V8: async (demo) => {
    const events = await demo.stream_chat({ stream_options: { include_usage: true } });
    const last = events.pop();
    assert.deepEqual(last.choices, []);
    assert.ok(last.usage.total_tokens > 0);
    assert.deepEqual(new Set(usages(events)), new Set([null]));
  },
  V9: async (demo) => assert.deepEqual(new Set(usages(await demo.stream_chat({ stream_options: { include_usage: false } }))), new Set([null])),
  V10: async (demo) => assert.deepEqual(new Set(usages(await demo.stream_chat({ stream_options: {} }))), new Set([null])),
  V11: field_refused('stream_options', { include_usage: true }),
  V12: async (demo) => {
    const prompts = ['The king', 'A ship', 'One day'];
    const alone = [];
    for (const prompt of prompts) alone.push(...texts_of(await demo.complete({ prompt })));
    assert.deepEqual(texts_of(await demo.complete({ prompt: prompts })), alone);
  },
  V13: async (demo) => {
    const prompt = ['The king', 'A ship'];
    const events = await demo.stream_completion({ prompt });
    assert.deepEqual([0, 1].map((index) => joined(events, index)), texts_of(await demo.complete({ prompt })));
  },
  V14: async (demo) => assert.equal((await demo.chat({ response_format: { type: 'text' } })).choices[0].message.content, kAnswer),
  V15: async (demo) => {
    const messages = [{ ...kQuestion[0], name: 'Ann', mood: { happy: true } }];
    assert.equal((await demo.chat({ messages })).choices[0].message.content, kAnswer);
  },
  V16: (demo) => demo.chat({ messages: [{ role: 'narrator', content: 'It rains.' }, ...kQuestion] }),
  V17: (demo) => demo.refused('/v1/completions', '{"prompt": "x", "seed": 18446744073709551616}'),
  V18: async (demo) => {
    const error = await demo.refused('/v1/completions', { prompt: 'x', stop_token_ids: [1, 99999] });
    assert.match(error.message, /99999/);
    assert.match(error.message, /409[56]/);
  },
  V19: async (demo) => assert.equal((await demo.complete({ prompt: [1, 2, 3] })).usage.prompt_tokens, 3),
  V20: field_refused('prompt', null),
  V21: field_refused('prompt', []),
  V22: body_refused('[]'),
  V23: body_refused('1'),
  V24: body_refused('"text"'),
  V25: body_refused('null'),
  V26: body_refused(''),
  V27: async (demo) => {
    const [choice] = (await demo.complete({ return_token_ids: true })).choices;
    assert.equal(choice.token_ids.length, 8);
    assert.deepEqual(choice.prompt_token_ids, await ids_of(demo, 'The king'));
  },
  V28: async (demo) => assert.equal((await demo.chat({ chat_template_kwargs: { mood: 'calm' } })).choices[0].message.content, kAnswer),
  V29: (demo) => demo.chat({ tool_choice: null }),
  V30: (demo) => demo.chat({ tool_choice: 'auto' }),
  V31: (demo) => demo.chat({ tools: [] }),
  V32: field_refused('temperature', -0.5),
  V33: async (demo) => {
    await field_refused('top_p', 1.5)(demo);
    await field_refused('top_p', -0.1)(demo);
  },
  V34: field_refused('top_k', -2),
  V35: async (demo) => {
    const { choices, usage } = await demo.complete({ max_tokens: 0 });
    assert.deepEqual([choices[0].text, choices[0].finish_reason, usage.completion_tokens], ['', 'length', 0]);
    await field_refused('max_tokens', -1)(demo);
  },
  V36: field_refused('suffix', 'the end'),
  V37: async (demo) => {
    const error = await demo.refused('/v1/completions', { prompt: 'x', n: 'two' });
    assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type']);
  },
  V38: async (demo) => assert.equal((await demo.refused('/v1/chat/completions', { messages: kQuestion, model: 'other' }, 404)).code, 'model_not_found'),
  V39: async (demo) => {
    const abort = new AbortController();
    const body = JSON.stringify({ prompt: 'The king', max_tokens: 1000, ignore_eos: true, stream: true });
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(`${demo.server.url}/v1/completions`, { method: 'POST', body, headers, signal: abort.signal });
    await response.body.getReader().read();
    abort.abort();
    await is_idle(demo);
    for (const { kv_blocks_used } of (await demo.server.cluster()).ranks) assert.equal(kv_blocks_used, 0);
  },
  V40: async (demo) => {
    const give_up = () => {
      const signal = AbortSignal.timeout(10);
      const body = JSON.stringify({ prompt: 'The king', max_tokens: 1000, ignore_eos: true });
      return fetch(`${demo.server.url}/v1/completions`, { method: 'POST', body, headers: { 'Content-Type': 'application/json' }, signal });
    };
    const outcomes = await Promise.allSettled(Array.from({ length: 120 }, give_up));
    assert.ok(outcomes.every(({ status }) => status === 'rejected'));
    await is_idle(demo);
    assert.equal((await demo.chat()).choices[0].message.content, kAnswer);
  },
  V41: scale_refused(true),
  V42: scale_refused(0),
  V43: scale_refused(-3),
  V44: scale_refused(2.5),
  V45: scale_refused('4'),
  V46: scale_refused(3, { drain_timeout: true }),
  V47: (demo) => scaled(demo, 3),
  V48: (demo) => scaled(demo, 2),
  V49: (demo) => scaled(demo, 2),
  V50: async (demo) => assert.deepEqual(await demo.ok('/is_scaling_elastic_ep', {}), { is_scaling_elastic_ep: false }),
  V51: async (demo) => {
    const body = { prompt: 'It was a dark and stormy night', max_tokens: 300, ignore_eos: true };
    const before = texts_of(await demo.complete(body));
    const meanwhile = [demo.complete(body), demo.complete(body)];
    await scaled(demo, 3);
    const between = texts_of(await demo.complete(body));
    meanwhile.push(demo.complete(body));
    await scaled(demo, 2);
    for (const texts of [between, ...(await Promise.all(meanwhile)).map(texts_of), texts_of(await demo.complete(body))]) assert.deepEqual(texts, before);
  },
  V52: async (demo) => {
    for (const path of ['/v1/completions', '/scale_elastic_ep']) await demo.refused(path, '{"prompt": "x"}', 415, { 'Content-Type': 'text/plain' });
  },
  V53: async (demo) => {
    assert.equal((await demo.chat()).prompt_logprobs, null);
    assert.equal((await demo.complete()).choices[0].prompt_logprobs, null);
  },
  V54: async (demo) => {
    const events = await demo.stream_completion({ return_token_ids: true });
    assert.deepEqual(events.map(({ choices }) => choices[0].token_ids.length), Array(8).fill(1));
    assert.equal(events.at(-1).choices[0].finish_reason, 'length');
  },
  V55: async (demo) => {
    const last = (await demo.stream_chat({ max_tokens: 3 })).at(-1).choices[0];
    assert.equal(last.finish_reason, 'length');
    assert.ok(last.delta.content.length > 0);
  },
  V60: async (demo) => {
    const { body } = await demo.post('/scale_elastic_ep', { new_data_parallel_size: 0 });
    assert.equal(body.detail, body.error.message);
  },
  V61: async (demo) => {
    await is_idle(demo);
    assert.equal((await demo.get('/load')).body.server_load, 0);
    const running = demo.complete({ max_tokens: 900, ignore_eos: true, request_id: 'load-1' });
    await eventually('the load is told', async () => (await demo.get('/load')).body.server_load === 1, 5_000);
    await demo.ok('/abort_requests', { request_ids: ['load-1'] });
    await running;
  },
  V62: async (demo) => assert.equal((await demo.get('/health/decode')).body.usage.completion_tokens, 1),
  V63: async (demo) => assert.equal((await demo.get('/ping')).status, 200),
  V64: async (demo) => {
    assert.equal((await demo.ok('/invocations', { messages: kQuestion, temperature: 0 })).choices[0].message.content, kAnswer);
    assert.deepEqual(texts_of(await demo.ok('/invocations', { prompt: 'The king', temperature: 0, max_tokens: 8 })), texts_of(await demo.complete()));
  },
  V65: async (demo) => {
    const { body } = await demo.get('/server_info');
    assert.deepEqual([body.served_model_name, body.max_model_len, body.quantization], ['demo', 1024, 'none']);
  },
  V66: async (demo) => assert.equal((await demo.get('/health/')).status, 200),
  V67: async (demo) => {
    const named = { 'X-Request-Id': 'trace-7' };
    assert.equal((await demo.post('/v1/completions', { prompt: 'x', max_tokens: 1 }, named)).headers.get('x-request-id'), 'trace-7');
    assert.equal((await demo.get('/nowhere', named)).headers.get('x-request-id'), 'trace-7');
  },
  V68: async (demo) => {
    assert.equal((await demo.chat({}, { 'X-Request-Id': 'trace-8' })).id, 'chatcmpl-trace-8');
    assert.equal((await demo.complete({ request_id: 'job-9' })).id, 'cmpl-job-9');
  },
  V69: async (demo) => {
    const running = demo.chat({ max_tokens: 900, ignore_eos: true }, { 'X-Request-Id': 'trace-10' });
    await demo.server.busy_rank();
    await demo.ok('/v1/requests/chatcmpl-trace-10/cancel', {});
    assert.equal((await running).choices[0].finish_reason, 'abort');
    await demo.refused('/v1/requests/chatcmpl-trace-10/cancel', {}, 404);
  },
  V70: async (demo) => {
    const long = (request_id) => demo.complete({ request_id, max_tokens: 1000, ignore_eos: true });
    const running = ['a', 'b', 'c'].map(long);
    await eventually('all run', async () => (await demo.server.n_requests()) === 3, 5_000);
    assert.equal((await demo.ok('/abort_requests', { request_ids: ['a', 'cmpl-b', 'other'] })).aborted, 2);
    assert.deepEqual((await Promise.all(running)).map(({ choices }) => choices[0].finish_reason), ['abort', 'abort', 'length']);
  },
  V73: async (demo) => assert.equal((await demo.post('/reset_prefix_cache')).status, 200),
  V74: async (demo) => {
    const { count, tokens, max_model_len } = await demo.ok('/tokenize', { messages: kQuestion });
    assert.equal(count, tokens.length);
    assert.equal(count, (await demo.chat()).usage.prompt_tokens);
    assert.equal(max_model_len, 1024);
  },
  V75: async (demo) => assert.equal((await demo.ok('/detokenize', { tokens: await ids_of(demo, 'Où est-il ?') })).prompt, 'Où est-il ?'),
  V76: async (demo) => {
    const { prompt, tokens } = await demo.ok('/v1/chat/completions/render', { messages: kQuestion });
    assert.match(prompt, /<\|im_start\|>user\nWhat/);
    assert.deepEqual(tokens, (await demo.chat({ return_token_ids: true })).prompt_token_ids);
  },
  V77: async (demo) => {
    const { content } = (await demo.chat({ logprobs: true, top_logprobs: 5 })).choices[0].logprobs;
    for (const { token, logprob, bytes, top_logprobs } of content) {
      assert.deepEqual([top_logprobs.length, top_logprobs[0].token, top_logprobs[0].logprob], [5, token, logprob]);
      assert.equal(Buffer.from(bytes).toString(), token);
    }
  },
  V78: async (demo) => {
    const { logprobs, text } = (await demo.complete({ logprobs: 5 })).choices[0];
    assert.deepEqual(logprobs.text_offset, logprobs.tokens.map((_, i) => logprobs.tokens.slice(0, i).join('').length));
    assert.equal(logprobs.tokens.join(''), text);
    assert.ok(logprobs.top_logprobs.every((top) => Object.keys(top).length >= 5 && Object.keys(top).length <= 6));
  },
  V79: async (demo) => {
    const { logprobs } = (await demo.complete({ logprobs: 0 })).choices[0];
    assert.equal(logprobs.token_logprobs.length, 8);
    assert.ok(logprobs.top_logprobs.every((top) => Object.keys(top).length === 1));
  },
  V80: async (demo) => {
    const { prompt_logprobs } = (await demo.complete({ prompt_logprobs: 1 })).choices[0];
    const ids = await ids_of(demo, 'The king');
    assert.equal(prompt_logprobs.length, ids.length);
    assert.equal(prompt_logprobs[0], null);
    prompt_logprobs.slice(1).forEach((at, i) => assert.ok(at[ids[i + 1]].logprob < 0));
  },
  V81: async (demo) => {
    const [plain] = texts_of(await demo.complete());
    assert.deepEqual(texts_of(await demo.complete({ echo: true })), [`The king${plain}`]);
    assert.equal(joined(await demo.stream_completion({ echo: true })), `The king${plain}`);
  },
  V82: async (demo) => {
    const events = await demo.stream_completion({ stream_options: { include_usage: true, continuous_usage_stats: true } });
    assert.deepEqual(usages(events).map(({ completion_tokens }) => completion_tokens), [1, 2, 3, 4, 5, 6, 7, 8, 8]);
  },
  V84: async (demo) => is_verdict(await structured(demo, { json: kVerdictSchema })),
  V85: async (demo) => assert.match(await structured(demo, { regex: '[a-f]{3}-[0-9]{4}' }), /^[a-f]{3}-[0-9]{4}$/),
  V86: async (demo) => assert.ok(['red', 'green', 'blue'].includes(await structured(demo, { choice: ['red', 'green', 'blue'] }))),
  V87: async (demo) => assert.match(await structured(demo, { grammar: kGreeting }), kGreetings),
  V88: async (demo) => {
    const { usage } = await demo.chat({ min_tokens: 25, max_tokens: 40 });
    assert.ok(usage.completion_tokens >= 25);
    assert.ok((await demo.chat()).usage.completion_tokens < 25);
  },
  V89: async (demo) => {
    const prompt = 'Once upon a time there was the king';
    const { choices } = await demo.complete({ prompt, truncate_prompt_tokens: 2, return_token_ids: true });
    assert.deepEqual(choices[0].prompt_token_ids, (await ids_of(demo, prompt)).slice(-2));
  },
  V90: async (demo) => {
    assert.equal((await demo.chat({ stop: [' is'] })).choices[0].stop_reason, ' is');
    const { token_ids } = (await demo.chat({ return_token_ids: true })).choices[0];
    assert.equal((await demo.chat({ stop_token_ids: [token_ids[2]] })).choices[0].stop_reason, token_ids[2]);
    assert.equal((await demo.chat()).choices[0].stop_reason, null);
  },
  V91: async (demo) =>
    assert.equal((await demo.chat({ stop: [' is'], include_stop_str_in_output: true })).choices[0].message.content, 'The capital of France is'),
  V92: async (demo) => {
    // The one that ends an answer is none of its text, so it has to go on behind it.
    const beyond = { ignore_eos: true, max_tokens: 14 };
    const content = (await demo.chat({ ...beyond, skip_special_tokens: false })).choices[0].message.content;
    assert.ok(content.startsWith(`${kAnswer}<|im_end|>`), content);
    assert.equal((await demo.chat(beyond)).choices[0].message.content, content.replaceAll('<|im_end|>', ''));
  },
  V93: async (demo) => {
    const messages = [...kQuestion, { role: 'assistant', content: 'The capital of' }];
    const { choices } = await demo.chat({ messages, add_generation_prompt: false, continue_final_message: true });
    assert.equal(choices[0].message.content, ' France is Paris.');
  },
  V94: async (demo, { locked }) => {
    const body = { messages: kQuestion, chat_template: '{{ messages[0].content | upper }}' };
    const { prompt } = await locked.ok('/render', body, { Authorization: 'Bearer secret' });
    assert.equal(prompt, 'WHAT IS THE CAPITAL OF FRANCE?');
    assert.equal((await demo.refused('/v1/chat/completions', body)).param, 'chat_template');
    await locked.refused('/render', { ...body, chat_template: '{% if' }, 400, { Authorization: 'Bearer secret' });
  },
  V95: async (_, { recital }) => {
    const { message } = (await recital.chat()).choices[0];
    assert.match(message.reasoning, /weather of two cities/);
    assert.equal(message.reasoning_content, message.reasoning);
    assert.doesNotMatch(message.content, /<think>|two cities/);
  },
  V96: async (_, { recital }) => {
    const whole = (await recital.chat()).choices[0].message.reasoning;
    const { choices, usage } = await recital.chat({ thinking_token_budget: 5, max_tokens: 60 });
    const { reasoning } = choices[0].message;
    assert.ok(reasoning.length > 0 && reasoning.length < whole.length && whole.startsWith(reasoning), reasoning);
    assert.ok(usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens);
  },
  V97: async (_, { recital }) => {
    const { message, finish_reason } = (await recital.chat({ tools: kTools, tool_choice: 'none' })).choices[0];
    assert.deepEqual([message.tool_calls, finish_reason], [undefined, 'stop']);
    assert.match(message.content, /get_weather/);
  },
  V98: async (demo) => {
    await field_refused('presence_penalty', 2.1)(demo);
    await field_refused('frequency_penalty', -2.1)(demo);
    await field_refused('repetition_penalty', 0)(demo);
  },
  V99: async (demo) => {
    const long = { max_tokens: 60, ignore_eos: true };
    const [plain] = texts_of(await demo.complete(long));
    for (const field of ['presence_penalty', 'frequency_penalty', 'repetition_penalty']) {
      assert.notEqual(texts_of(await demo.complete({ ...long, [field]: 2 }))[0], plain, field);
    }
  },
  V100: async (demo) => assert.doesNotMatch((await demo.chat({ bad_words: ['Paris'] })).choices[0].message.content, /Paris/),
  V101: async (demo) => {
    const allowed_token_ids = [300, 301, 302];
    const { token_ids } = (await demo.complete({ allowed_token_ids, return_token_ids: true })).choices[0];
    assert.ok(token_ids.every((id) => allowed_token_ids.includes(id)));
  },
  V102: async (demo) => {
    assert.deepEqual(texts_of(await demo.complete({ cache_salt: 'mine' })), texts_of(await demo.complete()));
    await field_refused('cache_salt', '')(demo);
  },
  V103: field_refused('logprobs', 21),
  V104: (demo) => demo.refused('/v1/chat/completions', { messages: kQuestion, logprobs: true, top_logprobs: 21 }),
  V105: field_refused('prompt_logprobs', -2),
  V106: (demo) => demo.refused('/v1/completions', { prompt: 'x', structured_outputs: { regex: '(' } }),
  V107: async (demo) => {
    await field_refused('logit_bias', { 5: 101 })(demo);
    await field_refused('logit_bias', { 99999: 1 })(demo);
  },
  V108: (demo) => demo.refused('/v1/chat/completions', { messages: kQuestion, response_format: { type: 'yaml' } }),
  V109: async (demo) => assert.equal((await demo.refused('/v1/chat/completions', { messages: kQuestion, tool_choice: 'required' })).param, 'tool_choice'),
  V110: field_refused('best_of', 2),
  V111: async (demo) => {
    const { logprobs, token_ids } = (await demo.complete({ logprobs: 1, return_tokens_as_token_ids: true, return_token_ids: true })).choices[0];
    assert.deepEqual(logprobs.tokens, token_ids.map((id) => `token_id:${id}`));
  },
  V112: async (demo) => {
    const { choices } = await demo.complete({ add_special_tokens: false, return_token_ids: true });
    assert.deepEqual(choices[0].prompt_token_ids, await ids_of(demo, 'The king', { add_special_tokens: false }));
  },
  V113: async (_, { locked }) => {
    await locked.ok('/v1/chat/completions', { messages: user('Hi'), max_tokens: 1 }, { Authorization: 'Bearer secret' });
    for (const path of ['/health', '/ready', '/metrics', '/version']) assert.equal((await locked.get(path)).status, 200);
    await locked.refused('/v1/chat/completions', { messages: user('Hi') }, 401);
  },
});
