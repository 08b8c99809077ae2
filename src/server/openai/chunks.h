#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/openai/parameters.h"

namespace concertina::server::openai {

struct Usage {
  std::size_t prompt_tokens = 0, completion_tokens = 0;
};

// How a choice ended.
struct End {
  const char* finish_reason = nullptr;  // null: it has not
  std::string stop_reason = "null";     // JSON: the stop string or stop token that ended it
};

// What is new of a choice.
struct Piece {
  std::size_t choice = 0;
  std::string text = {};
  std::string logprobs = "null";                       // JSON
  std::span<const TokenId> ids = {}, prompt_ids = {};  // where they are asked for; a prompt's once
  End end = {};
  Usage usage = {};  // of the choice so far, where every chunk has one
};

// Builds the bodies of answers: whole ones and server-sent events. The framing is OpenAI's to the letter;
// stop_reason, token ids and prompt_logprobs are vLLM's.
class ChunkWriter {
 public:
  explicit ChunkWriter(const Parameters& parameters, const std::string& model);

  // What begins a choice's stream: a chat's role; none for completions.
  std::string first(std::size_t choice, std::span<const TokenId> prompt_ids) const;
  std::string delta(const Piece& piece) const;
  std::string usage(const Usage& usage) const;
  static std::string done() { return "data: [DONE]\n\n"; }

  struct Choice {
    std::string text;
    End end;
    std::string logprobs = "null", prompt_logprobs = "null";  // JSON
    std::span<const TokenId> ids, prompt_ids;
  };
  std::string whole(std::span<const Choice> choices, const Usage& usage) const;

 private:
  std::string frame(const std::string& choices, const std::string& more, const Usage& usage) const;
  std::string whole_choice(std::size_t index, const Choice& choice) const;

  Endpoint endpoint_;
  IncludeUsage include_usage_;
  ContinuousUsage continuous_usage_;
  ReturnTokenIds return_token_ids_;
  bool tells_prompt_logprobs_;
  std::string head_, whole_head_;  // up to "choices":
};

std::string json_string(const std::string& text);  // quoted and escaped; invalid UTF-8 replaced

}  // namespace concertina::server::openai
