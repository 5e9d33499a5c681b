//! Faults by their name on the command line.

use unlade_sim_card::Fault;

/// The faults that are checked, each with its name.
const NAMED: [(&str, Fault); 16] = [
    ("late-completion", Fault::LateCompletion),
    ("reordered-completion", Fault::ReorderedCompletion),
    ("partial-dma", Fault::PartialDma),
    ("corrupt-data", Fault::CorruptData),
    ("huge-count", Fault::HugeCount),
    ("change-after-completion", Fault::ChangeAfterCompletion),
    ("duplicate-completion", Fault::DuplicateCompletion),
    ("wrong-phase", Fault::WrongPhase),
    ("reset-in-the-middle", Fault::ResetInTheMiddle),
    ("fatal", Fault::Fatal),
    ("foreign-command-id", Fault::ForeignCommandId),
    ("wild-queue-head", Fault::WildQueueHead),
    ("lost-completion", Fault::LostCompletion),
    ("stuck-doorbell", Fault::StuckDoorbell),
    ("write-outside", Fault::WriteOutside(0)),
    ("removal", Fault::Removal),
];

/// The fault of this name.
pub(crate) fn named(name: &str) -> Option<Fault> {
    let found = NAMED.iter().find(|(known, _)| *known == name);
    found.map(|(_, fault)| *fault)
}
