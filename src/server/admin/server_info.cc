#include "server/admin/server_info.h"

#include <nlohmann/json.hpp>

namespace concertina::server::admin {

using nlohmann::ordered_json;

namespace {
std::string dumped(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}
}  // namespace

std::string server_info(const front::ModelInfo& model, const front::ClusterStatus& cluster,
                        const std::string& chat_template) {
  const bool has_template = !chat_template.empty();
  return dumped({{"version", CONCERTINA_VERSION},
                 {"model_path", model.path},
                 {"tokenizer_path", model.path},
                 {"served_model_name", model.served_name},
                 {"is_generation", true},
                 {"max_model_len", model.max_model_len},
                 {"vocab_size", model.vocab_size},
                 {"system_fingerprint",
                  model.system_fingerprint.empty() ? ordered_json() : ordered_json(model.system_fingerprint)},
                 {"data_parallel_size", cluster.size},
                 {"max_data_parallel_size", cluster.max_size},
                 {"instruction_set", cluster.form.instruction_set},
                 {"quantization", cluster.form.quantization},
                 {"activation_dtype", cluster.form.activation_dtype},
                 {"default_generation_settings",
                  {{"n_ctx", model.max_model_len},
                   {"params",
                    {{"temperature", model.default_sampling.temperature},
                     {"top_p", model.default_sampling.top_p},
                     {"top_k", model.default_sampling.top_k}}}}},
                 {"chat_template", has_template ? ordered_json(chat_template) : ordered_json()}});
}

std::string load_info(const front::ClusterStatus& cluster, std::size_t n_running, std::size_t n_queued) {
  ordered_json ranks = ordered_json::array();
  for (const front::RankStatus& rank : cluster.ranks) {
    ranks.push_back({{"rank", rank.rank.value()},
                     {"num_reqs", rank.stats.n_running + rank.stats.n_waiting},
                     {"num_waiting_reqs", rank.stats.n_waiting},
                     {"kv_blocks_used", rank.stats.kv_blocks_used},
                     {"kv_blocks_total", rank.stats.kv_blocks_total}});
  }
  return dumped(
      {{"server_load", n_running + n_queued}, {"num_waiting_reqs", n_queued}, {"ranks", std::move(ranks)}});
}

}  // namespace concertina::server::admin
