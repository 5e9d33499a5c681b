//! A simulated device that passes for a real one.

use std::sync::Arc;

use unlade_hal::{ClockKind, Device, DeviceInfo, DeviceKind, DeviceWrapper};

/// A simulated device that says it is a real one, so that placement chooses between it and the
/// others.
#[derive(Debug)]
pub(crate) struct Posing {
    inner: Arc<dyn Device>,
    info: DeviceInfo,
}

impl Posing {
    pub(crate) fn new(inner: Arc<dyn Device>, kind: DeviceKind) -> Posing {
        let info = DeviceInfo {
            kind,
            clock: ClockKind::Wall,
            ..inner.info().clone()
        };
        Posing { inner, info }
    }
}

impl DeviceWrapper for Posing {
    fn inner(&self) -> &dyn Device {
        &*self.inner
    }

    fn info(&self) -> &DeviceInfo {
        &self.info
    }
}
