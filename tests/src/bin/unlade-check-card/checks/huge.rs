//! Memory of huge pages, of which the machine has some.

use std::fs;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use unlade::{Fallback, Placement, Query, Runtime, Semantics, Trust, col, lit};
use unlade_dpu::DpuDevice;
use unlade_hal::{Device, MemoryKind, PageSize, Slab, Slot};
use unlade_sim_card::{Config, Served};
use unlade_tests::cards::{STATUS_AFTER, filter, filter_list, run, values};

use super::{meddled, open};

const HUGE_PAGE: u64 = 2 << 20;

/// Bytes that are reserved for a runtime, or mapped at once.
const RESERVE: u64 = 8 * HUGE_PAGE;

/// A card behind the kernel's VFIO, and one in software, work on huge pages; and on ordinary ones
/// where the way to the card takes no others.
pub(super) fn check(address: &str) -> Result<String, String> {
    let total = pages("HugePages_Total:")?;
    if total * HUGE_PAGE < 4 * RESERVE {
        return Err(format!("the machine has {total} huge pages"));
    }
    let (huge, ordinary) = on_device(&*open(address)?)?;
    // What is contiguous may be mapped at once.
    if !(1..=RESERVE / HUGE_PAGE).contains(&huge) {
        return Err(format!("the IOMMU maps {huge} pieces of a huge slab"));
    }
    through_runtimes(open(address)?, RESERVE / HUGE_PAGE)?;
    let served = Served::start(Config::default()).map_err(|error| error.to_string())?;
    let connect = || {
        let connected = unlade_dpu::connect(served.path(), &unlade_dpu::Options::default());
        connected.map_err(|error| error.to_string())
    };
    let device = connect()?;
    on_device(&device)?;
    device.close();
    through_runtimes(connect()?, RESERVE / HUGE_PAGE)?;
    let (meddler, device) = meddled(address)?;
    meddler.refuse_huge_pages();
    let slab = device.allocate(MemoryKind::Upload, RESERVE);
    let slab = slab.map_err(|error| error.to_string())?;
    if slab.page_size() != Some(PageSize::Base) || meddler.refused() == 0 {
        return Err(format!("refused, memory is of {:?}", slab.page_size()));
    }
    through_runtimes(device, 0)?;
    Ok(format!(
        "of {total}; a slab of {RESERVE} bytes is mapped in {huge} pieces, of ordinary pages in \
         {ordinary}; a card in software works on them, and one that refuses them on ordinary ones"
    ))
}

/// Runs a list over memory of huge pages. In how many pieces the IOMMU maps a slab of such, and one
/// of ordinary pages; none for a card that is behind no IOMMU.
fn on_device(device: &DpuDevice) -> Result<(u64, u64), String> {
    let failed = |error: unlade_hal::AllocError| error.to_string();
    let (slab, huge) = mapped(|| {
        device
            .allocate(MemoryKind::Readback, RESERVE)
            .map_err(failed)
    })?;
    if slab.page_size() != Some(PageSize::Huge) {
        return Err(format!("memory is of {:?}", slab.page_size()));
    }
    let base = Slab::host(MemoryKind::Readback, RESERVE, PageSize::Base).map_err(failed)?;
    let ((), ordinary) = mapped(|| device.register(&base).map_err(failed))?;
    drop((slab, base));
    let input: Vec<i32> = (0..600_000).map(|row| row % 1000).collect();
    let exe = filter(device);
    let mut queue = device.open_queue(1).map_err(|error| error.to_string())?;
    let done = run(&mut *queue, filter_list(device, &exe, &input, 7));
    let are_huge = done.list.slots.iter().all(|slot| match slot {
        Slot::Owned(lease) => lease.slab().page_size() == Some(PageSize::Huge),
        _ => false,
    });
    if !are_huge {
        return Err("a list's memory is not of huge pages".to_owned());
    }
    let wanted: Vec<i32> = input.iter().copied().filter(|value| *value < 7).collect();
    let after = usize::try_from(STATUS_AFTER).expect("a page");
    match values(&done.list, 1, after, wanted.len()) == wanted {
        true => Ok((huge, ordinary)),
        false => Err("what is kept of huge pages is something else".to_owned()),
    }
}

