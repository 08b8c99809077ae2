#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/output_queue.h"

namespace concertina {

namespace {

class QueueSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  OutputQueue& queue() { return queue_; }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string payload = escaped({message.payload.data(), message.payload.size()});
    spdlog::details::log_msg shown = message;
    shown.payload = payload;
    spdlog::memory_buf_t buffer;
    formatter_->format(shown, buffer);
    std::string line(buffer.data(), buffer.size());
    if (on_terminal_ && shown.color_range_end > shown.color_range_start) {
      line.insert(shown.color_range_end, "\033[m");
      line.insert(shown.color_range_start, color_of(shown.level));
    }
    queue_.write(line);
  }
  void flush_() override {}

 private:
  static const char* color_of(spdlog::level::level_enum level) {
    return level >= spdlog::level::err    ? "\033[31m\033[1m"
           : level == spdlog::level::warn ? "\033[33m"
                                          : "\033[32m";
  }

  const bool on_terminal_ = isatty(STDERR_FILENO) != 0;
  OutputQueue queue_{STDERR_FILENO};
};

QueueSink* sink_of_this_process() {
  const auto& sinks = spdlog::default_logger_raw()->sinks();
  return sinks.empty() ? nullptr : dynamic_cast<QueueSink*>(sinks.front().get());
}

}  // namespace

void init_log(const std::string& name, spdlog::level::level_enum level) {
  auto logger = std::make_shared<spdlog::logger>(name, std::make_shared<QueueSink>());
  logger->set_level(level);
  logger->set_pattern("%H:%M:%S.%e %^%l%$ [%n] %v");
  spdlog::set_default_logger(std::move(logger));
}

void flush_log(Duration timeout) {
  if (QueueSink* const sink = sink_of_this_process()) sink->queue().drain(timeout);
}

std::uint64_t n_dropped_log_lines() {
  QueueSink* const sink = sink_of_this_process();
  return sink == nullptr ? 0 : sink->queue().n_dropped();
}

}  // namespace concertina
