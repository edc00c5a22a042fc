#!/usr/bin/env bash
# The first run on a GPU: at most 480 s, on a machine without a network and with nothing installed.
#
#   OUT=folder bash benchmarks/gpu_first.sh      allow 490 s: what is killed has 5 s to end
#   EMULATE=1 OUT=folder bash benchmarks/gpu_first.sh     the parts of gpu_first.py, in the emulator
#
# Every part has a limit of its own and writes as it goes: one that fails or hangs costs its limit
# and nothing else, and all limits together are less than 480 s. What settles most comes first; what
# is left out is said.
#
# $OUT: found.jsonl (all findings), summary.txt, tests.txt, sanitizer.txt, bench.json, bench.txt,
# ncu.txt
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
OUT=${OUT:-gpu_first}
LIMIT=${LIMIT:-480}
mkdir -p "$OUT"
rm -f "$OUT"/{found.jsonl,{summary,tests,sanitizer,bench,ncu}.txt,bench.json}
scratch=$(mktemp -d)
export OUT PYTHONUNBUFFERED=1 PYTHONPYCACHEPREFIX=$scratch/pycache
export PYTHONPATH=$PWD:$PWD/kernels:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}
export CUPY_CACHE_DIR=$scratch/cupy L2AE_CACHE_DIR=$scratch/l2ae MPLCONFIGDIR=$scratch/matplotlib
first=(python3 benchmarks/gpu_first.py ${EMULATE:+--emulate})

left() { echo $((LIMIT - SECONDS)); }

# part SECONDS COMMAND...: run it, for so long at most, and no longer than the time that is left
part() {
    local limit=$1 status=0
    shift
    [ "$limit" -gt "$(left)" ] && limit=$(left)
    if [ "$limit" -lt 5 ]; then
        echo "== no time is left for: $*"
        return
    fi
    echo "== at $SECONDS s, for $limit s: $*"
    timeout -k 5 "$limit" "$@" || status=$?
    [ "$status" -ne 0 ] && echo "   exit status $status"
    [ "$status" -eq 3 ] && no_device=1                  # NO_DEVICE of gpu_first.py
    return 0
}

# into FILE SECONDS COMMAND...: the same, its output into $OUT/FILE and the end of that shown
into() {
    local file=$OUT/$1
    shift
    part "$@" > "$file" 2>&1
    grep '^==' "$file"
    tail -n 6 "$file"
}

# Four sanitizers side by side over every kernel once: nothing is timed yet
sanitizers() {
    local tool
    for tool in memcheck racecheck synccheck initcheck; do
        (
            NO_POOL=1 part 50 compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 12 \
                "${first[@]}" works --out "$scratch/$tool" > "$scratch/$tool.txt" 2>&1
        ) &
    done
    wait
    for tool in memcheck racecheck synccheck initcheck; do
        echo "== $tool: $(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY|exit status|no time' \
            "$scratch/$tool.txt" | tr '\n' ' ')"
    done
    cat "$scratch"/{mem,race,sync,init}check.txt > "$OUT/sanitizer.txt"
}

no_device=
part 30 "${first[@]}" facts
if [ -n "$no_device" ]; then
    rm -rf "$scratch"
    echo "== no device: nothing else can be found out"
    exit 3
fi
part 70 "${first[@]}" warm
part 40 "${first[@]}" check
part 45 "${first[@]}" end-to-end
part 12 "${first[@]}" works
part 5 "${first[@]}" summary > "$OUT/summary.txt"       # so far, should the rest go wrong
if [ -z "${EMULATE:-}" ]; then
    REQUIRE_GPU=1 into tests.txt 80 python3 -m pytest -q -n 4 -m '' -k gpu -W default --maxfail 20 \
        -p no:cacheprovider tests
    sanitizers
fi
part 65 "${first[@]}" time                              # alone on the card from here on
if [ -z "${EMULATE:-}" ]; then
    into bench.txt 50 python3 benchmarks/run.py step kmeans operations --device cuda --quick \
        --json "$OUT/bench.json"
    into ncu.txt 25 ncu --clock-control none --set detailed -c 6 \
        -k 'regex:lloyd_resident|lloyd_short|product_mma|assign_tensor|correlate_mma' \
        "${first[@]}" works --out "$scratch/ncu"
fi
"${first[@]}" summary > "$OUT/summary.txt"
cat "$OUT/summary.txt"
rm -rf "$scratch"
echo "== took $SECONDS s"
