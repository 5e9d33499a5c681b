//! A host of few lines: memory in a memfd, an admin pair and one I/O pair, polled.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use unlade_sim_card::{Card, Config, Iova, Permissions, Region};

use crate::encode::{create_queue_pair, descriptor, entry, fill, memory, segments, with_memory};
use crate::limit::Limit;

/// Where the host's memory begins in IOVA space.
pub(crate) const BASE: u64 = 0x1000_0000;

/// Bytes of it.
const SIZE: u64 = 64 << 20;

/// Entries of every queue.
pub(crate) const ENTRIES: u16 = 16;

/// How long a completion may take before a test gives it up; far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A completion entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cqe {
    pub(crate) dw0: u32,
    pub(crate) dw1: u32,
    pub(crate) sq_head: u16,
    pub(crate) queue: u16,
    pub(crate) id: u16,
    pub(crate) status: u16,
}

impl Cqe {
    /// Status, DW0 and DW1.
    pub(crate) fn outcome(&self) -> (u16, u32, u32) {
        (self.status, self.dw0, self.dw1)
    }
}

/// A queue pair, as the host keeps it.
#[derive(Debug)]
struct Pair {
    number: u16,
    sq: u64,
    cq: u64,
    tail: u16,
    head: u16,
    phase: u8,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) card: Card,
    pub(crate) memory: File,
    free: u64,
    stride: u64,
    admin: Pair,
    io: Pair,
    /// The id of the next command.
    pub(crate) next_id: u16,
    /// For the end of the card, which is waited for.
    _limit: Limit,
}

impl Host {
    /// Brings a card up, with one I/O pair on vector 1.
    pub(crate) fn new(config: Config) -> Host {
        let mut host = Host::off(config);
        host.enable();
        host
    }

    /// A host whose card is not enabled yet. Its memory is mapped; memory space and bus master are
    /// on.
    pub(crate) fn off(config: Config) -> Host {
        let stride = 4 << config.profile.doorbell_stride;
        let host = Host::of(Card::start(config), stride);
        host.set_command(0x0006);
        host
    }

