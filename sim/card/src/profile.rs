//! Kinds of cards: what one has, how much of it, and how fast it is.

use crate::bytecode::LoadLimits;
use crate::capability::Capabilities;
use crate::operand::AddressBits;

/// Time on the simulated clock, in nanoseconds since the card began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// How long work takes on the simulated clock.
///
/// A job is fetched and checked, which takes every job as long, and then takes the engine as long as
/// the slower of bus and engine needs: reads, words and writes overlap. While the engine works on
/// one job, the next ones are fetched, so a host that sends jobs ahead keeps the engine busy.
///
/// What a host takes between a completion and the doorbell that follows from it passes on the clock,
/// too: a job is fetched no earlier than that after the last completion that was posted before its
/// doorbell. So the engine is idle where a host waits for each job before it sends the next, and as
/// much longer as the jobs are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Bytes that the bus moves in a second, both directions together.
    pub bus_bytes_per_second: u64,
    /// Nanoseconds from the fetch of a job to its start, if the engine is free then.
    pub job_nanos: u64,
    /// Picoseconds that the engine takes for one word on one row.
    pub word_picos: u64,
    /// Nanoseconds from a completion's interrupt to the thread that waits for it.
    pub interrupt_nanos: u64,
    /// Nanoseconds that a host takes from there to the next doorbell.
    pub host_nanos: u64,
    /// Nanoseconds that a doorbell takes to the card.
    pub doorbell_nanos: u64,
}

impl Timing {
    /// From a completion to the arrival of a doorbell that follows from it.
    pub(crate) fn turnaround(self) -> Nanos {
        Nanos(self.interrupt_nanos + self.host_nanos + self.doorbell_nanos)
    }

    /// The engine's time for a job that moved so many bytes and ran so many words, all rows together.
    pub(crate) fn duration(self, bytes: u64, words: u128) -> Nanos {
        let bus = u128::from(bytes) * 1_000_000_000 / u128::from(self.bus_bytes_per_second.max(1));
        let engine = words * u128::from(self.word_picos) / 1000;
        let total = bus.max(engine);
        // Far below 2^63, so that sums of times do not overflow: 292 years.
        Nanos(u64::try_from(total).unwrap_or(u64::MAX).min(1 << 62))
    }
}

/// Features of docs/CARD.md, section 11, that a card may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Programs with KEEP and outputs.
    pub compaction: bool,
    /// COPY_COUNTED.
    pub counted_copy: bool,
    /// Checksum blocks.
    pub checksum: bool,
    /// Reports.
    pub report: bool,
    /// ABORT.
    pub abort: bool,
    /// The job time limit of SET_FEATURES; it is one on the simulated clock.
    pub job_time_limit: bool,
}

impl Features {
    /// FEAT. The card never holds interrupts back, so it has no COALESCING.
    pub(crate) fn bits(self) -> u64 {
        let bit = |number: u32, has: bool| u64::from(has) << number;
        let simulated = bit(6, true);
        bit(0, self.compaction)
            | bit(1, self.counted_copy)
            | bit(2, self.checksum)
            | bit(3, self.report)
            | bit(4, self.abort)
            | simulated
            | bit(7, self.job_time_limit)
    }
}

/// A kind of card. The fields are those of IDENTIFY, docs/CARD.md, section 6, in its units.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// The model's name, at most 40 bytes of ASCII.
    pub model: String,
    /// The minor version of the interface that it says it speaks, VERSION: 0, or that of a later card,
    /// which has more than this one.
    pub minor_version: u8,
    /// The patch of that.
    pub patch: u8,
    /// Most virtual functions; 0 without SR-IOV.
    pub virtual_functions: u16,
    /// I/O queue pairs, CAP.MQP.
    pub queue_pairs: u16,
    /// Most entries of a queue, CAP.MQES; a power of two.
    pub queue_entries: u16,
    /// Doorbells are `4 << doorbell_stride` bytes apart, CAP.DSTRD.
    pub doorbell_stride: u8,
    /// Units of 500 ms that enabling takes at most, CAP.TO.
    pub timeout: u8,
    /// Address bits that the card can send, 32 to 64; CAP.DAB and one.
    pub address_bits: u8,
    /// Vectors of MSI-X.
    pub vectors: u16,
    /// What the card has of the optional features.
    pub features: Features,
    /// Programs loaded at once.
    pub programs: u32,
    /// Bytes of one program.
    pub program_bytes: u32,
    /// Words of one program.
    pub program_words: u32,
    /// Constants of one program.
    pub constants: u32,
    /// Columns of one program.
    pub columns: u32,
    /// Parameters of one program.
    pub params: u32,
    /// Tables of one program.
    pub tables: u32,
    /// Sets of one program.
    pub sets: u32,
    /// Outputs of one program.
    pub outputs: u32,
    /// V registers.
    pub v_registers: u16,
    /// M registers.
    pub m_registers: u16,
    /// Rows that the card takes at a time.
    pub tile_rows: u32,
    /// Alignment of arguments, in bytes.
    pub operand_alignment: u32,
    /// Bytes that outputs need behind their last.
    pub write_slack: u32,
    /// Segments of one operand.
    pub segments: u32,
    /// Steps of one job.
    pub steps: u32,
    /// Bytes of one descriptor.
    pub descriptor_bytes: u32,
    /// Rows of one RUN.
    pub rows: u64,
    /// Bytes of one table.
    pub table_bytes: u64,
    /// Bytes of one set.
    pub set_bytes: u64,
    /// Jobs that the card fetches ahead.
    pub jobs_in_flight: u32,
    /// How fast it is.
    pub timing: Timing,
    /// What it executes.
    pub(crate) capabilities: Capabilities,
}

