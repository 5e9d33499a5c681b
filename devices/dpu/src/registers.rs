//! The registers of BAR0: docs/CARD.md, section 3.

use std::fmt;
use std::time::Duration;

/// A place in BAR0, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BarOffset(pub u64);

impl BarOffset {
    pub(crate) fn plus(self, bytes: u64) -> BarOffset {
        BarOffset(self.0 + bytes)
    }
}

pub(crate) const MAGIC: BarOffset = BarOffset(0x0000);
pub(crate) const VERSION: BarOffset = BarOffset(0x0004);
pub(crate) const CAP: BarOffset = BarOffset(0x0008);
pub(crate) const CC: BarOffset = BarOffset(0x0020);
pub(crate) const CSTS: BarOffset = BarOffset(0x0024);
pub(crate) const AQA: BarOffset = BarOffset(0x0028);
pub(crate) const ASQ: BarOffset = BarOffset(0x0030);
pub(crate) const ACQ: BarOffset = BarOffset(0x0038);
pub(crate) const OWNER: BarOffset = BarOffset(0x0040);
pub(crate) const OWNER_NAME: BarOffset = BarOffset(0x0050);

/// Bytes of OWNER_NAME.
pub(crate) const OWNER_NAME_LEN: usize = 32;

/// The value of MAGIC: the bytes `UNLD`.
pub(crate) const MAGIC_VALUE: u32 = 0x444C_4E55;

/// The major version of the interface that this driver speaks.
pub(crate) const MAJOR: u32 = 1;

/// AQA of an admin queue pair with so many entries.
pub(crate) fn aqa(submissions: u32, completions: u32) -> u32 {
    submissions | completions << 16
}

/// CC with EN set.
pub(crate) const CC_ENABLE: u32 = 1;

/// What every register of a card that is gone reads as.
pub(crate) const GONE: u32 = u32::MAX;

const DOORBELLS: u64 = 0x1000;

/// VERSION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) u32);

impl Version {
    pub(crate) fn major(self) -> u32 {
        self.0 >> 16
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [patch, minor, ..] = self.0.to_le_bytes();
        write!(f, "{}.{minor}.{patch}", self.major())
    }
}

/// CAP, whose fields are within what the document allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cap {
    /// Most entries of an I/O queue.
    pub(crate) queue_entries: u32,
    /// Most I/O queue pairs.
    pub(crate) queue_pairs: u16,
    /// Bits of an address that the card can send.
    pub(crate) address_bits: u32,
    /// Most time that enabling and disabling take.
    pub(crate) timeout: Duration,
    /// Bytes from one doorbell to the next.
    doorbell_stride: u64,
}

impl Cap {
    /// Reads the fields, or says which is not as the document demands.
    pub(crate) fn decode(value: u64) -> Result<Self, String> {
        let bits = |low: u32, count: u32| value >> low & ((1 << count) - 1);
        let field = |name: &str, found: u64, least: u64, most: u64| match found {
            found if (least..=most).contains(&found) => Ok(found),
            found => Err(format!("CAP.{name} is {found}, not {least} to {most}")),
        };
        let entries = field("MQES", bits(0, 16), 256, 32_768)?;
        if !entries.is_power_of_two() {
            return Err(format!("CAP.MQES is {entries}, which is no power of two"));
        }
        let stride = field("DSTRD", bits(16, 4), 0, 10)?;
        let halves = field("TO", bits(24, 8), 1, 255)?;
        let highest_bit = field("DAB", bits(32, 6), 31, 63)?;
        let pairs = field("MQP", bits(48, 16), 1, 65_534)?;
        let small = |value: u64| u32::try_from(value).expect("the field has at most 16 bits");
        Ok(Cap {
            queue_entries: small(entries),
            queue_pairs: u16::try_from(pairs).expect("the field has 16 bits"),
            address_bits: small(highest_bit) + 1,
            timeout: Duration::from_millis(500 * halves),
            doorbell_stride: 4 << stride,
        })
    }

    /// The tail doorbell of a submission queue.
    pub(crate) fn submission_tail(&self, queue: u16) -> BarOffset {
        BarOffset(DOORBELLS + 2 * u64::from(queue) * self.doorbell_stride)
    }

    /// The head doorbell of a completion queue.
    pub(crate) fn completion_head(&self, queue: u16) -> BarOffset {
        BarOffset(DOORBELLS + (2 * u64::from(queue) + 1) * self.doorbell_stride)
    }

    /// The most queue pairs whose doorbells lie in a BAR of this length, beside the admin pair's.
    pub(crate) fn pairs_within(&self, bar_len: u64) -> u64 {
        let doorbells = bar_len.saturating_sub(DOORBELLS) / self.doorbell_stride;
        (doorbells / 2).saturating_sub(1)
    }
}

