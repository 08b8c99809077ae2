#pragma once

#include <set>
#include <unordered_map>

#include "server/openai/generation.h"

namespace concertina::server::openai {

// GET /v1/models, POST /v1/completions, POST /v1/chat/completions.
class OpenAiApi {
 public:
  OpenAiApi(front::Service& service, const tokenizer::Tokenizer* tokenizer,
            const tokenizer::ChatTemplate* chat_template, Metrics& metrics);

  void list_models(const std::shared_ptr<http::Responder>& responder) const;
  void show_model(const std::string& id, const std::shared_ptr<http::Responder>& responder) const;
  void generate(Endpoint endpoint, const http::Request& request,
                const std::shared_ptr<http::Responder>& responder);
  std::size_t n_open() const { return open_.size(); }

 private:
  std::string model_object() const;
  void warn_once(const std::vector<std::string>& unknown);

  front::Service& service_;
  const tokenizer::Tokenizer* tokenizer_;
  const tokenizer::ChatTemplate* chat_template_;
  Metrics& metrics_;
  std::unordered_map<Generation*, std::shared_ptr<Generation>> open_;
  std::set<std::string> warned_;  // bounded: a client may send any names
};

}  // namespace concertina::server::openai
