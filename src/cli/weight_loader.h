#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "checkpoint/weight_arena.h"
#include "front/options.h"
#include "model/model.h"
#include "transport/event_loop.h"

namespace concertina::cli {

// What ranks get their weights from: found, and checked by names and shapes alone.
struct FoundWeights {
  std::filesystem::path folder;
  model::ModelConfig config;
  std::string fingerprint;  // of its files, taken before they were opened; empty: none are read
  std::unique_ptr<checkpoint::WeightSource> source;
};

// Reads config.json and the headers of the folder `path`, or makes a source of dummy weights. `options` get
// the config's text and the fingerprint.
Result<FoundWeights> find_weights(const std::string& path, front::FrontOptions& options);

// Brings the weights to where ranks find them, on threads of its own beside the loop, before a rank starts.
// kEager: into memory of this process, and refuses them if one is not finite or files changed meanwhile.
// kLazy: ranks map the files; norms and head are looked through, as they are small.
class WeightLoader {
 public:
  // Fills in what `options` says of weights: their memory and its sizes. Fails if there is too little memory.
  static Result<std::unique_ptr<WeightLoader>> create(transport::EventLoop& loop, FoundWeights found,
                                                      front::FrontOptions& options);
  ~WeightLoader();  // stops and waits for its threads

  // Both on the loop's thread: `on_done` once; before it, if kEager, `on_progress` now and then.
  using OnProgress = std::function<void(std::uint64_t loaded_bytes)>;
  void start(
      std::function<void(const Status&)> on_done, OnProgress on_progress = [](std::uint64_t) {});

 private:
  explicit WeightLoader(transport::EventLoop& loop) : loop_(loop) {}
  Status load();
  Status fill();
  Status check_unchanged() const;

  transport::EventLoop& loop_;
  FoundWeights found_;
  std::unique_ptr<checkpoint::WeightArena> arena_;  // null: kLazy
  std::vector<checkpoint::ArenaTensor> checked_;    // kLazy
  OnProgress on_progress_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace concertina::cli
