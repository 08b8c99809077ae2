#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace concertina {

void init_log(const std::string& name, spdlog::level::level_enum level) {
  auto logger =
      std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_level(level);
  logger->set_pattern("%H:%M:%S.%e %^%l%$ [%n] %v");
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace concertina
