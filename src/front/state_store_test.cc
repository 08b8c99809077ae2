#include "front/state_store.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>

namespace concertina::front {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class StateStoreTest : public ::testing::Test {
 protected:
  StateStoreTest() { std::filesystem::remove_all(folder); }
  ~StateStoreTest() override { std::filesystem::remove_all(folder); }
  std::unique_ptr<StateStore> open() {
    auto store = StateStore::open(folder);
    EXPECT_TRUE(store) << store.error().message();
    return std::move(*store);
  }
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      (std::string("state_") + testing::UnitTest::GetInstance()->current_test_info()->name());
  const Time now{seconds(5000)};
  const cluster::Operation done{.id = "a",
                                .kind = cluster::OperationKind::kReplace,
                                .from_size = 2,
                                .to_size = 3,
                                .phase = cluster::Phase::kDone,
                                .started = now - seconds(10),
                                .phase_times = {{cluster::Phase::kPreparing, milliseconds(7)}},
                                .moved_requests = 4,
                                .moved_bytes = 5,
                                .max_pause_ms = 1.5};
};

TEST_F(StateStoreTest, AnEmptyOneKeepsNothing) {
  const auto kept = open()->load(now);
  EXPECT_FALSE(kept->wanted_size);
  EXPECT_FALSE(kept->form);
  EXPECT_TRUE(kept->operations.empty());
}

TEST_F(StateStoreTest, AFileOfNoBytesIsBegunAnewAndToldFromNone) {
  EXPECT_EQ(open()->found(), StateStore::Found::kNothing);
  EXPECT_EQ(open()->found(), StateStore::Found::kFile);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "state.sqlite").flush();
  {
    const auto store = open();
    EXPECT_EQ(store->found(), StateStore::Found::kEmptyFile);
    EXPECT_FALSE(store->load(now)->wanted_size);
    ASSERT_TRUE(store->save_wanted_size(3));
  }
  EXPECT_EQ(open()->load(now)->wanted_size, 3u);
}

TEST_F(StateStoreTest, WhatWasSavedIsThereAfterARestart) {
  {
    const auto store = open();
    ASSERT_TRUE(store->save_wanted_size(3));
    ASSERT_TRUE(store->save_wanted_size(4));
    ASSERT_TRUE(store->save_form({"avx512", "int8", "float32"}));
    ASSERT_TRUE(store->save_form({"avx2", "none", "bfloat16"}));
    ASSERT_TRUE(store->save(done, now));
    cluster::Operation failed = done;
    failed.id = "b", failed.phase = cluster::Phase::kFailed, failed.error = "no memory \xff";
    ASSERT_TRUE(store->save(failed, now));
  }
  const auto kept = open()->load(now + seconds(60));
  EXPECT_EQ(kept->wanted_size, 4u);
  EXPECT_EQ(kept->form, (Form{"avx2", "none", "bfloat16"}));
  ASSERT_EQ(kept->operations.size(), 2u);
  cluster::Operation same = kept->operations[0];
  EXPECT_NEAR(to_ms(now + seconds(60) - same.started), 10000, 5000)
      << "by the wall clock, which went on seconds at most";
  same.started = done.started;
  EXPECT_EQ(same, done);
  EXPECT_THAT(*kept->operations[1].error, HasSubstr("no memory"));
}

TEST_F(StateStoreTest, AnOperationThatWasCutOffCountsAsFailed) {
  cluster::Operation running = done;
  running.phase = cluster::Phase::kCommitting;
  {
    const auto store = open();
    ASSERT_TRUE(store->save(running, now));
  }
  const auto kept = open()->load(now);
  EXPECT_EQ(kept->operations[0].phase, cluster::Phase::kFailed);
  EXPECT_EQ(kept->operations[0].error, "the server ended while it ran");
}

TEST_F(StateStoreTest, OldRecordsGoAndARecordSavedAgainIsReplaced) {
  const auto store = open();
  for (const char* id : {"a", "b", "c", "b"}) {
    cluster::Operation operation = done;
    operation.id = id;
    ASSERT_TRUE(store->save(operation, now, 2));
  }
  const auto kept = store->load(now);
  ASSERT_EQ(kept->operations.size(), 2u);
  EXPECT_EQ(kept->operations[0].id, "c");
  EXPECT_EQ(kept->operations[1].id, "b");
}

TEST_F(StateStoreTest, TwoServersCannotShareOne) {
  const auto first = open();
  const auto second = StateStore::open(folder);
  ASSERT_FALSE(second);
  EXPECT_TRUE(second.error().is(StateStoreError::kInUse)) << second.error().message();
}

TEST_F(StateStoreTest, WhatIsNoDatabaseIsRefusedByName) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "state.sqlite") << std::string(5000, 'x');
  const auto store = StateStore::open(folder);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message(), HasSubstr("state.sqlite"));
  const auto no_folder = StateStore::open(folder / "state.sqlite");
  ASSERT_FALSE(no_folder);
  EXPECT_THAT(no_folder.error().message(), HasSubstr("cannot make it"));
}

TEST_F(StateStoreTest, AFolderInTheFilesPlaceIsNamed) {
  std::filesystem::create_directories(folder / "state.sqlite");
  const auto store = StateStore::open(folder);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message(), HasSubstr("state.sqlite: cannot open it"));
}

// What a bad sector leaves, say, or a copy that was cut off.
TEST_F(StateStoreTest, ADamagedFileIsToldAsThatAndWhatToDo) {
  for (auto [store, i] = std::pair(open(), 0); i < 100; ++i) {
    cluster::Operation operation = done;
    operation.id = fmt::format("operation-{}", i);
    ASSERT_TRUE(store->save(operation, now));
  }
  const auto n_bytes = std::filesystem::file_size(folder / "state.sqlite");
  ASSERT_GT(n_bytes, 4 * 4096u);
  std::fstream file(folder / "state.sqlite", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);
  file << std::string(n_bytes - 4096, 'x');
  file.close();
  const auto store = StateStore::open(folder);
  const auto kept = store ? (*store)->load(now) : tl::unexpected<Error>(store.error());
  ASSERT_FALSE(kept);
  EXPECT_TRUE(kept.error().is(StateStoreError::kUnusable));
  EXPECT_THAT(kept.error().message(), HasSubstr("state.sqlite: it is damaged"));
  EXPECT_THAT(kept.error().message(), HasSubstr("move it away, or choose another --state-dir"));
}

TEST_F(StateStoreTest, ARecordThatCannotBeReadIsNamed) {
  ASSERT_TRUE(open()->save(done, now));
  sqlite3* handle = nullptr;
  sqlite3_open((folder / "state.sqlite").c_str(), &handle);
  sqlite3_exec(handle, "UPDATE operations SET record = '{\"kind\": 0}'", nullptr, nullptr, nullptr);
  sqlite3_close(handle);
  const auto kept = open()->load(now);
  ASSERT_FALSE(kept);
  EXPECT_THAT(kept.error().message(), HasSubstr("the record of operation a is not readable"));
}

}  // namespace
}  // namespace concertina::front