impl Profile {
    /// A card with every operation and nearly every feature, and generous limits.
    pub fn full() -> Profile {
        Profile {
            model: "Unlade simulated card, full".to_owned(),
            minor_version: 0,
            patch: 0,
            virtual_functions: 0,
            queue_pairs: 64,
            queue_entries: 1024,
            doorbell_stride: 0,
            timeout: 20,
            address_bits: 48,
            vectors: 65,
            features: Features {
                compaction: true,
                counted_copy: true,
                checksum: true,
                report: true,
                abort: true,
                job_time_limit: true,
            },
            programs: 1024,
            program_bytes: 4 << 20,
            program_words: 131_072,
            constants: 65_536,
            columns: 4096,
            params: 16_384,
            tables: 1024,
            sets: 1024,
            outputs: 4096,
            v_registers: 32,
            m_registers: 32,
            tile_rows: 1024,
            operand_alignment: 64,
            write_slack: 0,
            segments: 4096,
            steps: 4096,
            descriptor_bytes: 4 << 20,
            rows: 1 << 31,
            table_bytes: 64 << 20,
            set_bytes: 1 << 20,
            jobs_in_flight: 256,
            timing: Timing {
                bus_bytes_per_second: 12_000_000_000,
                job_nanos: 2_000,
                word_picos: 20,
                interrupt_nanos: 5_000,
                host_nanos: 5_000,
                doorbell_nanos: 500,
            },
            capabilities: Capabilities::all(),
        }
    }

    /// A card with the least that the document allows: no optional feature, the limits of section
    /// 13, a wide doorbell stride, a coarse alignment, slack behind outputs, and neither decimals
    /// nor division, tables or sets.
    pub fn small() -> Profile {
        let lacks = |operation, operand, result| {
            let i128 = 6;
            let divides = (23..=25).contains(&operation) || operation == 33;
            let looks_up = (100..=102).contains(&operation);
            operand == i128 || result == i128 || divides || looks_up
        };
        Profile {
            model: "Unlade simulated card, small".to_owned(),
            minor_version: 0,
            patch: 0,
            virtual_functions: 0,
            queue_pairs: 1,
            queue_entries: 256,
            doorbell_stride: 3,
            timeout: 1,
            address_bits: 32,
            vectors: 2,
            features: Features {
                compaction: false,
                counted_copy: false,
                checksum: false,
                report: false,
                abort: false,
                job_time_limit: false,
            },
            programs: 16,
            program_bytes: 262_144,
            program_words: 4096,
            constants: 1024,
            columns: 64,
            params: 256,
            tables: 16,
            sets: 16,
            outputs: 64,
            v_registers: 16,
            m_registers: 16,
            tile_rows: 64,
            operand_alignment: 4096,
            write_slack: 64,
            segments: 256,
            steps: 256,
            descriptor_bytes: 65_536,
            rows: 1 << 20,
            table_bytes: 65_536,
            set_bytes: 65_536,
            jobs_in_flight: 1,
            timing: Timing {
                bus_bytes_per_second: 1_000_000_000,
                job_nanos: 10_000,
                word_picos: 1_000,
                interrupt_nanos: 5_000,
                host_nanos: 5_000,
                doorbell_nanos: 500,
            },
            capabilities: Capabilities::all().without(lacks),
        }
    }

