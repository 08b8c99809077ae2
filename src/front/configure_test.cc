#include "front/configure.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace concertina::front {
namespace {

using testing::ElementsAre;

const cluster::Member kMember{RankId(3), Incarnation(77)};

// Every number its own, so that none stands in for another.
FrontOptions options() {
  FrontOptions options;
  options.model_path = "/models/m";
  options.load_format = "dummy";
  options.checkpoint_fingerprint = "f1";
  options.config_json = R"({"hidden_size": 8})";
  options.weights_fd = 11;
  options.dummy_seed = 12;
  options.cluster.max_size = 5;
  options.kv_cache_bytes = 13;
  options.max_model_len = 14;
  options.max_num_seqs = 15;
  options.max_num_batched_tokens = 16;
  options.block_size = 17;
  options.replay_chunk_tokens = 18;
  options.step_time_budget_ms = 19;
  options.peer_timeout_ms = 20;
  options.threads_per_rank = 2;
  options.form = {"avx2", "int8", "bfloat16"};
  options.device = "cuda:3";
  options.gpu_memory_utilization = 0.25;
  options.log_level = "debug";
  return options;
}

transport::Configure configured(const FrontOptions& options) {
  return configure_frame(options, kMember, std::vector<int>{4, 6}).configure();
}

TEST(Configure, ARankIsToldWhoItIsAndAllThatTheServerWasTold) {
  const transport::Configure told = configured(options());
  EXPECT_EQ(told.rank(), 3u);
  EXPECT_EQ(told.incarnation(), 77u);
  EXPECT_EQ(told.model_path(), "/models/m");
  EXPECT_EQ(told.load_format(), "dummy");
  EXPECT_EQ(told.checkpoint_fingerprint(), "f1");
  EXPECT_EQ(told.config_json(), R"({"hidden_size": 8})");
  EXPECT_EQ(told.weights_pid(), static_cast<std::uint32_t>(getpid()));
  EXPECT_EQ(told.weights_fd(), 11u);
  EXPECT_EQ(told.seed(), 12u);
  EXPECT_EQ(told.max_ranks(), 10u) << "a replacement is there beside the rank that it replaces";
  EXPECT_EQ(told.kv_cache_bytes(), 13u);
  EXPECT_EQ(told.max_model_len(), 14u);
  EXPECT_EQ(told.max_num_seqs(), 15u);
  EXPECT_EQ(told.max_num_batched_tokens(), 16u);
  EXPECT_EQ(told.block_size(), 17u);
  EXPECT_EQ(told.replay_chunk_tokens(), 18u);
  EXPECT_EQ(told.step_time_budget_ms(), 19u);
  EXPECT_EQ(told.peer_timeout_ms(), 20u);
  EXPECT_EQ(told.threads_per_rank(), 2u);
  EXPECT_THAT(told.cores(), ElementsAre(4, 6));
  EXPECT_EQ(told.instruction_set(), "avx2");
  EXPECT_EQ(told.quantization(), "int8");
  EXPECT_EQ(told.activation_dtype(), "bfloat16");
  EXPECT_EQ(told.device(), "cuda:3");
  EXPECT_EQ(told.gpu_memory_utilization(), 0.25);
  EXPECT_EQ(told.log_level(), "debug");
}

// Who adds a field to the message and forgets it here, or above, hears of it.
TEST(Configure, NothingIsLeftForARankToGuess) {
  transport::Configure told = configured(options());
  told.set_in_background(true);  // said by whoever starts it
  std::vector<const google::protobuf::FieldDescriptor*> set;
  told.GetReflection()->ListFields(told, &set);
  EXPECT_EQ(set.size(), static_cast<std::size_t>(told.GetDescriptor()->field_count()));
}

TEST(Configure, WithoutMemoryOfWeightsARankReadsTheFiles) {
  FrontOptions lazy = options();
  lazy.weights_fd = -1;
  EXPECT_EQ(configured(lazy).weights_pid(), 0u);
  EXPECT_EQ(configured(lazy).weights_fd(), 0u);
}

TEST(Configure, AConfigJsonThatWouldFillTheMessageIsReadByTheRanksThemselves) {
  FrontOptions large = options();
  large.config_json.assign(4 << 20, ' ');
  EXPECT_EQ(configured(large).config_json().size(), large.config_json.size());
  large.config_json += ' ';
  EXPECT_EQ(configured(large).config_json(), "");
}

}  // namespace
}  // namespace concertina::front
