#pragma once

#include <functional>
#include <memory>
#include <set>
#include <unordered_map>

#include "base/lifetime.h"
#include "server/helper_threads.h"
#include "server/openai/generation.h"
#include "server/openai/prepare.h"
#include "server/openai/structure_checker.h"
#include "server/ticker.h"

namespace concertina::server::openai {

// GET /v1/models and every Endpoint. Bodies of more than kInlineBytes are read,
// rendered and tokenized on helper threads, and structures that are not known read: the thread that carries
// streams spends no time that a client's size decides. That thread, but for prepare().
class OpenAiApi {
 public:
  static constexpr std::size_t kInlineBytes = 2048;

  // `helpers` and what `parse_context` points to outlive this. `loop`: of the thread that calls.
  OpenAiApi(front::GenerationService& service, ParseContext parse_context, Metrics& metrics,
            HelperThreads& helpers, boost::asio::io_context& loop);
  ~OpenAiApi();

  void list_models(const std::shared_ptr<http::Responder>& responder) const;
  void show_model(const std::string& id, const std::shared_ptr<http::Responder>& responder) const;
  void generate(Endpoint endpoint, http::Request request, const std::shared_ptr<http::Responder>& responder);
  void generate_one(http::Request request, const std::shared_ptr<http::Responder>& responder);  // any token
  // Ends the requests that a body names, by X-Request-Id or by the ids of their answers.
  void abort(const http::Request& request, const std::shared_ptr<http::Responder>& responder);
  void cancel(const std::string& id_and_verb,
              const std::shared_ptr<http::Responder>& responder);  // "ID/cancel"
  void refuse_unprepared();                                        // those that helpers still have: 503
  std::size_t n_open() const { return open_.size(); }

 private:
  // Who asks, and the name of what it asks for.
  struct Asker {
    std::string client_name;  // who takes turns with others
    std::string request_id;
  };
  static Asker asker_of(const http::Request& request);
  std::string model_object(const std::string& name) const;
  std::size_t abort_where(const std::function<bool(const Generation&)>& is_meant);
  Ticker::Next keep_alive();
  void warn_once(const std::vector<std::string>& unknown);
  void prepare_beside(Endpoint endpoint, http::Request request,
                      const std::shared_ptr<http::Responder>& responder, std::size_t n_least_bytes = 0);
  void begin(Endpoint endpoint, PreparedRequest prepared, const Asker& asker,
             const std::shared_ptr<http::Responder>& responder);
  void run_aside(const std::string& client, std::size_t n_bytes, std::function<HelperThreads::Done()> work);

  front::GenerationService& service_;
  StructureChecker structures_;
  const ParseContext parse_context_, loop_context_;  // of helpers, and of this thread
  Metrics& metrics_;
  HelperThreads& helpers_;
  const HelperThreads::Post post_;
  std::unordered_map<Generation*, std::shared_ptr<Generation>> open_;
  struct Unprepared {
    Endpoint endpoint;
    std::shared_ptr<http::Responder> responder;
  };
  std::unordered_map<http::Responder*, Unprepared> unprepared_;  // helpers have their bodies
  const std::shared_ptr<TokenNames> names_;
  std::set<std::string> warned_;  // bounded: a client may send any names
  Ticker ticker_;                 // while something is open
  Lifetime lifetime_;
};

}  // namespace concertina::server::openai
