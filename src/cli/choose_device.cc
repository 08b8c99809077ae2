#include "cli/choose_device.h"

#include <fmt/format.h>

#include <limits>

#include "base/log.h"
#include "cli/error.h"
#include "device/cuda/device.h"

namespace concertina::cli {

namespace {

tl::unexpected<Error> bad(const std::string& message) { return fail(CliError::kBadFlag, message); }

// Ranks on GPUs do not form groups yet. The default of --max-data-parallel-size is no wish.
Status be_alone(front::FrontOptions& options) {
  const bool is_default = options.cluster.max_size == front::FrontOptions{}.cluster.max_size;
  const bool wants_one = options.cluster.initial_size == 1 && options.cluster.min_size == 1;
  if (!wants_one || (options.cluster.max_size != 1 && !is_default))
    return bad(fmt::format(
        "--data-parallel-size is {}, of {} to {}, and with --device {} all three are 1: "
        "ranks on GPUs do not form groups yet",
        options.cluster.initial_size, options.cluster.min_size, options.cluster.max_size, options.device));
  options.cluster.max_size = 1;
  return {};
}

}  // namespace

Status choose_device(front::FrontOptions& options) {
  if (!is_on_gpu(options)) return {};
  ASSIGN_OR_RETURN(const int index, device::cuda::parse_device(options.device));
  const auto found = device::cuda::Device::look(index);
  if (!found) return fail(found.error().with_context("--device " + options.device));
  RETURN_IF_ERROR(be_alone(options));
  options.kv_tokens = std::numeric_limits<std::size_t>::max();  // HELLO will say
  spdlog::info("--device {}: {}, {:.1f} GiB, of which {:.0f}% may be used (--gpu-memory-utilization)",
               options.device, found->properties().name,
               static_cast<double>(found->properties().total_bytes) / (1 << 30),
               100 * options.gpu_memory_utilization);
  return {};
}

Status check_form_on(const front::FrontOptions& options) {
  if (!is_on_gpu(options) || options.form.quantization == "none") return {};
  return bad(fmt::format("--quantization is {}, and with --device {} must be none: weights on a GPU are BF16",
                         options.form.quantization, options.device));
}

}  // namespace concertina::cli
