#include "server/openai/parameters.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/http/header_block.h"
#include "server/openai/answer_writer.h"
#include "server/openai/call_structure.h"
#include "server/openai/messages.h"
#include "server/openai/output_fields.h"
#include "server/openai/sampling_fields.h"
#include "server/openai/structure_fields.h"
#include "server/openai/text_prompt.h"
#include "server/openai/unsupported.h"

namespace concertina::server::openai {

using json = Json;

namespace {

constexpr std::int64_t kMaxChoices = 128;
constexpr std::size_t kMaxStopStrings = 16, kMaxPrompts = 2048;
constexpr std::size_t kMaxPromptIdsOfAnswer = 1 << 20;

void read_stop_strings(Fields& fields, const tokenizer::Tokenizer* tokenizer, Parameters& out) {
  const json* stop = fields.find("stop");
  if (stop == nullptr) return;
  const std::string must_be =
      fmt::format("a string, or a list of at most {} strings, none empty", kMaxStopStrings);
  std::vector<std::string> strings;
  for (const json& one : stop->is_array() ? *stop : json::array({*stop})) {
    if (!one.is_string() || one.get<std::string>().empty() || strings.size() == kMaxStopStrings)
      return fields.wrong("stop", must_be, *stop);
    strings.push_back(one.get<std::string>());
  }
  if (!strings.empty() && tokenizer == nullptr) {
    fields.fail(
        {400, "stop needs a tokenizer, which this model has not; use stop_token_ids", "stop", std::nullopt});
  }
  out.stop_strings = std::make_shared<StopTable>(std::move(strings));
}

// Ascending, each once.
void read_stop_token_ids(Fields& fields, std::size_t vocab_size, Parameters& out) {
  std::vector<TokenId>& ids = out.stop.stop_token_ids;
  ids = fields.token_ids("stop_token_ids", vocab_size);
  request::sort_ids(ids);
  if (ids.size() > request::kMaxStopTokenIds) {
    fields.fail({400,
                 fmt::format("stop_token_ids has {} different ids; it must have at most {}", ids.size(),
                             request::kMaxStopTokenIds),
                 "stop_token_ids", std::nullopt});
  }
}

void read_stop(Fields& fields, const ParseContext& context, Parameters& out) {
  out.stop.eos_token_ids = context.model.eos_token_ids;
  out.stop.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  read_stop_token_ids(fields, context.model.vocab_size, out);
  read_stop_strings(fields, context.tokenizer, out);
  auto max_tokens = fields.integer("max_tokens", out.endpoint == Endpoint::kChat ? 1 : 0, INT64_MAX);
  if (out.endpoint == Endpoint::kChat) {
    if (const auto newer = fields.integer("max_completion_tokens", 1, INT64_MAX)) max_tokens = newer;
  }
  // OpenAI's defaults: 16 for a completion, as many as fit for a chat.
  const std::int64_t absent = out.endpoint == Endpoint::kChat ? INT64_MAX : 16;
  out.stop.max_tokens = static_cast<std::size_t>(max_tokens.value_or(absent));
}

// ---- a completion's prompt

bool is_id_list(const json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const json& id) { return is_number(id); });
}

void read_text_prompt(Fields& fields, const json& text, tokenizer::AddSpecialTokens add,
                      const ParseContext& context, Parameters& out) {
  if (context.tokenizer == nullptr) {
    return fields.fail(
        {400, "prompt must be token ids: this model has no tokenizer", "prompt", std::nullopt});
  }
  const std::string& prompt = text.get_ref<const std::string&>();
  add_text_prompt(fields, "prompt", prompt, add, context, out);
  if (out.output.echo == Echo::kYes) {
    out.echoes.resize(out.prompts.size());
    if (!out.prompts.empty()) out.echoes.back().text = prompt;
  }
}

void add_id_prompt(Fields& fields, const json& ids, std::size_t vocab_size, Parameters& out) {
  std::vector<TokenId> prompt;
  for (const json& id : ids) {
    const auto number = whole_number(id);
    if (!number || *number < 0 || static_cast<std::uint64_t>(*number) >= vocab_size) {
      return fields.wrong("prompt", fmt::format("made of token ids in 0..{}", vocab_size - 1), id);
    }
    prompt.push_back(static_cast<TokenId>(*number));
  }
  out.prompts.push_back(std::move(prompt));
}

// Token ids and texts, which together are one prompt, as llama-server has it.
bool is_mixed(const json& value) {
  std::size_t n_ids = 0, n_texts = 0;
  for (const json& one : value) one.is_string() ? ++n_texts : n_ids += is_number(one);
  return n_ids > 0 && n_texts > 0 && n_ids + n_texts == value.size();
}

