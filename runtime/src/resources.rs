//! Devices as a resource: who may count on which.
//!
//! A session asks for parts of devices or for whole ones, all at once. It is granted all of it,
//! waits for its turn, or is refused with the reason. Those who wait are served in the order in
//! which they came, so that small requests do not starve a large one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use unlade_hal::DeviceKind;

use crate::error::{Error, Refused};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};

/// A whole device, in the unit in which parts of devices are counted.
const WHOLE: u32 = 1000;

/// Most devices of a kind that one request may name.
const MOST: f64 = 1024.0;

/// Parts of a device, or whole ones, that a session asks for.
///
/// As Spark counts accelerators: an amount below one is a part of one device, in thousandths; other
/// amounts are whole devices. In text it is `gpu=0.5`, `dpu=2`, `cuda:0=1`, or without an amount
/// one whole device; a device is told by its name or its PCI address.
///
/// ```
/// use unlade_runtime::DeviceRequest;
///
/// let half: DeviceRequest = "gpu=0.5".parse()?;
/// assert_eq!(half.to_string(), "gpu=0.5");
/// let error = "gpu=1.5".parse::<DeviceRequest>().unwrap_err();
/// assert!(error.to_string().contains("part of one device or whole devices"));
/// # Ok::<(), unlade_runtime::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    which: Which,
    thousandths: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    Any(DeviceKind),
    /// By name or by address.
    One(Arc<str>),
}

impl DeviceRequest {
    /// Any devices of a kind.
    ///
    /// # Errors
    /// [`Error::Config`] for an amount that is neither a part of one device nor whole devices.
    pub fn kind(kind: DeviceKind, amount: f64) -> Result<Self, Error> {
        DeviceRequest::new(Which::Any(kind), amount)
    }

    /// The device of this name or PCI address.
    ///
    /// # Errors
    /// As [`kind`](DeviceRequest::kind), and for more than the one device that it is.
    pub fn device(name: impl Into<Arc<str>>, amount: f64) -> Result<Self, Error> {
        DeviceRequest::new(Which::One(name.into()), amount)
    }

    fn new(which: Which, amount: f64) -> Result<Self, Error> {
        let most = match which {
            Which::Any(_) => MOST,
            Which::One(_) => 1.0,
        };
        let thousandths = (amount * f64::from(WHOLE)).round();
        let is_whole = amount.fract() == 0.0;
        if !(thousandths >= 1.0 && amount <= most && (amount < 1.0 || is_whole)) {
            return Err(Error::Config(format!(
                "{which}={amount} is no part of one device or whole devices: ask for 0.001 to 1, or \
                 for a whole number up to {most}"
            )));
        }
        Ok(DeviceRequest {
            which,
            thousandths: thousandths as u32,
        })
    }

    fn matches(&self, device: &Facts) -> bool {
        match &self.which {
            Which::Any(kind) => device.kind == *kind,
            Which::One(name) => device.name == *name || device.address.as_deref() == Some(&**name),
        }
    }
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = f64::from(self.thousandths) / f64::from(WHOLE);
        write!(f, "{}={amount}", self.which)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Any(kind) => f.write_str(kind.name()),
            Which::One(name) => f.write_str(name),
        }
    }
}

impl FromStr for DeviceRequest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (which, amount) = text.rsplit_once('=').unwrap_or((text, "1"));
        let amount = amount.trim().parse().map_err(|_| {
            Error::Config(format!("`{amount}` in `{text}` is no number of devices"))
        })?;
        match which.trim() {
            "" => Err(Error::Config(format!("`{text}` names no device"))),
            "cpu" => DeviceRequest::kind(DeviceKind::Cpu, amount),
            "gpu" => DeviceRequest::kind(DeviceKind::Gpu, amount),
            "dpu" => DeviceRequest::kind(DeviceKind::Dpu, amount),
            "simulator" => DeviceRequest::kind(DeviceKind::Simulator, amount),
            name => DeviceRequest::device(name, amount),
        }
    }
}

