#pragma once

#include <optional>
#include <string>

#include "cli/decide_form.h"
#include "cli/flag.h"
#include "cli/http_flags.h"
#include "front/options.h"
#include "front/service.h"

namespace concertina::cli {

// What `concertina serve` was called with.
struct ServeOptions {
  std::string model;
  std::string state_dir;
  std::vector<std::string> served_model_names;  // the first is the one that answers name
  std::string chat_template, tool_call_parser = "auto", reasoning_parser = "auto";
  std::optional<std::size_t> max_model_len;
  std::optional<std::uint64_t> kv_cache_bytes;  // none: front::default_kv_bytes
  bool skip_tokenizer_init = false;
  front::ModelInfo::Priorities priorities = front::ModelInfo::Priorities::kRefused;
  bool print_examples = false;
  bool pin_threads = true;  // a core of its own for each compute thread, while there are enough
  FormFlags form;
  HttpFlags http;
  front::FrontOptions front;
};

// All of serve's, in the order of --help; they set `options`.
Flags serve_flags(ServeOptions& options);

}  // namespace concertina::cli
