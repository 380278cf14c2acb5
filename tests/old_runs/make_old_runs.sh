#!/usr/bin/env bash
# Makes data/: run directories as the version before 0.2.0 (commit ae824bb) wrote them, and what that version says
# about each. Later versions have to read, resume and retry them; test_old_runs.py checks that.
#
#   PYTHON=python OLD=path/to/checkout/of/ae824bb ./make_old_runs.sh
#
# OLD is a checkout of that commit, PYTHON one with its dependencies and the extras seal and schema. Nothing is sent
# to a service: all answers are the simulator's. It takes about a minute. Run ids, times and durations differ each
# time, and so do, within bounds, the rows that were in flight when a session was ended.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'jobs -p | xargs -r kill; rm -rf "$work"' EXIT
export PYTHONPATH=${OLD:?name a checkout of ae824bb} PYTHONDONTWRITEBYTECODE=1 NO_PROXY=127.0.0.1 TZ=UTC COLUMNS=120
unset ARK_API_KEY OPENAI_API_KEY ARK_BASE_URL OPENAI_BASE_URL MODEL_NAME
python=${PYTHON:-python}

arkbatch() { "$python" -m arkbatch "$@"; }

ends() { # CODE COMMAND...: the command has to end with this exit code
  local wanted=$1 code=0
  shift
  "$@" >>"$work/said" 2>&1 || code=$?
  [ "$code" = "$wanted" ] || { tail -20 "$work/said"; echo "exit code $code, not $wanted: $*"; exit 1; }
}

begin() { # NAME: work in a directory of that name
  echo "$1"
  mkdir -p "$work/data/$1"
  cd "$work/data/$1"
}

lines() { # N FILE: wait until the file has so many lines
  until [ -e "$2" ] && [ "$(wc -l <"$2")" -ge "$1" ]; do sleep 0.02; done
}

job() { # job.toml: the words that most of them begin with, then standard input
  cat - >job.toml.rest
  cat >job.toml <<'TOML'
input = "prompts.jsonl"
model = "doubao-seed-1-6-251015"
TOML
  cat job.toml.rest >>job.toml
  rm job.toml.rest
}

# Failures of many kinds, rows that needed several attempts, and two retries: one row was mended by them, one failed
# again, the others were not asked for. No row is left.
begin mixed
job <<'TOML'

[defaults]
max_tokens = 40
temperature = 0.7
thinking.type = "disabled"

[limits]
concurrency = 4
rpm = 900

[retry]
max_attempts = 3
first_delay = 0.05
max_delay = 0.2
TOML
cat >prompts.jsonl <<'JSONL'
{"custom_id": "plain-1", "prompt": "Name a tea."}
{"custom_id": "plain-2", "body": {"messages": [{"role": "user", "content": "春风又绿江南岸"}], "max_tokens": 20}}
{"custom_id": "refused", "prompt": "[[fault:refuse]] Name a river."}
{"custom_id": "blocked", "prompt": "[[fault:content_filter]] Name a hill."}
{"custom_id": "moderated", "prompt": "[[fault:sensitive]] Name a lake."}

