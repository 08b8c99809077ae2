#include "server/openai/choice.h"

#include <fmt/format.h>

#include <algorithm>

namespace concertina::server::openai {

namespace {
StopStrings::Cut cut_of(const Parameters& parameters) {
  return parameters.output.stop_text == StopText::kKept ? StopStrings::Cut::kBehind
                                                        : StopStrings::Cut::kBefore;
}
}  // namespace

Choice::Choice(std::size_t index, std::size_t prompt_index, const Parameters& parameters,
               const tokenizer::Tokenizer* tokenizer, const AnswerFormats& formats)
    : index(index),
      answer(parameters.answer, formats),
      logprobs(parameters.endpoint, parameters.output.tokens_as),
      parameters_(parameters),
      prompt_(parameters.prompts[prompt_index]),
      prompt_index_(prompt_index),
      stop_(parameters.stop_strings, cut_of(parameters)) {
  if (parameters.output.n_prompt_logprobs) prompt_logprobs.emplace(*parameters.output.n_prompt_logprobs);
  if (tokenizer == nullptr) return;
  const bool echoes = parameters.output.echo == Echo::kYes;
  detokenizer_.emplace(*tokenizer, parameters.output.special_tokens,
                       echoes ? tokenizer::TextBegin::kBefore : tokenizer::TextBegin::kHere,
                       shown_marks(parameters.answer, formats));
  if (!echoes) return;
  const EchoedPrompt& echoed = parameters.echoes[prompt_index];
  echo_ = echoed.text;
  n_characters_ = n_characters(*echo_);
  prompt_detokenizer_.emplace(*tokenizer, echoed.special_tokens);
}

std::string Choice::take_echo() { return std::exchange(echo_, std::nullopt).value_or(""); }

bool Choice::echoes_logprobs() const {
  return parameters_.output.echo == Echo::kYes && parameters_.logprobs.n_top.has_value();
}

// The first token of a prompt has none: nothing comes before it.
void Choice::begin_echoed_logprobs() {
  if (!echoes_logprobs() || std::exchange(echoed_logprobs_, Echoed::kFirst) == Echoed::kFirst) return;
  logprobs.add(prompt_[0], {}, 0);
  n_prompt_characters_ += n_characters(prompt_detokenizer_->push(prompt_[0]));
}

void Choice::push_prompt(const request::PromptLogprobs& scored) {
  if (prompt_logprobs) prompt_logprobs->add(scored);
  if (!echoes_logprobs()) return;
  begin_echoed_logprobs();
  const std::size_t n_each = std::min<std::size_t>(scored.n_each, 1 + *parameters_.logprobs.n_top);
  for (std::size_t i = 0; i < scored.ranks.size(); ++i) {
    const TokenId token = scored.logprobs[i * scored.n_each].token;
    logprobs.add(token, std::span(scored.logprobs).subspan(i * scored.n_each, n_each), n_prompt_characters_);
    n_prompt_characters_ += n_characters(prompt_detokenizer_->push(token));
  }
}

bool Choice::is_stop_token(TokenId token) const {
  const request::StopParams& stop = parameters_.stop;
  const auto& eos = stop.eos_token_ids;
  return std::binary_search(stop.stop_token_ids.begin(), stop.stop_token_ids.end(), token) ||
         (!stop.ignore_eos && std::find(eos.begin(), eos.end(), token) != eos.end());
}

std::string Choice::decode(TokenId token, bool is_last) {
  std::string text;
  if (!detokenizer_) return text;
  if (parameters_.output.stop_text == StopText::kKept || !is_stop_token(token))
    text = detokenizer_->push(token);
  if (is_last) text += detokenizer_->flush();
  return text;
}

// vLLM's stop_reason: the id of stop_token_ids, null for eos.
End Choice::end_of(TokenId token, request::FinishReason reason) const {
  if (reason == request::FinishReason::kNone) return {};
  if (reason != request::FinishReason::kStop) return {"length"};
  const request::StopParams& stop = parameters_.stop;
  const bool is_eos = !stop.ignore_eos && std::find(stop.eos_token_ids.begin(), stop.eos_token_ids.end(),
                                                    token) != stop.eos_token_ids.end();
  return {"stop", is_eos ? "null" : fmt::format("{}", token)};
}

Choice::Step Choice::push(TokenId token, request::FinishReason reason,
                          std::span<const request::TokenLogprob> token_logprobs) {
  const bool is_last = reason != request::FinishReason::kNone;
  begin_echoed_logprobs();
  if (parameters_.stop.max_tokens == 0) return {{}, {"length"}};  // it was asked for the prompt's scores
  ++n_tokens;
  ids.push_back(token);
  std::string new_text = decode(token, is_last);
  if (!token_logprobs.empty()) logprobs.add(token, token_logprobs, n_characters_);
  if (parameters_.logprobs.n_top) n_characters_ += n_characters(new_text);
  Step made{.end = end_of(token, reason)};
  if (n_tokens <= parameters_.stop.min_tokens) {  // until then no stop string counts, as in vLLM
    made.text = std::move(new_text);
    return made;
  }
  StopStrings::Step step = stop_.push(new_text);
  made.text = std::move(step.text);
  made.is_hit = step.hit == StopStrings::Step::Hit::kYes;
  if (made.is_hit) {
    made.end = {"stop", json_string(parameters_.stop_strings->text(step.index))};
  } else if (is_last) {
    made.text += stop_.flush();
  }
  return made;
}

}  // namespace concertina::server::openai
