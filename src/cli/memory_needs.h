#pragma once

#include <optional>
#include <string>

#include "front/memory_plan.h"
#include "front/options.h"
#include "model/config.h"

namespace concertina::cli {

// What ranks of that model may come to take with those options, weights as `options` says it: WeightLoader
// fills that in. Weights that are mapped from the checkpoint's files are the page cache's and count as
// nothing. Exchange memory is counted for rows that go to all ranks evenly.
front::MemoryNeeds memory_needs(const model::ModelConfig& config, const front::FrontOptions& options);

// Fills in `options.memory` and the KV cache of `kv_bytes` a rank (none: front::default_kv_bytes), once the
// size and the form are known; an error if that holds no sequence of full length, or the first ranks do not
// fit.
Status plan_memory(const std::string& model, std::optional<std::uint64_t> kv_bytes,
                   front::FrontOptions& options);

}  // namespace concertina::cli
