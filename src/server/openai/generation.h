#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "server/metrics.h"
#include "server/openai/answer_writer.h"
#include "server/openai/stop_strings.h"
#include "tokenizer/streaming_detokenizer.h"

namespace concertina::server::openai {

struct GenerationContext {
  front::GenerationService& service;
  const tokenizer::Tokenizer* tokenizer;
  const AnswerFormats& formats;
  Metrics& metrics;
  std::function<void(std::function<void()>)> post;  // runs it on this thread, after what waits already
};

// One client request on its way: its choices as requests of the front, and its answer. Lives until the answer
// is complete or the client is gone.
class Generation : public front::GenerationListener, public std::enable_shared_from_this<Generation> {
 public:
  Generation(GenerationContext context, front::ClientId client, Parameters parameters,
             std::shared_ptr<http::Responder> responder, std::function<void(Generation*)> on_over);

  // Submits all choices, many of them in several turns; or answers with what the front has against it. A
  // stream's header goes out as soon as it is admitted.
  void start();
  void abandon();             // the client is gone, or the server ends: frees everything at once
  void keep_alive(Time now);  // a stream that was silent for long gets a comment, for proxies on the way

  void on_token(RequestId request, TokenId token, request::FinishReason reason) override;
  void on_failed(RequestId request, const Error& error) override;

 private:
  struct Choice {
    Choice(std::size_t index, const std::vector<TokenId>& prompt,
           std::shared_ptr<const StopTable> stop_strings)
        : index(index), prompt(prompt), stop(std::move(stop_strings)) {}
    std::size_t index;
    const std::vector<TokenId>& prompt;
    RequestId request;
    std::optional<tokenizer::StreamingDetokenizer> detokenizer;
    StopStrings stop;
    std::unique_ptr<tools::AnswerParser> parser;
    AnswerParts parts;  // of a whole answer
    std::size_t n_calls = 0, n_reasoning_tokens = 0;
    std::vector<TokenId> ids;  // all (whole), or those of the next chunk (stream)
    std::size_t n_tokens = 0;
    Time last_token{};
    const char* finish_reason = nullptr;
    enum class Prompt { kNotSent, kSent } prompt_ids = Prompt::kNotSent;
  };

  void submit_some();
  Status submit(Choice& choice);
  bool is_stop_token(TokenId token) const;
  void count(Choice& choice, TokenId token);
  tools::Events parse(Choice& choice, const std::string& text, tools::End end);
  void emit(Choice& choice, const tools::Events& events, const char* finish_reason);
  bool ends_with_first_call(const tools::Events& events) const;
  void end_choice(Choice& choice, const char* reason);
  void begin_stream();
  void write(std::string_view data);
  void fail(const Error& error, std::optional<RequestId> cause);
  void end_answer();
  void over();
  std::span<const TokenId> unsent_prompt(Choice& choice) const;

  GenerationContext context_;
  const front::ClientId client_;
  const Parameters parameters_;
  std::shared_ptr<http::Responder> responder_;
  std::function<void(Generation*)> on_over_;
  const std::unique_ptr<AnswerWriter> writer_;
  std::vector<std::unique_ptr<Choice>> choices_;
  std::unordered_map<RequestId, Choice*> by_request_;
  const Time arrived_;
  Time last_written_{};
  std::size_t n_submitted_ = 0, n_reserved_ = 0, n_open_ = 0;
  // kAdmitted: a stream's header is out. kStreaming: its first chunk, too.
  enum class Answer { kNone, kAdmitted, kStreaming, kOver } answer_ = Answer::kNone;
};

}  // namespace concertina::server::openai