    /// A card between the two: it filters, copies as many bytes as a count says and writes reports, but
    /// has no decimals, checksums, ABORT or time limit; it sends 40 address bits, and its alignment,
    /// slack and limits are no others' either.
    pub fn narrow() -> Profile {
        let i128 = 6;
        let lacks = |_, operand, result| operand == i128 || result == i128;
        Profile {
            model: "Unlade simulated card, narrow".to_owned(),
            minor_version: 0,
            patch: 0,
            virtual_functions: 0,
            queue_pairs: 4,
            queue_entries: 512,
            doorbell_stride: 1,
            timeout: 4,
            address_bits: 40,
            vectors: 5,
            features: Features {
                compaction: true,
                counted_copy: true,
                checksum: false,
                report: true,
                abort: false,
                job_time_limit: false,
            },
            programs: 64,
            program_bytes: 1 << 20,
            program_words: 16_384,
            constants: 4096,
            columns: 256,
            params: 1024,
            tables: 64,
            sets: 64,
            outputs: 256,
            v_registers: 20,
            m_registers: 24,
            tile_rows: 192,
            operand_alignment: 128,
            write_slack: 16,
            segments: 1024,
            steps: 512,
            descriptor_bytes: 262_144,
            rows: 1 << 24,
            table_bytes: 1 << 20,
            set_bytes: 131_072,
            jobs_in_flight: 8,
            timing: Timing {
                bus_bytes_per_second: 6_000_000_000,
                job_nanos: 5_000,
                word_picos: 100,
                interrupt_nanos: 5_000,
                host_nanos: 5_000,
                doorbell_nanos: 500,
            },
            capabilities: Capabilities::all().without(lacks),
        }
    }

    /// The profile of this name, one of [`Profile::NAMES`].
    pub fn by_name(name: &str) -> Option<Profile> {
        match name {
            "full" => Some(Profile::full()),
            "narrow" => Some(Profile::narrow()),
            "small" => Some(Profile::small()),
            _ => None,
        }
    }

    /// The names that [`Profile::by_name`] knows.
    pub const NAMES: [&str; 3] = ["full", "narrow", "small"];

    /// Makes the card lack the entries of its list of which the function says so. Given are the
    /// numbers of operation, operand type and result type.
    pub fn without(mut self, lacks: impl Fn(u16, u8, u8) -> bool) -> Profile {
        self.capabilities = self.capabilities.without(lacks);
        self
    }

    /// The list of what the card executes, as log page 2 has it.
    pub fn capability_page(&self) -> Vec<u8> {
        self.capabilities.page()
    }

    /// The limits of docs/CARD.md, section 13, without which registers and IDENTIFY have no values.
    pub(crate) fn assert_legal(&self) {
        let within = |name: &str, value: u64, least: u64, most: u64| {
            assert!(
                (least..=most).contains(&value),
                "{name} of the profile is {value}, and has to be {least} to {most}"
            );
        };
        within("model", crate::bytes::length(self.model.len()), 0, 40);
        within("queue_pairs", self.queue_pairs.into(), 1, 65_534);
        within("queue_entries", self.queue_entries.into(), 256, 32_768);
        within("doorbell_stride", self.doorbell_stride.into(), 0, 10);
        within("timeout", self.timeout.into(), 1, 255);
        within("address_bits", self.address_bits.into(), 32, 64);
        within("vectors", self.vectors.into(), 2, 2048);
        within("v_registers", self.v_registers.into(), 1, 255);
        within("m_registers", self.m_registers.into(), 1, 255);
        within("tile_rows", self.tile_rows.into(), 64, 1 << 20);
        within("operand_alignment", self.operand_alignment.into(), 16, 4096);
        within("write_slack", self.write_slack.into(), 0, 4096);
        within("jobs_in_flight", self.jobs_in_flight.into(), 1, 65_536);
        within("rows", self.rows, 1, i64::MAX.cast_unsigned());
        within("steps", self.steps.into(), 1, 65_536);
        assert!(
            self.tile_rows.is_multiple_of(64),
            "tile_rows of the profile has to be a multiple of 64"
        );
        assert!(
            self.queue_entries.is_power_of_two() && self.operand_alignment.is_power_of_two(),
            "queue_entries and operand_alignment of the profile have to be powers of two"
        );
    }

    pub(crate) fn address_bits(&self) -> AddressBits {
        AddressBits(self.address_bits)
    }

    pub(crate) fn load_limits(&self) -> LoadLimits {
        LoadLimits {
            bytes: self.program_bytes,
            words: self.program_words,
            constants: self.constants,
            columns: self.columns,
            params: self.params,
            tables: self.tables,
            sets: self.sets,
            outputs: self.outputs,
            v_registers: self.v_registers,
            m_registers: self.m_registers,
            compaction: self.features.compaction,
            capabilities: self.capabilities.clone(),
        }
    }

    /// Bytes that all tables and sets of one RUN have together at most, docs/CARD.md, section 13.
    pub(crate) fn entry_bytes(&self) -> u64 {
        const LEAST: u64 = 2 << 20;
        self.table_bytes.saturating_add(self.set_bytes).max(LEAST)
    }

    /// VERSION: major version 1.
    pub(crate) fn version(&self) -> u32 {
        1 << 16 | u32::from(self.minor_version) << 8 | u32::from(self.patch)
    }

    /// CAP.
    pub(crate) fn cap(&self) -> u64 {
        u64::from(self.queue_entries)
            | u64::from(self.doorbell_stride) << 16
            | u64::from(self.timeout) << 24
            | u64::from(self.address_bits - 1) << 32
            | u64::from(self.queue_pairs) << 48
    }
}
