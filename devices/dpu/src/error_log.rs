//! The log of errors: docs/CARD.md, section 6, page `0x03`.

use std::fmt;
use std::time::Duration;

use crate::fields::Fields;
use crate::registers::Reason;
use crate::shared::Trouble;
use crate::status::StatusCode;

/// The log, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorLog {
    pub(crate) errors: Vec<Noted>,
}

/// One that the card has noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    /// From 1, over the card's life or since it was powered.
    number: u64,
    /// On the card's clock.
    time: Duration,
    /// None in particular where this is nothing.
    queue: Option<u16>,
    id: u16,
    what: What,
    dw0: u32,
    dw1: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A command that it has answered so.
    Command(StatusCode),
    /// It has stopped by itself.
    Stopped(Reason),
}

impl ErrorLog {
    /// Bytes of an entry.
    pub(crate) const ENTRY: usize = 32;

    /// Most entries.
    pub(crate) const MOST: u32 = 64;

    /// Reads entries without their header, or says what cannot be.
    pub(crate) fn decode(entries: &[u8]) -> Result<Self, String> {
        let (entries, _) = entries.as_chunks::<{ ErrorLog::ENTRY }>();
        let errors: Result<Vec<Noted>, String> = entries.iter().map(Noted::decode).collect();
        let errors = errors?;
        if let Some(pair) = errors
            .windows(2)
            .find(|pair| pair[0].number <= pair[1].number)
        {
            let (newer, older) = (pair[0].number, pair[1].number);
            return Err(format!(
                "its log of errors has number {newer} before {older}, and the newest come first"
            ));
        }
        Ok(ErrorLog { errors })
    }
}

impl Noted {
    fn decode(entry: &[u8; ErrorLog::ENTRY]) -> Result<Self, String> {
        let fields = Fields(entry);
        let (number, status, reason) = (fields.u64(0), fields.u16(20), fields.u16(22));
        let what = match (status, u8::try_from(reason)) {
            _ if number == 0 => return Err("its log of errors has a number 0".to_owned()),
            (0, Ok(reason @ 1..)) => What::Stopped(Reason(reason)),
            (1.., Ok(0)) => What::Command(StatusCode(status)),
            _ => {
                return Err(format!(
                    "error {number} of its log has status {status:#06x} and reason {reason:#06x}, of \
                     which one is zero"
                ));
            }
        };
        Ok(Noted {
            number,
            time: Duration::from_nanos(fields.u64(8)),
            queue: Some(fields.u16(16)).filter(|queue| *queue != u16::MAX),
            id: fields.u16(18),
            what,
            dw0: fields.u32(24),
            dw1: fields.u32(28),
        })
    }
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Noted {
            number,
            time,
            id,
            dw0,
            dw1,
            ..
        } = self;
        write!(f, "error {number}, at {time:?} of the card's time: ")?;
        match (self.what, self.queue) {
            (What::Stopped(reason), _) => write!(f, "it stopped by itself: {reason}"),
            (What::Command(status), None) => write!(f, "{status} (DW0 {dw0:#x}, DW1 {dw1:#x})"),
            (What::Command(status), Some(queue)) => write!(
                f,
                "command {id} of queue {queue}: {status} (DW0 {dw0:#x}, DW1 {dw1:#x})"
            ),
        }
    }
}

