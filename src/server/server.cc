#include "server/server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "server/admin/admin_api.h"
#include "server/admin/page.h"
#include "server/admin/server_info.h"
#include "server/dialects/anthropic_writer.h"
#include "server/dialects/kept_items.h"
#include "server/openai/openai_api.h"
#include "server/paths.h"

namespace concertina::server {

namespace {

using ResponderPtr = std::shared_ptr<http::Responder>;

struct Route {
  access::Path access;
  std::string method;
  std::string path;  // one that ends with "/" also takes what follows it, which goes to the handler
  std::function<void(http::Request&, const std::string& rest, const ResponderPtr&)>
      handle;  // may take the body

  bool takes(const std::string& target) const {
    return path.ends_with('/') && path.size() > 1 ? target.size() > path.size() && target.starts_with(path)
                                                  : target == path;
  }
};

std::size_t n_helper_threads() { return std::max(2u, std::thread::hardware_concurrency() / 4); }

}  // namespace

struct Server::State {
  State(boost::asio::io_context& context, front::GenerationService& generation,
        front::ClusterService& cluster, const tokenizer::Tokenizer* tokenizer,
        const chat::ChatTemplate* chat_template, ServerOptions given)
      : options(std::move(given)),
        access(access::make_rules(options.host, options.allowed_hosts, options.api_keys, options.own_names)),
        metrics(generation.model().served_name),
        helpers(
            {.n_threads = n_helper_threads()},
            [&context](std::function<void()> function) { boost::asio::post(context, std::move(function)); }),
        served_name(generation.model().served_name),
        formats(openai::make_answer_formats(options.formats, tokenizer)),
        generation_service(generation),
        cluster_service(cluster),
        chat_template_text(chat_template == nullptr ? "" : chat_template->sources()),
        openai(
            generation,
            {generation.model(), tokenizer, chat_template, formats, std::make_shared<dialects::KeptItems>(),
             options.trust_request_templates == ServerOptions::TrustTemplates::kYes
                 ? openai::RequestTemplates::kTrusted
                 : openai::RequestTemplates::kRefused,
             options.other_model_names},
            metrics, helpers, context),
        admin(cluster, metrics),
        routes(make_routes()),
        http(
            context, options.limits,
            [this](http::Request request, ResponderPtr responder) { handle(request, responder); },
            [](int status, const std::string& message) {
              return error_response({status, message, std::nullopt, std::nullopt});
            }) {}

  static auto simple(auto function) {
    return [function](const http::Request&, const std::string&, const ResponderPtr& r) { function(r); };
  }

  std::vector<Route> api_routes() {
    using access::Path;
    using openai::Endpoint;
    const auto generate = [this](Endpoint endpoint) {
      return [this, endpoint](auto& q, const auto&, const auto& r) {
        openai.generate(endpoint, std::move(q), r);
      };
    };
    return {
        {Path::kApi, "POST", "/v1/chat/completions", generate(Endpoint::kChat)},
        {Path::kApi, "POST", "/v1/completions", generate(Endpoint::kCompletions)},
        {Path::kApi, "POST", "/v1/responses", generate(Endpoint::kResponses)},
        {Path::kApi, "POST", "/v1/messages", generate(Endpoint::kMessages)},
        {Path::kApi, "POST", "/v1/messages/count_tokens", generate(Endpoint::kCountTokens)},
        {Path::kApi, "POST", "/completion", generate(Endpoint::kLlama)},
        {Path::kApi, "POST", "/generate", generate(Endpoint::kSglang)},
        {Path::kApi, "POST", "/invocations", generate(Endpoint::kInvocations)},
        {Path::kApi, "POST", "/tokenize", generate(Endpoint::kTokenize)},
        {Path::kApi, "POST", "/detokenize", generate(Endpoint::kDetokenize)},
        {Path::kApi, "POST", "/render", generate(Endpoint::kRender)},
        {Path::kApi, "GET", "/v1/models", simple([this](const auto& r) { openai.list_models(r); })},
        {Path::kApi, "GET", "/v1/models/",
         [this](const auto&, const auto& id, const auto& r) { openai.show_model(id, r); }},
    };
  }

