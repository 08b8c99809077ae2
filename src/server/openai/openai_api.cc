#include "server/openai/openai_api.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace concertina::server::openai {

namespace {
constexpr std::size_t kMaxWarnings = 50;
}

OpenAiApi::OpenAiApi(front::Service& service, const tokenizer::Tokenizer* tokenizer,
                     const tokenizer::ChatTemplate* chat_template, Metrics& metrics)
    : service_(service), tokenizer_(tokenizer), chat_template_(chat_template), metrics_(metrics) {}

std::string OpenAiApi::model_object() const {
  const front::ModelInfo& model = service_.model();
  return fmt::format(
      R"({{"id":{},"object":"model","created":{},"owned_by":"concertina","root":{},"parent":null,"max_model_len":{}}})",
      json_string(model.served_name), model.created_unix_s, json_string(model.path), model.max_model_len);
}

// 503 until a request would be admitted: probes take this path for readiness.
void OpenAiApi::list_models(const std::shared_ptr<http::Responder>& responder) const {
  if (const Status admitted = service_.admits(); !admitted)
    return responder->send(error_response(from_front(admitted.error())));
  responder->send({.body = R"({"object":"list","data":[)" + model_object() + "]}"});
}

void OpenAiApi::show_model(const std::string& id, const std::shared_ptr<http::Responder>& responder) const {
  if (id == service_.model().served_name) return responder->send({.body = model_object()});
  responder->send(error_response({404,
                                  fmt::format("the model \"{}\" does not exist; this server has \"{}\"", id,
                                              service_.model().served_name),
                                  "model", "model_not_found"}));
}

void OpenAiApi::warn_once(const std::vector<std::string>& unknown) {
  for (const std::string& name : unknown) {
    if (warned_.size() < kMaxWarnings && warned_.insert(name).second) {
      spdlog::warn("the field {} of a request is not known; ignored", json_string(shortened(name)));
    }
  }
}

void OpenAiApi::generate(Endpoint endpoint, const http::Request& request,
                         const std::shared_ptr<http::Responder>& responder) {
  if (const Status admitted = service_.admits(); !admitted) {
    return responder->send(error_response(from_front(admitted.error())));
  }
  const auto body = Fields::parse(request.body);
  if (!body) return responder->send(error_response(body.error()));
  std::vector<std::string> unknown;
  auto parameters =
      parse_parameters(endpoint, *body, {service_.model(), tokenizer_, chat_template_}, unknown);
  if (!parameters) return responder->send(error_response(parameters.error()));
  warn_once(unknown);
  if (const std::size_t n = parameters->prompts.size() * parameters->n; n > service_.max_requests()) {
    return responder->send(error_response(
        {400,
         fmt::format(
             "{} prompts with n = {} are {} requests; this server takes at most {} at once (--max-num-seqs, "
             "--max-num-queued-reqs)",
             parameters->prompts.size(), parameters->n, n, service_.max_requests()),
         "n", std::nullopt}));
  }
  const auto generation =
      std::make_shared<Generation>(GenerationContext{service_, tokenizer_, metrics_}, std::move(*parameters),
                                   responder, [this](Generation* over) { open_.erase(over); });
  open_[generation.get()] = generation;
  generation->start();
}

}  // namespace concertina::server::openai
