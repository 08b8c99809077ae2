#include "server/openai/output_fields.h"

#include <fmt/format.h>

namespace concertina::server::openai {

namespace {

using Wanted = std::optional<std::uint32_t>;

Wanted number_of_logprobs(Fields& fields, const char* name) {
  const auto n = fields.integer(name, 0, static_cast<std::int64_t>(request::kMaxLogprobs));
  return n ? Wanted(static_cast<std::uint32_t>(*n)) : std::nullopt;
}

void read_chat_logprobs(Fields& fields, Parameters& out) {
  const bool wants = fields.boolean("logprobs").value_or(false);
  const Wanted n_top = number_of_logprobs(fields, "top_logprobs");
  if (wants) out.logprobs.n_top = n_top.value_or(0);
  if (!wants && n_top.value_or(0) > 0)
    fields.fail({400, "top_logprobs needs logprobs to be true", "top_logprobs", std::nullopt});
}

void read_prompt_logprobs(Fields& fields, Parameters& out) {
  out.output.n_prompt_logprobs = number_of_logprobs(fields, "prompt_logprobs");
  if (out.output.n_prompt_logprobs && out.stream == Stream::kYes)
    fields.fail({400, "prompt_logprobs are not told where stream is true", "prompt_logprobs", std::nullopt});
  out.logprobs.n_prompt_top = out.output.n_prompt_logprobs;
  if (out.output.echo == Echo::kYes && out.logprobs.n_top)
    out.logprobs.n_prompt_top = std::max(out.logprobs.n_prompt_top.value_or(0), *out.logprobs.n_top);
}

std::size_t number_of_logprobs(const std::vector<TokenId>& prompt, const front::ModelInfo& model,
                               const Parameters& parameters) {
  const request::LogprobParams& wanted = parameters.logprobs;
  const std::size_t n_answer = std::min(parameters.stop.max_tokens, model.max_model_len - prompt.size());
  return (wanted.n_top ? (1 + *wanted.n_top) * n_answer : 0) +
         (wanted.n_prompt_top ? (1 + *wanted.n_prompt_top) * prompt.size() : 0);
}

}  // namespace

void check_number_of_logprobs(Fields& fields, const front::ModelInfo& model, const Parameters& parameters) {
  std::size_t n = 0;
  for (const auto& prompt : parameters.prompts) n += number_of_logprobs(prompt, model, parameters);
  n *= parameters.n;
  if (n <= kMaxLogprobsOfAnswer) return;
  const char* name = parameters.output.n_prompt_logprobs ? "prompt_logprobs" : "logprobs";
  fields.fail(
      {400,
       fmt::format("{}: prompts, n and max_tokens of this request allow {} log-probabilities, at most {} are "
                   "told; ask for fewer",
                   name, n, kMaxLogprobsOfAnswer),
       name, std::nullopt});
}

void read_output(Fields& fields, const ParseContext& context, Parameters& out) {
  if (out.endpoint == Endpoint::kChat) {
    read_chat_logprobs(fields, out);
  } else {
    out.logprobs.n_top = number_of_logprobs(fields, "logprobs");
    if (fields.boolean("echo").value_or(false)) out.output.echo = Echo::kYes;
    if (out.output.echo == Echo::kYes && context.tokenizer == nullptr)
      fields.fail({400, "echo needs a tokenizer, which this model has not", "echo", std::nullopt});
  }
  read_prompt_logprobs(fields, out);
  if (fields.boolean("timings_per_token").value_or(false)) out.output.timings = Timings::kYes;
  if (fields.boolean("include_stop_str_in_output").value_or(false)) out.output.stop_text = StopText::kKept;
  if (!fields.boolean("skip_special_tokens").value_or(true))
    out.output.special_tokens = tokenizer::SkipSpecialTokens::kNo;
  fields.boolean("spaces_between_special_tokens");  // of decoders that put any: ours does not
  if (fields.boolean("return_tokens_as_token_ids").value_or(false)) out.output.tokens_as = TokensAs::kIds;
  out.priority = static_cast<std::int32_t>(fields.integer("priority", INT32_MIN, INT32_MAX).value_or(0));
  if (out.priority != 0 && context.model.priorities == front::ModelInfo::Priorities::kRefused)
    fields.fail({400, "priority is served with --scheduling-policy priority; here it must be 0", "priority",
                 std::nullopt});
}

}  // namespace concertina::server::openai
