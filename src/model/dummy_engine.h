#pragma once

#include "checkpoint/dummy_weights.h"
#include "model/forward.h"
#include "model/local_exchange.h"

// For tests of the forward pass.
namespace concertina::model {

// A model of random weights from a config alone, with all it needs to run.
struct DummyEngine {
  explicit DummyEngine(ModelConfig model_config, std::uint64_t seed = 1)
      : config(std::move(model_config)),
        source(seed, config.dtype),
        on(1),
        model(Model::load(config, source, 64).value()),
        local(LocalExchange::create(*model, on).value()),
        cache(KvCache::create(config, 8, 16).value()),
        workspace(config, {.max_tokens = 32, .max_sequences = 4, .max_model_len = 64}) {}

  Result<std::span<const float>> run(std::span<const TokenId> tokens, ExpertExchange& exchange) {
    const BlockId blocks[] = {BlockId(5), BlockId(2)};
    const request::Request greedy{.sampling = {.temperature = 0}};
    const SequenceSlice slice{tokens, 0, blocks, &greedy};
    ASSIGN_OR_RETURN(const StepOutput output, forward(*model, tokens.empty() ? Batch() : Batch(&slice, 1),
                                                      *cache, exchange, workspace, on));
    return output.logits;
  }

  ModelConfig config;
  checkpoint::DummyWeights source;
  device::Stream on;
  std::unique_ptr<Model> model;
  std::unique_ptr<LocalExchange> local;
  std::unique_ptr<KvCache> cache;
  Workspace workspace;
};

}  // namespace concertina::model