void read_mixed_prompt(Fields& fields, const json& pieces, tokenizer::AddSpecialTokens add,
                       const ParseContext& context, Parameters& out) {
  Parameters each;
  each.truncate_prompt_tokens = out.truncate_prompt_tokens;
  std::vector<TokenId> whole;
  for (const json& piece : pieces) {
    if (piece.is_string()) {
      read_text_prompt(fields, piece, whole.empty() ? add : tokenizer::AddSpecialTokens::kNo, context, each);
    } else {
      add_id_prompt(fields, json::array({piece}), context.model.vocab_size, each);
    }
    if (fields.error()) return;
    whole.insert(whole.end(), each.prompts[0].begin(), each.prompts[0].end());
    each.prompts.clear();
  }
  out.prompts.push_back(std::move(whole));
}

void read_prompt(Fields& fields, const ParseContext& context, Parameters& out) {
  constexpr const char* kMustBe =
      "a string, a list of strings, a list of token ids or a list of such lists, none empty";
  const auto add = fields.boolean("add_special_tokens").value_or(true) ? tokenizer::AddSpecialTokens::kYes
                                                                       : tokenizer::AddSpecialTokens::kNo;
  const json* prompt = fields.find("prompt");
  if (prompt == nullptr)
    return fields.fail(
        {400, fmt::format("prompt is missing: it must be {}", kMustBe), "prompt", std::nullopt});
  if (prompt->is_string()) return read_text_prompt(fields, *prompt, add, context, out);
  if (is_id_list(*prompt)) return add_id_prompt(fields, *prompt, context.model.vocab_size, out);
  if (prompt->is_array() && is_mixed(*prompt)) return read_mixed_prompt(fields, *prompt, add, context, out);
  if (!prompt->is_array() || prompt->empty() || prompt->size() > kMaxPrompts)
    return fields.wrong("prompt", kMustBe, *prompt);
  for (const json& one : *prompt) {
    if (one.is_string()) {
      read_text_prompt(fields, one, add, context, out);
    } else if (is_id_list(one)) {
      add_id_prompt(fields, one, context.model.vocab_size, out);
    } else {
      return fields.wrong("prompt", kMustBe, one);
    }
  }
}

// The end of each prompt is what an answer goes on from.
void truncate_prompts(const front::ModelInfo& model, Parameters& out) {
  if (out.truncate_prompt_tokens == 0) return;
  const std::size_t n_answer = std::clamp<std::size_t>(out.stop.max_tokens, 1, model.max_model_len - 1);
  const std::size_t fit = model.max_model_len - (out.stop.max_tokens < model.max_model_len ? n_answer : 1);
  const std::size_t most =
      out.truncate_prompt_tokens < 0 ? fit : static_cast<std::size_t>(out.truncate_prompt_tokens);
  for (std::size_t i = 0; i < out.prompts.size(); ++i) {
    std::vector<TokenId>& prompt = out.prompts[i];
    if (prompt.size() <= most) continue;
    prompt.erase(prompt.begin(), prompt.end() - static_cast<std::ptrdiff_t>(most));
    if (i < out.echoes.size()) out.echoes[i].text.clear();
  }
}

void read_truncation(Fields& fields, const front::ModelInfo& model, Parameters& out) {
  const auto most = static_cast<std::int64_t>(model.max_model_len) - 1;
  const auto n = fields.integer("truncate_prompt_tokens", -1, most);
  if (n && *n == 0)
    fields.fail({400, fmt::format("truncate_prompt_tokens must be -1 or in 1..{}, found 0", most),
                 "truncate_prompt_tokens", std::nullopt});
  out.truncate_prompt_tokens = n.value_or(0);
}

void read_stream_options(Fields& fields, Parameters& out, std::vector<std::string>& unknown) {
  const json* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) fields.wrong("stream_options", "an object", *options);
  if (out.stream == Stream::kNo) {
    fields.fail({400, "stream_options is only allowed when stream is true", "stream_options", std::nullopt});
  }
  if (fields.error()) return;
  Fields nested(*options, "stream_options.");
  if (nested.boolean("include_usage").value_or(false)) out.include_usage = IncludeUsage::kYes;
  const bool continuous = nested.boolean("continuous_usage_stats").value_or(false);
  if (continuous && out.include_usage == IncludeUsage::kYes)  // as in vLLM, which wants both
    out.output.continuous_usage = ContinuousUsage::kYes;
  nested.find("include_obfuscation");  // against a listener on the network: no part of the answer
  if (nested.error()) fields.fail(*nested.error());
  for (std::string& name : nested.unknown()) unknown.push_back(std::move(name));
}

