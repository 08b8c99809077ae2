// What a front keeps over restarts, and what it does where that fails.
#include <spdlog/sinks/ostream_sink.h>
#include <sys/resource.h>

#include <csignal>
#include <sstream>

#include "base/log.h"
#include "front/front_fixture.h"

namespace concertina::front {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// All that is logged while it lives.
class CapturedLog {
 public:
  CapturedLog() {
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(text_)));
  }
  ~CapturedLog() { spdlog::set_default_logger(before_); }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  const std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
};

// No file of this process grows beyond what it has while it lives: to SQLite as a disk that takes nothing.
class FullDisk {
 public:
  explicit FullDisk(const std::filesystem::path& folder) {
    std::signal(SIGXFSZ, SIG_IGN);  // as in the server
    std::uintmax_t largest = 0;
    for (const auto& file : std::filesystem::directory_iterator(folder))
      largest = std::max(largest, file.file_size());
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{.rlim_cur = largest, .rlim_max = before_.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

class FrontStateTest : public FrontTest {
 protected:
  FrontStateTest() {
    std::filesystem::remove_all(folder);
    state = StateStore::open(folder).value();
  }
  ~FrontStateTest() override {
    front.reset();
    std::filesystem::remove_all(folder);
  }
  cluster::Operation scale(const std::string& id, std::size_t size) {
    std::vector<cluster::Operation> done;
    CHECK(
        front->scale({.operation_id = id, .new_size = size}, [&](const auto& end) { done.push_back(end); }));
    until([&] { return !done.empty(); }, "the end of operation " + id);
    return done[0];
  }
  // By the next server, which finds the file free.
  StateStore::Kept kept() {
    front.reset();
    return StateStore::open(folder).value()->load(time.now()).value();
  }
  static std::vector<std::string> ids(const StateStore::Kept& kept) {
    std::vector<std::string> ids;
    for (const cluster::Operation& operation : kept.operations) ids.push_back(operation.id);
    return ids;
  }

  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      (std::string("front_") + testing::UnitTest::GetInstance()->current_test_info()->name());
  CapturedLog log;
};

TEST_F(FrontStateTest, TheNextServerFindsTheSizeTheFormAndTheOperations) {
  options.form = {"avx2", "int8", "float32"};
  serve();
  scale("more", 3);
  scale("most", 4);
  const StateStore::Kept found = kept();
  EXPECT_EQ(found.wanted_size, 4u);
  EXPECT_EQ(found.form, options.form);
  EXPECT_THAT(ids(found), ElementsAre("more", "most"));
}

TEST_F(FrontStateTest, OfAFormerLifeAnOperationIsKnownAndAnsweredAndNotRunAgain) {
  make();
  front->know({.id = "more", .from_size = 2, .to_size = 3, .phase = cluster::Phase::kDone});
  front->start([this] { is_ready = true; }, {});
  until([this] { return is_ready; }, "the first epoch");
  EXPECT_EQ(front->operation("more")->to_size, 3u);
  EXPECT_EQ(scale("more", 3).phase, cluster::Phase::kDone);
  EXPECT_EQ(front->cluster().size, 2u);
}

TEST_F(FrontStateTest, ADiskThatIsFullCostsTheRecordsAndNotTheService) {
  serve();
  Listener listener;
  submit(listener);
  FakeRank& rank = rank_with(1);
  {
    const FullDisk full(folder);
    EXPECT_EQ(scale("more", 3).phase, cluster::Phase::kDone);
    rank.say_token(0, 40);
    until([&] { return listener.tokens.size() == 1; }, "a token");
    EXPECT_TRUE(front->ready());
    EXPECT_EQ(front->operation("more")->phase, cluster::Phase::kDone) << "who asks is answered as ever";
  }
  EXPECT_THAT(log.text(), HasSubstr("state.sqlite: cannot write an operation: "));
  scale("most", 4);
  const StateStore::Kept found = kept();
  EXPECT_EQ(found.wanted_size, 4u) << "with room again it is kept again";
  EXPECT_THAT(ids(found), ElementsAre("most"));
}

TEST_F(FrontStateTest, AShutdownInTheMiddleOfAScaleKeepsTheSizeFromBeforeAndSaysWhatBecameOfIt) {
  serve();
  scale("more", 3);
  says = FakeRank::Says::kNothing;
  ASSERT_TRUE(front->scale({.operation_id = "cut", .new_size = 4}, {}));
  front->begin_shutdown([this] { is_stopped = true; });
  until([this] { return is_stopped; }, "the end");
  const StateStore::Kept found = kept();
  EXPECT_EQ(found.wanted_size, 3u);
  ASSERT_THAT(ids(found), ElementsAre("more", "cut"));
  EXPECT_EQ(found.operations[1].phase, cluster::Phase::kFailed);
  EXPECT_EQ(found.operations[1].error, "the server shut down while it ran");
}

}  // namespace
}  // namespace concertina::front
