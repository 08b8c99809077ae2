// Writes sentencepiece_tokenizer.json, a small SentencePiece-style BPE trained here on the sentences below, and
// sentencepiece_cases.json: what Hugging Face's own library (npm's @anush008/tokenizers, 0.6.0: the Rust library, 0.22.2)
// makes of tricky texts with variants of that file. The pipelines are those of Llama 2, Mixtral (before and after Metaspace),
// Gemma 3 and Mistral's later files, and what else a file may ask for. Each variant replaces top-level fields, or fields of "model".
// Run where the package is installed: node make_sentencepiece_cases.mjs REPOSITORY_ROOT
import pkg from '@anush008/tokenizers';
import fs from 'fs';

const folder = process.argv[2] + '/src/tokenizer/testdata/';
const sample = ('the cat sat on the mat and the other cats sat on it too. There is nothing in the world that the two of them would rather do than sit in the sun, ' +
  'thinking of dinner. Once upon a time there was a small house near the harbor; the lights in the windows were on. 12 34 1999 2000 cafés naïve über straße ' +
  'function return if else for int x = 0; x < 10; x++ { } 日本 日本語 русский текст ελληνικά hello Hello Hello, world! a  b   c    d\n\n\n\tindent\t\ttwice ').repeat(2);
const meta = '\u2581';

// Pairs by count, as BPE is trained; a pair within a word only, but runs of meta are words too.
function train(nMerges) {
  const words = sample.replaceAll(' ', meta).match(new RegExp(`${meta}+[^${meta}]*|[^${meta}]+`, 'gu')).map((w) => [...w]);
  const merges = [];
  while (merges.length < nMerges) {
    const counts = new Map();
    for (const w of words) for (let i = 0; i + 1 < w.length; ++i) { const k = w[i] + '\u0000' + w[i + 1]; counts.set(k, (counts.get(k) ?? 0) + 1); }
    if (counts.size === 0) break;
    const [best] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    const [left, right] = best.split('\u0000');
    merges.push([left, right]);
    for (const w of words) for (let i = 0; i + 1 < w.length; ++i) if (w[i] === left && w[i + 1] === right) w.splice(i, 2, left + right);
  }
  return merges;
}

