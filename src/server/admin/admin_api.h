#pragma once

#include "front/service.h"
#include "server/fields.h"
#include "server/metrics.h"

namespace concertina::server::admin {

// The elastic API (vLLM's, with what is ours in addition), the cluster's state, health and metrics.
class AdminApi {
 public:
  AdminApi(front::Service& service, Metrics& metrics) : service_(service), metrics_(metrics) {}

  void scale(const http::Request& request, const std::shared_ptr<http::Responder>& responder);
  void is_scaling(const std::shared_ptr<http::Responder>& responder) const;
  void show_operation(const std::string& id, const std::shared_ptr<http::Responder>& responder) const;
  void cluster(const std::shared_ptr<http::Responder>& responder) const;
  void health(const std::shared_ptr<http::Responder>& responder) const;
  void ready(const std::shared_ptr<http::Responder>& responder) const;
  void version(const std::shared_ptr<http::Responder>& responder) const;
  void metrics(const std::shared_ptr<http::Responder>& responder) const;

 private:
  front::Service& service_;
  Metrics& metrics_;
};

}  // namespace concertina::server::admin
