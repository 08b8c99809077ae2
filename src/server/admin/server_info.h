#pragma once

#include <string>

#include "front/service.h"

namespace concertina::server::admin {

// What is served, as JSON. Names are those that programs look for in vLLM's /server_info, SGLang's
// /get_model_info and /get_server_info and llama-server's /props, where they have one.
std::string server_info(const front::ModelInfo& model, const front::ClusterStatus& cluster,
                        const std::string& chat_template);
// How much there is to do: {"server_load", "ranks": [{"rank", "num_reqs", "num_waiting_reqs", ...}]}.
std::string load_info(const front::ClusterStatus& cluster, std::size_t n_running, std::size_t n_queued);

}  // namespace concertina::server::admin
