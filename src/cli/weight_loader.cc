#include "cli/weight_loader.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/memory_limits.h"
#include "checkpoint/config_files.h"
#include "checkpoint/dummy_weights.h"
#include "checkpoint/error.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/finite.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors.h"
#include "cli/error.h"
#include "kernels/quantize.h"

namespace concertina::cli {

namespace {

using WeightLoading = front::FrontOptions::WeightLoading;

constexpr std::uint64_t kMaxConfigBytes = 100'000'000;
constexpr double kGiB = 1 << 30;
constexpr unsigned kMaxThreads = 16;  // more would only wait for the memory
constexpr double kSlowS = 1;          // a load that takes longer is worth a line

Status check_memory(std::uint64_t n_bytes) {
  const auto limit = tightest_memory_limit();
  if (!limit || n_bytes <= limit->available_bytes) return {};
  return fail(CliError::kNoMemory,
              fmt::format("the weights need {:.2f} GiB of memory, but {} has {:.2f} GiB left "
                          "(--safetensors-load-strategy lazy maps the files instead)",
                          static_cast<double>(n_bytes) / kGiB, limit->name,
                          static_cast<double>(limit->available_bytes) / kGiB));
}

}  // namespace

// The fingerprint comes first: what is opened after it and still has it then is what it tells of.
Result<FoundWeights> find_weights(const std::string& path, front::FrontOptions& options) {
  FoundWeights found{.folder = std::filesystem::absolute(path)};
  auto fingerprint = checkpoint::fingerprint(path);
  const auto config_path = std::filesystem::path(path) / "config.json";
  ASSIGN_OR_RETURN(options.config_json, checkpoint::read_text(config_path, kMaxConfigBytes));
  ASSIGN_OR_RETURN(const nlohmann::json json,
                   checkpoint::parse_json(options.config_json, config_path.string()));
  ASSIGN_OR_RETURN(found.config, model::parse_config(json, config_path.string()));
  if (options.load_format == "dummy") {
    found.source = std::make_unique<checkpoint::DummyWeights>(options.dummy_seed, found.config.dtype);
  } else {
    if (!fingerprint) return fail(fingerprint.error());
    found.fingerprint = options.checkpoint_fingerprint = std::move(*fingerprint);
    ASSIGN_OR_RETURN(found.source, checkpoint::SafetensorsFolder::open(path));
  }
  RETURN_IF_ERROR(model::verify_checkpoint(found.config, *found.source));
  return found;
}

Result<std::unique_ptr<WeightLoader>> WeightLoader::create(transport::EventLoop& loop, FoundWeights found,
                                                           front::FrontOptions& options) {
  std::unique_ptr<WeightLoader> loader(new WeightLoader(loop));
  loader->found_ = std::move(found);
  const checkpoint::WeightSource& source = *loader->found_.source;
  const model::ModelConfig& config = loader->found_.config;
  ASSIGN_OR_RETURN(const model::Quantization quantization,
                   model::parse_quantization(options.form.quantization));
  if (options.weight_loading == WeightLoading::kLazy) {
    ASSIGN_OR_RETURN(const model::OwnWeightBytes own, model::own_weight_bytes(config, source, quantization));
    options.rank_weights_bytes = own.each_rank;
    options.expert_weights_bytes = own.all_ranks;
    ASSIGN_OR_RETURN(loader->checked_, model::norms_and_head(config, source));
    return loader;
  }
  ASSIGN_OR_RETURN(std::vector<checkpoint::ArenaTensor> tensors,
                   model::arena_tensors(config, source, quantization));
  ASSIGN_OR_RETURN(loader->arena_, checkpoint::WeightArena::create(std::move(tensors)));
  RETURN_IF_ERROR(check_memory(loader->arena_->n_bytes()));
  options.weights_fd = loader->arena_->fd();
  options.weights_bytes = loader->arena_->n_bytes();
  return loader;
}

WeightLoader::~WeightLoader() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void WeightLoader::start(std::function<void(const Status&)> on_done, OnProgress on_progress) {
  on_progress_ = std::move(on_progress);
  thread_ = std::thread([this, on_done = std::move(on_done)] {
    const Status done = load();
    found_.source.reset();  // its files are closed, where ranks do not map them themselves
    loop_.post([done, on_done] { on_done(done); });
  });
}

Status WeightLoader::load() {
  if (arena_) return fill();
  for (const checkpoint::ArenaTensor& tensor : checked_)
    RETURN_IF_ERROR(checkpoint::check_finite(*found_.source, tensor));
  return {};
}

Status WeightLoader::fill() {
  const Time begin = std::chrono::steady_clock::now();
  checkpoint::WeightArena::FillOptions how;
  how.n_threads = std::clamp(std::thread::hardware_concurrency(), 1u, kMaxThreads);
  how.quantize = [](const tensor::Weight& rows) { return kernels::quantize_int8(rows); };
  how.on_progress = [this](std::uint64_t done, std::uint64_t total) {
    loop_.post([this, done] { on_progress_(done); });
    spdlog::info("loaded {:.0f} of {:.0f} MB of weights", static_cast<double>(done) / 1e6,
                 static_cast<double>(total) / 1e6);
  };
  how.stop = &stop_;
  const Status filled = arena_->fill(*found_.source, how);
  RETURN_IF_ERROR(check_unchanged());  // says more than what a file that is half written lacks
  RETURN_IF_ERROR(filled);
  const double seconds = to_ms(std::chrono::steady_clock::now() - begin) / 1000;
  spdlog::log(seconds > kSlowS ? spdlog::level::info : spdlog::level::debug,
              "{:.0f} MB of weights loaded in {:.1f} s", static_cast<double>(arena_->n_bytes()) / 1e6,
              seconds);
  return {};
}

// What was copied while somebody wrote it may be of two checkpoints.
Status WeightLoader::check_unchanged() const {
  if (found_.fingerprint.empty()) return {};
  ASSIGN_OR_RETURN(const std::string now, checkpoint::fingerprint(found_.folder));
  const std::string difference = checkpoint::describe_difference(found_.fingerprint, now);
  if (difference.empty()) return {};
  return fail(
      checkpoint::CheckpointError::kChanged,
      fmt::format("{}: the checkpoint's files changed while they were loaded: {}. Start the server when they "
                  "are complete",
                  found_.folder.string(), difference));
}

}  // namespace concertina::cli