/// What can be asked for of a device.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: Arc<str>,
    pub(crate) address: Option<String>,
    pub(crate) kind: DeviceKind,
}

/// All devices, and who holds what of them.
#[derive(Debug)]
pub(crate) struct Resources {
    devices: Vec<Facts>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// For each device, the thousandths that nobody holds.
    free: Vec<u32>,
    held: BTreeMap<u64, Holding>,
    /// Those who wait, in the order in which they came.
    waiting: VecDeque<u64>,
    next: u64,
}

#[derive(Debug)]
struct Holding {
    by: Arc<str>,
    pieces: Vec<Piece>,
}

/// So many thousandths of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    device: usize,
    thousandths: u32,
}

impl Resources {
    pub(crate) fn new(devices: Vec<Facts>) -> Self {
        let state = State {
            free: vec![WHOLE; devices.len()],
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: 0,
        };
        Resources {
            devices,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// All that `by` asks for, once those who came before are served; waits for it no longer than
    /// `patience`.
    ///
    /// # Errors
    /// [`Refused`], with the reason.
    pub(crate) fn grant(
        self: &Arc<Self>,
        by: &Arc<str>,
        requests: &[DeviceRequest],
        patience: Duration,
    ) -> Result<Grant, Refused> {
        let refused = |reason: String| Refused {
            session: Arc::clone(by),
            asked: words(requests),
            reason,
        };
        if let Some(reason) = self.never(requests) {
            return Err(refused(reason));
        }
        let deadline = Instant::now().checked_add(patience);
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        loop {
            let has_turn = state.waiting.front() == Some(&number);
            let fitting = has_turn.then(|| self.fit(&state.free, requests)).flatten();
            if let Some(pieces) = fitting {
                for piece in &pieces {
                    state.free[piece.device] -= piece.thousandths;
                }
                let by = Arc::clone(by);
                state.held.insert(number, Holding { by, pieces });
                self.leave_line(state, number);
                return Ok(Grant {
                    resources: Arc::clone(self),
                    number,
                });
            }
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            if left.is_zero() {
                let reason = self.why_not(&state, requests);
                self.leave_line(state, number);
                return Err(refused(reason));
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether nobody holds any.
    #[cfg(all(test, shuttle))]
    pub(crate) fn is_free(&self) -> bool {
        self.lock().free.iter().all(|free| *free == WHOLE)
    }

    /// What a number holds: devices by position, and which part of each.
    fn pieces(&self, number: u64) -> Vec<Piece> {
        self.lock().held[&number].pieces.clone()
    }

    /// Why a request can never be granted, if it cannot.
    fn never(&self, requests: &[DeviceRequest]) -> Option<String> {
        for request in requests {
            if !self.devices.iter().any(|device| request.matches(device)) {
                let names: Vec<&str> = self.devices.iter().map(|device| &*device.name).collect();
                let there = names.join(", ");
                return Some(format!("there is no `{}`; there is {there}", request.which));
            }
        }
        let all = vec![WHOLE; self.devices.len()];
        let fits = self.fit(&all, requests).is_some();
        (!fits).then(|| "that is more than there is even when nobody else holds any".to_owned())
    }

    /// Which devices would serve, where so much of each is free. Named ones are taken first, then
    /// whole ones, then of parts the largest; a part goes where the least is left beside it, so that
    /// whole devices remain.
    fn fit(&self, free: &[u32], requests: &[DeviceRequest]) -> Option<Vec<Piece>> {
        let mut free = free.to_vec();
        let mut order: Vec<&DeviceRequest> = requests.iter().collect();
        order.sort_by_key(|request| {
            let named = matches!(request.which, Which::One(_));
            (
                std::cmp::Reverse(named),
                std::cmp::Reverse(request.thousandths),
            )
        });
        let mut pieces: Vec<Piece> = Vec::new();
        for request in order {
            let (count, each) = match request.thousandths {
                part if part < WHOLE => (1, part),
                whole => (whole / WHOLE, WHOLE),
            };
            for _ in 0..count {
                let devices = self.devices.iter().enumerate();
                let (device, _) = devices
                    .filter(|(device, facts)| request.matches(facts) && free[*device] >= each)
                    .min_by_key(|(device, _)| free[*device])?;
                free[device] -= each;
                pieces.push(Piece {
                    device,
                    thousandths: each,
                });
            }
        }
        Some(pieces)
    }

    fn why_not(&self, state: &State, requests: &[DeviceRequest]) -> String {
        if self.fit(&state.free, requests).is_some() {
            return "others wait that came before".to_owned();
        }
        let wanted = |piece: &Piece| {
            let device = &self.devices[piece.device];
            requests.iter().any(|request| request.matches(device))
        };
        let holdings = state.held.values().filter_map(|holding| {
            let pieces: Vec<String> = holding
                .pieces
                .iter()
                .filter(|piece| wanted(piece))
                .map(|piece| format!("{} of {}", piece.share(), self.devices[piece.device].name))
                .collect();
            (!pieces.is_empty()).then(|| format!("`{}` holds {}", holding.by, pieces.join(", ")))
        });
        let holdings: Vec<String> = holdings.collect();
        format!("{}; wait for it or ask for less", holdings.join("; "))
    }

    fn leave_line(&self, mut state: MutexGuard<'_, State>, number: u64) {
        state.waiting.retain(|each| *each != number);
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    fn share(self) -> f64 {
        f64::from(self.thousandths) / f64::from(WHOLE)
    }
}

/// Devices that somebody may count on until this is dropped.
#[derive(Debug)]
pub(crate) struct Grant {
    resources: Arc<Resources>,
    number: u64,
}

impl Grant {
    /// Positions of the devices, ascending, each once.
    pub(crate) fn devices(&self) -> Vec<usize> {
        let pieces = self.resources.pieces(self.number);
        let mut devices: Vec<usize> = pieces.iter().map(|piece| piece.device).collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Names of the devices, and which part of each is granted.
    pub(crate) fn shares(&self) -> Vec<(Arc<str>, f64)> {
        let pieces = self.resources.pieces(self.number);
        let name = |piece: &Piece| Arc::clone(&self.resources.devices[piece.device].name);
        pieces
            .iter()
            .map(|piece| (name(piece), piece.share()))
            .collect()
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let mut state = self.resources.lock();
        let holding = state.held.remove(&self.number).expect("released once");
        for piece in holding.pieces {
            state.free[piece.device] += piece.thousandths;
        }
        drop(state);
        self.resources.changed.notify_all();
    }
}

/// Requests as one text.
fn words(requests: &[DeviceRequest]) -> String {
    let words: Vec<String> = requests.iter().map(DeviceRequest::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn resources() -> Arc<Resources> {
        let facts = |name: &str, kind| Facts {
            name: name.into(),
            address: Some(format!("0000:{name}")),
            kind,
        };
        Arc::new(Resources::new(vec![
            facts("cpu", DeviceKind::Cpu),
            facts("g0", DeviceKind::Gpu),
            facts("g1", DeviceKind::Gpu),
            facts("d0", DeviceKind::Dpu),
        ]))
    }

    fn ask(resources: &Arc<Resources>, by: &str, requests: &[&str]) -> Result<Grant, Refused> {
        grant_within(resources, by, requests, Duration::ZERO)
    }

    fn grant_within(
        resources: &Arc<Resources>,
        by: &str,
        requests: &[&str],
        patience: Duration,
    ) -> Result<Grant, Refused> {
        let requests: Vec<DeviceRequest> =
            requests.iter().map(|text| text.parse().unwrap()).collect();
        resources.grant(&by.into(), &requests, patience)
    }

    #[test]
    fn parts_share_a_device_so_that_whole_ones_remain() {
        let resources = resources();
        let first = ask(&resources, "a", &["gpu=0.3"]).unwrap();
        let second = ask(&resources, "b", &["gpu=0.7"]).unwrap();
        assert_eq!(first.devices(), second.devices());
        let whole = ask(&resources, "c", &["gpu=1", "0000:d0=0.5"]).unwrap();
        assert_eq!(whole.devices(), [2, 3]);
        let refused = ask(&resources, "d", &["gpu=0.001"]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "session `d` asks for gpu=0.001: `a` holds 0.3 of g0; `b` holds 0.7 of g0; `c` holds 1 \
             of g1; wait for it or ask for less"
        );
        drop(second);
        assert_eq!(ask(&resources, "d", &["gpu=0.7"]).unwrap().devices(), [1]);
    }

    #[test]
    fn several_requests_are_granted_together_or_not_at_all() {
        let resources = resources();
        let held = ask(&resources, "a", &["d0"]).unwrap();
        ask(&resources, "b", &["gpu=2", "dpu=0.5"]).unwrap_err();
        let both = ask(&resources, "b", &["gpu=2"]).unwrap();
        assert_eq!(both.shares(), [("g0".into(), 1.0), ("g1".into(), 1.0)]);
        drop((held, both));
        assert_eq!(resources.lock().free, [WHOLE; 4]);
        // A part of any, and the device that is named: the one that is named is taken first.
        let two = ask(&resources, "c", &["gpu=0.6", "g0=0.5"]).unwrap();
        assert_eq!(two.devices(), [1, 2]);
    }

    #[test]
    fn what_can_never_be_had_is_refused_whoever_holds_what() {
        let resources = resources();
        let day = Duration::from_secs(86_400);
        let refused = grant_within(&resources, "a", &["gpu=3"], day).unwrap_err();
        assert!(refused.reason.contains("more than there is"), "{refused}");
        let refused = grant_within(&resources, "a", &["cuda:7"], day).unwrap_err();
        let why = "there is no `cuda:7`; there is cpu, g0, g1, d0";
        assert_eq!(refused.reason, why);
    }

    #[test]
    fn amounts_are_parts_of_one_or_whole_devices() {
        for text in [
            "gpu=0",
            "gpu=-1",
            "gpu=NaN",
            "gpu=1.5",
            "g0=2",
            "gpu=inf",
            "gpu=0.0001",
        ] {
            let error = text.parse::<DeviceRequest>().unwrap_err().to_string();
            assert!(error.contains("ask for 0.001 to 1"), "{text}: {error}");
        }
        for text in ["gpu=", "=1", "gpu=x"] {
            text.parse::<DeviceRequest>().unwrap_err();
        }
        for text in ["gpu=0.5", "dpu=2", "cuda:0=1", "0000:3b:00.0=0.001"] {
            assert_eq!(text.parse::<DeviceRequest>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn those_who_wait_are_served_in_order() {
        let resources = resources();
        let first = ask(&resources, "a", &["g0=0.5"]).unwrap();
        let turns = AtomicU32::new(0);
        let waiting = |count| {
            while resources.lock().waiting.len() != count {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let serve = |by: &'static str, request: &'static str, turn| {
                let (resources, turns) = (&resources, &turns);
                scope.spawn(move || {
                    let day = Duration::from_secs(86_400);
                    let grant = grant_within(resources, by, &[request], day).unwrap();
                    assert_eq!(turns.fetch_add(1, Ordering::SeqCst), turn, "{by}");
                    drop(grant);
                });
            };
            serve("whole", "g0=1", 0);
            waiting(1);
            serve("half", "g0=0.5", 1);
            waiting(2);
            // There would be room for it, but others came before.
            let refused = ask(&resources, "late", &["g0=0.5"]).unwrap_err();
            assert_eq!(refused.reason, "others wait that came before");
            drop(first);
        });
        assert_eq!(turns.into_inner(), 2);
    }
}
