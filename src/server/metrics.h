#pragma once

#include <memory>
#include <string>

#include "base/time.h"
#include "front/service.h"

namespace concertina::server {

// What GET /metrics shows, in Prometheus' text format: vLLM's names for what vLLM counts, concertina_* for
// the rest. Observing costs a lock and an addition. The server's thread.
class Metrics {
 public:
  explicit Metrics(const std::string& model_name);
  ~Metrics();

  void on_prompt(std::size_t n_tokens);
  void on_first_token(Duration since_arrival);
  void on_next_token(Duration since_last);
  void on_finished(const char* reason, Duration since_arrival);  // "stop", "length", "abort", "error"
  std::string text(const front::ClusterService& service);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace concertina::server
