//! What the library has to say: warnings, and what it does step by step.

use std::ffi::{c_char, c_void};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::border::enter;
use crate::code::unlade_code::{self, UNLADE_CONFIG, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::text::c_string;

/// A level of the log: nothing is told.
pub const UNLADE_LOG_OFF: i32 = 0;
/// A level of the log: something failed.
pub const UNLADE_LOG_ERROR: i32 = 1;
/// A level of the log: something is not as it should be, and was coped with.
pub const UNLADE_LOG_WARN: i32 = 2;
/// A level of the log: what one may want to know.
pub const UNLADE_LOG_INFO: i32 = 3;
/// A level of the log: what helps to find a fault.
pub const UNLADE_LOG_DEBUG: i32 = 4;
/// A level of the log: everything.
pub const UNLADE_LOG_TRACE: i32 = 5;

/// Called with each message: its level, the part of the library that it is of, such as
/// `unlade_runtime::runtime`, and the words. Texts end with the call. It may be called by several
/// threads at once, must not call Unlade, and must not throw, nor jump.
#[allow(non_camel_case_types)]
pub type unlade_log = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        level: i32,
        target: *const c_char,
        message: *const c_char,
    ),
>;

/// Has messages up to a level go to a function, in place of the one before; null, or
/// `UNLADE_LOG_OFF`, is nowhere, as it is at first. When this returns, the function before is not
/// running any more, and will not be called again. The log is the whole process's.
///
/// # Safety
/// `log` is null or may be called as said above, with `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_log_set(
    level: i32,
    log: unlade_log,
    user: *mut c_void,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches.
    unsafe {
        enter(error, || {
            if !(UNLADE_LOG_OFF..=UNLADE_LOG_TRACE).contains(&level) {
                return Err(Failure::argument(format!(
                    "there is no level {level} of the log; there are 0 to 5"
                )));
            }
            install()?;
            let hook = log.filter(|_| level != UNLADE_LOG_OFF);
            *HOOK.write().unwrap_or_else(PoisonError::into_inner) =
                hook.map(|log| Hook { log, user });
            let level = hook.map_or(UNLADE_LOG_OFF, |_| level);
            LEVEL.store(level, Ordering::Relaxed);
            tracing::callsite::rebuild_interest_cache();
            Ok(UNLADE_OK)
        })
    }
}

struct Hook {
    log: unsafe extern "C" fn(*mut c_void, i32, *const c_char, *const c_char),
    user: *mut c_void,
}

// SAFETY: Who hands it over vouches that threads may call it, at once, too.
unsafe impl Send for Hook {}
// SAFETY: The same.
unsafe impl Sync for Hook {}

static HOOK: RwLock<Option<Hook>> = RwLock::new(None);
static LEVEL: AtomicI32 = AtomicI32::new(UNLADE_LOG_OFF);
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Has this library's messages come here, unless a program in Rust has them already.
fn install() -> Result<(), Failure> {
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    tracing::subscriber::set_global_default(ToHook).map_err(|_| {
        INSTALLED.store(false, Ordering::Relaxed);
        Failure::new(
            UNLADE_CONFIG,
            "the messages of this process go elsewhere: a subscriber of `tracing` was set before",
        )
    })
}

struct ToHook;

impl Subscriber for ToHook {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && number(metadata.level()) <= LEVEL.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Relaxed) {
            UNLADE_LOG_OFF => LevelFilter::OFF,
            UNLADE_LOG_ERROR => LevelFilter::ERROR,
            UNLADE_LOG_WARN => LevelFilter::WARN,
            UNLADE_LOG_INFO => LevelFilter::INFO,
            UNLADE_LOG_DEBUG => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        let (target, message) = (c_string(event.metadata().target()), c_string(&words.0));
        let hook = HOOK.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(hook) = &*hook {
            let level = number(event.metadata().level());
            // SAFETY: Who handed it over vouches for it; the texts outlive the call.
            unsafe { (hook.log)(hook.user, level, target.as_ptr(), message.as_ptr()) };
        }
    }

    // Spans are of no use to who gets words.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn number(level: &Level) -> i32 {
    match *level {
        Level::ERROR => UNLADE_LOG_ERROR,
        Level::WARN => UNLADE_LOG_WARN,
        Level::INFO => UNLADE_LOG_INFO,
        Level::DEBUG => UNLADE_LOG_DEBUG,
        Level::TRACE => UNLADE_LOG_TRACE,
    }
}

/// A message and, behind it, what it is about.
struct Words(String);

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Memory takes any text.
        let _written = match field.name() {
            "message" => {
                let fields = std::mem::take(&mut self.0);
                write!(self.0, "{value:?}{fields}")
            }
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