  std::vector<Route> operator_routes() {
    using access::Path;
    return {
        {Path::kAdmin, "POST", "/abort_requests",
         [this](const auto& q, const auto&, const auto& r) { openai.abort(q, r); }},
        {Path::kAdmin, "POST", "/v1/requests/",
         [this](const auto&, const auto& rest, const auto& r) { openai.cancel(rest, r); }},
        // Nothing is shared between requests that could be stale.
        {Path::kAdmin, "POST", "/reset_prefix_cache", simple([](const auto& r) { r->send({.body = "{}"}); })},
        {Path::kApi, "GET", "/health_generate",
         [this](auto& q, const auto&, const auto& r) { openai.generate_one(std::move(q), r); }},
        {Path::kApi, "GET", "/server_info", simple([this](const auto& r) {
           r->send({.body = admin::server_info(generation_service.model(), cluster_service.cluster(),
                                               chat_template_text)});
         })},
        {Path::kApi, "GET", "/load", simple([this](const auto& r) {
           r->send({.body = admin::load_info(cluster_service.cluster(), cluster_service.n_running(),
                                             cluster_service.n_queued())});
         })},
        {Path::kAdmin, "POST", "/scale_elastic_ep",
         [this](const auto& q, const auto&, const auto& r) { admin.scale(q, r); }},
        {Path::kAdmin, "POST", "/is_scaling_elastic_ep",
         simple([this](const auto& r) { admin.is_scaling(r); })},
        {Path::kAdmin, "GET", "/is_scaling_elastic_ep",
         simple([this](const auto& r) { admin.is_scaling(r); })},
        {Path::kAdmin, "GET", "/operations/",
         [this](const auto&, const auto& id, const auto& r) { admin.show_operation(id, r); }},
        {Path::kAdmin, "GET", "/cluster",
         [this](const auto& q, const auto&, const auto& r) { admin.cluster(q, r); }},
        {Path::kOpen, "GET", "/health", simple([this](const auto& r) { admin.health(r); })},
        {Path::kOpen, "GET", "/", simple([](const auto& r) {
           // In no frame: a page of somebody else's could lay itself over the buttons that scale.
           r->send({.body = std::string(admin::page()),
                    .content_type = "text/html; charset=utf-8",
                    .headers = {{"Content-Security-Policy", "frame-ancestors 'none'"}}});
         })},
        {Path::kOpen, "GET", "/ready", simple([this](const auto& r) { admin.ready(r); })},
        {Path::kOpen, "GET", "/metrics",
         [this](const auto& q, const auto&, const auto& r) { admin.metrics(q, r); }},
        {Path::kOpen, "GET", "/version", simple([this](const auto& r) { admin.version(r); })},
    };
  }

  std::vector<Route> make_routes() {
    std::vector<Route> routes = api_routes();
    for (Route& route : operator_routes()) routes.push_back(std::move(route));
    return routes;
  }

  void handle(http::Request& request, const ResponderPtr& responder) {
    const http::Headers of_page = access::page_headers(access, request);
    for (const auto& [name, value] : of_page) responder->add_header(name, value);
    const bool is_preflight = !of_page.empty() && access::is_preflight(request);
    if (is_preflight && !access::check(access, request, access::Path::kNone))
      return responder->send({.status = 204, .body = "", .headers = access::preflight_headers(request)});
    // As it is first: the name of a model may begin with a slash.
    std::string path = request.path;
    if (std::none_of(routes.begin(), routes.end(), [&](const Route& route) { return route.takes(path); }))
      path = path_of_alias(without_extra_slashes(path));
    std::vector<std::string> allowed;
    for (const Route& route : routes) {
      if (!route.takes(path)) continue;
      if (route.method == request.method) return serve(route, path, request, responder);
      allowed.push_back(route.method);
    }
    if (const auto refused = access::check(access, request, access::Path::kNone))
      return refuse(*refused, path, responder);
    if (allowed.empty()) {
      return responder->send(
          error_response({404, fmt::format("there is no {}", request.path), std::nullopt, std::nullopt}));
    }
    http::Response response =
        error_response({405,
                        fmt::format("{} is not allowed on {}; allowed: {}", request.method, request.path,
                                    fmt::join(allowed, ", ")),
                        std::nullopt, std::nullopt});
    response.headers.emplace_back("Allow", fmt::format("{}", fmt::join(allowed, ", ")));
    responder->send(response);
  }

  void serve(const Route& route, const std::string& path, http::Request& request,
             const ResponderPtr& responder) {
    if (const auto refused = access::check(access, request, route.access))
      return refuse(*refused, path, responder);
    // A key that was checked. What clients send where none is asked for says nothing: often all send "EMPTY".
    if (const std::string* key = request.header("Authorization"); key != nullptr && !access.keys.empty())
      request.client = fmt::format("key:{:016x}", std::hash<std::string>()(*key));
    std::string rest =
        route.path.ends_with('/') ? percent_decoded(path.substr(route.path.size())) : std::string();
    if (rest.ends_with('/') && rest != served_name) rest.pop_back();  // a folder's name may end so
    route.handle(request, rest, responder);
  }

  // In the words of the API that was asked.
  static void refuse(const access::Refusal& refused, const std::string& path, const ResponderPtr& responder) {
    http::Response response = path.starts_with("/v1/messages") ? dialects::anthropic_error(refused.error)
                                                               : error_response(refused.error);
    response.headers.insert(response.headers.end(), refused.headers.begin(), refused.headers.end());
    responder->send(response);
  }

  const ServerOptions options;
  const access::Rules access;
  Metrics metrics;
  HelperThreads helpers;
  const std::string served_name;
  const openai::AnswerFormats formats;
  front::GenerationService& generation_service;
  front::ClusterService& cluster_service;
  const std::string chat_template_text;
  openai::OpenAiApi openai;
  admin::AdminApi admin;
  const std::vector<Route> routes;
  http::HttpServer http;
};

Server::Server(boost::asio::io_context& context, front::GenerationService& generation,
               front::ClusterService& cluster, const tokenizer::Tokenizer* tokenizer,
               const chat::ChatTemplate* chat_template, ServerOptions options)
    : state_(std::make_unique<State>(context, generation, cluster, tokenizer, chat_template,
                                     std::move(options))) {}
Server::~Server() = default;

Result<std::uint16_t> Server::start() {
  return state_->http.listen(state_->options.host, state_->options.port);
}

void Server::refuse_unprepared() { state_->openai.refuse_unprepared(); }

void Server::stop() {
  state_->http.stop_accepting();
  state_->http.close_all();
}

HelperThreads::Ended Server::end_helpers(Duration timeout) { return state_->helpers.end(timeout); }

std::size_t Server::n_connections() const { return state_->http.n_connections(); }

}  // namespace concertina::server
