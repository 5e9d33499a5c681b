//! Commands that a host sends, as the document has them, and what a card then does.

use unlade_sim_card::Config;

use super::{Vector, jobs, named};
use crate::encode::{descriptor, entry as command, fill, memory, with};
use crate::host::Host;

/// Sends the entry with the id that it has, and checks what its fields are to have done.
pub(super) fn read(vector: &Vector, vectors: &[Vector]) {
    let field = |name: &str| u64::try_from(vector.number(name)).unwrap();
    let entry: [u8; 64] = vector.hex.as_slice().try_into().unwrap();
    let mut host = Host::off(Config::default());
    host.enable_admin();
    if vector.name != "sqe_create_queue_pair" {
        host.enable_pair();
    }
    let id = u16::try_from(field("command_id")).unwrap();
    let send = |host: &mut Host| {
        host.next_id = id;
        host.admin(entry).outcome()
    };
    match vector.name.as_str() {
        "sqe_identify" => {
            assert_eq!(send(&mut host), (0, 0, 0));
            let page = host.read_page(command(0x01), 4096);
            assert_eq!(host.read(field("operand.iova"), 4096), page);
        }
        "sqe_create_queue_pair" => {
            assert_eq!(send(&mut host), (0, 0, 0));
            fills_the_queue(&host, vector);
        }
        "sqe_delete_queue_pair" => {
            assert_eq!(send(&mut host), (0, 0, 0));
            let again = vector_status(vectors, "refused_sqe_delete_none");
            assert_eq!(send(&mut host), again);
        }
        "sqe_drop_program" => {
            let program = named(vectors, "program_add");
            while u64::from(host.load_well(&program.hex)) < field("handle") {}
            assert_eq!(send(&mut host), (0, 0, 0));
            assert_eq!(
                send(&mut host),
                vector_status(vectors, "refused_sqe_drop_none")
            );
        }
        // The one feature of those that the simulated card lacks.
        "sqe_set_features" => {
            let lacks = vector_status(vectors, "refused_sqe_feature_lacking");
            assert_eq!(send(&mut host), lacks);
        }
        "sqe_get_features" => assert_eq!(send(&mut host), (0, 85_000, 0)),
        "sqe_get_log" => {
            let page = u16::try_from(field("page")).unwrap();
            let log = with(command(0x08), 32, &page.to_le_bytes());
            let whole = host.read_page(log, 8192);
            let total = 16 + 577 * 8;
            let from = usize::try_from(field("offset")).unwrap();
            let written = total - from;
            let [total_said, written_said] = [total, written].map(|len| len.try_into().unwrap());
            assert_eq!(send(&mut host), (0, total_said, written_said));
            assert_eq!(
                host.read(field("operand.iova"), written),
                whole[from..total]
            );
        }
        "sqe_abort" => {
            let data = host.allocate(64, 64);
            let job = host.job_entry(&descriptor(&[fill(1, memory(data, 64))], 0));
            // One job before it.
            host.next_id = u16::try_from(field("target_command_id")).unwrap() - 1;
            host.stop_in_the_middle(&[job]);
            host.next_id = id;
            host.submit_admin(entry);
            host.set_command(0x0006);
            assert_eq!(host.wait_admin().outcome(), (0, 0, 0));
            assert_eq!(host.read(data, 64), [0; 64]);
        }
        "sqe_job" => jobs::of_entry(&entry, id, vectors),
        "sqe_nop" => {
            host.next_id = id;
            assert_eq!(host.io(entry).outcome(), (0, 0, 0));
        }
        "sqe_load_program" => {
            host.write(field("operand.iova"), &named(vectors, "program_add").hex);
            assert_eq!(send(&mut host), (0, 1, 0));
        }
        "sqe_load_program_list" => {
            let program = &named(vectors, "program_mix").hex;
            assert_eq!(
                program.len(),
                usize::try_from(field("operand.length")).unwrap()
            );
            let (first, second) = program.split_at(144);
            let segments = [first, second].map(|part| (host.place(part), part.len()));
            let words = segments.map(|(iova, len)| [iova, len.try_into().unwrap()]);
            let bytes = words
                .as_flattened()
                .iter()
                .flat_map(|word| word.to_le_bytes());
            let bytes: Vec<u8> = bytes.collect();
            host.write(field("operand.iova"), &bytes);
            assert_eq!(send(&mut host), (0, 1, 0));
        }
        other => panic!("{other} is new: say here what it does"),
    }
}

pub(super) fn loads(vector: &Vector) {
    Host::new(Config::default()).load_well(&vector.hex);
}

/// Status, DW0 and DW1 of a refusal.
fn vector_status(vectors: &[Vector], name: &str) -> (u16, u32, u32) {
    named(vectors, name).outcome()
}

/// All entries of a new submission queue are taken but one, and answered in its completion queue,
/// by its vector; there is no entry beyond the last.
fn fills_the_queue(host: &Host, vector: &Vector) {
    let field = |name: &str| u64::try_from(vector.number(name)).unwrap();
    let (queue, entries) = (field("queue"), field("submission_entries"));
    for slot in 0..entries - 1 {
        let id = u16::try_from(slot).unwrap();
        let nop = with(command(0x81), 2, &id.to_le_bytes());
        host.write(field("submission_queue_iova") + 64 * slot, &nop);
    }
    host.ring(2 * queue, u32::try_from(entries).unwrap() - 1);
    let last = field("completion_queue_iova") + 16 * (entries - 2);
    let answered = || host.read(last, 16)[14] & 1 == 1;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !answered() {
        assert!(std::time::Instant::now() < end, "{}", vector.name);
        std::thread::yield_now();
    }
    let id = host.read(last, 16)[12];
    assert_eq!(u64::from(id), entries - 2);
    assert_eq!(host.register(0x2C), 1 << field("vector"));
    let completions = u32::try_from(field("completion_entries")).unwrap();
    host.ring(2 * queue + 1, completions);
    assert_eq!(
        host.register(0x24),
        3 | 3 << 8,
        "a doorbell beyond the queue"
    );
}
