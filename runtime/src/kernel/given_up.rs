//! Lists that a device still has and nobody waits for.

use std::sync::Arc;

use crate::call::Call;
use crate::driver::Point;
use crate::error::Error;
use crate::runtime::Core;
use crate::scheduler::{Permit, PutBy};

/// Leaves it to the device's collector to wait for a list and then to give the permit back; the
/// list's memory comes back with it. Returns why it was given up.
pub(crate) fn leave(call: &Call<'_>, permit: Permit<'_>, point: Point) -> Error {
    let slot = permit.device().0;
    let left = Left {
        runtime: Arc::clone(call.runtime),
        slot,
        point,
        permit: Some(permit.put_by()),
    };
    let collector = &call.runtime.devices[slot].collector;
    collector.spawn(call.session.task(), move || {
        left.collect();
        None
    });
    call.why_ended()
}

/// A list that was left on a device.
struct Left {
    runtime: Arc<Core>,
    slot: usize,
    point: Point,
    permit: Option<PutBy>,
}

impl Left {
    fn collect(mut self) {
        let slot = &self.runtime.devices[self.slot];
        let timeout = self.runtime.options.device_timeout;
        let collected = slot.driver.collect(&*slot.device, self.point, timeout);
        let permit = self.permit.take().expect("it is taken up once");
        let permit = self.runtime.dispatcher.take_up(permit);
        match collected {
            Ok(()) => permit.done(None),
            Err(lost) => {
                slot.fault(permit, &lost);
            }
        }
    }
}

impl Drop for Left {
    /// There is no thread for it: whoever uses the device next gets the list back, too.
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            drop(self.runtime.dispatcher.take_up(permit));
        }
    }
}
