#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/openai/generation.h"

// For tests of answers: a front, a cluster and a client of which the test says what they do.
namespace concertina::server::openai {

// A front that takes requests, up to a number, and computes nothing: the test says what comes back.
class RecordingService : public front::GenerationService {
 public:
  const front::ModelInfo& model() const override { return model_; }
  Status admits() const override { return {}; }
  Status reserve(std::size_t n_requests, front::ClientId) override {
    if (n_reserved + n_requests > room)
      return fail(front::FrontError::kQueueFull, "2 requests are waiting already");
    n_reserved += n_requests;
    return {};
  }
  void give_back(std::size_t n_requests) override { n_reserved -= n_requests; }
  Result<RequestId> submit(front::GenerationRequest request, front::GenerationListener&) override {
    n_reserved -= 1;
    if (submitted.size() == n_until_shutdown)
      return fail(front::FrontError::kShuttingDown, "the server is shutting down");
    submitted.push_back(std::move(request));
    return RequestId(submitted.size());
  }
  void cancel(RequestId request) override { cancelled.push_back(request.value()); }
  std::size_t max_requests() const override { return room; }

  std::size_t room = 100, n_until_shutdown = 1000, n_reserved = 0;
  std::vector<front::GenerationRequest> submitted;
  std::vector<std::uint64_t> cancelled;

 private:
  const front::ModelInfo model_{.served_name = "demo", .max_model_len = 64, .vocab_size = 100};
};

// Of which there is nothing to tell.
class QuietCluster : public front::ClusterService {
 public:
  Status ready() const override { return {}; }
  front::ClusterStatus cluster() const override { return {}; }
  Result<cluster::Operation> scale(const front::ScaleRequest&,
                                   std::function<void(const cluster::Operation&)>) override {
    return cluster::Operation{};
  }
  std::optional<cluster::Operation> operation(const std::string&) const override { return std::nullopt; }
  bool scaling() const override { return false; }
  std::size_t n_queued() const override { return 0; }
  std::size_t n_running() const override { return 0; }
  std::uint64_t n_operations(cluster::Phase) const override { return 0; }
  double last_pause_ms() const override { return 0; }
  std::uint64_t n_failed_ranks() const override { return 0; }
  std::uint64_t n_rescued_requests() const override { return 0; }
};

struct RecordedAnswer {
  int status = 0;
  std::string text;
  enum class End { kNone, kFinished } end = End::kNone;
  std::function<void()> on_disconnect;
};
class RecordingResponder : public http::Responder {
 public:
  explicit RecordingResponder(RecordedAnswer& answer) : answer_(answer) {}
  void send(http::Response response) override {
    answer_.status = response.status;
    answer_.text = std::move(response.body);
    answer_.end = RecordedAnswer::End::kFinished;
  }
  void begin_stream(const std::string&) override { answer_.status = 200; }
  void write(std::string_view data) override { answer_.text += data; }
  void finish() override { answer_.end = RecordedAnswer::End::kFinished; }
  void on_disconnect(std::function<void()> function) override { answer_.on_disconnect = std::move(function); }

 private:
  RecordedAnswer& answer_;
};

}  // namespace concertina::server::openai
