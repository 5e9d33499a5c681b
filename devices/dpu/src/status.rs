//! Status codes of completions: docs/CARD.md, section 12.

use std::fmt;

/// Bits 15:1 of a completion's last field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusCode(pub(crate) u16);

impl StatusCode {
    pub(crate) const SUCCESS: StatusCode = StatusCode(0x0000);
    pub(crate) const ABORTED_QUEUE_DELETED: StatusCode = StatusCode(0x0007);
    pub(crate) const TOO_MANY_PROGRAMS: StatusCode = StatusCode(0x0103);
    pub(crate) const OUT_OF_MEMORY: StatusCode = StatusCode(0x0104);
    pub(crate) const TRAPPED: StatusCode = StatusCode(0x0209);

    fn name(self) -> &'static str {
        match self.0 {
            0x0000 => "SUCCESS",
            0x0001 => "INVALID_OPCODE",
            0x0002 => "INVALID_FIELD",
            0x0003 => "DUPLICATE_ID",
            0x0004 => "DMA_ERROR",
            0x0005 => "INTERNAL_ERROR",
            0x0006 => "ABORTED",
            0x0007 => "ABORTED_QUEUE_DELETED",
            0x0008 => "UNSUPPORTED_FEATURE",
            0x0101 => "QUEUE_EXISTS",
            0x0102 => "NO_SUCH_QUEUE",
            0x0103 => "TOO_MANY_PROGRAMS",
            0x0104 => "OUT_OF_MEMORY",
            0x0105 => "UNKNOWN_FEATURE",
            0x0106 => "UNKNOWN_LOG",
            0x0107 => "BAD_LIST",
            0x0201 => "BAD_DESCRIPTOR",
            0x0202 => "BAD_STEP",
            0x0203 => "BAD_OPERAND",
            0x0204 => "BAD_SEGMENTS",
            0x0205 => "JOB_LIMIT",
            0x0206 => "UNKNOWN_PROGRAM",
            0x0207 => "BAD_ARGUMENTS",
            0x0208 => "BAD_ARGUMENT",
            0x0209 => "TRAPPED",
            0x020A => "JOB_DMA_ERROR",
            0x020B => "JOB_TIMED_OUT",
            0x020C => "MISALIGNED",
            0x0301 => "PROGRAM_LENGTH",
            0x0302 => "PROGRAM_MAGIC",
            0x0303 => "PROGRAM_VERSION",
            0x0304 => "PROGRAM_CHECKSUM",
            0x0305 => "LIMIT_EXCEEDED",
            0x0306 => "BAD_DECLARATION",
            0x0308 => "UNKNOWN_OPERATION",
            0x0309 => "BAD_TYPE",
            0x030A => "BAD_VARIANT",
            0x030B => "UNSUPPORTED",
            0x030C => "BAD_REGISTER",
            0x030D => "UNDEFINED_REGISTER",
            0x030E => "REGISTER_TYPE",
            0x030F => "BAD_INDEX",
            0x0310 => "BAD_IMMEDIATE",
            0x0311 => "RESERVED_NOT_ZERO",
            0x0312 => "BAD_ORDER",
            0x0313 => "INCOMPLETE",
            _ => "an unknown status",
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#06x})", self.name(), self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use unlade_hal::CommandList;

    use super::*;
    use crate::completion::outcome;
    use crate::entry::Answer;
    use crate::fault::Fault;
    use crate::vectors::Vector;

    /// Codes and their names by section 12 of the document.
    fn documented() -> BTreeMap<u16, &'static str> {
        let document = include_str!("../../../docs/CARD.md");
        let (_, behind) = document.split_once("\n## 12. ").unwrap();
        let (section, _) = behind.split_once("\n## 13. ").unwrap();
        let rows = section.lines().filter_map(|line| {
            let (code, rest) = line.strip_prefix("| `0x")?.split_once("` | ")?;
            let code = u16::from_str_radix(code, 16).ok()?;
            Some((code, rest.split_once(' ')?.0))
        });
        rows.collect()
    }

    /// The answer of a card that refuses, as the driver takes it from a ring.
    pub(crate) fn reads(vector: &Vector) {
        let (code, dw0, dw1) = (vector.u32("status"), vector.u32("dw0"), vector.u32("dw1"));
        let low = u64::from(dw0) | u64::from(dw1) << 32;
        let answer = Answer::decode(low, u64::from(code) << 49 | 1 << 48);
        let refused = outcome(&CommandList::new(), &answer).unwrap_err();
        let status = StatusCode(code.try_into().unwrap());
        let wanted = Fault::Refused {
            what: "a job",
            status,
            dw0,
            dw1,
        };
        assert_eq!(refused, wanted, "{}", vector.name);
        let name = documented()[&status.0];
        let told = format!("{name} ({code:#06x}) (DW0 {dw0:#x}, DW1 {dw1:#x})");
        assert!(
            refused.to_string().ends_with(&told),
            "{}: {refused}",
            vector.name
        );
    }

    #[test]
    fn each_code_has_the_documents_name() {
        let documented = documented();
        assert!(documented.len() > 40, "{documented:?}");
        // A completion has 15 bits for it.
        for code in 0..1 << 15 {
            let wanted = documented
                .get(&code)
                .copied()
                .unwrap_or("an unknown status");
            assert_eq!(StatusCode(code).name(), wanted, "{code:#06x}");
        }
    }
}
