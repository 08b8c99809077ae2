#include "server/admin/page.h"

namespace concertina::server::admin {

namespace {
// clang-format off: it would put the text behind the name, where tests/long_code.sh takes it for a function
constexpr std::string_view kPage =
    R"(<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Concertina</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color-scheme: light dark; }
  table { border-collapse: collapse; width: 100%; margin: 1em 0; }
  th, td { text-align: left; padding: .3em .8em .3em 0; border-bottom: 1px solid #8884; font-variant-numeric: tabular-nums; }
  meter { width: 10em; }
  button { font: inherit; padding: .2em .9em; }
</style>
<h1>Concertina</h1>
<p id="line">asking ...</p>
<p><button id="less">one rank less</button> <button id="more">one rank more</button> <span id="said"></span></p>
<table><thead><tr><th>rank<th>state<th>running<th>waiting<th>KV in use<th>experts<th>device</thead><tbody id="ranks"></tbody></table>
<p><a href="/metrics">metrics</a> · <a href="/server_info">server_info</a> · <a href="/v1/models">models</a></p>
<script>
const at = (id) => document.getElementById(id);
let key = sessionStorage.getItem('key') ?? '', size = 0, most = 0, least = 1;
async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key && { Authorization: 'Bearer ' + key }) };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) sessionStorage.setItem('key', (key = prompt('API key') ?? ''));
  const body = await response.json();
  if (!response.ok) throw new Error(body.error.message);
  return body;
}
function row(rank) {
  const line = document.createElement('tr');
  for (const text of [rank.rank, rank.state, rank.running, rank.waiting, null, rank.experts, rank.device]) {
    const cell = line.insertCell();
    if (text !== null) cell.textContent = text;
    else cell.append(Object.assign(document.createElement('meter'), { max: rank.kv_blocks_total || 1, value: rank.kv_blocks_used }));
  }
  return line;
}
async function show() {
  try {
    const now = await ask('/cluster');
    [size, most, least] = [now.wanted_size, now.max_size, now.min_size];
    const doing = now.operation ? `${now.operation.kind} to ${now.operation.to_size}: ${now.operation.phase}` : 'no operation';
    at('line').textContent = `epoch ${now.epoch}, ${now.size} of at most ${most} ranks, ${doing}`;
    at('ranks').replaceChildren(...now.ranks.map(row));
    [at('less').disabled, at('more').disabled] = [!!now.operation || size <= least, !!now.operation || size >= most];
  } catch (error) {
    at('line').textContent = error.message;
  }
  setTimeout(show, 1000);
}
async function scale(by) {
  const body = JSON.stringify({ new_data_parallel_size: size + by, wait: false });
  try {
    at('said').textContent = (await ask('/scale_elastic_ep', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } })).message;
  } catch (error) {
    at('said').textContent = error.message;
  }
}
at('less').onclick = () => scale(-1);
at('more').onclick = () => scale(1);
show();
</script>
)";
// clang-format on
}  // namespace

std::string_view page() { return kPage; }

}  // namespace concertina::server::admin
