//! The CPU as a device: the evaluator behind the interface that every other device has.
//!
//! [`CpuDevice`] has every operation, works on host memory in place (it is coherent, and reads
//! foreign buffers where they lie), and never loses anything. It has no thread of its own: a
//! submitted list runs on the thread that polls or waits. It is what other devices are compared
//! with, and where their work goes when they cannot do it.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use unlade_cpu::CpuDevice;
//! use unlade_hal::*;
//! use unlade_program::Program;
//!
//! let device = CpuDevice::new();
//! let program: Program = "columns c0: i32\n%0 = load c0\n%1 = add %0, %0\noutput %1".parse()?;
//! let exe = device.compile(&Arc::new(program))?;
//!
//! let numbers: Vec<u8> = [1i32, 2, 3].iter().flat_map(|number| number.to_le_bytes()).collect();
//! let room = device.allocate(MemoryKind::Readback, 4096)?.lease_whole().unwrap();
//! let slack = device.capabilities().slack; // room to store whole vectors
//! let mut list = CommandList::new();
//! let input = list.slot(Slot::Foreign(numbers.into()));
//! let output = list.slot(Slot::Owned(room));
//! let memory = |slot, bytes| Arg::Span { span: Span { slot, bytes }, bit_offset: 0 };
//! list.push(Command::Dispatch {
//!     exe,
//!     rows: 3,
//!     args: [memory(input, 0..12), Arg::Absent, memory(output, 64..76 + slack), Arg::Absent].into(),
//!     status: Span { slot: output, bytes: 0..24 },
//! });
//!
//! let mut queue = device.open_queue(1)?;
//! let seq = queue.submit(list).unwrap();
//! assert_eq!(queue.wait(seq, Duration::from_secs(10))?, Wait::Reached);
//! let mut done = Vec::new();
//! queue.poll(&mut done)?;
//! assert_eq!(done[0].outcome, Outcome::Done { written: [3].into() });
//! let Slot::Owned(lease) = &done[0].list.slots[1] else { unreachable!() };
//! assert_eq!(lease.bytes().unwrap()[64..72], [2, 0, 0, 0, 4, 0, 0, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A caller that has slices and needs no queue runs the same executable itself: its code is an
//! [`unlade_eval::Executable`], as `exe.code::<unlade_eval::Executable>()` returns it.
#![forbid(unsafe_code)]

mod device;
mod execute;
mod queue;

pub use device::CpuDevice;
