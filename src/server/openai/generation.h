#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "server/metrics.h"
#include "server/openai/chunks.h"
#include "server/openai/stop_strings.h"
#include "tokenizer/streaming_detokenizer.h"

namespace concertina::server::openai {

struct GenerationContext {
  front::Service& service;
  const tokenizer::Tokenizer* tokenizer;
  Metrics& metrics;
};

// One client request on its way: its choices as requests of the front, and its answer. Lives until the answer
// is complete or the client is gone.
class Generation : public front::GenerationListener, public std::enable_shared_from_this<Generation> {
 public:
  Generation(GenerationContext context, Parameters parameters, std::shared_ptr<http::Responder> responder,
             std::function<void(Generation*)> on_over);

  void start();    // submits all choices, or answers with what the front has against it
  void abandon();  // the client is gone, or the server ends: frees everything at once

  void on_tokens(RequestId request, std::span<const TokenId> tokens) override;
  void on_finished(RequestId request, scheduler::FinishReason reason) override;
  void on_failed(RequestId request, const Error& error) override;

 private:
  struct Choice {
    Choice(std::size_t index, const std::vector<TokenId>& prompt,
           const std::vector<std::string>* stop_strings)
        : index(index), prompt(prompt), stop(stop_strings) {}
    std::size_t index;
    const std::vector<TokenId>& prompt;
    RequestId request;
    std::optional<tokenizer::StreamingDetokenizer> detokenizer;
    StopStrings stop;
    std::string text;          // of a whole answer
    std::vector<TokenId> ids;  // all (whole), or those of the next chunk (stream)
    std::size_t n_tokens = 0;
    Time last_token{};
    const char* finish_reason = nullptr;
    enum class Prompt { kNotSent, kSent } prompt_ids = Prompt::kNotSent;
  };

  bool is_stop_token(TokenId token) const;
  void on_token(Choice& choice, TokenId token);
  void emit(Choice& choice, std::string text, const char* finish_reason);
  void end_choice(Choice& choice, const char* reason);
  void begin_stream();
  void end_answer();
  void over();
  std::span<const TokenId> unsent_prompt(Choice& choice) const;

  GenerationContext context_;
  const Parameters parameters_;
  std::shared_ptr<http::Responder> responder_;
  std::function<void(Generation*)> on_over_;
  ChunkWriter writer_;
  std::vector<std::unique_ptr<Choice>> choices_;
  std::unordered_map<RequestId, Choice*> by_request_;
  const Time arrived_;
  std::size_t n_open_ = 0;
  enum class Answer { kNone, kStreaming, kOver } answer_ = Answer::kNone;
};

}  // namespace concertina::server::openai
