#pragma once

#include <memory>
#include <optional>

#include "chat/chat_template.h"
#include "cli/serve_flags.h"
#include "cli/weight_loader.h"
#include "front/service.h"
#include "front/state_store.h"
#include "server/server.h"
#include "tokenizer/tokenizer.h"

namespace concertina::cli {

// What the front serves with; everything that can be wrong with the folder or the flags is found here, before
// a rank starts.
struct Prepared {
  front::ModelInfo info;
  FoundWeights weights;
  std::string texts_fingerprint;  // of what is read beside the weights, taken before; empty: not watched
  std::optional<tokenizer::Tokenizer> tokenizer;
  std::optional<chat::ChatTemplate> chat_template;
  std::unique_ptr<front::StateStore> state;
  std::vector<cluster::Operation> operations;  // that it kept
  server::ServerOptions server;
};

// Reads the checkpoint's small files, what --state-dir kept and the flags; fills in what `options` leaves to
// them. The error names the file and field, or the flag.
Status prepare(ServeOptions& options, Prepared& out);

}  // namespace concertina::cli
