#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/config_files.h"
#include "model/error.h"

namespace concertina::model {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
const std::filesystem::path kFixtures = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "tests/fixtures";

json config_of(const std::string& family) {
  return checkpoint::read_json(kFixtures / family / "config.json").value();
}

ModelConfig parsed(const json& config) {
  const auto result = parse_config(config, "config.json");
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return result.value_or(ModelConfig{});
}

GqaSpec gqa_of(const ModelConfig& config) { return std::get<GqaSpec>(config.layers[0].attention); }

void expect_refused(const json& config, ModelError code, const std::vector<std::string>& parts) {
  const auto result = parse_config(config, "some/config.json");
  ASSERT_FALSE(result.has_value()) << "expected an error with " << parts.front();
  EXPECT_TRUE(result.error().is(code)) << result.error().message();
  EXPECT_THAT(result.error().message(), HasSubstr("some/config.json"));
  for (const auto& part : parts) EXPECT_THAT(result.error().message(), HasSubstr(part));
}

json changed(json config, const std::string& key, const json& value) {
  config[key] = value;
  return config;
}

json without(json config, const std::string& key) {
  config.erase(key);
  return config;
}

TEST(ModelConfig, BothGenerationsOfKeysMeanTheSame) {
  for (const char* family : {"mixtral", "qwen3_moe", "olmoe", "qwen3_moe_bf16_sharded"}) {
    const ModelConfig now = read_config(kFixtures / family).value();
    const ModelConfig hub = parsed(checkpoint::read_json(kFixtures / family / "config.hub.json").value());
    const auto fields = [](const ModelConfig& c) {
      return std::tuple(c.family, c.hidden_size, c.vocab_size, c.max_position_embeddings, c.rms_norm_eps,
                        c.rope, c.head, c.layers, c.moe_layers, c.eos_token_ids, c.dtype);
    };
    EXPECT_TRUE(fields(now) == fields(hub)) << family;
    EXPECT_THAT(now.eos_token_ids, ElementsAre(2));
    EXPECT_EQ(now.hidden_size, 64u);
  }
  EXPECT_EQ(parsed(config_of("mixtral")).rope.theta, 1e6);
  EXPECT_EQ(parsed(config_of("olmoe")).rope.theta, 1e4);
  EXPECT_EQ(gqa_of(parsed(config_of("mixtral"))).head_dim, 16u) << "hidden_size / num_attention_heads";
  EXPECT_EQ(parsed(config_of("qwen3_moe_bf16_sharded")).dtype, tensor::DType::kBF16);
}

TEST(ModelConfig, MoeLayersAreNumberedAlone) {
  const json qwen = config_of("qwen3_moe");  // 3 layers, mlp_only_layers [1]
  const ModelConfig config = parsed(qwen);
  EXPECT_THAT(config.moe_layers, ElementsAre(0, 2));
  EXPECT_EQ(config.layers[0].moe()->id, MoeLayerId(0));
  EXPECT_EQ(config.layers[1].dense()->intermediate_size, 96u);
  EXPECT_EQ(config.layers[2].moe()->id, MoeLayerId(1));
  EXPECT_THAT(parsed(changed(qwen, "decoder_sparse_step", 2)).moe_layers, IsEmpty());
  EXPECT_THAT(
      parsed(changed(changed(qwen, "decoder_sparse_step", 2), "mlp_only_layers", json::array())).moe_layers,
      ElementsAre(1));
  const ModelConfig no_experts =
      parsed(without(changed(qwen, "num_local_experts", 0), "num_experts_per_tok"));
  EXPECT_THAT(no_experts.moe_layers, IsEmpty());
  EXPECT_EQ(no_experts.experts(), MoeSpec{});
}

TEST(ModelConfig, AbsentFieldsMeanWhatTheFamilySays) {
  const json mixtral = without(without(config_of("mixtral"), "rope_parameters"), "rms_norm_eps");
  EXPECT_EQ(parsed(mixtral).rope.theta, 1e6);
  EXPECT_EQ(parsed(mixtral).rms_norm_eps, 1e-5f);
  const json qwen = without(without(config_of("qwen3_moe"), "rope_parameters"), "rms_norm_eps");
  EXPECT_EQ(parsed(qwen).rope.theta, 1e4);
  EXPECT_EQ(parsed(qwen).rms_norm_eps, 1e-6f);
  EXPECT_EQ(parsed(without(qwen, "norm_topk_prob")).experts().router_weights,
            kernels::RouterWeights::kSoftmax);
  EXPECT_EQ(parsed(mixtral).experts().router_weights, kernels::RouterWeights::kSoftmaxNormalized);
  EXPECT_THAT(parsed(changed(qwen, "eos_token_id", nullptr)).eos_token_ids, IsEmpty());
  EXPECT_THAT(parsed(changed(qwen, "eos_token_id", json{7, 9})).eos_token_ids, ElementsAre(7, 9));
}

TEST(ModelConfig, UnknownArchitectureListsTheKnownOnes) {
  const json qwen = config_of("qwen3_moe");
  expect_refused(
      changed(qwen, "architectures", json{"LlamaForCausalLM"}), ModelError::kUnknownArchitecture,
      {"architectures", "LlamaForCausalLM", "Qwen3MoeForCausalLM", "MixtralForCausalLM", "OlmoeForCausalLM"});
  for (const json& none : {json(nullptr), json::array(), json("Qwen3MoeForCausalLM")}) {
    expect_refused(changed(qwen, "architectures", none), ModelError::kBadField, {"architectures"});
  }
}

TEST(ModelConfig, ArithmeticWeDoNotHaveIsRefusedByName) {
  const json qwen = config_of("qwen3_moe"), mixtral = config_of("mixtral"), olmoe = config_of("olmoe");
  const auto unsupported = ModelError::kUnsupported;
  expect_refused(changed(qwen, "hidden_act", "gelu"), unsupported, {"hidden_act", "gelu", "silu"});
  expect_refused(changed(qwen, "attention_bias", true), unsupported, {"attention_bias"});
  expect_refused(changed(olmoe, "clip_qkv", 8.0), unsupported, {"clip_qkv", "8.0"});
  expect_refused(changed(qwen, "quantization_config", {{"quant_method", "fp8"}}), unsupported,
                 {"quantization_config"});
  expect_refused(changed(mixtral, "sliding_window", 256), unsupported, {"sliding_window", "256"});
  expect_refused(changed(changed(qwen, "sliding_window", 256), "use_sliding_window", true), unsupported,
                 {"sliding_window"});
  expect_refused(changed(qwen, "layer_types", json{"full_attention", "sliding_attention", "full_attention"}),
                 unsupported, {"layer_types", "sliding_attention"});
  expect_refused(changed(qwen, "rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 1e6}}), unsupported,
                 {"rope_parameters.rope_type", "yarn"});
  expect_refused(changed(qwen, "rope_scaling", {{"type", "linear"}, {"factor", 2.0}}), unsupported,
                 {"rope_scaling.type", "linear"});
  expect_refused(changed(qwen, "partial_rotary_factor", 0.5), unsupported, {"partial_rotary_factor", "0.5"});
  expect_refused(changed(qwen, "dtype", "float8_e4m3fn"), unsupported, {"dtype", "float8_e4m3fn"});
}

TEST(ModelConfig, SettingsThatChangeNothingPass) {
  const json qwen = config_of("qwen3_moe"), mixtral = config_of("mixtral");
  parsed(changed(qwen, "sliding_window", 256));     // use_sliding_window is false
  parsed(changed(mixtral, "sliding_window", 512));  // as long as the model
  parsed(changed(qwen, "rope_scaling", {{"rope_type", "default"}}));
  parsed(changed(qwen, "layer_types", json(3, "full_attention")));
  parsed(changed(qwen, "partial_rotary_factor", 1.0));
  parsed(changed(qwen, "quantization_config", nullptr));
}

TEST(ModelConfig, EveryNeededFieldIsMissedByName) {
  for (const char* key :
       {"hidden_size", "vocab_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers",
        "num_experts_per_tok", "moe_intermediate_size", "intermediate_size"}) {
    expect_refused(without(config_of("qwen3_moe"), key), ModelError::kBadField, {key, "missing"});
  }
  expect_refused(without(config_of("qwen3_moe"), "num_local_experts"), ModelError::kBadField,
                 {"num_experts", "missing"});
}

TEST(ModelConfig, ValuesOutOfRangeAreRefusedWithWhatWasFound) {
  const json qwen = config_of("qwen3_moe");
  for (const char* key : {"hidden_size", "vocab_size", "max_position_embeddings", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "num_hidden_layers", "num_experts_per_tok",
                          "moe_intermediate_size", "intermediate_size", "decoder_sparse_step"}) {
    for (const json& value :
         {json(0), json(-4), json(1e30), json(1.5), json("8"), json(true), json(~0ull), json(1ull << 40)}) {
      expect_refused(changed(qwen, key, value), ModelError::kBadField,
                     {key, value.dump(), "expected an integer"});
    }
  }
  const auto bad = ModelError::kBadField;
  expect_refused(changed(qwen, "num_key_value_heads", 3), bad,
                 {"num_key_value_heads", "found 3", "divisor", "4"});
  expect_refused(changed(config_of("mixtral"), "hidden_size", 66), bad,
                 {"num_attention_heads", "hidden_size (66)"});
  expect_refused(changed(qwen, "head_dim", 31), bad, {"head_dim", "found 31", "even"});
  expect_refused(changed(qwen, "num_experts_per_tok", 9), bad, {"num_experts_per_tok", "found 9", "1..8"});
  expect_refused(changed(qwen, "mlp_only_layers", json{3}), bad, {"mlp_only_layers", "[3]"});
  expect_refused(changed(qwen, "eos_token_id", 256), bad, {"eos_token_id", "256"});
  expect_refused(changed(qwen, "rms_norm_eps", 0), bad, {"rms_norm_eps", "found 0"});
  expect_refused(changed(qwen, "rope_parameters", {{"rope_theta", -1.0}}), bad,
                 {"rope_parameters.rope_theta", "-1"});
  expect_refused(changed(qwen, "rope_parameters", 7), bad, {"rope_parameters", "object"});
  expect_refused(changed(qwen, "tie_word_embeddings", "no"), bad, {"tie_word_embeddings", "true or false"});
}

// As it is in a file: what is no JSON cannot be made with nlohmann::json.
Result<ModelConfig> parse_with(const std::string& field) {
  std::string text = without(config_of("qwen3_moe"), field.substr(1, field.find('"', 1) - 1)).dump();
  const auto file = checkpoint::parse_json("{" + field + "," + text.substr(1), "config.json");
  if (!file) return fail(file.error());
  return parse_config(*file, "config.json");
}

TEST(ModelConfig, LoadsAsPythonAndOtherToolsWriteIt) {
  const ModelConfig plain = parsed(config_of("qwen3_moe"));
  for (const std::string field :
       {R"("vocab_size": 256.0)", R"("hidden_size": 6.4e1)", R"("num_hidden_layers": 3e0)",
        R"("head_dim": 32.0)", R"("mlp_only_layers": [1.0])", R"("eos_token_id": [2.0])",
        R"("eos_token_id": 2e0)",
        R"("nobody": [NaN, Infinity, -Infinity, 1e999, 123456789012345678901234567890, {"x": null}])",
        R"("router_aux_loss_coef": NaN)", R"("initializer_range": Infinity)",
        R"("max_window_layers": 99999999999999999999)", R"("architecture": 7)",
        R"("quantization_config": null)", R"("id2label": {"0": "LABEL_0"})",
        R"("task_specific_params": [[[]]])"}) {
    const auto config = parse_with(field);
    ASSERT_TRUE(config.has_value()) << field << ": " << config.error().message();
    EXPECT_EQ(config->vocab_size, plain.vocab_size) << field;
    EXPECT_EQ(config->hidden_size, plain.hidden_size) << field;
    EXPECT_EQ(config->layers, plain.layers) << field;
    EXPECT_EQ(config->eos_token_ids, plain.eos_token_ids) << field;
  }
  EXPECT_THAT(parse_with(R"("eos_token_id": null)")->eos_token_ids, IsEmpty());
  const json older = changed(changed(config_of("qwen3_moe"), "dtype", nullptr), "torch_dtype", "bfloat16");
  EXPECT_EQ(parsed(older).dtype, tensor::DType::kBF16);
}

TEST(ModelConfig, NamesTheFieldWhereANumberThatIsNoneMatters) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("rms_norm_eps": NaN)", "rms_norm_eps: found NaN"},
      {R"("vocab_size": Infinity)", "vocab_size: found Infinity"},
      {R"("rope_theta": -Infinity)", "rope_theta: found -Infinity"},
      {R"("eos_token_id": [NaN])", "eos_token_id: found [NaN]"},
      {R"("head_dim": 32.5)", "head_dim: found 32.5"},
      {R"("head_dim": 1e30)", "head_dim: found 1e+30"}};
  for (const auto& [field, message] : cases) {
    const auto refused = parse_with(field);
    ASSERT_FALSE(refused.has_value()) << field;
    EXPECT_THAT(refused.error().message(), AllOf(HasSubstr(message), HasSubstr("expected")));
  }
}

