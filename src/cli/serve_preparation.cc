#include "cli/serve_preparation.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/log.h"
#include "chat/error.h"
#include "checkpoint/fingerprint.h"
#include "cli/choose_device.h"
#include "cli/error.h"
#include "cli/process_limits.h"
#include "grammar/frames.h"
#include "grammar/packed_vocabulary.h"
#include "kernels/digest.h"
#include "model/model.h"
#include "tokenizer/error.h"
#include "tools/formats.h"

namespace concertina::cli {

namespace {

tl::unexpected<Error> bad_flag(const std::string& message) { return fail(CliError::kBadFlag, message); }

void prepare_info(const ServeOptions& o, const model::ModelConfig& config,
                  const model::GenerationDefaults& defaults, Prepared& out) {
  out.info = {.served_name = o.served_model_names.empty() ? o.model : o.served_model_names[0],
              .path = o.model,
              .max_model_len = o.front.max_model_len,
              .vocab_size = config.vocab_size,
              .eos_token_ids = defaults.eos_token_ids,
              .created_unix_s = std::chrono::duration_cast<std::chrono::seconds>(
                                    std::chrono::system_clock::now().time_since_epoch())
                                    .count()};
  out.info.default_sampling = defaults.sampling;
  out.info.priorities = o.priorities;
}

Status prepare_model(ServeOptions& o, Prepared& out) {
  ASSIGN_OR_RETURN(out.weights, find_weights(o.model, o.front));
  const model::ModelConfig& config = out.weights.config;
  ASSIGN_OR_RETURN(const model::GenerationDefaults defaults,
                   model::read_generation_defaults(o.model, config));
  for (const std::string& field : defaults.ignored) {
    spdlog::warn("generation_config.json: {} is not supported yet; ignored", field);
  }
  o.front.model_path = std::filesystem::absolute(o.model).string();
  o.front.cluster.n_moe_layers = config.moe_layers.size();
  o.front.cluster.n_experts = config.experts().n_experts;
  o.front.max_model_len = o.max_model_len.value_or(config.max_position_embeddings);
  if (o.front.max_model_len < 2 || o.front.max_model_len > config.max_position_embeddings) {
    return bad_flag(
        fmt::format("--max-model-len is {}, but must be in 2..{} (the model's max_position_embeddings)",
                    o.front.max_model_len, config.max_position_embeddings));
  }
  prepare_info(o, config, defaults, out);
  return {};
}

// How the model writes calls of tools and what it thinks.
Status prepare_formats(const ServeOptions& o, Prepared& out) {
  const tools::Formats shown =
      out.chat_template ? tools::formats_of_template(out.chat_template->sources()) : tools::Formats{};
  auto formats = tools::choose_formats(o.tool_call_parser, o.reasoning_parser, shown);
  if (!formats) return bad_flag(formats.error().message());
  out.server.formats = *formats;
  for (std::size_t i = 1; i < o.served_model_names.size(); ++i)
    out.server.other_model_names.push_back(o.served_model_names[i]);
  return {};
}

// What ranks know of the tokenizer: the texts of tokens that the model has. Special tokens are no text, but
// frames may ask for them.
std::string packed_vocabulary(const tokenizer::Tokenizer& tokenizer, std::size_t vocab_size) {
  std::vector<std::string> texts;
  for (std::size_t id = 0; id < std::min(tokenizer.vocab_size(), vocab_size); ++id) {
    const auto token = static_cast<TokenId>(id);
    const std::string_view bytes = tokenizer.token_bytes(token);
    if (tokenizer.is_special(token)) {
      texts.push_back(grammar::special_token(tokenizer.token_text(token)));
    } else {  // a byte's token would be the beginning of each special one, and no grammar has that byte
      texts.emplace_back(bytes.find(grammar::kSpecialTokenByte) == bytes.npos ? bytes : std::string_view());
    }
  }
  return grammar::pack_vocabulary(texts);
}

Status prepare_tokenizer(ServeOptions& o, Prepared& out) {
  if (o.skip_tokenizer_init) return {};
  auto loaded = tokenizer::Tokenizer::load(o.model);
  if (!loaded && loaded.error().is(tokenizer::TokenizerError::kMissing)) {
    spdlog::warn("{} has no tokenizer.json: prompts are token ids, and there is no chat", o.model);
    return {};
  }
  if (!loaded) return fail(loaded.error());
  out.tokenizer = std::move(*loaded);
  o.front.vocabulary = packed_vocabulary(*out.tokenizer, out.info.vocab_size);
  if (o.front.vocabulary.size() > grammar::kMaxPackedVocabulary) {
    spdlog::warn("the tokens' texts have {} bytes, more than {}: requests with a structure are refused",
                 o.front.vocabulary.size(), grammar::kMaxPackedVocabulary);
    o.front.vocabulary.clear();
  }
  auto chat_template = o.chat_template.empty() ? chat::ChatTemplate::load(o.model)
                                               : chat::ChatTemplate::load_file(o.chat_template);
  if (chat_template) {
    out.chat_template = std::move(*chat_template);
  } else if (!o.chat_template.empty() || !chat_template.error().is(chat::ChatError::kMissing)) {
    return fail(chat_template.error());
  }
  return {};
}

// Equal ones answer with the same bits. It is of files as they lie here: copies of a checkpoint have others.
std::string system_fingerprint(const ServeOptions& o, const Prepared& prepared) {
  const std::string all =
      fmt::format("{}\n{}\n{}\n{} {}\n{}{}", o.front.checkpoint_fingerprint, prepared.texts_fingerprint,
                  describe(o.front.form), o.front.load_format, o.front.dummy_seed,
                  is_on_gpu(o.front) ? "cuda " : "", kernels::digest());
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char byte : all) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return fmt::format("fp_{:016x}", hash);
}

// What was asked of the server while it ran counts more than what it was started with.
void take_kept_size(ServeOptions& o, const front::StateStore::Kept& kept) {
  const std::size_t size = kept.wanted_size.value_or(o.front.cluster.initial_size);
  const std::size_t possible =
      std::clamp<std::size_t>(size, o.front.cluster.min_size, o.front.cluster.max_size);
  if (possible != o.front.cluster.initial_size) {
    spdlog::info(
        "{}: the size was {} before the restart: starting {} ranks, not the {} of --data-parallel-size",
        o.state_dir, size, possible, o.front.cluster.initial_size);
  }
  o.front.cluster.initial_size = possible;
}

Status prepare_state(ServeOptions& o, Prepared& out) {
  front::StateStore::Kept kept;
  if (!o.state_dir.empty()) {
    ASSIGN_OR_RETURN(out.state, front::StateStore::open(o.state_dir));
    if (out.state->found() == front::StateStore::Found::kEmptyFile)
      spdlog::warn(
          "{}: state.sqlite has 0 bytes: if a size, a form or operations were kept there, they are lost; it "
          "is "
          "begun anew, with --data-parallel-size {}",
          o.state_dir, o.front.cluster.initial_size);
    ASSIGN_OR_RETURN(kept, out.state->load(std::chrono::steady_clock::now()));
    take_kept_size(o, kept);
  }
  auto form = decide_form(o.form, kept.form);
  if (!form) return fail(o.state_dir.empty() ? form.error() : form.error().with_context(o.state_dir));
  o.front.form = *form;
  out.operations = std::move(kept.operations);
  if (kept.form && *kept.form != o.front.form)
    spdlog::warn("{}: the form was {} before the restart and is {} now: answers may differ in tokens",
                 o.state_dir, describe(*kept.form), describe(o.front.form));
  return {};
}

}  // namespace

Status prepare(ServeOptions& o, Prepared& out) {
  RETURN_IF_ERROR(check_flags(serve_flags(o)));
  RETURN_IF_ERROR(choose_device(o.front));
  if (auto texts = checkpoint::fingerprint(o.model, checkpoint::Files::kTexts))
    out.texts_fingerprint = *std::move(texts);  // what is wrong with the folder is said better below
  RETURN_IF_ERROR(prepare_model(o, out));
  RETURN_IF_ERROR(prepare_tokenizer(o, out));
  ASSIGN_OR_RETURN(out.server,
                   make_server_options(o.http, o.front.max_model_len, connection_limits(o.front)));
  RETURN_IF_ERROR(prepare_formats(o, out));
  RETURN_IF_ERROR(prepare_state(o, out));
  RETURN_IF_ERROR(check_form_on(o.front));
  out.info.system_fingerprint = system_fingerprint(o, out);
  return {};
}

}  // namespace concertina::cli
