# %% [markdown]
# # Rows per second, by the size of a batch and the device
#
# A small batch is mostly overhead, a large one leaves the cache: somewhere between is where a device
# is at its best. This notebook (cells are marked by `# %%`, as editors and Jupytext have them) runs
# one query on batches of growing size on every device that is present, and draws what it sees to
# `rows_per_second.png`.
#
# Wall time is drawn, from hand-over to result. What a simulated device takes in wall time says nothing:
# its own virtual clock is drawn, in a panel of its own, since times of two clocks must not be compared.

# %%
import sys
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa

import unlade

QUICK = "--quick" in sys.argv[1:]
SIZES = [2**power for power in range(8, 19 if QUICK else 24, 2)]
SECONDS = 0.02 if QUICK else 0.3

random = np.random.default_rng(7)
columns = {name: random.integers(0, 1000, SIZES[-1], dtype=np.int32) for name in "abc"}
whole = pa.record_batch(columns)
QUERY = {"filter": "a > 500 and b < 500", "select": "a, b * 2 + c as d"}

# %% [markdown]
# ## Measure
# The median over as many runs as fit into a fraction of a second, after one to warm up.


# %%
def nanoseconds(kernel, batch):
    """The median time of a run, and the clock that it is by."""
    kernel.run(batch)
    times, ends = [], time.perf_counter() + SECONDS
    while not times or time.perf_counter() < ends:
        begun = time.perf_counter_ns()
        output = kernel.run(batch)
        taken = time.perf_counter_ns() - begun
        (part, *_) = output.receipt.parts
        if part.clock == "virtual":
            taken = part.queued_ns + part.copy_in_ns + part.compute_ns + part.copy_out_ns
        times.append(taken)
    return float(np.median(times)), part.clock


names = [device["name"] for device in unlade.devices()]
curves = {}
for name in names:
    with unlade.Runtime(devices=["cpu", name] if name != "cpu" else ["cpu"], device=name) as runtime:
        kernel = runtime.compile(whole, **QUERY)
        for rows in SIZES:
            taken, clock = nanoseconds(kernel, whole.slice(0, rows))
            curves.setdefault((name, clock), []).append(rows / taken * 1e9)
            print(f"{name:>12} {rows:>9} rows {rows / taken * 1e3:9.1f} M rows/s ({clock})")

# %% [markdown]
# ## Draw

# %%
clocks = sorted({clock for _, clock in curves}, reverse=True)
figure, panels = plt.subplots(
    1, len(clocks), figsize=(1 + 5 * len(clocks), 5), squeeze=False, layout="constrained"
)
for clock, axes in zip(clocks, panels[0], strict=True):
    for name in (name for name, by in curves if by == clock):
        axes.plot(SIZES, curves[name, clock], "-o", label=name, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("rows of a batch")
    axes.set_ylabel(f"rows per second, {clock} time")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
figure.suptitle(f"where {QUERY['filter']}: select {QUERY['select']}", fontsize=10)
figure.savefig("rows_per_second.png", dpi=120)
print("rows_per_second.png")