TEST(ModelConfig, AFolderWithoutConfigSaysSo) {
  const auto result = read_config(kFixtures);
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message(), HasSubstr("config.json"));
}

TEST(GenerationDefaults, ComeFromTheFileElseAreNeutral) {
  const ModelConfig config = parsed(config_of("qwen3_moe"));
  const auto none = read_generation_defaults(kFixtures / "qwen3_moe", config);
  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(none->sampling.temperature, 1.0f);
  EXPECT_EQ(none->sampling.top_k, 0);
  EXPECT_EQ(none->sampling.top_p, 1.0f);
  EXPECT_THAT(none->eos_token_ids, ElementsAre(2)) << "config.json's";

  const auto demo = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "models/demo";
  const auto defaults = read_generation_defaults(demo, read_config(demo).value());
  ASSERT_TRUE(defaults.has_value());
  EXPECT_EQ(defaults->sampling.temperature, 0.7f);
  EXPECT_EQ(defaults->sampling.top_k, 50);
  EXPECT_EQ(defaults->sampling.top_p, 0.9f);
  EXPECT_THAT(defaults->eos_token_ids, ElementsAre(4095, 4093)) << "its own win over config.json's";
  EXPECT_THAT(defaults->ignored, IsEmpty());
}

TEST(GenerationDefaults, GreedyOffSwitchesAndRanges) {
  const ModelConfig config = parsed(config_of("qwen3_moe"));
  const auto parse = [&](const json& file) {
    return parse_generation_defaults(file, "generation_config.json", config);
  };
  EXPECT_EQ(parse({{"do_sample", false}, {"temperature", 0.6}})->sampling.temperature, 0.0f);
  EXPECT_EQ(parse({{"temperature", 0.6}})->sampling.temperature, 0.6f);
  EXPECT_EQ(parse({{"top_k", -1}})->sampling.top_k, 0);
  EXPECT_THAT(parse({{"repetition_penalty", 1.1}, {"typical_p", 0.9}})->ignored, ElementsAre("typical_p"));
  EXPECT_EQ(parse({{"repetition_penalty", 1.1}})->sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(parse({{"top_k", 20.0}})->sampling.top_k, 20);
  EXPECT_EQ(parse({{"top_k", 1e1}, {"do_sample", nullptr}, {"nobody", {{"uses", "this"}}}})->sampling.top_k,
            10);
  EXPECT_THAT(parse({{"eos_token_id", {2.0, 7}}})->eos_token_ids, ElementsAre(2, 7));
  for (const char* text : {R"({"temperature": NaN})", R"({"top_k": Infinity})", R"({"top_p": NaN})"}) {
    const auto refused = parse(checkpoint::parse_json(text, "g").value());
    ASSERT_FALSE(refused.has_value()) << text;
    EXPECT_THAT(refused.error().message(), AllOf(HasSubstr("found"), HasSubstr("expected a")));
  }
  EXPECT_TRUE(
      parse(checkpoint::parse_json(R"({"diversity_penalty": NaN, "max_length": 1e999})", "g").value()));
  for (const auto& [key, value] : std::vector<std::pair<std::string, json>>{{"temperature", -1},
                                                                            {"repetition_penalty", 0},
                                                                            {"temperature", "hot"},
                                                                            {"top_p", 0},
                                                                            {"top_p", 1.5},
                                                                            {"min_p", 2},
                                                                            {"top_k", 1.5},
                                                                            {"top_k", 1e20},
                                                                            {"top_k", -2},
                                                                            {"do_sample", 1},
                                                                            {"eos_token_id", 256},
                                                                            {"eos_token_id", "</s>"}}) {
    const auto refused = parse({{key, value}});
    ASSERT_FALSE(refused.has_value()) << key << " " << value;
    EXPECT_THAT(refused.error().message(), AllOf(HasSubstr("generation_config.json"), HasSubstr(key)));
  }
}

}  // namespace
}  // namespace concertina::model
