use super::*;

#[test]
fn requests_are_these_bytes() {
    assert_eq!(
        request(0x0102, Command::DeviceReset, &[]),
        [2, 1, 13, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    let body = region_access(7, 0x10, 4);
    assert_eq!(
        request(3, Command::RegionRead, &body),
        [
            3, 0, 9, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // header
            0x10, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0
        ]
    );
    assert_eq!(
        dma_map(3, 0, 0x10_0000, 0x2000),
        [
            32, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // argsz, flags, offset
            0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0
        ]
    );
    assert_eq!(
        set_irq_event(2, 5),
        [
            20, 0, 0, 0, 0x24, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0
        ]
    );
    let version = version();
    assert_eq!((version[0], version[2], version.last()), (0, 1, Some(&0)));
}

/// The header of a reply: message 9, DEVICE_GET_INFO, 32 bytes.
const HEADER_9: [u8; HEADER] = [9, 0, 4, 0, 32, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

fn check(header: &[u8; HEADER]) -> Result<Reply, BadReply> {
    reply(header, 9, Command::DeviceGetInfo, 16..=64)
}

#[test]
fn a_reply_has_the_right_id_command_type_and_length() {
    let fine = Reply {
        len: 32,
        refused: None,
    };
    assert_eq!(check(&HEADER_9), Ok(fine));
    for (at, value) in [
        (0, 8),
        (1, 1),
        (2, 5),
        (3, 1),
        (4, 31),
        (5, 1),
        (8, 0),
        (8, 2),
        (8, 3),
    ] {
        let mut header = HEADER_9;
        header[at] = value;
        assert!(check(&header).is_err(), "byte {at} is {value}");
    }
}

#[test]
fn a_refusal_may_be_short_and_keeps_its_number() {
    let mut header = HEADER_9;
    (header[4], header[8], header[12]) = (16, 1 | 1 << 5, 22);
    let refused = Reply {
        len: 16,
        refused: Some(22),
    };
    assert_eq!(check(&header), Ok(refused));
}

#[test]
fn bodies_are_those_asked_for() {
    let info = words(&[16, 3, 9, 5]);
    let decoded = DeviceInfo::decode(&info).unwrap();
    assert_eq!((decoded.regions, decoded.irqs), (9, 5));
    assert!(decoded.can_reset());
    assert!(DeviceInfo::decode(&info[..15]).is_err());

    let region = words(&[32, 3, 4, 0, 0x2000, 0, 0, 0]);
    let decoded = RegionInfo::decode(&region, 4).unwrap();
    assert!(decoded.is_usable() && decoded.size == 0x2000);
    assert!(RegionInfo::decode(&region, 0).is_err());

    let mut read = region_access(0, 0x24, 4);
    read.extend_from_slice(&[1, 2, 3, 4]);
    assert_eq!(accessed(&read, 0, 0x24, 4), Ok(&[1, 2, 3, 4][..]));
    assert!(accessed(&read, 0, 0x20, 4).is_err());
    assert!(accessed(&read, 0, 0x24, 8).is_err());

    assert_eq!(irq_count(&words(&[16, 1, 2, 9]), 2), Ok(9));
    let unmapped = dma_unmap(0x1000, 0x2000);
    assert_eq!(check_unmapped(&unmapped, 0x1000, 0x2000), Ok(()));
    assert!(check_unmapped(&unmapped, 0x1000, 0x1000).is_err());
    assert!(check_version(&[1, 0, 0, 0]).is_err());
    assert!(check_version(&[0, 0, 0]).is_err());
}

/// Whatever a server sends is an error or a reply within the limits, and never a panic.
#[test]
fn mutated_replies_never_panic_and_never_exceed_the_limits() {
    let mut state = 0x5EED_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut header = HEADER_9;
        let mut body = words(&[32, 3, 4, 0, 0x2000, 0, 0, 0]);
        for _ in 0..random() % 3 {
            let [at, bit, ..] = random().to_le_bytes();
            header[usize::from(at) % HEADER] ^= 1 << (bit % 8);
            let [at, bit, ..] = random().to_le_bytes();
            let at = usize::from(at) % body.len();
            body[at] ^= 1 << (bit % 8);
        }
        let [len, ..] = random().to_le_bytes();
        body.truncate(usize::from(len) % 40);
        match check(&header) {
            Ok(Reply { len, .. }) => {
                assert!((HEADER..=HEADER + 64).contains(&len));
                accepted += 1;
            }
            Err(_) => refused += 1,
        }
        let decoded = [
            DeviceInfo::decode(&body).is_ok(),
            RegionInfo::decode(&body, 4).is_ok(),
            irq_count(&body, 4).is_ok(),
            check_unmapped(&body, 4, 0x2000).is_ok(),
            accessed(&body, 4, 32, 4).is_ok(),
            check_version(&body).is_ok(),
        ];
        assert!(!body.is_empty() || decoded == [false; 6]);
    }
    assert!(accepted > 1_000 && refused > 1_000, "{accepted}, {refused}");
}
