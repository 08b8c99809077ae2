#pragma once

#include <memory>

#include "chat/chat_template.h"
#include "front/service.h"
#include "server/access/access.h"
#include "server/helper_threads.h"
#include "server/http/http_server.h"
#include "tokenizer/tokenizer.h"
#include "tools/formats.h"

namespace concertina::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;
  http::Limits limits;
  std::vector<std::string> allowed_hosts;      // names by which it may be asked, besides its own; "*": any
  std::vector<std::string> own_names;          // of this machine, that lead to loopback
  std::vector<std::string> other_model_names;  // by which requests may call the model, too
  // Chat templates that requests bring are run, as programs of strangers.
  enum class TrustTemplates : std::uint8_t { kNo, kYes } trust_request_templates = TrustTemplates::kNo;
  tools::Formats formats;    // how the model writes calls of tools and what it thinks
  access::ApiKeys api_keys;  // empty: nobody is asked for one
};

// The HTTP face of the process: routes, the OpenAI and admin APIs, metrics. One thread, that of `context`.
class Server {
 public:
  // Null tokenizer: token-id prompts only. Null template: no chat. All outlive the server.
  Server(boost::asio::io_context& context, front::GenerationService& generation,
         front::ClusterService& cluster, const tokenizer::Tokenizer* tokenizer,
         const chat::ChatTemplate* chat_template, ServerOptions options);
  ~Server();

  Result<std::uint16_t> start();  // listens; the port
  void refuse_unprepared();       // answers whose large bodies are still read beside: the server ends
  void stop();                    // closes the port and every connection
  // After stop(): whether the helper threads have ended, too. One may be in the middle of megabytes.
  HelperThreads::Ended end_helpers(Duration timeout);
  std::size_t n_connections() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace concertina::server
