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

// Builds the bodies of answers: whole ones and server-sent events. The framing is OpenAI's to the letter.
class ChunkWriter {
 public:
  ChunkWriter(Endpoint endpoint, const std::string& model, IncludeUsage include_usage,
              ReturnTokenIds return_token_ids);

  // What begins a choice's stream: a chat's role; none for completions.
  std::string first(std::size_t choice, std::span<const TokenId> prompt_ids) const;
  // New text of a choice, its ids where they are asked for, and the end's reason where it has come.
  std::string delta(std::size_t choice, const std::string& text, std::span<const TokenId> ids,
                    std::span<const TokenId> prompt_ids, const char* finish_reason) const;
  std::string usage(const Usage& usage) const;
  static std::string done() { return "data: [DONE]\n\n"; }

  struct Choice {
    std::string text;
    const char* finish_reason;
    std::span<const TokenId> ids, prompt_ids;
  };
  std::string whole(std::span<const Choice> choices, const Usage& usage) const;

 private:
  std::string frame(const std::string& choices, const std::string& more) const;

  Endpoint endpoint_;
  IncludeUsage include_usage_;
  ReturnTokenIds return_token_ids_;
  std::string head_, whole_head_;  // up to "choices":
};

std::string json_string(const std::string& text);  // quoted and escaped; invalid UTF-8 replaced

}  // namespace concertina::server::openai
