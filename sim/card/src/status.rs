//! Status codes, docs/CARD.md, section 12.

/// The status of a completion; its discriminant is the code in bits 15:1 of the entry's last field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub(crate) enum Status {
    Success = 0x0000,
    InvalidOpcode = 0x0001,
    InvalidField = 0x0002,
    DuplicateId = 0x0003,
    DmaError = 0x0004,
    Aborted = 0x0006,
    AbortedQueueDeleted = 0x0007,
    UnsupportedFeature = 0x0008,
    QueueExists = 0x0101,
    NoSuchQueue = 0x0102,
    TooManyPrograms = 0x0103,
    UnknownFeature = 0x0105,
    UnknownLog = 0x0106,
    BadList = 0x0107,
    BadDescriptor = 0x0201,
    BadStep = 0x0202,
    BadOperand = 0x0203,
    BadSegments = 0x0204,
    JobLimit = 0x0205,
    UnknownProgram = 0x0206,
    BadArguments = 0x0207,
    BadArgument = 0x0208,
    Trapped = 0x0209,
    JobDmaError = 0x020A,
    JobTimedOut = 0x020B,
    Misaligned = 0x020C,
    ProgramLength = 0x0301,
    ProgramMagic = 0x0302,
    ProgramVersion = 0x0303,
    ProgramChecksum = 0x0304,
    LimitExceeded = 0x0305,
    BadDeclaration = 0x0306,
    UnknownOperation = 0x0308,
    BadType = 0x0309,
    BadVariant = 0x030A,
    Unsupported = 0x030B,
    BadRegister = 0x030C,
    UndefinedRegister = 0x030D,
    RegisterType = 0x030E,
    BadIndex = 0x030F,
    BadImmediate = 0x0310,
    ReservedNotZero = 0x0311,
    BadOrder = 0x0312,
    Incomplete = 0x0313,
}

impl Status {
    pub(crate) fn code(self) -> u16 {
        self as u16
    }
}

/// DW0 where no word or step is at fault.
pub(crate) const NONE: u32 = u32::MAX;

/// How a command ended, as its completion says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) dw0: u32,
    pub(crate) dw1: u32,
}

impl Outcome {
    pub(crate) fn new(status: Status, dw0: u32, dw1: u32) -> Outcome {
        Outcome { status, dw0, dw1 }
    }

    pub(crate) fn success(dw0: u32, dw1: u32) -> Outcome {
        Outcome::new(Status::Success, dw0, dw1)
    }

    /// A status without anything in DW0 and DW1.
    pub(crate) fn plain(status: Status) -> Outcome {
        Outcome::new(status, 0, 0)
    }

    /// An illegal field of the submission entry.
    pub(crate) fn invalid_field(offset: u32) -> Outcome {
        Outcome::new(Status::InvalidField, offset, 0)
    }
}
