#include "server/dialects/native_request.h"

#include <map>

#include "server/dialects/translation.h"

namespace concertina::server::dialects {

namespace {

constexpr std::int64_t kAsManyAsFit = std::int64_t{1} << 40;
constexpr std::size_t kMaxSamplingParams = 64;  // each is looked for among those before it

// One prompt: answers of several would be a list in both dialects, which nobody has asked for yet.
void translate_prompt(Translation& translation, const char* name) {
  const Json* prompt = translation.fields().find(name);
  if (prompt == nullptr) return void(translation.wrong(name, "one prompt: a text or token ids", prompt));
  if (prompt->is_array() && !prompt->empty() &&
      (prompt->front().is_array() || (prompt->front().is_string() && prompt->back().is_string())))
    return void(translation.wrong(name, "one prompt: a text or token ids", prompt));
  translation.add("prompt", *prompt);
}

void add_structure(Translation& translation, const char* kind, const Json* value) {
  if (value == nullptr || *value == "") return;
  translation.add("structured_outputs", Json{{kind, *value}});
}

}  // namespace

ApiResult<Json> llama_to_completion(const Json& body) {
  Translation translation(body);
  Fields& fields = translation.fields();
  translate_prompt(translation, "prompt");
  const auto n_predict = fields.integer("n_predict", -1, kAsManyAsFit);
  const bool is_bounded = n_predict && *n_predict >= 0;
  translation.add("max_tokens", is_bounded ? *n_predict : kAsManyAsFit);
  if (const auto n = fields.integer("n_probs", 0, 20); n && *n > 0) translation.add("logprobs", *n);
  translation.rename("repeat_penalty", "repetition_penalty");
  add_structure(translation, "json", fields.find("json_schema"));
  add_structure(translation, "grammar", fields.find("grammar"));
  for (const char* ignored : {"cache_prompt", "id_slot", "timings_per_token", "samplers"})
    fields.find(ignored);
  return translation.finish();
}

ApiResult<Json> sglang_to_completion(const Json& body) {
  Translation translation(body);
  Fields& fields = translation.fields();
  translate_prompt(translation, fields.find("text") != nullptr ? "text" : "input_ids");
  translation.refuse("stream", {false}, "use /v1/completions for streams");
  translation.refuse("return_logprob", {false}, "use /v1/completions for logprobs");
  const Json* sampling = fields.find("sampling_params");
  if (sampling != nullptr && (!sampling->is_object() || sampling->size() > kMaxSamplingParams))
    translation.wrong("sampling_params", "an object of at most 64 members", sampling);
  if (fields.error()) return tl::unexpected<ApiError>(*fields.error());
  translation.add("max_tokens", 128);
  translation.add("return_token_ids", true);
  static const std::map<std::string, const char*> kNames{
      {"max_new_tokens", "max_tokens"}, {"min_new_tokens", "min_tokens"}, {"sampling_seed", "seed"}};
  static const std::map<std::string, const char*> kKinds{
      {"json_schema", "json"}, {"regex", "regex"}, {"ebnf", "grammar"}};
  const Json none = Json::object();
  for (const auto& [name, value] :
       (sampling == nullptr ? none : *sampling).get_ref<const Json::object_t&>()) {
    const auto renamed = kNames.find(name);
    if (const auto kind = kKinds.find(name); kind != kKinds.end()) {
      add_structure(translation, kind->second, value.is_null() ? nullptr : &value);
    } else {
      translation.add(renamed == kNames.end() ? name.c_str() : renamed->second, value);
    }
  }
  return translation.finish();
}

}  // namespace concertina::server::dialects
