//! What can go wrong.

use crate::plan::Fault;

/// A kind of fault. One that harms what a list wrote or counted leaves alone a list that writes no
/// host memory or dispatches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The device's compiler fails.
    CompileFails,
    /// There is no memory.
    AllocationFails,
    /// The driver does not register host pages.
    RegistrationFails,
    /// A queue is not opened: a limit is reached.
    OpenQueueFails,
    /// A reset fails: the device stays lost.
    ResetFails,
    /// A list is turned away: the queue says that it is full.
    QueueFull,
    /// The device is lost when a list is submitted; the list comes back.
    LostAtSubmit,
    /// A wait ends early without its point being reached.
    WaitTimesOut,
    /// A completion, and all behind it, is held back for [`LATE_POLLS`](FaultKind::LATE_POLLS)
    /// polls or waits.
    LateCompletion,
    /// A completion, and all behind it, never comes. Its memory is leaked when the queue ends.
    LostCompletion,
    /// A completion comes twice, the second time without its list, which exists only once.
    DuplicateCompletion,
    /// The device is lost while it writes results: the second half of each span of host memory
    /// that the list writes is garbage.
    PartialWrite,
    /// The device is lost after the list was accepted; its memory is quiet.
    LostInFlight,
    /// One bit of what the list wrote into host memory is wrong; nothing else tells.
    Corruption,
    /// The device claims to have written more rows than it was given.
    CountTooLarge,
}

/// Where a kind of fault can strike. Chances are counted for each kind by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chance {
    /// Each compile.
    Compile,
    /// Each allocation.
    Allocate,
    /// Each registration.
    Register,
    /// Each opening of a queue.
    OpenQueue,
    /// Each reset.
    Reset,
    /// Each submit.
    Submit,
    /// Each wait.
    Wait,
    /// Each completion.
    Completion,
}

impl FaultKind {
    /// Every kind, in a fixed order.
    pub const ALL: [FaultKind; 15] = [
        FaultKind::CompileFails,
        FaultKind::AllocationFails,
        FaultKind::RegistrationFails,
        FaultKind::OpenQueueFails,
        FaultKind::ResetFails,
        FaultKind::QueueFull,
        FaultKind::LostAtSubmit,
        FaultKind::WaitTimesOut,
        FaultKind::LateCompletion,
        FaultKind::LostCompletion,
        FaultKind::DuplicateCompletion,
        FaultKind::PartialWrite,
        FaultKind::LostInFlight,
        FaultKind::Corruption,
        FaultKind::CountTooLarge,
    ];

    /// How many polls and waits a late completion lets pass.
    pub const LATE_POLLS: u32 = 3;

    /// Where it can strike.
    pub const fn chance(self) -> Chance {
        match self {
            FaultKind::CompileFails => Chance::Compile,
            FaultKind::AllocationFails => Chance::Allocate,
            FaultKind::RegistrationFails => Chance::Register,
            FaultKind::OpenQueueFails => Chance::OpenQueue,
            FaultKind::ResetFails => Chance::Reset,
            FaultKind::QueueFull | FaultKind::LostAtSubmit => Chance::Submit,
            FaultKind::WaitTimesOut => Chance::Wait,
            FaultKind::LateCompletion
            | FaultKind::LostCompletion
            | FaultKind::DuplicateCompletion
            | FaultKind::PartialWrite
            | FaultKind::LostInFlight
            | FaultKind::Corruption
            | FaultKind::CountTooLarge => Chance::Completion,
        }
    }

    /// Whether the results of a batch may silently be wrong after it. After every other kind they
    /// are right or there is an error.
    pub const fn is_silent(self) -> bool {
        matches!(self, FaultKind::Corruption)
    }
}

impl Fault for FaultKind {
    type Chance = Chance;

    fn chance(self) -> Chance {
        FaultKind::chance(self)
    }
}