// One that cannot stand in a header and a log is none.
void read_request_id(Fields& fields, Parameters& out) {
  for (const char* name : {"rid", "request_id"}) {
    const auto id = fields.text(name);
    if (id && http::is_request_id(*id)) out.request_id = *id;
  }
  // Keeps prompts of others away from a cache; nothing is shared between requests here.
  if (const auto salt = fields.text("cache_salt"); salt && salt->empty())
    fields.wrong("cache_salt", "a string, not empty", "");
}

void check_lengths(Fields& fields, const front::ModelInfo& model, Parameters& out) {
  const char* name = out.endpoint == Endpoint::kChat ? "messages" : "prompt";
  for (const auto& prompt : out.prompts) {
    if (prompt.empty())
      return fields.fail({400, fmt::format("{} must have one token at least", name), name, std::nullopt});
    if (prompt.size() >= model.max_model_len) {
      return fields.fail(
          {400,
           fmt::format("{} has {} tokens, but the model's length is {} tokens, answer included", name,
                       prompt.size(), model.max_model_len),
           name, "context_length_exceeded"});
    }
    out.stop.max_tokens = std::min(out.stop.max_tokens, model.max_model_len);
  }
}

void make_echoes(const tokenizer::Tokenizer& tokenizer, Parameters& out) {
  out.echoes.resize(out.prompts.size());
  for (std::size_t i = 0; i < out.prompts.size(); ++i) {
    EchoedPrompt& echo = out.echoes[i];
    std::string decoded = tokenizer.decode(out.prompts[i], tokenizer::SkipSpecialTokens::kNo);
    if (echo.text.empty()) {
      echo.text = std::move(decoded);
    } else if (echo.text != decoded) {
      echo.special_tokens = tokenizer::SkipSpecialTokens::kYes;
    }
  }
}

// 128 choices of a long prompt would come to gigabytes.
void tell_prompt_ids(Fields& fields, Parameters& out) {
  if (out.return_token_ids == ReturnTokenIds::kNo) return;
  std::size_t n_ids = 0;
  for (const auto& prompt : out.prompts) n_ids += out.n * prompt.size();
  if (n_ids > kMaxPromptIdsOfAnswer)
    return fields.fail({400,
                        fmt::format("return_token_ids: prompts and n of this request have {} ids, at most {} "
                                    "are told; ask for fewer",
                                    n_ids, kMaxPromptIdsOfAnswer),
                        "return_token_ids", std::nullopt});
  for (const auto& prompt : out.prompts) out.prompt_ids.push_back(joined_ids(prompt));
}

}  // namespace

bool ParseContext::is_model(const std::string& name) const {
  return name == model.served_name ||
         std::find(other_names.begin(), other_names.end(), name) != other_names.end();
}

ApiResult<Parameters> parse_parameters(Endpoint endpoint, const json& body, const ParseContext& context,
                                       std::vector<std::string>& unknown) {
  Fields fields(body);
  Parameters out;
  out.endpoint = endpoint;
  if (const auto model = fields.text("model"); model && !context.is_model(*model)) {
    fields.fail({404,
                 fmt::format("the model \"{}\" does not exist; this server has \"{}\"", shortened(*model),
                             context.model.served_name),
                 "model", "model_not_found"});
  }
  out.n = static_cast<std::size_t>(fields.integer("n", 1, kMaxChoices).value_or(1));
  if (fields.boolean("stream").value_or(false)) out.stream = Stream::kYes;
  if (fields.boolean("return_token_ids").value_or(false)) out.return_token_ids = ReturnTokenIds::kYes;
  read_stream_options(fields, out, unknown);
  read_stop(fields, context, out);
  read_sampling(fields, context, out);
  read_output(fields, context, out);
  read_truncation(fields, context.model, out);
  read_structure(fields, context, out);
  refuse_unsupported(fields, endpoint);
  read_request_id(fields, out);
  for (const char* ignored : {"user", "metadata", "store", "service_tier"}) fields.find(ignored);
  if (!fields.error()) {
    if (endpoint == Endpoint::kChat) {
      read_messages(fields, context, out);
      place_structure(context, out);
      read_call_structure(fields, context, out);
    } else {
      read_prompt(fields, context, out);
    }
  }
  if (!fields.error()) truncate_prompts(context.model, out);
  if (!fields.error()) check_lengths(fields, context.model, out);
  if (!fields.error()) check_number_of_logprobs(fields, context.model, out);
  if (!fields.error()) tell_prompt_ids(fields, out);
  if (fields.error()) return tl::unexpected<ApiError>(*fields.error());
  if (out.output.echo == Echo::kYes) make_echoes(*context.tokenizer, out);
  for (std::string& name : fields.unknown()) unknown.push_back(std::move(name));
  return out;
}

}  // namespace concertina::server::openai
