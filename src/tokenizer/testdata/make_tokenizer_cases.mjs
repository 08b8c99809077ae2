// Writes tokenizer_cases.json: what @huggingface/tokenizers (npm, 0.2.0) makes of tricky texts with variants of the demo
// model's tokenizer. (MergedWithNext, Contiguous and single_word are not among
// them: this package does not do them.) Each variant is a JSON merge patch on models/demo/tokenizer.json.
// Run where the package is installed: node make_tokenizer_cases.mjs REPOSITORY_ROOT
import {Tokenizer} from '@huggingface/tokenizers';
import fs from 'fs';

const root = process.argv[2];
const base = JSON.parse(fs.readFileSync(root + '/models/demo/tokenizer.json'));
const config = {};

const split = (regex, behavior = 'Isolated', invert = false) => ({type: 'Split', pattern: {Regex: regex}, behavior, invert});
const byteLevel = (add_prefix_space, use_regex) => ({type: 'ByteLevel', add_prefix_space, trim_offsets: true, use_regex});
const sequence = (...pretokenizers) => ({type: 'Sequence', pretokenizers});
const added = (id, content, more = {}) =>
  ({id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...more});
const llama3 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const deepseek = sequence(split('\\p{N}{1,3}'), split('[一-龥぀-ゟ゠-ヿ]+'),
  split('[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'),
  byteLevel(false, false));
const gpt4o = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const variants = {
  'as it is': {},
  'no normalizer': {normalizer: null},
  'GPT-2 expression (OLMoE)': {pre_tokenizer: byteLevel(false, true)},
  'GPT-2 expression with a space before': {pre_tokenizer: byteLevel(true, true)},
  'Llama 3 expression': {pre_tokenizer: sequence(split(llama3), byteLevel(false, false))},
  'GPT-4o expression': {pre_tokenizer: sequence(split(gpt4o), byteLevel(false, false))},
  'DeepSeek expressions': {pre_tokenizer: deepseek},
  'digits one by one': {pre_tokenizer: sequence({type: 'Digits', individual_digits: true}, byteLevel(false, true))},
  'digits together': {pre_tokenizer: sequence({type: 'Digits', individual_digits: false}, byteLevel(false, true))},
  'inverted and removed': {pre_tokenizer: sequence(split('\\p{L}+', 'Removed', true), byteLevel(false, false))},
  'removed': {pre_tokenizer: sequence(split('\\s+', 'Removed'), byteLevel(false, false))},
  'merged with previous': {pre_tokenizer: sequence(split('[ ,.]', 'MergedWithPrevious'), byteLevel(false, false))},
  'a literal': {pre_tokenizer: sequence({type: 'Split', pattern: {String: '. '}, behavior: 'Isolated', invert: false}, byteLevel(false, false))},
  'ignore merges': {model: {...base.model, ignore_merges: true, merges: base.model.merges.slice(0, 40)}},
  'merges as lines': {model: {...base.model, merges: base.model.merges.slice(0, 500).map((m) => m.join(' '))}},
  'added tokens of many kinds': {added_tokens: [...base.added_tokens, added(4096, '<pad>', {lstrip: true}), added(4097, '[R]', {rstrip: true}),
    added(4099, '<a', {}), added(4100, '<a b>', {}), added(4101, '  '),
    added(4102, 'é!', {normalized: true}), added(base.model.vocab['Hello'], 'Hello', {normalized: true})]},
  'bos and eos': {post_processor: {type: 'Sequence', processors: [{type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true},
    {type: 'TemplateProcessing', single: [{SpecialToken: {id: '<|endoftext|>', type_id: 0}}, {Sequence: {id: 'A', type_id: 0}}, {SpecialToken: {id: '<|im_end|>', type_id: 0}}],
     pair: [{Sequence: {id: 'A', type_id: 0}}, {Sequence: {id: 'B', type_id: 1}}],
     special_tokens: {'<|endoftext|>': {id: '<|endoftext|>', ids: [4093], tokens: ['<|endoftext|>']}, '<|im_end|>': {id: '<|im_end|>', ids: [4095], tokens: ['<|im_end|>']}}}]}},
};

const texts = ['', ' ', 'Hello, world!', 'the harbor in 12345 days, 6.78%', '  two  spaces   three ', 'tab\there\n\nnew\r\nline\n   indented', "I'm WE'LL don't IT'S",
  'café cafe\u0301 é! e\u0301!', '日本語テキスト123と漢字, 한국어 русский', 'عربي हिन्दी ไทย', '🙂👩‍👩‍👧 ok', 'a<|im_end|>b <|im_end|> <|im_start|>user\nHi',
  'x <pad> y<pad>z [R]  w [R]', 'word words word, _word word_ (word) éword', '<a <a b> <a b', 'four    spaces  two', 'CamelCase HTTPServer iPhone', '#include <x.h> // y = (a+b)*c;',
  '\u00a0nbsp\u2003em\u3000ideographic', '١٢٣ ½ Ⅸ ²', '...,,, . . , ,', '\u0000\u0001\u007f\ufeff', 'antidisestablishmentarianism supercalifragilistic', 'ſ ß ﬁ Å', 'a'.repeat(50), '_underscore_ __dunder__', 'Hello Hello Helloé!'];

const merge = (target, patch) => ({...target, ...patch});
const out = [];
for (const [name, patch] of Object.entries(variants)) {
  const tokenizer = new Tokenizer(structuredClone(merge(base, patch)), config);
  // This package's Digits knows ASCII only, where the Rust library it follows (char::is_numeric) knows all numerals.
  const fit = texts.filter((text) => !name.startsWith('digits') || !text.includes('½'));
  const cases = fit.map((text) => ({text, ids: tokenizer.encode(text).ids}));
  // The file need not repeat what the test can make itself.
  const model = patch.model && {ignore_merges: patch.model.ignore_merges, n_merges: patch.model.merges.length, as_lines: typeof patch.model.merges[0] === 'string'};
  out.push({name, patch: {...patch, model: undefined}, model, cases});
}
fs.writeFileSync(root + '/src/tokenizer/testdata/tokenizer_cases.json', JSON.stringify(out).replaceAll('{"name"', '\n{"name"').replaceAll('{"text"', '\n{"text"') + '\n');