/// A query on the device and nowhere else, whether it is trusted or not, with a reserve of so many
/// huge pages at least.
fn through_runtimes(device: Arc<DpuDevice>, reserved: u64) -> Result<(), String> {
    let batch: ArrayRef = Arc::new(Int32Array::from_iter_values(0..500_000));
    let batch = RecordBatch::try_from_iter([("n", batch)]).expect("one column is a batch");
    let query = Query::filter(col("n").lt(lit(400_000))).select([(col("n") + lit(1)).alias("m")]);
    let wanted: Int32Array = Int32Array::from_iter_values(1..=400_000);
    let name = device.info().name.clone();
    let cpu = unlade::discover().swap_remove(0);
    for trust in [Trust::Trusted, Trust::Untrusted] {
        // What was dropped is unmapped, and free again, when something else is mapped.
        let other = device.allocate(MemoryKind::Upload, 4096);
        drop(other.map_err(|error| error.to_string())?);
        let free = free_pages()?;
        let failed = |error: unlade::Error| format!("{trust:?}: {error}");
        let runtime = Runtime::builder()
            .device(Arc::clone(&cpu))
            .device(device.clone())
            .placement(Placement::Device(name.as_str().into()))
            .fallback(Fallback::Forbid)
            .trust(trust)
            .memory_budget(4 * RESERVE)
            .pool_reserve(RESERVE)
            .build()
            .map_err(failed)?;
        let taken = free.saturating_sub(free_pages()?);
        if (reserved == 0) != (taken == 0) || taken < reserved {
            return Err(format!(
                "{trust:?}: the runtime has taken {taken} huge pages"
            ));
        }
        let kernel = runtime.compile(&query, &batch.schema(), &Semantics::arrow());
        let output = kernel.map_err(failed)?.run(&batch).map_err(failed)?;
        let on = output.receipt.parts.iter().map(|part| &*part.device);
        if !on.clone().eq([name.as_str()]) {
            return Err(format!("{trust:?}: it ran on {:?}", on.collect::<Vec<_>>()));
        }
        if output.batch.column(0).as_ref() != &wanted as &dyn arrow_array::Array {
            return Err(format!("{trust:?}: the result is something else"));
        }
    }
    Ok(())
}

/// Huge pages that nobody has taken or been promised.
fn free_pages() -> Result<u64, String> {
    Ok(pages("HugePages_Free:")? - pages("HugePages_Rsvd:")?)
}

fn pages(name: &str) -> Result<u64, String> {
    let text = fs::read_to_string("/proc/meminfo").map_err(|error| error.to_string())?;
    let count = text.lines().find_map(|line| line.strip_prefix(name));
    let count = count.and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| format!("/proc/meminfo says nothing of {name}"))
}

/// What is done, and how often the kernel has the IOMMU map something meanwhile.
fn mapped<T>(what: impl FnOnce() -> Result<T, String>) -> Result<(T, u64), String> {
    const EVENT: &str = "/sys/kernel/tracing/events/iommu/map/enable";
    const TRACE: &str = "/sys/kernel/tracing/trace";

    let failed = |error: std::io::Error| format!("{EVENT}: {error}");
    fs::write(TRACE, "").map_err(failed)?;
    fs::write(EVENT, "1").map_err(failed)?;
    let done = what();
    fs::write(EVENT, "0").map_err(failed)?;
    let trace = fs::read_to_string(TRACE).map_err(failed)?;
    let maps = trace.lines().filter(|line| line.contains(" map: IOMMU:"));
    let count = maps.count() as u64;
    Ok((done?, count))
}
