#pragma once

#include <string>

#include "base/result.h"
#include "cli/decide_form.h"
#include "cli/http_flags.h"
#include "front/options.h"

namespace CLI {
class App;
}

namespace concertina::cli {

// What `concertina serve` was called with.
struct ServeOptions {
  std::string model;
  std::string kv_cache_memory = "256MiB";
  std::string served_model_name, state_dir;
  double shutdown_timeout_s = 30, group_lost_timeout_s = 300;
  bool skip_tokenizer_init = false;
  bool print_examples = false;
  bool max_model_len_given = false;
  bool replace_failed_ranks = true;
  bool pin_threads = true;
  bool withhold_kill = false;
  std::string load_strategy = "eager";
  FormFlags form;
  HttpFlags http;
  front::FrontOptions front;
};

void add_serve_flags(CLI::App& command, ServeOptions& options);
Status check_counts(
    const front::FrontOptions& options);  // numbers within their ranges; else which one is not

}  // namespace concertina::cli
