#include "front/state_store.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

namespace concertina::front {

using nlohmann::json;

namespace {

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS form (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS operations (id TEXT PRIMARY KEY, number INTEGER NOT NULL, record TEXT NOT "
    "NULL);"
    "CREATE INDEX IF NOT EXISTS operations_by_number ON operations (number);";

std::int64_t wall_ns(Time at, Time now) {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<Duration>(wall).count() - (now - at).count();
}
Time from_wall(std::int64_t at_ns, Time now) {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  return now - Duration(std::chrono::duration_cast<Duration>(wall).count() - at_ns);
}

// Enumerators as numbers: they are appended to, never renumbered.
std::string to_text(const cluster::Operation& operation, Time now) {
  json phases = json::array();
  for (const auto& [phase, time] : operation.phase_times)
    phases.push_back({static_cast<int>(phase), time.count()});
  return json{{"kind", static_cast<int>(operation.kind)},
              {"from_size", operation.from_size},
              {"to_size", operation.to_size},
              {"phase", cluster::name_of(operation.phase)},
              {"started_ns", wall_ns(operation.started, now)},
              {"phases", std::move(phases)},
              {"moved_requests", operation.moved_requests},
              {"moved_bytes", operation.moved_bytes},
              {"max_pause_ms", operation.max_pause_ms},
              {"error", operation.error ? json(*operation.error) : json()},
              {"failure", static_cast<int>(operation.failure)}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

cluster::Operation from_text(const std::string& id, const std::string& text, Time now) {
  const json record = json::parse(text);
  cluster::Operation operation{.id = id};
  operation.kind = static_cast<cluster::OperationKind>(record.at("kind").get<int>());
  operation.from_size = record.at("from_size");
  operation.to_size = record.at("to_size");
  operation.phase = cluster::Phase::kFailed;
  for (const auto phase : {cluster::Phase::kDone, cluster::Phase::kRolledBack}) {
    if (record.at("phase") == cluster::name_of(phase)) operation.phase = phase;
  }
  const bool was_cut = operation.phase == cluster::Phase::kFailed && record.at("phase") != "failed";
  operation.started = from_wall(record.at("started_ns"), now);
  for (const json& phase : record.at("phases"))
    operation.phase_times.emplace_back(static_cast<cluster::Phase>(phase.at(0).get<int>()),
                                       Duration(phase.at(1).get<std::int64_t>()));
  operation.moved_requests = record.at("moved_requests");
  operation.moved_bytes = record.at("moved_bytes");
  operation.max_pause_ms = record.at("max_pause_ms");
  if (!record.at("error").is_null()) operation.error = record.at("error").get<std::string>();
  operation.failure = static_cast<cluster::Operation::Failure>(record.at("failure").get<int>());
  if (was_cut) operation.error = "the server ended while it ran";
  return operation;
}

}  // namespace

struct StateStore::Database {
  sqlite3* handle = nullptr;
  std::string path;
  ~Database() { sqlite3_close(handle); }

  Error error(const char* what) const {
    const int code = sqlite3_errcode(handle);
    const bool in_use = code == SQLITE_BUSY || code == SQLITE_LOCKED;
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
      return Error(StateStoreError::kUnusable,
                   fmt::format("{}: it is {} (SQLite: {}); move it away, or choose another --state-dir", path,
                               code == SQLITE_CORRUPT ? "damaged" : "no file of this server's state",
                               sqlite3_errmsg(handle)));
    return Error(in_use ? StateStoreError::kInUse : StateStoreError::kUnusable,
                 in_use ? fmt::format("{}: another server uses it", path)
                        : fmt::format("{}: cannot {}: {}", path, what, sqlite3_errmsg(handle)));
  }
  Status run(const char* sql, const char* what) {
    if (sqlite3_exec(handle, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
    return fail(error(what));
  }
};

namespace {

// A prepared statement; values are bound in order.
class Statement {
 public:
  Statement(sqlite3* handle, const char* sql) { sqlite3_prepare_v2(handle, sql, -1, &statement_, nullptr); }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement& bind(const std::string& text) {
    sqlite3_bind_text(statement_, ++n_bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return *this;
  }
  Statement& bind(std::int64_t number) {
    sqlite3_bind_int64(statement_, ++n_bound_, number);
    return *this;
  }
  int step() { return statement_ == nullptr ? SQLITE_ERROR : sqlite3_step(statement_); }
  std::string text(int column) const {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return data == nullptr
               ? ""
               : std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
  }
  std::int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int n_bound_ = 0;
};

}  // namespace

StateStore::StateStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}
StateStore::~StateStore() = default;

Result<std::unique_ptr<StateStore>> StateStore::open(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed)
    return fail(StateStoreError::kUnusable,
                fmt::format("{}: cannot make it: {}", folder.string(), failed.message()));
  auto database = std::make_unique<Database>();
  database->path = (folder / "state.sqlite").string();
  const auto n_bytes = std::filesystem::file_size(database->path, failed);
  const Found found = failed ? Found::kNothing : n_bytes == 0 ? Found::kEmptyFile : Found::kFile;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(database->path.c_str(), &database->handle, flags, nullptr) != SQLITE_OK)
    return fail(database->error("open it"));
  // Exclusive from the first write on, for the life of the process; the kernel gives it up with the process.
  RETURN_IF_ERROR(
      database->run("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                    "BEGIN IMMEDIATE; COMMIT;",
                    "lock it"));
  RETURN_IF_ERROR(database->run(kSchema, "make its tables"));
  std::unique_ptr<StateStore> store(new StateStore(std::move(database)));
  store->found_ = found;
  return store;
}

Result<StateStore::Kept> StateStore::load(Time now) const {
  Kept kept;
  Statement size(database_->handle, "SELECT value FROM settings WHERE name = 'wanted_size'");
  const int found = size.step();
  if (found != SQLITE_ROW && found != SQLITE_DONE) return fail(database_->error("read the size it kept"));
  if (found == SQLITE_ROW) {
    if (size.number(0) < 1)
      return fail(StateStoreError::kUnusable, fmt::format("{}: the size it kept is {}, expected 1 or more",
                                                          database_->path, size.number(0)));
    kept.wanted_size = static_cast<std::size_t>(size.number(0));
  }
  ASSIGN_OR_RETURN(kept.form, load_form());
  Statement records(database_->handle, "SELECT id, record FROM operations ORDER BY number");
  int code = SQLITE_ROW;
  while ((code = records.step()) == SQLITE_ROW) {
    try {
      kept.operations.push_back(from_text(records.text(0), records.text(1), now));
    } catch (const json::exception& wrong) {
      return fail(StateStoreError::kUnusable,
                  fmt::format("{}: the record of operation {} is not readable: {}", database_->path,
                              records.text(0), wrong.what()));
    }
  }
  if (code != SQLITE_DONE) return fail(database_->error("read its operations"));
  return kept;
}

Result<std::optional<Form>> StateStore::load_form() const {
  Statement form(database_->handle,
                 "SELECT (SELECT value FROM form WHERE name = 'instruction_set'),"
                 " (SELECT value FROM form WHERE name = 'quantization'),"
                 " (SELECT value FROM form WHERE name = 'activation_dtype')");
  if (form.step() != SQLITE_ROW) return fail(database_->error("read the form it kept"));
  Form kept{form.text(0), form.text(1), form.text(2)};
  if (kept == Form{"", "", ""}) return std::nullopt;
  return kept;
}

Status StateStore::save_form(const Form& form) {
  Statement put(database_->handle,
                "INSERT OR REPLACE INTO form (name, value) VALUES ('instruction_set', ?1),"
                " ('quantization', ?2), ('activation_dtype', ?3)");
  if (put.bind(form.instruction_set).bind(form.quantization).bind(form.activation_dtype).step() ==
      SQLITE_DONE)
    return {};
  return fail(database_->error("write the form"));
}

Status StateStore::save(const cluster::Operation& operation, Time now, std::size_t n_kept) {
  Statement put(database_->handle,
                "INSERT OR REPLACE INTO operations (id, number, record) VALUES"
                " (?1, (SELECT IFNULL(MAX(number), 0) + 1 FROM operations), ?2)");
  if (put.bind(operation.id).bind(to_text(operation, now)).step() != SQLITE_DONE)
    return fail(database_->error("write an operation"));
  Statement drop(database_->handle,
                 "DELETE FROM operations WHERE number <= (SELECT MAX(number) FROM operations) - ?1");
  if (drop.bind(static_cast<std::int64_t>(n_kept)).step() != SQLITE_DONE)
    return fail(database_->error("drop old operations"));
  return {};
}

Status StateStore::save_wanted_size(std::size_t size) {
  Statement put(database_->handle,
                "INSERT OR REPLACE INTO settings (name, value) VALUES ('wanted_size', ?1)");
  if (put.bind(static_cast<std::int64_t>(size)).step() == SQLITE_DONE) return {};
  return fail(database_->error("write the wanted size"));
}

}  // namespace concertina::front
