//! Bytecode from anywhere: it is refused, or it runs and touches nothing but its arguments.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::bytecode::{HEADER, LoadLimits, Program};
use crate::bytes::{index, length};
use crate::dma::{Bus, Dma, Iova, Permissions};
use crate::jobs::{Checker, Execution, Job, Stop, Tamper, execute};
use crate::operand::OPERAND;
use crate::profile::{Nanos, Profile};
use crate::status::Status;

/// What the card makes of a program: accepted, or status, DW0 and DW1 of its refusal.
pub type Verdict = Result<(), (u16, u32, u32)>;

/// Rows that are run. Several tiles of the profile with small ones, and a last byte of masks that
/// is not whole.
const ROWS: u64 = 75;

/// What memory holds that a card is not to write. No result is likely to be that.
const POISON: u8 = 0xA7;

/// Arguments lie so far apart.
const GAP: u64 = 64;

/// Where memory begins that is read, and where that is written.
const READ: u64 = 1 << 20;
const WRITTEN: u64 = 1 << 30;

/// Loads bytes as a program, and runs them where they are one.
///
/// # Panics
/// Where a program that was accepted does not run, or writes what it should not.
pub fn bytecode(bytes: &[u8]) -> Verdict {
    let limits = LoadLimits {
        words: u32::MAX,
        v_registers: 255,
        m_registers: 255,
        ..Profile::full().load_limits()
    };
    let program = Program::load(bytes, &limits)
        .map_err(|refused| (refused.status.code(), refused.dw0, refused.dw1))?;
    for ordinal in [0, 1] {
        run(&program, ordinal);
    }
    Ok(())
}

/// The bytes with the length and the checksum that they should have, behind which the rest is.
pub fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= HEADER {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].fill(0);
        let checksum = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

/// Runs a program on rows that a seed makes, as a job.
fn run(program: &Program, seed: u64) {
    let mut job = JobBuilder::new(program, seed);
    let descriptor = job.descriptor();
    let at = job.read.place(&descriptor);
    let (readable, writable) = (file(&job.read.bytes), file(&job.written.bytes));
    let dma = Dma::default();
    let map = |start, file: &File, len: usize, read| {
        let permissions = Permissions { read, write: !read };
        let file = file.try_clone().expect("a descriptor is free");
        dma.map(Iova(start), length(len), Some(file), 0, permissions)
            .expect("nothing else is mapped");
    };
    map(READ, &readable, job.read.bytes.len(), true);
    map(WRITTEN, &writable, job.written.bytes.len(), false);
    dma.set_bus_master(true);

    let profile = Profile {
        tile_rows: 64,
        operand_alignment: 16,
        ..Profile::full()
    };
    let programs = HashMap::from([(1, Arc::new(program.clone()))]);
    let checker = Checker {
        profile: &profile,
        programs: &programs,
        bus: Bus::of(&dma),
    };
    let checked = Job::check(Iova(at), length(descriptor.len()), &checker)
        .unwrap_or_else(|stop| panic!("a job that is right is refused: {stop:?}"));
    let execution = Execution {
        profile: &profile,
        bus: Bus::of(&dma),
        tamper: Tamper::Nothing,
        fetched: Nanos(0),
        started: Nanos(0),
        limit: Nanos(0),
    };
    match execute(&checked, &execution).stop {
        Stop::Outcome(outcome) if matches!(outcome.status, Status::Success | Status::Trapped) => {}
        other => panic!("a program that was accepted ends with {other:?}"),
    }
    assert_eq!(dma.traffic().refused, 0, "{:?}", dma.traffic());
    job.check(&writable);
}

fn file(bytes: &[u8]) -> File {
    let file = File::from(memfd_create("fuzzing", MemfdFlags::CLOEXEC).expect("memory is free"));
    file.write_all_at(bytes, 0).expect("memory is free");
    file
}

/// Memory that is handed out piece by piece.
struct Area {
    start: u64,
    bytes: Vec<u8>,
}

impl Area {
    fn new(start: u64) -> Area {
        let bytes = vec![POISON; 64];
        Area { start, bytes }
    }

    /// Where the bytes are, with poison behind them.
    fn place(&mut self, bytes: &[u8]) -> u64 {
        let at = length(self.bytes.len());
        self.bytes.extend_from_slice(bytes);
        let end = (length(self.bytes.len()) + 1).next_multiple_of(GAP);
        self.bytes.resize(index(end), POISON);
        self.start + at
    }
}

