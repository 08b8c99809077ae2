#pragma once

#include <memory>
#include <string>

#include "server/fields.h"
#include "server/openai/answer_formats.h"

namespace concertina::server::openai {

// What a chat wants its answer taken apart into.
struct AnswerParameters {
  tools::ParseCalls calls = tools::ParseCalls::kNo;
  std::shared_ptr<const tools::ToolTypes> types = std::make_shared<tools::ToolTypes>();
  // kOne: an answer ends with its first call.
  enum class Parallel : std::uint8_t { kMany, kOne } parallel = Parallel::kMany;
  // kRequired: calls and nothing else; kNamed: one of the function `named`.
  enum class Choice : std::uint8_t { kAuto, kRequired, kNamed } choice = Choice::kAuto;
  std::string named;
  // kHidden: split off, and not sent.
  enum class Reasoning : std::uint8_t { kInContent, kShown, kHidden } reasoning = Reasoning::kInContent;
  tools::Opened opened = tools::Opened::kNo;  // whether the prompt ends within the model's thoughts
};

// Reads "tools", "tool_choice", "parallel_tool_calls" and "include_reasoning". The tools go to `variables` of
// the chat template as they came.
void read_tool_fields(Fields& fields, const AnswerFormats& formats, Json& variables, AnswerParameters& out);

// Of one choice, and the special tokens that it must see; null: none.
std::unique_ptr<tools::AnswerParser> make_answer_parser(const AnswerParameters& parameters,
                                                        const AnswerFormats& formats);
std::shared_ptr<const std::vector<TokenId>> shown_marks(const AnswerParameters& parameters,
                                                        const AnswerFormats& formats);

}  // namespace concertina::server::openai
