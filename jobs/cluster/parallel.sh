#!/usr/bin/env bash
# A run on several processes with GNU parallel: bash parallel.sh RUN WORKERS
#
#   arkbatch shard plan jobs/quickstart.toml -o nightly.run
#   bash jobs/cluster/parallel.sh nightly.run 4
#
# On several machines: parallel --sshloginfile hosts ..., with the run directory on storage that all of them see.
set -euo pipefail
run=${1:?the run directory} workers=${2:-4}
seq 0 $((workers - 1)) | parallel --jobs "$workers" --retries 3 --joblog "$run/shards/parallel.log" \
    arkbatch shard run "$run" --index {} --of "$workers"
arkbatch merge "$run"
