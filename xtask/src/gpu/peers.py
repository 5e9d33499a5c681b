"""What others make of the same work on the same GPU, each or `absent`.

Reads columns of random int32, 2 GiB in all, and keeps the rows above 0, half of them. Times are
those of CUDA events, the median of 15 after 3; rates count the bytes that the work needs, as
unlade-check counts them.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile

GIB = 1 << 30
ROWS = 2 * GIB // 4
ROUNDS, WARM_UP = 15, 3

CUB = r"""
#include <cub/cub.cuh>
#include <cstdio>
#include <cstdint>
#include <algorithm>
#include <vector>
struct Above { __device__ bool operator()(int value) const { return value > 0; } };
__global__ void fill(int *data, size_t rows) {
    size_t at = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
    for (; at < rows; at += (size_t)gridDim.x * blockDim.x) {
        uint64_t mixed = at * 0x9e3779b97f4a7c15ull;
        mixed ^= mixed >> 32; mixed *= 0xbf58476d1ce4e5b9ull; mixed ^= mixed >> 29;
        data[at] = (int)mixed;
    }
}
int main() {
    size_t rows = ROWS, room = 0;
    int *in, *out; int64_t *kept; void *scratch = nullptr;
    cudaMalloc(&in, rows * 4); cudaMalloc(&out, rows * 4); cudaMalloc(&kept, 8);
    fill<<<4096, 256>>>(in, rows);
    cub::DeviceSelect::If(scratch, room, in, out, kept, (int64_t)rows, Above{});
    cudaMalloc(&scratch, room);
    cudaEvent_t begin, end; cudaEventCreate(&begin); cudaEventCreate(&end);
    std::vector<float> times;
    for (int round = 0; round < 18; ++round) {
        cudaEventRecord(begin);
        cub::DeviceSelect::If(scratch, room, in, out, kept, (int64_t)rows, Above{});
        cudaEventRecord(end); cudaEventSynchronize(end);
        float ms = 0; cudaEventElapsedTime(&ms, begin, end);
        if (round >= 3) times.push_back(ms);
    }
    if (cudaGetLastError() != cudaSuccess) return 1;
    std::sort(times.begin(), times.end());
    printf("%f\n", times[times.size() / 2] / 1e3);
}
""".replace("ROWS", str(ROWS))


def cupy_times():
    import cupy

    data = cupy.random.randint(-(2**31), 2**31 - 1, size=ROWS, dtype=cupy.int32)

    def seconds(work):
        times = []
        for _ in range(ROUNDS + WARM_UP):
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
        return statistics.median(times[WARM_UP:])

    return {
        "mask": seconds(lambda: cupy.packbits(data > 0, bitorder="little")),
        "compaction": seconds(lambda: data[data > 0]),
    }


def torch_times():
    import torch

    data = torch.randint(-(2**31), 2**31 - 1, (ROWS,), dtype=torch.int32, device="cuda")

    def seconds(work):
        times = []
        for _ in range(ROUNDS + WARM_UP):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1e3)
        return statistics.median(times[WARM_UP:])

    return {
        "mask, a byte a row": seconds(lambda: data > 0),
        "compaction": seconds(lambda: torch.masked_select(data, data > 0)),
    }


def cub_times():
    if shutil.which("nvcc") is None:
        raise ImportError("no nvcc")
    with tempfile.TemporaryDirectory() as folder:
        source, binary = folder + "/select.cu", folder + "/select"
        with open(source, "w") as file:
            file.write(CUB)
        build = ["nvcc", "-O3", "-std=c++17", "-arch=native", source, "-o", binary]
        subprocess.run(build, check=True, capture_output=True)
        return {"compaction": float(subprocess.run(binary, check=True, capture_output=True).stdout)}


def bytes_per_row(name):
    return {"mask": 4.125, "mask, a byte a row": 5, "compaction": 6}[name]


def main():
    found = {}
    peers = {"CuPy": cupy_times, "PyTorch": torch_times, "cub::DeviceSelect": cub_times}
    for peer, times in peers.items():
        try:
            found[peer] = {
                name: {
                    "seconds": seconds,
                    "gb_per_s": ROWS * bytes_per_row(name) / seconds / 1e9,
                    "g_rows_per_s": ROWS / seconds / 1e9,
                }
                for name, seconds in times().items()
            }
        except Exception as error:  # whatever keeps a peer from running, it is absent
            found[peer] = None
            print(f"{peer:<20} absent ({type(error).__name__}: {str(error).splitlines()[0][:80]})")
            continue
        for name, figures in found[peer].items():
            print(
                f"{peer:<20} {name:<20} {figures['gb_per_s']:9.1f} GB/s"
                f" {figures['g_rows_per_s']:9.1f} G rows/s"
            )
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=2)


main()