/// A job of one RUN, with every argument just as long as it has to be.
struct JobBuilder<'a> {
    program: &'a Program,
    state: u64,
    read: Area,
    written: Area,
    arguments: Vec<u8>,
    /// What the job may write: offsets in its area.
    spans: Vec<std::ops::Range<usize>>,
}

impl<'a> JobBuilder<'a> {
    fn new(program: &'a Program, seed: u64) -> Self {
        JobBuilder {
            program,
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            read: Area::new(READ),
            written: Area::new(WRITTEN),
            arguments: Vec::new(),
            spans: Vec::new(),
        }
    }

    fn descriptor(&mut self) -> Vec<u8> {
        let program = self.program;
        for column in &program.columns {
            self.reads(bytes_of(column.ty.bits()));
            match column.validity {
                true => self.reads(bytes_of(1)),
                false => self.arguments.extend([0; OPERAND]),
            }
        }
        for _ in &program.params {
            let value = self.random(16);
            self.arguments.extend(value);
            self.arguments.extend([3, 0, 0, 0, 0, 0, 0, 0]);
        }
        // Of the sets the order is unspecified, and what is answered then.
        for entries in program.tables.iter().chain(&program.sets) {
            self.reads(3 * entries.ty.bits().next_multiple_of(8) as usize / 8);
        }
        if program.emit_mask {
            self.writes(bytes_of(1));
        }
        for output in &program.outputs {
            self.writes(bytes_of(output.ty.bits()));
            match output.validity {
                true => self.writes(bytes_of(1)),
                false => self.arguments.extend([0; OPERAND]),
            }
        }
        let result = self.room(24);
        let sums = 4 * (usize::from(program.emit_mask) + 2 * program.outputs.len());
        let checksums = self.room(sums.max(1));

        let step = 40 + self.arguments.len();
        let mut descriptor = b"UNLJ\x01\0\0\0".to_vec();
        let word = |value: usize| u32::try_from(value).expect("jobs are short").to_le_bytes();
        descriptor.extend(word(32 + step));
        descriptor.extend([1, 0, 0, 0]);
        descriptor.extend([0; 16]);
        descriptor.extend([4, 0, 0, 0]);
        descriptor.extend(word(step));
        descriptor.extend(ROWS.to_le_bytes());
        descriptor.extend([1, 0, 0, 0]);
        descriptor.extend(word(program.arguments()));
        descriptor.extend(result.to_le_bytes());
        descriptor.extend(checksums.to_le_bytes());
        descriptor.append(&mut self.arguments);
        descriptor
    }

    /// Adds an argument that is read.
    fn reads(&mut self, len: usize) {
        let bytes = self.random(len);
        let at = self.read.place(&bytes);
        self.memory(at, len);
    }

    /// Adds an argument that is written.
    fn writes(&mut self, len: usize) {
        let at = self.room(len);
        self.memory(at, len);
    }

    /// Room that may be written.
    fn room(&mut self, len: usize) -> u64 {
        let at = self.written.bytes.len();
        self.spans.push(at..at + len);
        self.written.place(&vec![POISON; len])
    }

    fn memory(&mut self, iova: u64, len: usize) {
        self.arguments.extend(iova.to_le_bytes());
        self.arguments.extend(length(len).to_le_bytes());
        self.arguments.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    }

    fn random(&mut self, len: usize) -> Vec<u8> {
        let next = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            // Small numbers and ends of ranges are what operations meet.
            match self.state % 4 {
                0 => 0,
                1 => 0xFF,
                _ => self.state.to_le_bytes()[5],
            }
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    /// That nothing was written but what may be.
    fn check(&self, written: &File) {
        let mut bytes = vec![0; self.written.bytes.len()];
        written.read_exact_at(&mut bytes, 0).expect("it is memory");
        let mut end = 0;
        for span in &self.spans {
            let outside = &bytes[end..span.start];
            assert!(
                outside.iter().all(|byte| *byte == POISON),
                "the card wrote between {end} and {}",
                span.start
            );
            end = span.end;
        }
        assert!(bytes[end..].iter().all(|byte| *byte == POISON));
    }
}

/// Of all rows of values so wide.
fn bytes_of(bits: u32) -> usize {
    index((ROWS * u64::from(bits)).div_ceil(8))
}
