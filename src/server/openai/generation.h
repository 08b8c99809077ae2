#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "server/metrics.h"
#include "server/openai/choice.h"

namespace concertina::server::openai {

struct GenerationContext {
  front::GenerationService& service;
  const tokenizer::Tokenizer* tokenizer;
  const AnswerFormats& formats;
  Metrics& metrics;
  std::function<void(std::function<void()>)> post;  // runs it on this thread, after what waits already
  std::shared_ptr<TokenNames> names = {};           // of this thread; null: the request's own
  // Runs work of so many bytes beside this thread, and then what it returns on this one; null: here.
  using Aside = std::function<void(std::size_t n_bytes, std::function<std::function<void()>()> work)>;
  Aside aside = {};
};

// One client request on its way: its choices as requests of the front, and its answer. Lives until the answer
// is complete or the client is gone. A large answer that is sent whole is written beside the thread, which
// leaves its choices alone meanwhile.
class Generation : public front::GenerationListener, public std::enable_shared_from_this<Generation> {
 public:
  Generation(GenerationContext context, front::ClientId client, Parameters parameters,
             std::shared_ptr<http::Responder> responder, std::function<void(Generation*)> on_over);

  // Submits all choices, many of them in several turns; or answers with what the front has against it. A
  // stream's header goes out as soon as it is admitted.
  void start();
  // Whether it is the client's name for it, or the id of its answer.
  bool is_called(const std::string& id) const;
  void abort();               // at an operator's word: what there is becomes the answer
  void abandon();             // the client is gone, or the server ends: frees everything at once
  void keep_alive(Time now);  // a stream that was silent for long gets a comment, for proxies on the way

  void on_token(RequestId request, TokenId token, request::FinishReason reason,
                std::span<const request::TokenLogprob> logprobs) override;
  void on_prompt_logprobs(RequestId request, const request::PromptLogprobs& scored) override;
  void on_failed(RequestId request, const Error& error) override;

 private:
  void submit_some();
  Status submit(Choice& choice);
  bool wants_scores_alone() const;
  void count(Choice& choice);
  void emit(Choice& choice, tools::Events events, const End& end);
  void end_choice(Choice& choice, const End& end);
  void begin_stream();
  void write(std::string_view data);
  void fail(const Error& error, std::optional<RequestId> cause);
  void end_answer();
  void send_whole(const Usage& usage);
  std::string whole(const Usage& usage, TokenNames& names);
  std::size_t whole_bytes() const;
  void over();
  Usage usage_of(const Choice& choice) const;
  PromptView prompt_of(const Choice& choice) const;
  PromptView unsent_prompt(Choice& choice) const;

  GenerationContext context_;
  const front::ClientId client_;
  const Parameters parameters_;
  const request::SharedTokenRules rules_;  // of every choice, as the next one
  const request::SharedStructure structure_;
  std::shared_ptr<http::Responder> responder_;
  std::function<void(Generation*)> on_over_;
  const std::unique_ptr<AnswerWriter> writer_;
  std::vector<std::unique_ptr<Choice>> choices_;
  std::unordered_map<RequestId, Choice*> by_request_;
  const Time arrived_;
  Time last_written_{};
  std::size_t n_submitted_ = 0, n_reserved_ = 0, n_open_ = 0;
  // kAdmitted: a stream's header is out. kStreaming: its first chunk, too.
  // kWriting: all is known of a whole one.
  enum class Answer { kNone, kAdmitted, kStreaming, kWriting, kOver } answer_ = Answer::kNone;
};

}  // namespace concertina::server::openai
