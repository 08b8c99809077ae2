#include "server/openai/unsupported.h"

#include <vector>

namespace concertina::server::openai {

namespace {

enum class Of : std::uint8_t { kBoth, kCompletions, kChat };

struct Unsupported {
  const char* field;
  Of of;
  std::vector<Json> neutral;  // values that mean the same as none
};

const std::vector<Unsupported>& table() {
  static const std::vector<Unsupported> rows{
      // what is drawn
      {"repeat_penalty", Of::kBoth, {1, 1.0}},
      {"length_penalty", Of::kBoth, {1, 1.0}},
      {"logits_processors", Of::kBoth, {Json::array()}},
      {"use_beam_search", Of::kBoth, {false}},
      {"n_predict", Of::kBoth, {}},
      {"max_new_tokens", Of::kBoth, {}},
      {"do_sample", Of::kBoth, {}},
      {"typical_p", Of::kBoth, {1, 1.0}},
      {"top_n_sigma", Of::kBoth, {-1, -1.0, 0}},
      {"dynatemp_range", Of::kBoth, {0, 0.0}},
      {"mirostat", Of::kBoth, {0}},
      {"dry_multiplier", Of::kBoth, {0, 0.0}},
      {"xtc_probability", Of::kBoth, {0, 0.0}},
      {"samplers", Of::kBoth, {}},
      {"tfs_z", Of::kBoth, {1, 1.0}},
      {"top_a", Of::kBoth, {0, 0.0}},
      {"top_n_tokens", Of::kBoth, {0}},
      {"num_predict", Of::kBoth, {}},
      {"sampling_params", Of::kBoth, {}},
      {"options", Of::kBoth, {Json::object()}},
      {"thinking_budget", Of::kBoth, {}},
      {"thinking", Of::kBoth, {}},
      {"thinking_token_budget", Of::kCompletions, {-1}},
      // what the text must be like
      {"structural_tag", Of::kBoth, {}},
      {"stop_regex", Of::kBoth, {}},
      {"format", Of::kBoth, {""}},
      {"extra_body", Of::kBoth, {Json::object()}},  // its members belong into the body itself
      // what goes in
      {"prompt_embeds", Of::kBoth, {}},
      {"lora_path", Of::kBoth, {}},
      {"suffix", Of::kCompletions, {""}},
      {"add_special_tokens", Of::kChat, {false}},
      {"documents", Of::kChat, {}},
      {"audio", Of::kChat, {}},
      {"prediction", Of::kChat, {}},
      {"web_search_options", Of::kChat, {}},
      {"modalities", Of::kChat, {Json::array({"text"})}},
      {"mm_processor_kwargs", Of::kChat, {}},
      {"functions", Of::kChat, {Json::array()}},
      {"function_call", Of::kChat, {"none", "auto"}},
      // what comes back
      {"n_probs", Of::kBoth, {0}},
      {"best_of", Of::kBoth, {1}},
      {"no_stop_trim", Of::kBoth, {false}},
      {"detokenize", Of::kBoth, {true}},
      {"return_hidden_states", Of::kBoth, {false}},
      {"separate_reasoning", Of::kChat, {false}},
      {"return_progress", Of::kBoth, {false}},
      {"response_fields", Of::kBoth, {Json::array()}},
  };
  return rows;
}

}  // namespace

void refuse_unsupported(Fields& fields, Endpoint endpoint) {
  const Of here = endpoint == Endpoint::kChat ? Of::kChat : Of::kCompletions;
  for (const Unsupported& row : table()) {
    if (row.of == Of::kBoth || row.of == here) fields.unsupported(row.field, row.neutral);
  }
}

}  // namespace concertina::server::openai