    /// A host of a card as it is, whose doorbells are so many bytes apart. Its memory is mapped.
    pub(crate) fn of(card: Card, stride: u64) -> Host {
        let limit = Limit::start();
        let memory = rustix::fs::memfd_create("host", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let memory = File::from(memory);
        memory.set_len(SIZE).unwrap();
        let both = Permissions {
            read: true,
            write: true,
        };
        card.map(Iova(BASE), SIZE, Some(memory.try_clone().unwrap()), 0, both)
            .unwrap();
        let pair = |number| Pair {
            number,
            sq: 0,
            cq: 0,
            tail: 0,
            head: 0,
            phase: 1,
        };
        let (admin, io) = (pair(0), pair(1));
        Host {
            card,
            memory,
            free: BASE,
            stride,
            admin,
            io,
            next_id: 1,
            _limit: limit,
        }
    }

    /// Enables the card, and creates the I/O pair.
    pub(crate) fn enable(&mut self) {
        self.enable_admin();
        self.enable_pair();
    }

    /// Creates the I/O pair.
    pub(crate) fn enable_pair(&mut self) {
        let (sq, cq) = (self.allocate(64 * 64, 4096), self.allocate(64 * 64, 4096));
        self.io = Pair {
            number: 1,
            sq,
            cq,
            tail: 0,
            head: 0,
            phase: 1,
        };
        let created = self.admin(create_queue_pair(1, sq, cq));
        assert_eq!(created.status, 0, "{created:?}");
    }

    /// Enables the card, with the admin pair alone.
    pub(crate) fn enable_admin(&mut self) {
        let (sq, cq) = (self.allocate(64 * 64, 4096), self.allocate(64 * 64, 4096));
        self.admin = Pair {
            number: 0,
            sq,
            cq,
            tail: 0,
            head: 0,
            phase: 1,
        };
        let entries = u32::from(ENTRIES);
        self.set_register(0x28, entries | entries << 16);
        self.set_register64(0x30, sq);
        self.set_register64(0x38, cq);
        self.set_register(0x20, 1);
        assert_eq!(self.register(0x24), 1, "CSTS");
    }

    /// Maps zeros elsewhere, for reading and writing.
    pub(crate) fn map_more(&self, iova: u64, bytes: u64) -> File {
        let memory = rustix::fs::memfd_create("more", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let memory = File::from(memory);
        memory.set_len(bytes).unwrap();
        let both = Permissions {
            read: true,
            write: true,
        };
        let shared = memory.try_clone().unwrap();
        self.card
            .map(Iova(iova), bytes, Some(shared), 0, both)
            .unwrap();
        memory
    }

    pub(crate) fn set_command(&self, bits: u16) {
        self.card
            .write(Region::Config, 4, &bits.to_le_bytes())
            .unwrap();
    }

    pub(crate) fn register(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.card.read(Region::Bar0, offset, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    pub(crate) fn register64(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.card.read(Region::Bar0, offset, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn set_register(&self, offset: u64, value: u32) {
        self.card
            .write(Region::Bar0, offset, &value.to_le_bytes())
            .unwrap();
    }

    pub(crate) fn set_register64(&self, offset: u64, value: u64) {
        self.card
            .write(Region::Bar0, offset, &value.to_le_bytes())
            .unwrap();
    }

    /// Waits until CSTS is this.
    pub(crate) fn wait_status(&self, csts: u32) {
        let end = Instant::now() + PATIENCE;
        while self.register(0x24) != csts {
            assert!(
                Instant::now() < end,
                "CSTS stays {:#x}",
                self.register(0x24)
            );
            std::thread::yield_now();
        }
    }

    /// Zeroed memory that nothing else uses.
    pub(crate) fn allocate(&mut self, bytes: u64, alignment: u64) -> u64 {
        let iova = self.free.next_multiple_of(alignment);
        self.free = iova + bytes.max(1);
        assert!(
            self.free <= BASE + SIZE,
            "the test uses more memory than there is"
        );
        self.write(iova, &vec![0; usize::try_from(bytes).unwrap()]);
        iova
    }

    /// Memory with these bytes, aligned for every use.
    pub(crate) fn place(&mut self, bytes: &[u8]) -> u64 {
        let iova = self.allocate(u64::try_from(bytes.len()).unwrap(), 4096);
        self.write(iova, bytes);
        iova
    }

    pub(crate) fn write(&self, iova: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, iova - BASE).unwrap();
    }

    pub(crate) fn read(&self, iova: u64, bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        self.memory.read_exact_at(&mut data, iova - BASE).unwrap();
        data
    }

    pub(crate) fn read_u64(&self, iova: u64) -> u64 {
        u64::from_le_bytes(self.read(iova, 8).try_into().unwrap())
    }

    /// Sends an admin command and waits for its completion.
    pub(crate) fn admin(&mut self, entry: [u8; 64]) -> Cqe {
        let id = self.submit_admin(entry);
        let cqe = self.wait_admin();
        assert_eq!((cqe.id, cqe.queue), (id, 0));
        cqe
    }

    /// Sends an admin command. Gives its id.
    pub(crate) fn submit_admin(&mut self, entry: [u8; 64]) -> u16 {
        self.send(true, entry)
    }

    /// Waits for the next completion of the admin pair.
    pub(crate) fn wait_admin(&mut self) -> Cqe {
        self.wait_on(true).expect("an admin command is completed")
    }

    /// Sends a command to the I/O pair. Gives its id.
    pub(crate) fn submit(&mut self, entry: [u8; 64]) -> u16 {
        self.send(false, entry)
    }

    /// Sends a command to the I/O pair and waits for its completion.
    pub(crate) fn io(&mut self, entry: [u8; 64]) -> Cqe {
        let id = self.submit(entry);
        let cqe = self.wait();
        assert_eq!((cqe.id, cqe.queue), (id, 1));
        cqe
    }

    /// Waits for the next completion of the I/O pair.
    pub(crate) fn wait(&mut self) -> Cqe {
        self.wait_on(false).expect("a command is completed")
    }

    /// The next completion of the I/O pair, if there is one now.
    pub(crate) fn poll(&mut self) -> Option<Cqe> {
        let (base, pair) = (BASE, &mut self.io);
        let cqe = look(&self.memory, base, pair);
        if cqe.is_some() {
            self.ring_head(false);
        }
        cqe
    }

    /// Runs a job of these steps and waits for it.
    pub(crate) fn job(&mut self, descriptor: &[u8]) -> Cqe {
        let entry = self.job_entry(descriptor);
        self.io(entry)
    }

    /// The entry of a job whose descriptor is put into memory.
    pub(crate) fn job_entry(&mut self, descriptor: &[u8]) -> [u8; 64] {
        let iova = self.place(descriptor);
        with_memory(entry(0x80), iova, descriptor.len())
    }

    /// Loads a program; status, DW0 and DW1.
    pub(crate) fn load(&mut self, bytecode: &[u8]) -> (u16, u32, u32) {
        let iova = self.place(bytecode);
        self.admin(with_memory(entry(0x04), iova, bytecode.len()))
            .outcome()
    }

    /// Loads a program that the card takes. Gives its handle.
    pub(crate) fn load_well(&mut self, bytecode: &[u8]) -> u32 {
        let (status, handle, dw1) = self.load(bytecode);
        assert_eq!(status, 0, "DW0 {handle}, DW1 {dw1}");
        handle
    }

    /// Reads a log page or IDENTIFY into memory of so many bytes.
    pub(crate) fn read_page(&mut self, entry: [u8; 64], bytes: usize) -> Vec<u8> {
        let iova = self.allocate(u64::try_from(bytes).unwrap(), 4096);
        let cqe = self.admin(with_memory(entry, iova, bytes));
        assert_eq!(cqe.status, 0, "{cqe:?}");
        self.read(iova, bytes)
    }

    /// Sends a job that takes long, and others behind it. Returns when the first is running and the
    /// others have been fetched, with the card held in the middle: it is no bus master.
    pub(crate) fn stop_in_the_middle(&mut self, others: &[[u8; 64]]) -> Vec<u16> {
        let data = self.allocate(1 << 20, 64);
        let steps = vec![fill(1, memory(data, 1 << 20)); 2000];
        let long = self.job_entry(&descriptor(&steps, 0));
        // The card sees all doorbells at once, and fetches everything before it begins anything.
        self.set_command(0x0002);
        let mut ids = vec![self.submit(long)];
        ids.extend(others.iter().map(|&other| self.submit(other)));
        self.set_command(0x0006);
        let end = Instant::now() + PATIENCE;
        while self.read(data, 1) == [0] {
            assert!(Instant::now() < end, "the job does not begin");
        }
        self.set_command(0x0002);
        ids
    }

    /// Has the card begin a job that takes longer than any test, and of which no piece does.
    pub(crate) fn begin_what_does_not_end(&mut self) {
        let data = self.allocate(1 << 20, 64);
        let to = segments(self, &[(data, 1 << 20); 256]);
        let steps = vec![fill(1, to); 4096];
        let job = self.job_entry(&descriptor(&steps, 0));
        self.submit(job);
        let end = Instant::now() + PATIENCE;
        while self.read(data, 1) == [0] {
            assert!(Instant::now() < end, "the job does not begin");
        }
    }

    fn send(&mut self, admin: bool, mut entry: [u8; 64]) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        entry[2..4].copy_from_slice(&id.to_le_bytes());
        let pair = if admin { &mut self.admin } else { &mut self.io };
        let slot = pair.sq + 64 * u64::from(pair.tail);
        self.memory.write_all_at(&entry, slot - BASE).unwrap();
        pair.tail = (pair.tail + 1) % ENTRIES;
        let (number, tail) = (pair.number, pair.tail);
        self.ring(2 * u64::from(number), tail.into());
        id
    }

    /// Writes a doorbell.
    pub(crate) fn ring(&self, doorbell: u64, value: u32) {
        self.set_register(0x1000 + doorbell * self.stride, value);
    }

    fn ring_head(&self, admin: bool) {
        let pair = if admin { &self.admin } else { &self.io };
        self.ring(2 * u64::from(pair.number) + 1, pair.head.into());
    }

    fn wait_on(&mut self, admin: bool) -> Option<Cqe> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let pair = if admin { &mut self.admin } else { &mut self.io };
            if let Some(cqe) = look(&self.memory, BASE, pair) {
                self.ring_head(admin);
                return Some(cqe);
            }
            std::thread::yield_now();
        }
        None
    }
}

/// Takes the entry at the head, if its phase is that of the pass.
fn look(memory: &File, base: u64, pair: &mut Pair) -> Option<Cqe> {
    let mut bytes = [0; 16];
    let slot = pair.cq + 16 * u64::from(pair.head) - base;
    let mut phase = [0];
    memory.read_exact_at(&mut phase, slot + 14).unwrap();
    if phase[0] & 1 != pair.phase {
        return None;
    }
    memory.read_exact_at(&mut bytes, slot).unwrap();
    pair.head = (pair.head + 1) % ENTRIES;
    pair.phase ^= u8::from(pair.head == 0);
    let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
    Some(Cqe {
        dw0: long(0),
        dw1: long(4),
        sq_head: short(8),
        queue: short(10),
        id: short(12),
        status: short(14) >> 1,
    })
}
