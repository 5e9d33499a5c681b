//! A plain simulated device: the whole device interface without any hardware.
//!
//! [`SimDevice`] has memory of its own, at addresses of its own. That memory begins as
//! [poison](POISON) and remembers what was written: a dispatch that reads a byte nobody wrote is a
//! fault, and the device is lost, with the byte named. It refuses host addresses: host pages must be
//! registered, and dispatches work on its own memory only, unless its profile says that it is
//! coherent. It computes with the naive interpreter, so its results are the oracle's.
//!
//! Time is virtual. A [`Profile`] says how fast the device is; a list takes the time of its steps
//! on three engines (copy in, compute, copy out) that work side by side, so lists overlap as on
//! hardware. Completions come in order, and only when the clock has reached them. The clock goes
//! when [`Queue::wait`] waits, when [`Device::compile`] compiles, or when a test advances it; so a
//! run is the same every time.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use unlade_hal::*;
//! use unlade_program::Program;
//! use unlade_sim_device::{Profile, SimDevice};
//!
//! let device = SimDevice::builder(Profile::gpu()).build();
//! let program: Program = "columns c0: i32\n%0 = load c0\n%1 = add %0, %0\noutput %1".parse()?;
//! let exe = device.compile(&Arc::new(program))?;
//!
//! // Four numbers go there and back: 16 bytes in, 16 bytes out, then the status.
//! let mut upload = device.allocate(MemoryKind::Upload, 16)?.lease_whole().unwrap();
//! let local = device.allocate(MemoryKind::DeviceLocal, 64)?.lease_whole().unwrap();
//! for (at, number) in [1i32, 2, 3, 4].into_iter().enumerate() {
//!     upload.bytes_mut().unwrap()[4 * at..][..4].copy_from_slice(&number.to_le_bytes());
//! }
//! let mut list = CommandList::new();
//! let (host, own) = (list.slot(Slot::Owned(upload)), list.slot(Slot::Owned(local)));
//! let span = |slot, bytes| Span { slot, bytes };
//! let memory = |bytes| Arg::Span { span: span(own, bytes), bit_offset: 0 };
//! list.push(Command::Copy { from: span(host, 0..16), to: span(own, 0..16) });
//! list.push(Command::Dispatch {
//!     exe,
//!     rows: 4,
//!     args: [memory(0..16), Arg::Absent, memory(16..32), Arg::Absent].into(),
//!     status: span(own, 32..56),
//! });
//! list.push(Command::Copy { from: span(own, 16..32), to: span(host, 0..16) });
//!
//! let mut queue = device.open_queue(8)?;
//! let seq = queue.submit(list).unwrap();
//! let mut done = Vec::new();
//! queue.poll(&mut done)?;
//! assert!(done.is_empty(), "no time has passed");
//! assert_eq!(queue.wait(seq, Duration::from_secs(1))?, Wait::Reached);
//! queue.poll(&mut done)?;
//! assert_eq!(done[0].outcome, Outcome::Done { written: [4].into() });
//! assert!(done[0].timing.compute >= device.profile().launch_latency);
//! let Slot::Owned(lease) = &done[0].list.slots[0] else { unreachable!() };
//! assert_eq!(lease.bytes().unwrap()[..8], [2, 0, 0, 0, 4, 0, 0, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Several devices on one clock and one bus:
//!
//! ```
//! use unlade_sim_clock::VirtualClock;
//! use unlade_sim_device::{Link, Profile, SimDevice};
//!
//! let (clock, bus) = (VirtualClock::new(), Link::new());
//! let fleet: Vec<SimDevice> = (0..4)
//!     .map(|number| {
//!         let device = SimDevice::builder(Profile::gpu()).name(format!("sim:{number}"));
//!         device.clock(clock.clone()).link(bus.clone()).build()
//!     })
//!     .collect();
//! # assert_eq!(fleet.len(), 4);
//! ```
//!
//! # What is inside
//! - [`SimDevice`], [`Builder`]: the device
//! - [`Profile`], [`Rates`], [`Traffic`]: its speeds
//! - [`Link`]: a bus that devices may share
//!
//! [`Queue::wait`]: unlade_hal::Queue::wait
//! [`Device::compile`]: unlade_hal::Device::compile
#![forbid(unsafe_code)]

mod device;
mod execute;
mod memory;
mod profile;
mod queue;
mod timeline;

pub use device::{Builder, SimDevice};
pub use memory::POISON;
pub use profile::{Profile, Rates, Traffic};
pub use timeline::Link;
