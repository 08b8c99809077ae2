#pragma once

#include "front/service.h"
#include "server/admin/shared_text.h"
#include "server/fields.h"
#include "server/metrics.h"

namespace concertina::server::admin {

// The elastic API (vLLM's, with what is ours in addition), the cluster's state, health and metrics.
class AdminApi {
 public:
  AdminApi(front::ClusterService& service, Metrics& metrics) : service_(service), metrics_(metrics) {}

  void scale(const http::Request& request, const std::shared_ptr<http::Responder>& responder);
  void is_scaling(const std::shared_ptr<http::Responder>& responder) const;
  void show_operation(const std::string& id, const std::shared_ptr<http::Responder>& responder) const;
  void cluster(const http::Request& request, const std::shared_ptr<http::Responder>& responder);
  void health(const std::shared_ptr<http::Responder>& responder) const;
  void ready(const std::shared_ptr<http::Responder>& responder) const;
  void version(const std::shared_ptr<http::Responder>& responder) const;
  void metrics(const http::Request& request, const std::shared_ptr<http::Responder>& responder);

 private:
  std::string cluster_text() const;

  front::ClusterService& service_;
  Metrics& metrics_;
  SharedText cluster_text_, metrics_text_;
};

}  // namespace concertina::server::admin