/// What was read of a card, in words. What the driver has to say of the card is none of its errors, and
/// neither is a job that trapped: that is an error of the data.
pub(crate) fn words(read: Result<ErrorLog, Trouble>) -> Result<Vec<String>, String> {
    let of_the_card = |noted: &&Noted| noted.what != What::Command(StatusCode::TRAPPED);
    match read {
        Ok(log) => Ok({ log.errors.iter() }
            .filter(of_the_card)
            .map(Noted::to_string)
            .collect()),
        Err(Trouble::Harmless(fault)) => Err(fault.to_string()),
        // Its health says why it is.
        Err(Trouble::Lost(_)) => Ok(Vec::new()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use unlade_hal::DeviceLost;

    use super::*;
    use crate::fault::Fault;
    use crate::vectors::{self, Vector};

    /// Bytes of the header.
    const HEADER: usize = 16;

    pub(crate) fn reads(vector: &Vector) {
        let short = |field: &str| u16::try_from(vector.number(field)).unwrap();
        let errors = (0..vector.count("entry", ".number")).map(|entry| {
            let field = |name: &str| format!("entry.{entry}.{name}");
            let (status, reason) = (short(&field("status_code")), short(&field("reason")));
            Noted {
                number: vector.u64(&field("number")),
                time: Duration::from_nanos(vector.u64(&field("time"))),
                queue: Some(short(&field("queue"))).filter(|queue| *queue != u16::MAX),
                id: short(&field("command_id")),
                what: match reason {
                    0 => What::Command(StatusCode(status)),
                    reason => What::Stopped(Reason(reason.try_into().unwrap())),
                },
                dw0: vector.u32(&field("dw0")),
                dw1: vector.u32(&field("dw1")),
            }
        });
        let wanted = ErrorLog {
            errors: errors.collect(),
        };
        assert_eq!(wanted.errors.len(), vector.u32("entries") as usize);
        assert_eq!(ErrorLog::ENTRY, vector.u32("bytes_of_an_entry") as usize);
        assert_eq!(ErrorLog::decode(&vector.hex[HEADER..]), Ok(wanted));
    }

    fn entry(number: u64, status: u16, reason: u16) -> [u8; ErrorLog::ENTRY] {
        let mut entry = [0; ErrorLog::ENTRY];
        entry[..8].copy_from_slice(&number.to_le_bytes());
        entry[20..22].copy_from_slice(&status.to_le_bytes());
        entry[22..24].copy_from_slice(&reason.to_le_bytes());
        entry
    }

    #[test]
    fn what_no_log_has_is_named() {
        let error = |entries: &[[u8; ErrorLog::ENTRY]]| {
            ErrorLog::decode(entries.as_flattened()).unwrap_err()
        };
        assert!(error(&[entry(0, 2, 0)]).contains("number 0"));
        assert!(error(&[entry(1, 0, 0)]).contains("of which one is zero"));
        assert!(error(&[entry(1, 2, 3)]).contains("of which one is zero"));
        assert!(error(&[entry(1, 0, 0x100)]).contains("of which one is zero"));
        assert!(error(&[entry(1, 2, 0), entry(2, 2, 0)]).contains("number 1 before 2"));
        assert!(error(&[entry(3, 2, 0), entry(3, 2, 0)]).contains("number 3 before 3"));
        assert_eq!(ErrorLog::decode(&[]), Ok(ErrorLog::default()));
    }

    #[test]
    fn what_was_noted_is_said_in_words() {
        let log = vectors::bytes("log_errors");
        let told = words(Ok(ErrorLog::decode(&log[HEADER..]).unwrap()));
        assert_eq!(told.unwrap(), TOLD);
    }

    #[test]
    fn what_keeps_the_log_from_being_read_is_no_error_of_the_card() {
        let refused = Fault::Refused {
            what: "GET_LOG of the errors",
            status: StatusCode::OUT_OF_MEMORY,
            dw0: 0,
            dw1: 0,
        };
        let why = words(Err(Trouble::Harmless(refused))).unwrap_err();
        assert!(why.contains("refuses GET_LOG of the errors"), "{why}");
        let lost = DeviceLost {
            device: "dpu".to_owned(),
            reason: "it was removed".to_owned(),
        };
        assert_eq!(words(Err(Trouble::Lost(lost))), Ok(Vec::new()));
    }

    /// What the document's example says of the card: the newest of its entries is a job that trapped.
    const TOLD: [&str; 2] = [
        "error 73588229204, at 9.876543209s of the card's time: it stopped by itself: it could not \
         read a submission queue or write a completion queue (reason 0x04)",
        "error 73588229203, at 9.876543208s of the card's time: command 7 of queue 0: UNSUPPORTED \
         (0x030b) (DW0 0x4, DW1 0x90)",
    ];
}
