// Any bytes as config.json and generation_config.json.
#include <nlohmann/json.hpp>
#include <string_view>

#include "checkpoint/config_files.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace concertina;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = checkpoint::parse_json(text, "input");
  if (!json) return 0;
  if (const auto config = model::parse_config(*json, "config.json"))
    (void)model::parse_generation_defaults(*json, "generation_config.json", *config);
  return 0;
}
