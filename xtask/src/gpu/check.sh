#!/bin/sh
# Checks and measures Unlade on an NVIDIA GPU. Needs the driver and nothing else.
#
#   sh check.sh [FOLDER FOR RESULTS] [DEVICE]
#
# What is found goes to the folder (results/ beside this script) as JSON and logs; a short table
# comes last. UNLADE_CHECK_CASES is the number of random programs, 2000 unless set.
here=$(cd "$(dirname "$0")" && pwd)
results=${1:-$here/results}
device=${2:-cuda:0}
mkdir -p "$results"
chmod +x "$here/unlade-check" "$here/unlade" 2>/dev/null
failed=0

# Every step in a process of its own: after an error of a kernel CUDA is of no use to a process.
run() {
    name=$1
    shift
    echo "==> $name"
    "$@" >"$results/$name.log" 2>&1
    status=$?
    tail -n 40 "$results/$name.log"
    [ $status -eq 0 ] || failed=1
}

export UNLADE_CUDA_CACHE="$results/cache"
check() {
    folder=$1
    shift
    "$here/unlade-check" --device "$device" --json "$folder" "$@"
}

if [ -x "$here/unlade" ]; then
    run doctor "$here/unlade" doctor
    run devices "$here/unlade" devices
fi
run conformance check "$results" conformance
run fuzz check "$results" fuzz --cases "${UNLADE_CHECK_CASES:-2000}"
UNLADE_CUDA_CACHE=off run rates check "$results" rates
if [ -x "$here/unlade" ]; then
    run demo "$here/unlade" demo
fi
if command -v compute-sanitizer >/dev/null 2>&1; then
    for tool in memcheck racecheck; do
        run "sanitizer-$tool" compute-sanitizer --tool $tool --error-exitcode 9 \
            "$here/unlade-check" --device "$device" --json "$results/$tool" \
            fuzz --cases 20 --seed 900000 --threads 1
    done
else
    echo "==> compute-sanitizer: absent"
fi
run peers python3 "$here/peers.py" "$results/peers.json"

echo
echo "==> $(date -u +%Y-%m-%dT%H:%MZ)"
if command -v nvidia-smi >/dev/null 2>&1; then
    nvidia-smi --query-gpu=name,driver_version,memory.total,pci.bus_id --format=csv,noheader
fi
"$here/unlade-check" --json "$results" report || failed=1
cat "$results/peers.log" 2>/dev/null
for tool in memcheck racecheck; do
    [ -f "$results/sanitizer-$tool.log" ] && tail -n 1 "$results/sanitizer-$tool.log"
done
[ $failed -eq 0 ] && echo "all passed" || echo "SOMETHING FAILED; see the logs in $results"
exit $failed
