#pragma once

#include <string>

#include "front/memory_plan.h"
#include "front/options.h"
#include "model/config.h"

namespace concertina::cli {

// What ranks of that model may come to take with those options, weights as `options` says it: WeightLoader
// fills that in. Weights that are mapped from the checkpoint's files are the page cache's and count as
// nothing. Exchange memory is counted for rows that go to all ranks evenly.
front::MemoryNeeds memory_needs(const model::ModelConfig& config, const front::FrontOptions& options);

// Fills in `options.memory`, once the size and the form are known; an error if the first ranks do not fit.
Status plan_memory(const std::string& model, front::FrontOptions& options);

}  // namespace concertina::cli