const merges = train(260);
merges.push(['h', 'i'], ['th', 'i'], ['t', 'hi'], ['▁', '▁the'], ['\n', '\n']);  // a token made in two ways; across a word's beginning
const vocab = {'<unk>': 0, '<s>': 1, '</s>': 2};
const put = (text) => { vocab[text] ??= Object.keys(vocab).length; };
for (let b = 0; b < 256; ++b) put(`<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
[meta, ...new Set(sample.replaceAll(' ', meta))].forEach(put);
merges.forEach(([l, r]) => put(l + r));
const special = (id, content, more = {}) => ({id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...more});
const sequence = (name, ...steps) => ({type: 'Sequence', [name]: steps});
const replace = (from, to) => ({type: 'Replace', pattern: {String: from}, content: to});
const strip = (content, start, stop) => ({type: 'Strip', content, start, stop});
const metaspace = (prepend_scheme, split) => ({type: 'Metaspace', replacement: meta, prepend_scheme, split});
const prepend = {type: 'Prepend', prepend: meta}, fallback = {type: 'ByteFallback'}, fuse = {type: 'Fuse'};
const llamaDecoder = sequence('decoders', replace(meta, ' '), fallback, fuse, strip(' ', 1, 0));
const metaspaceDecoder = (scheme) => sequence('decoders', metaspace(scheme, false), fallback, fuse);
const base = {
  version: '1.0', truncation: null, padding: null,
  added_tokens: [special(0, '<unk>'), special(1, '<s>'), special(2, '</s>')],
  normalizer: sequence('normalizers', prepend, replace(' ', meta)),
  pre_tokenizer: null,
  post_processor: {type: 'TemplateProcessing', single: [{SpecialToken: {id: '<s>', type_id: 0}}, {Sequence: {id: 'A', type_id: 0}}],
    pair: [{Sequence: {id: 'A', type_id: 0}}, {Sequence: {id: 'B', type_id: 1}}], special_tokens: {'<s>': {id: '<s>', ids: [1], tokens: ['<s>']}}},
  decoder: llamaDecoder,
  model: {type: 'BPE', dropout: null, unk_token: '<unk>', continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: true, byte_fallback: true, vocab, merges}};

const n = Object.keys(vocab).length;
let next = n;
const added = (content, more) => special(vocab[content] ?? next++, content, more);
const withoutBytes = Object.fromEntries(Object.keys(vocab).filter((t) => !/^<0x[8-F]/.test(t)).map((t) => [t, vocab[t]]));
const variants = {
  'Llama 2, Mixtral': {},
  'Mixtral, with Metaspace': {normalizer: null, pre_tokenizer: metaspace('first', false), decoder: metaspaceDecoder('first')},
  'Metaspace always, split': {normalizer: null, pre_tokenizer: metaspace('always', true), decoder: metaspaceDecoder('always')},
  'Metaspace never, split': {normalizer: null, pre_tokenizer: metaspace('never', true), decoder: metaspaceDecoder('never')},
  'Metaspace of old': {normalizer: null, pre_tokenizer: {type: 'Metaspace', replacement: meta, add_prefix_space: true}, decoder: {type: 'Metaspace', replacement: meta, add_prefix_space: true}},
  'Metaspace after a split': {normalizer: null, pre_tokenizer: sequence('pretokenizers', {type: 'Split', pattern: {Regex: '\\d'}, behavior: 'Isolated', invert: false}, metaspace('first', true))},
  'Gemma 3': {normalizer: replace(' ', meta), pre_tokenizer: {type: 'Split', pattern: {String: ' '}, behavior: 'MergedWithPrevious', invert: false}, decoder: sequence('decoders', replace(meta, ' '), fallback, fuse)},
  'unknown characters apart': {model: {byte_fallback: false, fuse_unk: false}},
  'unknown characters fused': {model: {byte_fallback: false, fuse_unk: true}},
  'unknown characters left out': {model: {byte_fallback: false, unk_token: null}},
  'half of the bytes, fused': {model: {vocab: withoutBytes}},
  'half of the bytes, apart': {model: {vocab: withoutBytes, fuse_unk: false}},
  'ignore merges': {pre_tokenizer: metaspace('never', true), model: {ignore_merges: true, merges: merges.slice(0, 30)}},
  'merges as lines': {model: {merges: merges.filter((m) => !m.join('').includes(' ')).map((m) => m.join(' '))}},
  'a merge listed twice': {model: {merges: [...merges, merges[3], merges[0]]}},
  'merges of bytes': {model: {vocab: {...vocab, '<0xE6><0x97>': n, 'x<0xE6>': n + 1}, merges: [['<0xE6>', '<0x97>'], ['x', '<0xE6>'], ...merges]}},
  'Strip': {normalizer: sequence('normalizers', {type: 'Strip', strip_left: true, strip_right: false}, prepend, replace(' ', meta))},
  'NFKC': {normalizer: sequence('normalizers', {type: 'NFKC'}, prepend, replace(' ', meta))},
  'NFD': {normalizer: sequence('normalizers', {type: 'NFD'}, prepend, replace(' ', meta))},
  'Replace by expression': {normalizer: sequence('normalizers', {type: 'Replace', pattern: {Regex: ' {2,}|\\n'}, content: ' '}, prepend, replace(' ', meta))},
  'added tokens': {added_tokens: [...base.added_tokens, added('[L]', {lstrip: true}), added('[R]', {rstrip: true}), added('the', {special: false, single_word: true}),
    added('a cat', {special: false, normalized: true}), added('\n\n', {special: false}), added('▁▁', {special: false})]},
  'strips twice': {decoder: sequence('decoders', replace(meta, ' '), strip('H', 1, 0), fallback, fuse, strip(' ', 2, 0), strip('t', 1, 0))},
};

const texts = ['', ' ', '  ', '\n', 'the cat', ' the cat', '  the  cats ', 'Hello, world!', 'thinking thi  the   other', 'a\n\n\nb\n \n', '\t\ttwo\ttabs',
  'the<s>the <s> the</s>', '<s>', '<s> the', ' <s>', '<unk> x <unk>', 'x [L] y[L]z [R]  w [R]', 'the other the, bathe théthe the', 'a cat, a catnap', 'a b a cat',
  '日本語と漢字', 'x日x旦', 'é e\u0301 e\u0301\u0316', '\u180e a\u180eb \u180e', '\u00a0nbsp\u2003em\u3000ideographic', '🙂👩‍👩‍👧 🏳️‍🌈 ok', '\u200b\u200d\ufeff', '\u0000\u0001\u007f',
  '▁', '▁▁the', 'a▁b', '<0x41><0xE6>', '\u{10ffff}\u{e0001}\u{20000}', '한국어 عربي हिन्दी ไทย', 'ﬁ ½ ﷺ Å \u212a', 'int x=0;x<10;x++{}', '1999 2000 12345', 'Zürich straße ÜBER', 'ελληνικά русский',
  ' '.repeat(70), '\n'.repeat(70), 'a'.repeat(70), 'the'.repeat(40), '日'.repeat(40), '旦'.repeat(20), '<'.repeat(60), 'the cat sat '.repeat(20)];
// Ids as no text makes them. (Not among them: bytes that are no text beside some that are; see TextDecoder.)
const v = vocab;
const decodes = [[], [1], [v['▁the'], v['<0xE6>'], v['<0x97>'], v['<0xA5>'], v['▁the']], [v['<0xE6>'], v['<0x97>']], [v['<0xE6>'], v['the'] ?? v['▁the'], v['<0xA5>']],
  [1, v['▁'], v['▁the']], [v['▁'], v['▁'], v['▁the']], [v['<0x20>'], v['▁the']], [v['<0x20>'], v['<0x20>'], v['t'], v['t']], [2, v['▁the'], 2, v['▁the']], [v['<0xF0>'], 1, v['<0x9F>'], v['<0x99>'], v['<0x82>']], [v['H'], v['▁the']]];

const out = [];
for (const [name, patch] of Object.entries(variants)) {
  const file = {...base, ...patch, model: {...base.model, ...patch.model}};
  const tokenizer = pkg.Tokenizer.fromString(JSON.stringify(file));
  const cases = [], decoded = [];
  for (const text of texts) cases.push({text, ids: (await tokenizer.encode(text, null, {addSpecialTokens: true})).getIds()});
  for (const ids of [...decodes, ...cases.map((c) => c.ids)]) decoded.push({ids, text: await tokenizer.decode(ids, false), without_special: await tokenizer.decode(ids, true)});
  out.push({name, patch, cases, decoded});
}
fs.writeFileSync(folder + 'sentencepiece_tokenizer.json', JSON.stringify(base) + '\n');
fs.writeFileSync(folder + 'sentencepiece_cases.json', JSON.stringify(out).replaceAll('{"name"', '\n{"name"').replaceAll('{"text"', '\n{"text"').replaceAll('{"ids"', '\n{"ids"') + '\n');
