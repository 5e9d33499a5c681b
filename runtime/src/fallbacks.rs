//! Work that went elsewhere than it was meant to: told once for each reason, and counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::metrics::FALLBACKS;
use crate::receipt::{PartReceipt, Reason};
use crate::sync::{Mutex, lock};

/// Reasons that are told apart; further ones are not told, and counted together.
const MOST: usize = 256;

/// Why work went elsewhere, and how often it did for that reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FallbackStatus {
    /// Why, in words that begin with the device that it was meant for.
    pub reason: Arc<str>,
    /// Parts of batches that went elsewhere for that reason.
    pub parts: u64,
}

/// The reasons for which work went elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Fallbacks {
    seen: Mutex<BTreeMap<Arc<str>, u64>>,
}

impl Fallbacks {
    /// Takes note of a part, if it was meant for another device.
    pub(crate) fn note(&self, part: &PartReceipt) {
        let Some((device, kind)) = meant_for(&part.reason) else {
            return;
        };
        FALLBACKS.counter(&[device, kind]).increment(1);
        let reason: Arc<str> = part.reason.to_string().into();
        let mut seen = lock(&self.seen);
        if let Some(parts) = seen.get_mut(&reason) {
            *parts += 1;
            return;
        }
        let is_told = seen.len() < MOST;
        let reason = if is_told { reason } else { "others".into() };
        *seen.entry(Arc::clone(&reason)).or_default() += 1;
        drop(seen);
        let instead = &part.device;
        match part.reason {
            _ if !is_told => {}
            // As it was made: nothing is wrong.
            Reason::Unsupported { .. } | Reason::Compiling { .. } => {
                tracing::info!("{reason}; {instead} does that work (this is said once)");
            }
            _ => tracing::warn!("{reason}; {instead} does that work (this is said once)"),
        }
    }

    pub(crate) fn status(&self) -> Vec<FallbackStatus> {
        let seen = lock(&self.seen);
        let each = seen.iter().map(|(reason, parts)| FallbackStatus {
            reason: Arc::clone(reason),
            parts: *parts,
        });
        each.collect()
    }
}

/// The device that a part was meant for, and the kind of reason for which it went elsewhere, if it
/// did.
fn meant_for(reason: &Reason) -> Option<(&Arc<str>, &'static str)> {
    match reason {
        Reason::Unsupported { device, .. } => Some((device, "unsupported")),
        Reason::DeviceFault { device, .. } => Some((device, "device_fault")),
        Reason::OutOfMemory { device } => Some((device, "out_of_memory")),
        Reason::Compiling { device } => Some((device, "compiling")),
        Reason::Quarantined { device } => Some((device, "quarantined")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use unlade_hal::ClockKind;

    use super::*;
    use crate::receipt::Path;

    fn part(reason: Reason) -> PartReceipt {
        PartReceipt {
            device: "cpu".into(),
            path: Path::Fallback,
            reason,
            rows: 1,
            completed: true,
            queued: Duration::ZERO,
            copy_in: Duration::ZERO,
            compute: Duration::ZERO,
            copy_out: Duration::ZERO,
            bytes_compacted: 0,
            clock: ClockKind::Wall,
        }
    }

    #[test]
    fn each_reason_is_kept_once_and_counted() {
        let fallbacks = Fallbacks::default();
        let lacks = |lacks: &str| {
            part(Reason::Unsupported {
                device: "sim".into(),
                lacks: lacks.into(),
            })
        };
        for _ in 0..1000 {
            fallbacks.note(&lacks("rem.f64"));
            fallbacks.note(&part(Reason::Forced));
        }
        fallbacks.note(&lacks("div.f64"));
        let status = fallbacks.status();
        let status: Vec<(&str, u64)> = status.iter().map(|it| (&*it.reason, it.parts)).collect();
        assert_eq!(
            status,
            [("sim lacks div.f64", 1), ("sim lacks rem.f64", 1000)]
        );
    }

    #[test]
    fn reasons_are_bounded() {
        let fallbacks = Fallbacks::default();
        for number in 0..2 * MOST {
            let device = format!("card {number}").into();
            fallbacks.note(&part(Reason::Quarantined { device }));
        }
        let status = fallbacks.status();
        assert_eq!(status.len(), MOST + 1);
        let parts: u64 = status.iter().map(|it| it.parts).sum();
        assert_eq!(parts, 2 * MOST as u64);
    }
}
