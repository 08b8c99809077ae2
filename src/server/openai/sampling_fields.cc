#include "server/openai/sampling_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <random>

namespace concertina::server::openai {

namespace {

std::uint64_t draw_seed() {
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32 | device();
}

void read_filters(Fields& fields, request::SamplingParams& out) {
  if (const auto v = fields.number("temperature", 0, 1e4)) out.temperature = static_cast<float>(*v);
  // 0 is OpenAI's spelling of "the most likely token alone"; rounded to 0 it would be no share at all.
  if (const auto v = fields.number("top_p", 0, 1))
    out.top_p = std::max(static_cast<float>(*v), std::numeric_limits<float>::min());
  if (const auto v = fields.number("min_p", 0, 1)) out.min_p = static_cast<float>(*v);
  if (const auto v = fields.integer("top_k", -1, std::numeric_limits<std::int32_t>::max())) {
    out.top_k = static_cast<std::int32_t>(std::max<std::int64_t>(0, *v));
  }
  // -1 is what clients send for "none" (vLLM, llama.cpp).
  const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX);
  out.seed = seed.value_or(-1) != -1 ? static_cast<std::uint64_t>(*seed) : draw_seed();
}

void read_penalties(Fields& fields, request::SamplingParams& out) {
  if (const auto v = fields.number("presence_penalty", -2, 2)) out.presence_penalty = static_cast<float>(*v);
  if (const auto v = fields.number("frequency_penalty", -2, 2))
    out.frequency_penalty = static_cast<float>(*v);
  // Not 0, by which logits cannot be divided.
  if (const auto v = fields.number("repetition_penalty", 1e-3, 1e3))
    out.repetition_penalty = static_cast<float>(*v);
}

std::optional<TokenId> id_of(const std::string& key, std::size_t vocab_size) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size() || key.empty() || id >= vocab_size)
    return std::nullopt;
  return static_cast<TokenId>(id);
}

// An object of ids, written as strings, and biases. An empty list is what some clients send for none.
void read_logit_bias(Fields& fields, std::size_t vocab_size, request::TokenRules& out) {
  const Json* biases = fields.find("logit_bias");
  if (biases == nullptr || (biases->is_array() && biases->empty())) return;
  const std::string must_be =
      fmt::format("an object of token ids in 0..{} and biases in -100..100", vocab_size - 1);
  if (!biases->is_object()) return fields.wrong("logit_bias", must_be, *biases);
  for (const auto& [key, value] : biases->items()) {
    const auto id = id_of(key, vocab_size);
    const auto bias = real_number(value);
    if (!id) return fields.wrong("logit_bias", must_be, Json(key));
    if (!bias || !(*bias >= -100) || !(*bias <= 100)) return fields.wrong("logit_bias", must_be, value);
    out.logit_bias.push_back({*id, static_cast<float>(*bias)});
  }
  auto& all = out.logit_bias;
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.token < b.token; });
  const auto is_twice = [](const auto& a, const auto& b) { return a.token == b.token; };  // "7" and "07"
  all.erase(std::unique(all.begin(), all.end(), is_twice), all.end());
  if (all.size() > request::kMaxLogitBiases)
    fields.fail(
        {400,
         fmt::format("logit_bias has {} ids; it must have at most {}", all.size(), request::kMaxLogitBiases),
         "logit_bias", std::nullopt});
}

void read_allowed_token_ids(Fields& fields, std::size_t vocab_size, request::TokenRules& out) {
  const Json* ids = fields.find("allowed_token_ids");
  if (ids == nullptr) return;
  out.allowed_token_ids = fields.token_ids("allowed_token_ids", vocab_size);
  request::sort_ids(out.allowed_token_ids);
  if (ids->is_array() && ids->empty())
    fields.fail({400, "allowed_token_ids must not be empty: no token would be left", "allowed_token_ids",
                 std::nullopt});
}

// As a text begins with it, and as it stands behind a space. (vLLM leaves the second out where it has another
// number of tokens, so that " Paris" may be drawn where "Paris" is two tokens.)
void add_bad_word(const std::string& word, const tokenizer::Tokenizer& tokenizer, request::TokenRules& out) {
  constexpr auto kAlone = tokenizer::AddSpecialTokens::kNo;
  const std::size_t begin = std::min(word.find_first_not_of(" \t\n\r"), word.size());
  const std::string bare = word.substr(begin);
  const std::vector<TokenId> first = tokenizer.encode(bare, kAlone),
                             inside = tokenizer.encode(" " + bare, kAlone);
  if (!first.empty()) out.bad_words.push_back(first);
  if (!inside.empty() && inside != first) out.bad_words.push_back(inside);
}

void read_bad_words(Fields& fields, const tokenizer::Tokenizer* tokenizer, request::TokenRules& out) {
  const Json* words = fields.find("bad_words");
  if (words == nullptr || (words->is_array() && words->empty())) return;
  if (!words->is_array()) return fields.wrong("bad_words", "a list of strings, none empty", *words);
  if (tokenizer == nullptr)
    return fields.fail(
        {400, "bad_words needs a tokenizer, which this model has not", "bad_words", std::nullopt});
  std::size_t n_tokens = 0;
  for (const Json& word : *words) {
    if (!word.is_string() || word.get_ref<const std::string&>().empty())
      return fields.wrong("bad_words", "a list of strings, none empty", word);
    const std::size_t n_before = out.bad_words.size();
    add_bad_word(word.get_ref<const std::string&>(), *tokenizer, out);
    for (std::size_t i = n_before; i < out.bad_words.size(); ++i) n_tokens += out.bad_words[i].size();
    if (n_tokens > request::kMaxBadWordTokens)
      return fields.fail(
          {400,
           fmt::format("bad_words must have at most {} tokens together, each word with a space "
                       "before it and without",
                       request::kMaxBadWordTokens),
           "bad_words", std::nullopt});
  }
}

void read_min_tokens(Fields& fields, request::StopParams& out) {
  const auto least = fields.integer("min_tokens", 0, INT64_MAX);
  if (!least) return;
  out.min_tokens = static_cast<std::size_t>(*least);
  if (out.min_tokens > out.max_tokens)
    fields.fail({400,
                 fmt::format("min_tokens must be at most max_tokens, which is {}, found {}", out.max_tokens,
                             out.min_tokens),
                 "min_tokens", std::nullopt});
}

}  // namespace

void read_sampling(Fields& fields, const ParseContext& context, Parameters& out) {
  out.sampling = context.model.default_sampling;
  read_filters(fields, out.sampling);
  read_penalties(fields, out.sampling);
  read_min_tokens(fields, out.stop);
  read_logit_bias(fields, context.model.vocab_size, out.rules);
  read_allowed_token_ids(fields, context.model.vocab_size, out.rules);
  read_bad_words(fields, context.tokenizer, out.rules);
}

}  // namespace concertina::server::openai