{"custom_id": "second-try", "prompt": "[[fault:server_error:1]] Name a tree."}
{"custom_id": "third-try", "prompt": "[[fault:drop_before:1]][[fault:garbled:2]] Name a bird."}
{"custom_id": "mended", "prompt": "[[fault:server_error:4]] Name a fish."}
{"custom_id": "broken", "prompt": "[[fault:bad_gateway]] Name a cloud."}
{"custom_id": "empty", "prompt": "[[fault:empty]] Name a star."}
{"custom_id": "empty-once", "prompt": "[[fault:empty:1]] Name a stone."}
{"custom_id": "bad line", "prompt":
{"prompt": "A row without an id."}
{"custom_id": "cut", "prompt": "[[fault:length]] Name a road."}
{"custom_id": "busy-once", "prompt": "[[fault:overloaded:1]] Name a town."}
{"custom_id": "twice", "prompt": "[[fault:error_in_200:1]] Name a song."}
{"custom_id": "twice", "prompt": "Name a song.", "note": "the same id again"}
JSONL
ends 3 arkbatch run job.toml --simulate
ends 3 arkbatch retry job.run --row 9 --max-attempts 6
ends 3 arkbatch retry job.run --kind server_error --set temperature=0.1

# An input that was edited and grew: --rebase kept the unchanged rows, moved them, and set the others aside. With
# --limit, so that rows are left.
begin edited
job <<'TOML'

[defaults]
max_tokens = 30
thinking.type = "disabled"

[retry]
max_attempts = 2
first_delay = 0.05
TOML
cat >prompts.jsonl <<'JSONL'
{"custom_id": "a", "prompt": "Count to two."}
{"custom_id": "b", "prompt": "Count to three."}
{"custom_id": "c", "prompt": "[[fault:refuse]] Count to four."}
{"custom_id": "d", "prompt": "[[fault:no_choices:1]] Count to five."}
{"prompt": "Count to six."}
{"custom_id": "f", "prompt": "Count to seven."}
JSONL
ends 3 arkbatch run job.toml --simulate
cat >prompts.jsonl <<'JSONL'
{"custom_id": "a", "prompt": "Count to two."}
{"custom_id": "new", "prompt": "Count to one."}
{"custom_id": "b", "prompt": "Count to thirty."}
{"custom_id": "d", "prompt": "[[fault:no_choices:1]] Count to five."}
{"prompt": "Count to six."}
{"custom_id": "c", "prompt": "Count to four."}
{"custom_id": "g", "prompt": "Count to eight."}
{"custom_id": "h", "prompt": "Count to nine."}
JSONL
ends 5 arkbatch run job.toml --simulate
ends 3 arkbatch run job.toml --simulate --rebase --limit 6

# Streamed answers, some broken off. SIGTERM came while two rows that were billed waited for their second try: these
# stand among the failures as interrupted, and are left as those are that were never sent.
begin streamed
job <<'TOML'
stream = true

[defaults]
max_tokens = 30
stream_options = { include_usage = true, chunk_include_usage = true }
thinking.type = "disabled"

[limits]
concurrency = 4

[retry]
max_attempts = 5
first_delay = 0.05
max_delay = 60.0
TOML
cat >prompts.jsonl <<'JSONL'
{"custom_id": "s1", "prompt": "Say one."}
{"custom_id": "s2", "prompt": "[[fault:truncated:1]] Say two."}
{"custom_id": "s3", "prompt": "[[fault:error_in_200:3]] Say three."}
{"custom_id": "s4", "prompt": "[[fault:untidy]] Say four."}
{"custom_id": "s5", "prompt": "[[fault:split]] 说五。"}
{"custom_id": "s6", "body": {"messages": [{"role": "user", "content": "Say six."}], "stream": false}}
JSONL
ends 3 arkbatch run job.toml --simulate
cat >>prompts.jsonl <<'JSONL'
{"custom_id": "s7", "prompt": "[[fault:empty:1]] Say seven."}
{"custom_id": "s8", "prompt": "[[fault:empty:1]] Say eight."}
{"custom_id": "s9", "prompt": "[[fault:stall:1]] Say nine."}
{"custom_id": "s10", "prompt": "Say ten."}
{"custom_id": "s11", "prompt": "Say eleven."}
{"custom_id": "s12", "prompt": "Say twelve."}
JSONL
sed 's/first_delay = 0.05/first_delay = 60.0/; s/concurrency = 4/concurrency = 3/' job.toml >slow.toml
"$python" -m arkbatch run slow.toml -o job.run --simulate >>"$work/said" 2>&1 &
pid=$!
sleep 4
kill -TERM $pid
sleep 0.5
kill -TERM $pid 2>/dev/null || true
wait $pid || [ $? = 130 ]

# Encrypted calls; one of them was answered in clear and failed for that.
begin sealed
job <<'TOML'
encrypt = true

[template]
user = "In one word, what is this about?\n{text}"

[defaults]
max_tokens = 40
thinking.type = "disabled"

[limits]
concurrency = 4

[retry]
max_attempts = 2
first_delay = 0.05
TOML
cat >prompts.jsonl <<'JSONL'
{"custom_id": "e1", "text": "The kettle whistles."}
{"custom_id": "e2", "text": "雨下了一夜。"}
{"custom_id": "e3", "text": "[[fault:reply_in_clear:2]] The door is open."}
{"custom_id": "e4", "text": "[[fault:server_error:1]] The lamp is out."}
{"custom_id": "e5", "text": "[[fault:refuse]] The cat sleeps."}
{"custom_id": "e6", "text": "The bread is warm."}
{"custom_id": "e7", "text": "The road is long."}
JSONL
ends 3 arkbatch run job.toml --simulate --limit 5

# Texts of several rows in one call, vectors as base64; one text was refused, and so its call was halved.
begin packed
cat >job.toml <<'TOML'
input = "texts.jsonl"
endpoint = "embeddings"
model = "doubao-embedding-large-text-250515"

[defaults]
dimensions = 8

[embeddings]
pack = "auto"
vectors = "base64"

[limits]
concurrency = 2

[retry]
max_attempts = 2
first_delay = 0.05
TOML
for number in 1 2 3 4 5 6 7 8 9 10 11; do
  fault=
  [ $number = 6 ] && fault='[[fault:refuse]] '
  [ $number = 9 ] && fault='[[fault:server_error:1]] '
  echo "{\"custom_id\": \"t$number\", \"input\": \"${fault}text number $number\"}"
done >texts.jsonl
echo '{"custom_id": "t12", "input": ["two texts", "in one row"]}' >>texts.jsonl
ends 3 arkbatch run job.toml --simulate --limit 9

# Functions that the model calls, whose rounds are calls of their own; one row calls on and on.
begin tools
job <<'TOML'

[tools]
module = "weather.py"
max_rounds = 2
timeout = 20

[defaults]
max_completion_tokens = 120
thinking = { type = "disabled" }
tool_choice = "required"

[limits]
concurrency = 4
TOML
cat >weather.py <<'PY'
"""Functions for the rows."""


def current_weather(city: str) -> dict[str, object]:
    """The weather in a city now."""
    return {"city": city, "temperature": 15}


def forecast(city: str, days: int = 3) -> list[str]:
    """The weather in a city on each of the next days."""
    raise ValueError(f"no forecast of {days} days in {city}")
PY
cat >prompts.jsonl <<'JSONL'
{"custom_id": "coat", "prompt": "Do I need a coat in Harbin?"}
{"custom_id": "loop", "prompt": "[[fault:tool_loop]] And in Shanghai?"}
{"custom_id": "arguments", "prompt": "[[fault:bad_arguments:1]] And in Beijing?"}
{"custom_id": "own", "prompt": "Call mine.", "tools": [{"type": "function", "function": {"name": "mine", "parameters": {"type": "object", "properties": {}}}}]}
{"custom_id": "none", "prompt": "Write one line about rain.", "tool_choice": "none"}
{"custom_id": "tea", "prompt": "上海适合晒茶吗？"}
JSONL
ends 3 arkbatch run job.toml --simulate --limit 4

# Killed in the middle, as by a power cut: the last record has no end, and the cache is of before the session.
begin killed
job <<'TOML'

[defaults]
max_tokens = 30
thinking.type = "disabled"

[limits]
concurrency = 2

[retry]
max_attempts = 1
TOML
{
  for number in 1 2 3 4 5; do echo "{\"custom_id\": \"k$number\", \"prompt\": \"Say $number.\"}"; done
  echo '{"custom_id": "k6", "prompt": "[[fault:no_choices:1]] Say 6."}'
  for number in 7 8 9 10 11 12 13 14; do echo "{\"custom_id\": \"k$number\", \"prompt\": \"Say $number.\"}"; done
} >prompts.jsonl
ends 0 arkbatch run job.toml --simulate --limit 3
"$python" -m arkbatch run job.toml --simulate >>"$work/said" 2>&1 &
pid=$!
lines 7 job.run/results.jsonl
kill -KILL $pid
wait $pid 2>/dev/null || true
truncate -s -200 job.run/results.jsonl

# A budget that is too small for all rows, with prices of the job's own for an endpoint id; rows from standard input.
begin budget
cat >job.toml <<'TOML'
input = "-"
run_dir = "job.run"
model = "ep-20260101000000-abcde"

[defaults]
max_completion_tokens = 100
thinking.type = "disabled"

[limits]
concurrency = 2
max_cost = 0.05

[prices]
model = [{ family = "house-model", currency = "CNY", price = { online = { input = 20, cached = 4, output = 60 } } }]
map = { "ep-20260101000000-abcde" = "house-model", "doubao-seed-1-6-251015" = "house-model" }
TOML
for number in 1 2 3 4 5 6 7 8 9 10; do
  echo "{\"custom_id\": \"shelf-$((number % 2))-$number\", \"prompt\": \"Describe number $number.\"}"
done >rows.jsonl
code=0
arkbatch run job.toml --simulate <rows.jsonl >>"$work/said" 2>&1 || code=$?
[ $code = 4 ]

# Steered while it worked: paused, resumed, slowed down, failed rows sent again, and ended.
begin steered
job <<'TOML'

[defaults]
max_tokens = 30
thinking.type = "disabled"

[limits]
concurrency = 2

[retry]
max_attempts = 2
first_delay = 0.05
TOML
{
  echo '{"custom_id": "c1", "prompt": "[[fault:no_choices:2]] Say 1."}'
  echo '{"custom_id": "c2", "prompt": "[[fault:refuse]] Say 2."}'
  for number in 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
    echo "{\"custom_id\": \"c$number\", \"prompt\": \"Say $number.\"}"
  done
} >prompts.jsonl
"$python" -m arkbatch run job.toml --simulate >>"$work/said" 2>&1 &
pid=$!
lines 1 job.run/failures.jsonl
lines 2 job.run/results.jsonl
ends 0 arkbatch ctl job.run pause --reason "the demo needs the quota"
ends 0 arkbatch ctl job.run set rpm=300 concurrency=1
ends 0 arkbatch ctl job.run requeue bad_reply
ends 0 arkbatch ctl job.run resume
lines 6 job.run/results.jsonl
ends 0 arkbatch ctl job.run drain
wait $pid || [ $? = 130 ]

# Answers that have to satisfy a schema; one never did, one did the second time.
begin structured
job <<'TOML'

[validate]
schema = "answer.schema.json"
attempts = 2

[defaults]
max_completion_tokens = 200
thinking = { type = "disabled" }

[defaults.response_format]
type = "json_schema"

[defaults.response_format.json_schema]
name = "answer"

[defaults.response_format.json_schema.schema]
type = "object"
required = ["stars"]
properties.stars = { type = "integer", minimum = 1, maximum = 5 }

[limits]
concurrency = 4
TOML
cat >answer.schema.json <<'JSON'
{"type": "object", "required": ["stars"], "properties": {"stars": {"type": "integer", "minimum": 1, "maximum": 5}}}
JSON
cat >prompts.jsonl <<'JSONL'
{"custom_id": "v1", "prompt": "Stars for tea?"}
{"custom_id": "v2", "prompt": "[[fault:off_schema]] Stars for rain?"}
{"custom_id": "v3", "prompt": "[[fault:off_schema:1]] Stars for snow?"}
{"custom_id": "v4", "prompt": "Stars for bread?"}
{"custom_id": "v5", "prompt": "Stars for salt?"}
JSONL
ends 3 arkbatch run job.toml --simulate --limit 4

# A sample of an estimate, on the batch lane, of a compressed input with a template: its rows are the first results.
begin sampled
cat >job.toml <<'TOML'
input = "reviews.jsonl.gz"
model = "ep-bi-20260101000000-abcde"
lane = "batch"

[template]
system = "You sort reviews."
user = "{stars} of 5 stars:\n{review}"

[defaults]
max_tokens = 30
thinking.type = "disabled"
TOML
for number in 1 2 3 4 5 6 7 8; do
  echo "{\"custom_id\": \"tea-$number\", \"stars\": $((number % 5 + 1)), \"review\": \"Review number $number.\", \"shop\": 4}"
done | gzip -n >reviews.jsonl.gz
ends 0 arkbatch estimate job.toml --simulate --sample 3

# Not marked as simulated: a server at an address. It went away for good in the middle, so that the run halted.
begin served
cat >job.toml <<'TOML'
input = "prompts.jsonl"
model = "house-chat"
base_url = "http://127.0.0.1:8321/v1"

[defaults]
max_tokens = 40

[limits]
concurrency = 2

[retry]
max_attempts = 2
first_delay = 0.05
max_delay = 0.2
give_up_after = 1.0

[prices]
model = [{ family = "house-chat", currency = "USD", price = { online = { input = 1.5, output = 2.5 } } }]
TOML
cat >prompts.jsonl <<'JSONL'
{"custom_id": "r1", "prompt": "One."}
{"custom_id": "r2", "prompt": "Two."}
{"custom_id": "r3", "prompt": "[[fault:server_error:2]] Three."}
{"custom_id": "r4", "prompt": "[[fault:refuse:1]] Four."}
{"custom_id": "r5", "prompt": "Five."}
{"custom_id": "r6", "prompt": "Six."}
{"custom_id": "r7", "prompt": "Seven."}
{"custom_id": "r8", "prompt": "Eight."}
JSONL
"$python" -m arkbatch simulate --port 8321 --latency 0.1 >>"$work/said" 2>&1 &
server=$!
until (: <>/dev/tcp/127.0.0.1/8321) 2>/dev/null; do sleep 0.1; done
export OPENAI_API_KEY=none
ends 3 arkbatch run job.toml --limit 5
kill $server
wait $server || true
ends 4 arkbatch run job.toml
unset OPENAI_API_KEY

# What is of the machine and of no run: the directory, the name of the host and the number of the process.
cd "$work/data"
find . -name ctl.sock -delete
find . -name __pycache__ -prune -exec rm -r {} +
sed -i "s|\"$work/data/|\"/data/|" ./*/job.run/run.json
sed -i -E 's/^process [0-9]+ on .* since/process 1000 on host since/' ./*/job.run/lock
for run in */job.run; do mv "$run" "${run%.run}_run"; done # since *.run is passed over by version control
if grep -rlE "$work|$HOME|[ \"@]($(uname -n)|$(id -un))[ \".:]" .; then echo "these name the machine"; exit 1; fi

rm -rf "$here/data"
cp -r "$work/data" "$here/data"
"$python" "$here/test_old_runs.py"
