#!/bin/bash
# sbatch docs/cluster/slurm.sh: a Ray cluster of the nodes of one SLURM job, and one command on it.
# A job that was preempted or ran out of time goes on when it is submitted again.
#SBATCH --job-name=discl-harness
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
set -euo pipefail

cd "${HARNESS_CHECKOUT:-/shared/harness}"
source .venv/bin/activate
port=6379
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head="${nodes[0]}"

start() { # on which nodes, then what `ray start` is told
  local where="$1"
  shift
  srun --nodes="$(wc -w <<< "${where//,/ }")" --ntasks-per-node=1 --nodelist="$where" \
    ray start "$@" --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$SLURM_GPUS_PER_NODE" --block &
}

start "$head" --head --port="$port"
sleep 20
if ((${#nodes[@]} > 1)); then
  start "$(IFS=,; echo "${nodes[*]:1}")" --address="$head:$port"
  sleep 20
fi

harness compare --dataset "${HARNESS_DATASET:-imagenet-lt}" --profile paper --device cuda \
  --home "${HARNESS_HOME:-/shared/results}" --engine ray --address "$head:$port"
