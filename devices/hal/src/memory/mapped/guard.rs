//! What happens when a page of a mapped file is not there any more.
//!
//! The system sends `SIGBUS` to the thread that touches such a page: past the end of a file that
//! shrank, or where the disk fails. Untreated, the process dies. [`install`] adds a handler that
//! puts a page of zeros in the place of one that belongs to a mapped file, notes that the file is
//! torn, and lets the thread go on; whoever reads the file asks [`Watch::is_torn`] before it
//! believes what it read. Every other `SIGBUS` goes where it went before.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// A mapping that the handler knows of.
///
/// Entries are made once, never freed, and used again when their file is unmapped: the handler may
/// look at any of them at any moment, and can neither lock nor wait.
#[derive(Debug)]
struct Entry {
    /// Address of the first byte; 0 where the entry is free.
    start: AtomicUsize,
    end: AtomicUsize,
    torn: AtomicBool,
    next: *const Entry,
}

// SAFETY: `next` is written before the entry is shared and points to an entry that is never freed;
// everything else is atomic.
unsafe impl Sync for Entry {}

/// The list of entries, newest first.
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

/// What `SIGBUS` did before us.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Size of a page, for the handler, which must not ask.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Watches one mapping for as long as it lives; made right after mapping, dropped right before
/// unmapping.
#[derive(Debug)]
pub(super) struct Watch {
    entry: &'static Entry,
}

impl Watch {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let range = bytes.as_ptr_range();
        let (start, end) = (range.start as usize, range.end as usize);
        let entry = entries()
            .find(|entry| entry.claim(start))
            .unwrap_or_else(|| push(start));
        entry.torn.store(false, Ordering::Relaxed);
        entry.end.store(end, Ordering::Release);
        Watch { entry }
    }

    /// Whether a page was missing when it was touched.
    pub(super) fn is_torn(&self) -> bool {
        self.entry.torn.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.entry.end.store(0, Ordering::Release);
        self.entry.start.store(0, Ordering::Release);
    }
}

impl Entry {
    fn claim(&self, start: usize) -> bool {
        self.start
            .compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    fn contains(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        start != 0 && start <= address && address < self.end.load(Ordering::Acquire)
    }
}

fn push(start: usize) -> &'static Entry {
    let entry = Box::leak(Box::new(Entry {
        start: AtomicUsize::new(start),
        end: AtomicUsize::new(0),
        torn: AtomicBool::new(false),
        next: ptr::null(),
    }));
    let mut head = ENTRIES.load(Ordering::Acquire);
    loop {
        entry.next = head;
        match ENTRIES.compare_exchange_weak(head, entry, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: The entry is leaked, so valid for ever, and from here on only shared.
            Ok(_) => return unsafe { &*ptr::from_mut(entry) },
            Err(newer) => head = newer,
        }
    }
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    // SAFETY: Entries are leaked, and shared only when complete.
    let first = unsafe { ENTRIES.load(Ordering::Acquire).as_ref() };
    // SAFETY: As above; `next` was an entry of the list, or null, before this one was shared.
    std::iter::successors(first, |entry| unsafe { entry.next.as_ref() })
}

/// Installs the handler, once for the process.
pub(super) fn install() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    // SAFETY: `sysconf` has no precondition.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE.store(
        usize::try_from(page).expect("the page size is known"),
        Ordering::Release,
    );
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: Only asks what the action is, into room for it.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The call has filled it in.
    let before = unsafe { before.assume_init() };
    if BEFORE.set(before).is_err() {
        return Ok(()); // another thread is installing it
    }
    // SAFETY: All zeros is a valid action: no flags, an empty mask, the default handler.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
    action.sa_sigaction = handler as usize;
    // On the alternate stack where the thread has one: the fault may come from a full one.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: The action is complete, and its handler does only what a handler may: loads and
    // stores of atomics, `mmap` and `sigaction`, which are plain system calls.
    if unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn on_sigbus(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: With `SA_SIGINFO` the system hands over a valid description, which for this signal
    // has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    if entries().any(|entry| entry.contains(address) && patch(entry, address)) {
        return;
    }
    if let Some(before) = BEFORE.get() {
        // Back to what was; the instruction faults again and meets that.
        // SAFETY: `before` is what the system had given us.
        unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
    }
}

/// Puts a page of zeros in the place of the one at `address`.
fn patch(entry: &Entry, address: usize) -> bool {
    let page = PAGE.load(Ordering::Acquire);
    let start = address & !(page - 1);
    // SAFETY: The page lies in the mapping of the entry, which cannot go: the interrupted thread
    // is reading it, so it has a borrow of the `MappedFile` or a buffer that owns it. Its bytes
    // could not be read before, so nobody has seen them as anything else than what they become;
    // they stay read-only.
    let mapped = unsafe {
        libc::mmap(
            start as *mut libc::c_void,
            page,
            libc::PROT_READ,
            libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    let done = mapped != libc::MAP_FAILED;
    if done {
        entry.torn.store(true, Ordering::Release);
    }
    done
}