/// CSTS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Csts(pub(crate) u32);

impl Csts {
    pub(crate) fn is_ready(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) fn is_fatal(self) -> bool {
        self.0 & 2 != 0
    }

    pub(crate) fn is_gone(self) -> bool {
        self.0 == GONE
    }

    pub(crate) fn reason(self) -> Reason {
        Reason(self.0.to_le_bytes()[1])
    }
}

/// CSTS.REASON: why a card has stopped by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) u8);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0x01 => "an internal error of the card or its firmware",
            0x02 => "it takes the admin queue for illegal",
            0x03 => "it takes a doorbell's value for illegal",
            0x04 => "it could not read a submission queue or write a completion queue",
            0x05 => "an uncorrectable error in its memory",
            0x06 => "critical temperature",
            0x07 => "its firmware made no progress",
            _ => "a reason that the interface does not know",
        };
        write!(f, "{text} (reason {:#04x})", self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::vectors::Vector;

    pub(crate) fn reads(vector: &Vector) {
        let mut value = [0; 8];
        value[..vector.hex.len()].copy_from_slice(&vector.hex);
        let long = u64::from_le_bytes(value);
        let value = u32::try_from(long & u64::from(u32::MAX)).unwrap();
        match vector.text("register") {
            "CAP" => {
                let cap = Cap::decode(long).unwrap();
                assert_eq!(cap.queue_entries, vector.u32("mqes"));
                assert_eq!(u32::from(cap.queue_pairs), vector.u32("mqp"));
                assert_eq!(cap.address_bits, vector.u32("dab") + 1);
                let timeout = Duration::from_millis(500) * vector.u32("to");
                assert_eq!(cap.timeout, timeout);
                assert_eq!(cap.doorbell_stride, 4 << vector.u32("dstrd"));
            }
            "VERSION" => {
                let [major, minor, patch] =
                    ["major", "minor", "patch"].map(|part| vector.text(part));
                assert_eq!(Version(value).major(), vector.u32("major"));
                assert_eq!(
                    Version(value).to_string(),
                    format!("{major}.{minor}.{patch}")
                );
            }
            "CSTS" => {
                let status = Csts(value);
                let bits = [status.is_ready(), status.is_fatal()].map(u32::from);
                assert_eq!(bits, ["rdy", "fatal"].map(|bit| vector.u32(bit)));
                assert_eq!(u32::from(status.reason().0), vector.u32("reason"));
            }
            "AQA" => {
                let [submissions, completions] =
                    ["submission_entries", "completion_entries"].map(|field| vector.u32(field));
                assert_eq!(aqa(submissions, completions), value);
            }
            "CC" => assert_eq!((CC_ENABLE, vector.u32("en")), (value, 1)),
            other => panic!("{}: {other} is new", vector.name),
        }
    }

    /// MQES 1,024, DSTRD 1, TO 4, DAB 47, MQP 16.
    const VALUE: u64 = 16 << 48 | 47 << 32 | 4 << 24 | 1 << 16 | 1024;

    #[test]
    fn fields_of_cap() {
        let cap = Cap::decode(VALUE).unwrap();
        assert_eq!(
            (cap.queue_entries, cap.queue_pairs, cap.address_bits),
            (1024, 16, 48)
        );
        assert_eq!(cap.timeout, Duration::from_secs(2));
        assert_eq!(cap.submission_tail(0), BarOffset(0x1000));
        assert_eq!(cap.completion_head(0), BarOffset(0x1008));
        assert_eq!(cap.submission_tail(3), BarOffset(0x1030));
        assert_eq!(cap.pairs_within(0x1000 + 17 * 16), 16);
        assert_eq!(cap.pairs_within(0x1000), 0);
    }

    #[test]
    fn a_cap_out_of_range_is_named() {
        for (value, named) in [
            (VALUE & !0xFFFF, "MQES"),
            (VALUE | 1, "MQES"),
            (VALUE | 0xF << 16, "DSTRD"),
            (VALUE & !(0xFF << 24), "TO"),
            (VALUE & !(0x3F << 32), "DAB"),
            (VALUE & !(0xFFFF << 48), "MQP"),
            (u64::MAX, "MQES"),
        ] {
            let error = Cap::decode(value).unwrap_err();
            assert!(error.contains(named), "{value:#x}: {error}");
        }
    }

    #[test]
    fn fields_of_csts() {
        let fatal = Csts(0x0302);
        assert!(fatal.is_fatal() && !fatal.is_ready() && !fatal.is_gone());
        assert!(fatal.reason().to_string().contains("doorbell"));
        assert!(Csts(1).is_ready() && Csts(GONE).is_gone());
        assert_eq!(Version(0x0001_0203).to_string(), "1.2.3");
    }
}
