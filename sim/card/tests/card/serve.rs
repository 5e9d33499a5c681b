//! The card on its socket, by a client of the protocol that others wrote.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use unlade_sim_card::{Card, Config, Fault, FaultPlan, Profile, Served, Server};
use vfio_user::Client;

use crate::limit::Limit;

const BAR0: u32 = 0;
const CONFIG: u32 = 7;
const MSIX: u32 = 2;

/// VFIO_IRQ_SET_DATA_EVENTFD and VFIO_IRQ_SET_ACTION_TRIGGER.
const TRIGGER_EVENTFD: u32 = 1 << 2 | 1 << 5;

const IOVA: u64 = 0x10_0000;

fn register(client: &mut Client, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    client.region_read(BAR0, offset, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

fn set_register(client: &mut Client, offset: u64, value: u32) {
    client
        .region_write(BAR0, offset, &value.to_le_bytes())
        .unwrap();
}

fn memory() -> File {
    let memory = rustix::fs::memfd_create("host", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let memory = File::from(memory);
    memory.set_len(0x1_0000).unwrap();
    memory
}

fn eventfd() -> File {
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    File::from(event)
}

/// Maps memory, enables the card and lets it identify itself into 0x8000 of the memory; waits for
/// the interrupt.
fn identify(client: &mut Client, memory: &File, event: &mut File) {
    client.region_write(CONFIG, 4, &6u16.to_le_bytes()).unwrap();
    client
        .dma_map(0, IOVA, 0x1_0000, memory.as_raw_fd())
        .unwrap();
    client
        .set_irqs(MSIX, TRIGGER_EVENTFD, 0, 1, &[event.as_raw_fd()])
        .unwrap();
    set_register(client, 0x28, 4 | 4 << 16);
    client
        .region_write(BAR0, 0x30, &IOVA.to_le_bytes())
        .unwrap();
    client
        .region_write(BAR0, 0x38, &(IOVA + 0x1000).to_le_bytes())
        .unwrap();
    set_register(client, 0x20, 1);
    assert_eq!(register(client, 0x24), 1);
    let mut entry = [0u8; 64];
    entry[0] = 1;
    entry[8..16].copy_from_slice(&(IOVA + 0x8000).to_le_bytes());
    entry[16..24].copy_from_slice(&4096u64.to_le_bytes());
    entry[24] = 1;
    memory.write_all_at(&entry, 0).unwrap();
    set_register(client, 0x1000, 1);
    let mut count = [0; 8];
    event.read_exact(&mut count).unwrap();
    let mut magic = [0; 4];
    memory.read_exact_at(&mut magic, 0x8000).unwrap();
    assert_eq!(&magic, b"UNLI");
}

#[test]
fn a_client_of_others_finds_the_card_and_is_interrupted() {
    let _limit = Limit::start();
    let card = Served::start(Config::default()).unwrap();
    let mut client = Client::new(card.path()).unwrap();
    assert_eq!(client.region(BAR0).unwrap().size, 8192);
    assert_eq!(client.region(CONFIG).unwrap().size, 4096);
    assert_eq!(client.region(2).unwrap().size, 0);
    assert_eq!(client.get_irq_info(MSIX).unwrap().count, 65);
    identify(&mut client, &memory(), &mut eventfd());
    assert_eq!(card.counters().interrupts, 1);
    client.shutdown().unwrap();
}

#[test]
fn the_end_of_a_connection_is_a_reset_and_takes_the_mappings() {
    let _limit = Limit::start();
    let card = Served::start(Config::default()).unwrap();
    for _ in 0..3 {
        let mut client = Client::new(card.path()).unwrap();
        let mut command = [0; 2];
        client.region_read(CONFIG, 4, &mut command).unwrap();
        assert_eq!(command, [0, 0], "a new host finds a card after a reset");
        // The same IOVAs: what the host before had mapped is gone.
        identify(&mut client, &memory(), &mut eventfd());
        client.shutdown().unwrap();
    }
}

#[test]
fn device_reset_leaves_the_card_disabled_and_the_mappings() {
    let _limit = Limit::start();
    let card = Served::start(Config::default()).unwrap();
    let mut client = Client::new(card.path()).unwrap();
    let (memory, mut event) = (memory(), eventfd());
    identify(&mut client, &memory, &mut event);
    client.reset().unwrap();
    client.region_write(CONFIG, 4, &6u16.to_le_bytes()).unwrap();
    assert_eq!(register(&mut client, 0x24), 0);
    assert_eq!(register(&mut client, 0x28), 0, "AQA");
    client.dma_unmap(IOVA, 0x1_0000).unwrap();
    identify(&mut client, &memory, &mut event);
}

#[test]
fn the_socket_is_for_its_user_alone_and_goes_with_the_card() {
    let _limit = Limit::start();
    let card = Served::start(Config::default()).unwrap();
    let path = card.path().to_owned();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let taken = Server::bind(&path, Config::default()).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AlreadyExists);
    // A host that stays connected does not keep the card.
    let host = Client::new(&path).unwrap();
    drop(card);
    assert!(!path.exists());
    drop(host);
}

#[test]
fn a_server_runs_until_it_is_stopped() {
    let _limit = Limit::start();
    let directory = std::env::temp_dir().join(format!("unlade-stop-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("card.sock");
    let config = Config {
        faults: FaultPlan::none().at(1, Fault::Removal),
        ..Config::default()
    };
    let server = Server::bind(&path, config).unwrap();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| server.run());
        let host = Client::new(&path).unwrap();
        server.stopper().stop();
        serving.join().unwrap().unwrap();
        drop(host);
    });
    drop(server);
    assert!(!path.exists());
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn a_server_whose_socket_was_removed_is_stopped_all_the_same() {
    let _limit = Limit::start();
    let card = Served::start(Config::default()).unwrap();
    // Until it waits for a host: one that does not wait yet is stopped anyhow.
    std::thread::sleep(std::time::Duration::from_millis(50));
    std::fs::remove_file(card.path()).unwrap();
    drop(card);
}

/// A message of the protocol.
fn message(command: u16, size: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![7, 0];
    message.extend(command.to_le_bytes());
    message.extend(size.to_le_bytes());
    message.extend([0; 8]);
    message.extend(payload);
    message
}

/// Sends a message and gives the errno of the answer, if the connection lives.
fn errno(stream: &mut UnixStream, message: &[u8]) -> Option<u32> {
    stream.write_all(message).unwrap();
    let mut header = [0; 16];
    stream.read_exact(&mut header).ok()?;
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let mut rest = vec![0; usize::try_from(number(4)).unwrap() - 16];
    stream.read_exact(&mut rest).unwrap();
    assert_eq!(header[..2], [7, 0]);
    Some(number(12))
}

#[test]
fn a_host_that_breaks_the_protocol_is_answered_or_cut_off_and_the_next_is_served() {
    let _limit = Limit::start();
    const EINVAL: u32 = 22;
    const EPROTO: u32 = 71;
    const EOPNOTSUPP: u32 = 95;
    const EEXIST: u32 = 17;

    let card = Served::start(Config::default()).unwrap();
    let hello = message(1, 22, &[0, 0, 1, 0, b'{', 0]);
    let mut stream = UnixStream::connect(card.path()).unwrap();
    assert_eq!(
        errno(&mut stream, &message(4, 16, &[])),
        Some(EPROTO),
        "before the handshake"
    );
    assert_eq!(errno(&mut stream, &hello), Some(0));
    assert_eq!(
        errno(&mut stream, &message(99, 16, &[])),
        Some(EOPNOTSUPP),
        "no such command"
    );
    assert_eq!(
        errno(&mut stream, &message(5, 20, &[0; 4])),
        Some(EINVAL),
        "too short"
    );
    let map = |iova: u8| {
        let mut payload = [0; 32];
        payload[4] = 3;
        payload[17] = iova;
        payload[25] = 0x10;
        message(2, 48, &payload)
    };
    assert_eq!(errno(&mut stream, &map(0x10)), Some(0));
    assert_eq!(errno(&mut stream, &map(0x18)), Some(EEXIST), "an overlap");
    // A flag that is none, and all of it with a range.
    for (flags, size) in [(4, 0), (2, 0x10)] {
        let mut unmap = [0; 24];
        (unmap[4], unmap[17]) = (flags, size);
        assert_eq!(errno(&mut stream, &message(3, 40, &unmap)), Some(EINVAL));
    }
    // 4 GiB of a region.
    let mut read = [0; 16];
    read[12..].fill(0xFF);
    assert_eq!(errno(&mut stream, &message(9, 32, &read)), Some(EINVAL));
    // Says more than it sends.
    assert_eq!(errno(&mut stream, &message(10, 32, &read)), Some(EINVAL));
    // A message of 4 GiB: the connection ends.
    assert_eq!(errno(&mut stream, &message(9, u32::MAX, &[])), None);
    let mut short = UnixStream::connect(card.path()).unwrap();
    assert_eq!(
        errno(&mut short, &message(9, 4, &[])),
        None,
        "shorter than its header"
    );
    let client = Client::new(card.path()).unwrap();
    assert_eq!(client.region(BAR0).unwrap().size, 8192);
}

/// As QEMU does when a machine is switched off whose IOMMU had pages of the card.
#[test]
fn everything_is_unmapped_at_once() {
    let _limit = Limit::start();
    let card = Served::start(Config::default()).unwrap();
    let mut stream = UnixStream::connect(card.path()).unwrap();
    let hello = message(1, 22, &[0, 0, 1, 0, b'{', 0]);
    assert_eq!(errno(&mut stream, &hello), Some(0));
    for page in [0, 0x10, 0x20] {
        let mut map = [0; 32];
        (map[4], map[17], map[25]) = (3, page, 0x10);
        assert_eq!(errno(&mut stream, &message(2, 48, &map)), Some(0));
    }
    assert_eq!(card.card().mapped_ranges(), 3);
    let mut all = [0; 24];
    all[4] = 2; // VFIO_DMA_UNMAP_FLAG_ALL
    assert_eq!(errno(&mut stream, &message(3, 40, &all)), Some(0));
    assert_eq!(card.card().mapped_ranges(), 0);
}

#[test]
fn memory_that_is_unmapped_is_not_reached_any_more() {
    let _limit = Limit::start();
    let card = Served::start(Config::default()).unwrap();
    let mut client = Client::new(card.path()).unwrap();
    let (memory, mut event) = (memory(), eventfd());
    identify(&mut client, &memory, &mut event);
    client.dma_unmap(IOVA, 0x1_0000).unwrap();
    set_register(&mut client, 0x1000, 2);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while register(&mut client, 0x24) != 1 | 2 | 4 << 8 {
        assert!(
            std::time::Instant::now() < end,
            "the card cannot read its queue: FATAL 4"
        );
    }
    assert!(card.counters().findings[0].contains("which is not mapped for it"));
}

fn command(client: &mut Client) -> u16 {
    let mut bytes = [0; 2];
    client.region_read(CONFIG, 4, &mut bytes).unwrap();
    u16::from_le_bytes(bytes)
}

fn set_command(client: &mut Client, value: u16) {
    let value = value.to_le_bytes();
    client.region_write(CONFIG, 4, &value).unwrap();
}

/// As VFIO hands it over: the bit that a virtual function has not is shown as the host has written it, and
/// VF MSE of the physical function is what its BARs answer by.
#[test]
fn memory_space_enable_of_a_virtual_function_is_shown_as_written_and_changes_nothing() {
    const MAGIC: u32 = 0x444C_4E55;

    let _limit = Limit::start();
    let mut config = Config::default();
    config.profile.virtual_functions = 1;
    let card = Card::start(config);
    let one = card.virtual_function(1, Profile::full(), FaultPlan::none());
    let served = Served::of(one.unwrap()).unwrap();
    card.enable_virtual_functions(1).unwrap();
    let mut client = Client::new(served.path()).unwrap();
    assert_eq!(command(&mut client), 0);
    assert_eq!(register(&mut client, 0), MAGIC, "by VF MSE");
    // Bus master is the function's own; of all else that a physical one takes, it has none.
    set_command(&mut client, 0x0547);
    assert_eq!(command(&mut client), 1 << 1 | 1 << 2);
    let mut head = [0; 8];
    client.region_read(CONFIG, 0, &mut head).unwrap();
    assert_eq!(head[..5], [0xFF, 0xFF, 0xFF, 0xFF, 6]);
    assert_eq!(
        register(&mut client, 4),
        0x0001_0000,
        "VERSION is a register"
    );
    // What begins before the command register and ends in it.
    client.region_write(CONFIG, 0, &[0; 5]).unwrap();
    assert_eq!(command(&mut client), 0);
    assert_eq!(register(&mut client, 0), MAGIC);
    // Bits of the status beside it are no command.
    client.region_write(CONFIG, 5, &[0xFF; 3]).unwrap();
    assert_eq!(command(&mut client), 0);
    set_command(&mut client, 1 << 1);
    client.reset().unwrap();
    assert_eq!(
        command(&mut client),
        1 << 1,
        "a reset is not the host's doing"
    );
    client.shutdown().unwrap();
    drop(client);
    let mut client = Client::new(served.path()).unwrap();
    assert_eq!(command(&mut client), 0, "another host");
    client.shutdown().unwrap();
}

#[test]
fn memory_space_enable_of_a_physical_function_is_its_own() {
    let _limit = Limit::start();
    let card = Served::start(Config::default()).unwrap();
    let mut client = Client::new(card.path()).unwrap();
    assert_eq!(register(&mut client, 0), u32::MAX);
    set_command(&mut client, 1 << 1);
    assert_eq!(command(&mut client), 1 << 1);
    client.reset().unwrap();
    assert_eq!(command(&mut client), 0);
    assert_eq!(register(&mut client, 0), u32::MAX);
    client.shutdown().unwrap();
}
