#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"
#include "server/openai/parameters.h"
#include "tools/event.h"

namespace concertina::server::openai {

struct Usage {
  std::size_t prompt_tokens = 0, completion_tokens = 0;
  std::optional<std::size_t> reasoning_tokens;  // nothing: the model's thoughts are not split off
  double prompt_ms = 0, predicted_ms = 0;       // until the first token, with waiting; from there to the last
};

// A call of a tool as it has come so far.
struct ToolCall {
  std::string id, name, arguments;
};

// What a choice's answer has come to.
struct AnswerParts {
  std::string content, reasoning;
  std::vector<ToolCall> calls;
  tools::Events events;  // the same in its order, neighbours of one kind joined
  void add(const tools::Event& event);
};

// How a choice ended.
struct End {
  const char* finish_reason = nullptr;  // null: it has not
  std::string stop_reason = "null";     // JSON: the stop string or stop token that ended it
};

// A choice's prompt, as clients may be told of it.
struct PromptView {
  std::size_t n_tokens = 0;
  std::string_view ids = {};  // as JSON without brackets, where they are to be told
};

// What is new of a choice. Events are of content, reasoning and calls; a call's begin has its id.
struct Piece {
  std::size_t choice = 0;
  const tools::Events& events;
  std::string logprobs = "null";      // JSON
  std::span<const TokenId> ids = {};  // where they are asked for
  PromptView prompt = {};
  End end = {};
  Usage usage = {};  // of the choice so far, where every chunk has one
};

struct WholeChoice {
  const AnswerParts& parts;
  End end;
  std::string logprobs = "null", prompt_logprobs = "null";  // JSON
  std::span<const TokenId> ids;
  PromptView prompt;
};

// The bodies of answers in one API's framing: whole ones and server-sent events. One for each request; stream
// and whole are never mixed.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  // Begins a choice's stream.
  virtual std::string first(std::size_t choice, const PromptView& prompt) = 0;
  virtual std::string delta(const Piece& piece) = 0;
  virtual std::string end(const Usage& usage) = 0;        // of the stream, after all choices
  virtual std::string failed(const ApiError& error) = 0;  // likewise, where it fails
  virtual std::string whole(std::span<const WholeChoice> choices, const Usage& usage) = 0;
};

// As the inside of a JSON string, or one; invalid UTF-8 replaced.
void append_escaped(std::string& out, std::string_view text);
std::string json_string(std::string_view text);
std::string joined_ids(std::span<const TokenId> ids);  // "1,2,3"
std::string random_id(const char* prefix);
std::string timings_object(const Usage& usage);  // llama-server's

std::unique_ptr<AnswerWriter> make_writer(const Parameters& parameters, const front::ModelInfo& model);

}  // namespace concertina::server::openai
