#include "server/openai/answer_reader.h"

namespace concertina::server::openai {

bool AnswerReader::is_shown(const tools::Event& event) const {
  const bool is_hidden = event.kind == tools::Event::Kind::kReasoning &&
                         parameters_.reasoning == AnswerParameters::Reasoning::kHidden;
  return event.kind != tools::Event::Kind::kMark && !is_hidden;
}

tools::Events AnswerReader::read(const std::string& text, tools::End end) {
  using Kind = tools::Event::Kind;
  const bool was_reasoning = parser_->is_reasoning();
  tools::Events all, shown;
  parser_->push(text, all);
  if (end == tools::End::kEnd) parser_->finish(all);
  if (was_reasoning || parser_->is_reasoning()) n_reasoning_tokens_ += 1;
  for (tools::Event& event : all) {
    if (!is_shown(event)) continue;
    if (event.kind == Kind::kCallBegin) n_calls_ += 1;
    if (event.kind == Kind::kCallBegin && event.call_id.empty())
      event.call_id = make_call_id(formats_.formats);
    is_over_ = event.kind == Kind::kCallEnd && parameters_.parallel == AnswerParameters::Parallel::kOne;
    shown.push_back(std::move(event));
    if (is_over_) break;
  }
  return shown;
}

}  // namespace concertina::server::openai
