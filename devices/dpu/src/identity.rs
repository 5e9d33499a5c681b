//! What a card says of itself: docs/CARD.md, section 6, IDENTIFY, with the minimums of section 13.

use unlade_card::Limits;
use unlade_hal::EntryLimits;

use crate::fields::Fields;
use crate::registers::{Cap, MAJOR, Version};

/// The bytes `UNLI`.
const MAGIC: u32 = 0x494C_4E55;

/// Bytes of all tables and sets of a RUN together that every card takes.
const ENTRIES_TOGETHER: u64 = 2 << 20;

/// What a card is and can do. Every field is within what the document allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) version: Version,
    pub(crate) function: Function,
    pub(crate) serial: String,
    pub(crate) model: String,
    pub(crate) firmware: String,
    pub(crate) features: Features,
    /// Of one program.
    pub(crate) program: Limits,
    /// Programs loaded at once.
    pub(crate) programs: u32,
    /// Of a job.
    pub(crate) job: JobLimits,
    /// Where arguments of a program begin, in bytes; a power of two.
    pub(crate) alignment: u64,
    /// Bytes of room that an output needs behind its rows.
    pub(crate) slack: u64,
    /// Entries of the list of operations.
    pub(crate) capabilities: u32,
    /// MSI-X vectors.
    pub(crate) vectors: u16,
}

/// Which function of the card it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// The physical one, of which so many virtual ones can be made.
    Physical { most_virtual: u16 },
    /// A virtual one, by its number, from 1.
    Virtual { number: u16 },
}

impl Function {
    fn decode(number: u16, most_virtual: u16) -> Result<Self, String> {
        match (number, most_virtual) {
            (0, most_virtual) => Ok(Function::Physical { most_virtual }),
            (number, 0) => Ok(Function::Virtual { number }),
            (number, most) => Err(format!(
                "IDENTIFY says that it is virtual function {number}, and has {most} virtual functions \
                 itself"
            )),
        }
    }
}

/// Most that one job may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobLimits {
    pub(crate) steps: u32,
    /// Bytes of the descriptor.
    pub(crate) descriptor: u32,
    /// Rows of a RUN.
    pub(crate) rows: u64,
    /// Bytes of tables and sets of a RUN.
    pub(crate) entries: EntryLimits,
}

/// FEAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features(pub(crate) u64);

impl Features {
    /// Programs that filter columns.
    pub(crate) fn compaction(self) -> bool {
        self.0 & 1 << 0 != 0
    }

    /// COPY_COUNTED.
    pub(crate) fn counted_copy(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// Checksums of outputs.
    pub(crate) fn checksum(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// Reports of jobs.
    pub(crate) fn report(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// It is a model in software.
    pub(crate) fn simulated(self) -> bool {
        self.0 & 1 << 6 != 0
    }
}

impl Identity {
    /// Bytes that mean something.
    pub(crate) const LEN: usize = 216;

    /// Reads what the card wrote, or says which field cannot be.
    pub(crate) fn decode(bytes: &[u8], cap: &Cap) -> Result<Self, String> {
        let fields = Fields(bytes);
        if fields.u32(0) != MAGIC {
            return Err(format!("IDENTIFY begins with {:#010x}", fields.u32(0)));
        }
        let version = Version(fields.u32(4));
        if version.major() != MAJOR {
            return Err(format!("IDENTIFY says that its version is {version}"));
        }
        let at_least = |name: &'static str, found: u32, least: u32| match found {
            found if found >= least => Ok(found),
            found => Err(format!(
                "IDENTIFY says {found} {name}, of which every card has {least}"
            )),
        };
        let least = Limits::LEAST;
        let registers = |name, at, least| {
            let found = at_least(name, u32::from(fields.u16(at)), u32::from(least))?;
            Ok::<_, String>(u16::try_from(found).expect("read from 16 bits").min(255))
        };
        let program = Limits {
            program_bytes: at_least("program bytes", fields.u32(116), least.program_bytes)?,
            words: at_least("program words", fields.u32(120), least.words)?,
            value_registers: registers("V registers", 124, least.value_registers)?,
            mask_registers: registers("M registers", 126, least.mask_registers)?,
            columns: at_least("columns", fields.u32(160), least.columns)?,
            params: at_least("parameters", fields.u32(164), least.params)?,
            tables: at_least("tables", fields.u32(168), least.tables)?,
            sets: at_least("sets", fields.u32(172), least.sets)?,
            outputs: at_least("outputs", fields.u32(176), least.outputs)?,
            constants: at_least("constants", fields.u32(180), least.constants)?,
        };
        let long = |name: &str, found: u64, least: u64| match found {
            found if found >= least => Ok(found),
            found => Err(format!(
                "IDENTIFY says {found} {name}, of which every card has {least}"
            )),
        };
        let table = long("bytes of a table", fields.u64(192), 65_536)?;
        let set = long("bytes of a set", fields.u64(200), 65_536)?;
        let job = JobLimits {
            steps: at_least("steps", fields.u32(144), 256)?,
            descriptor: at_least("descriptor bytes", fields.u32(148), 65_536)?,
            rows: long("rows", fields.u64(152), 1 << 20)?,
            entries: EntryLimits {
                table,
                set,
                together: table.saturating_add(set).max(ENTRIES_TOGETHER),
            },
        };
        let (alignment, slack) = (fields.u32(132), fields.u32(136));
        if !alignment.is_power_of_two() || !(16..=4096).contains(&alignment) || slack > 4096 {
            return Err(format!(
                "IDENTIFY says an alignment of {alignment} and a slack of {slack}"
            ));
        }
        let (pairs, entries) = (fields.u32(104), fields.u32(108));
        let bits = u32::from(fields.u8(184));
        let told = (
            u32::from(cap.queue_pairs),
            cap.queue_entries,
            cap.address_bits,
        );
        if (pairs, entries, bits) != told {
            return Err(format!(
                "IDENTIFY says {pairs} queue pairs of {entries} entries and {bits} address bits, \
                 and CAP {}, {} and {}",
                told.0, told.1, told.2
            ));
        }
        if fields.u8(185) != 1 {
            let major = fields.u8(185);
            return Err(format!(
                "IDENTIFY says that it loads bytecode of version {major}, and this driver writes 1"
            ));
        }
        Ok(Identity {
            version,
            function: Function::decode(fields.u16(12), fields.u16(214))?,
            serial: fields.text::<20>(16),
            model: fields.text::<40>(36),
            firmware: fields.text::<16>(76),
            features: Features(fields.u64(96)),
            program,
            programs: at_least("programs", fields.u32(112), 16)?,
            job,
            alignment: u64::from(alignment),
            slack: u64::from(slack),
            capabilities: fields.u32(188),
            vectors: fields.u16(212),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
