//! Faults by their name on the command line of `unlade-check-card`.

use unlade_sim_card::Fault;

/// The faults that are checked, each with its name.
pub const NAMED: [(&str, Fault); 22] = [
    ("late-completion", Fault::LateCompletion),
    ("reordered-completion", Fault::ReorderedCompletion),
    ("partial-dma", Fault::PartialDma),
    ("corrupt-data", Fault::CorruptData),
    ("huge-count", Fault::HugeCount),
    ("huge-trap", Fault::HugeTrap),
    ("huge-steps", Fault::HugeSteps),
    ("huge-report", Fault::HugeReport),
    ("huge-length", Fault::HugeLength),
    ("huge-list", Fault::HugeList),
    ("huge-identity", Fault::HugeIdentity),
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
pub fn named(name: &str) -> Option<Fault> {
    let found = NAMED.iter().find(|(known, _)| *known == name);
    found.map(|(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name() {
        for fault in Fault::ALL {
            let count = NAMED.iter().filter(|(_, named)| *named == fault).count();
            assert_eq!(count, 1, "{fault:?}");
        }
    }
}
