//! Damaged bytecode: refused or listed, never a panic.

use unlade_card::{Fault, Limits, Malformed, disassemble, lower};
use unlade_naive::generate::{Options, Rng, random_program};

use crate::random::registers;
use crate::vectors::vectors;

/// Bytes with the checksum that they should have.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 16 {
        bytes[12..16].fill(0);
        let checksum = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn fault(bytes: &[u8]) -> (Fault, Option<u32>, u32) {
    match disassemble(bytes) {
        Err(Malformed::Bytecode {
            fault,
            word,
            offset,
        }) => (fault, word, offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn damaged_bytes_are_refused_or_listed() {
    let mut rng = Rng::new(0xda4a);
    let (mut listed, mut faults) = (0, std::collections::BTreeMap::new());
    for _ in 0..200 {
        let program = random_program(&mut rng, &Options::default());
        let Ok(whole) = lower(&program, &registers(32)) else {
            continue;
        };
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..=rng.below(2) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.pick(&[0, 1, 2, 12, 0xff, rng.clone().next().to_le_bytes()[0]]);
            }
            if rng.chance(5) {
                bytes.truncate(rng.below(whole.len()));
            }
            match disassemble(&signed(bytes)) {
                Ok(text) => {
                    assert!(text.starts_with("bytecode 1.0, "));
                    listed += 1;
                }
                Err(Malformed::Bytecode { fault, offset, .. }) => {
                    assert!(offset as usize <= whole.len());
                    *faults.entry(fault.status()).or_insert(0) += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    // Every load error but two: the checksum is mended, and no word vanishes.
    assert!(listed > 500, "{listed} listed");
    assert_eq!(
        faults.len(),
        15,
        "{listed} listed, refused by status: {faults:?}"
    );
}

#[test]
fn noise_is_refused() {
    let mut rng = Rng::new(0x2015e);
    for _ in 0..2000 {
        let length = rng.below(300);
        let noise: Vec<u8> = (0..length).map(|_| rng.next().to_le_bytes()[0]).collect();
        let (found, word, _) = fault(&signed(noise));
        assert!(matches!(found, Fault::Length | Fault::Magic), "{found:?}");
        assert_eq!(word, None);
    }
}

/// The checks of the header, each broken in a program that is right otherwise.
#[test]
fn header_and_declarations_are_checked_in_order() {
    let (_, good) = vectors().swap_remove(0);
    assert!(disassemble(&good).is_ok());
    for (at, byte, wanted, offset) in [
        (0, 0, Fault::Magic, 0),
        (4, 2, Fault::Version, 4),
        (6, 1, Fault::Version, 4),
        (8, 0, Fault::Length, 8),
        (16, 7, Fault::ReservedNotZero, 16),
        (16, 2, Fault::BadOrder, 16),
        (20, 8, Fault::Length, 8),
        (26, 2, Fault::LimitExceeded, 24),
        (29, 0x20, Fault::LimitExceeded, 28),
        (31, 0x50, Fault::LimitExceeded, 30),
        (33, 5, Fault::LimitExceeded, 32),
        (35, 5, Fault::LimitExceeded, 34),
        (37, 0x20, Fault::LimitExceeded, 36),
        (39, 1, Fault::LimitExceeded, 38),
        (41, 1, Fault::LimitExceeded, 40),
        (43, 1, Fault::ReservedNotZero, 42),
        (63, 1, Fault::ReservedNotZero, 56),
        (64, 13, Fault::BadDeclaration, 64),
        (65, 2, Fault::ReservedNotZero, 64),
        (66, 1, Fault::ReservedNotZero, 64),
        (69, 1, Fault::ReservedNotZero, 68),
        (75, 1, Fault::ReservedNotZero, 72),
    ] {
        let mut bytes = good.clone();
        bytes[at] = byte;
        let context = format!("byte {at} is {byte}");
        assert_eq!(fault(&signed(bytes)), (wanted, None, offset), "{context}");
    }
    let mut damaged = good.clone();
    damaged[70] ^= 1;
    assert_eq!(fault(&damaged), (Fault::Checksum, None, 12));
    assert_eq!(fault(&good[..63]), (Fault::Length, None, 8));
    assert_eq!(fault(&[]), (Fault::Length, None, 8));
    // A flag that no word bears out.
    let no_keep = lower(&"params p0: mask".parse().unwrap(), &Limits::LEAST).unwrap();
    let mut flagged = no_keep;
    flagged[16] = 1;
    assert_eq!(fault(&signed(flagged)), (Fault::Incomplete, None, 16));
}

#[test]
fn a_fault_is_named_with_its_place() {
    let (_, mut bytes) = vectors().swap_remove(0);
    // Word 4 reads m1, which word 3 writes as m0 now.
    bytes[80 + 16 * 3 + 5] = 0;
    assert_eq!(
        disassemble(&signed(bytes)).unwrap_err().to_string(),
        "bytecode, byte 144, word 4: a register is read that nothing has written (0x030d)"
    );
}

/// The checks of a word, each broken in a program that is right otherwise: the vector, the word,
/// and some of its bytes anew.
#[test]
fn words_are_checked_in_order() {
    const MASK: usize = 0;
    const ADD: usize = 1;
    const DECIMAL: usize = 2;
    const MIX: usize = 3;
    type Case = (usize, usize, &'static [(usize, u8)], Fault);
    let cases: [Case; 37] = [
        (MASK, 2, &[(0, 200)], Fault::UnknownOperation),
        (MASK, 2, &[(1, 0x80), (0, 4)], Fault::UnknownOperation),
        (MASK, 2, &[(9, 1)], Fault::ReservedNotZero),
        (MASK, 2, &[(8, 0)], Fault::ReservedNotZero),
        (MASK, 2, &[(10, 1)], Fault::ReservedNotZero),
        (MASK, 2, &[(15, 1)], Fault::ReservedNotZero),
        (MASK, 5, &[(5, 0)], Fault::ReservedNotZero),
        (MASK, 2, &[(2, 0)], Fault::BadType),
        (MASK, 2, &[(3, 13)], Fault::BadType),
        (MASK, 2, &[(3, 4)], Fault::BadType),
        (MASK, 2, &[(2, 1)], Fault::BadType),
        (MASK, 5, &[(2, 4)], Fault::BadType),
        (DECIMAL, 5, &[(3, 4)], Fault::BadType),
        (MASK, 2, &[(4, 1)], Fault::BadVariant),
        (MASK, 5, &[(4, 1)], Fault::BadVariant),
        (MIX, 2, &[(4, 3)], Fault::BadVariant),
        (DECIMAL, 7, &[(4, 4)], Fault::BadVariant),
        (MASK, 0, &[(10, 1)], Fault::BadIndex),
        (MASK, 3, &[(11, 1)], Fault::BadIndex),
        (DECIMAL, 2, &[(10, 1)], Fault::BadIndex),
        (MIX, 13, &[(10, 1)], Fault::BadIndex),
        (MASK, 0, &[(2, 5), (3, 5)], Fault::BadType),
        (MIX, 13, &[(3, 5)], Fault::BadType),
        (MIX, 15, &[(2, 8)], Fault::BadType),
        (DECIMAL, 9, &[(10, 1)], Fault::BadType),
        (
            DECIMAL,
            7,
            &[(4, 0), (12, 0), (13, 0), (14, 0), (15, 0)],
            Fault::BadImmediate,
        ),
        (DECIMAL, 7, &[(12, 0xd9)], Fault::BadImmediate),
        (DECIMAL, 7, &[(0, 71), (3, 1), (4, 0)], Fault::BadImmediate),
        (MIX, 4, &[(12, 39)], Fault::BadImmediate),
        (MASK, 2, &[(6, 2)], Fault::BadRegister),
        (MASK, 2, &[(7, 0xff)], Fault::BadRegister),
        (MIX, 2, &[(7, 4)], Fault::UndefinedRegister),
        (MIX, 15, &[(6, 4)], Fault::RegisterType),
        (MASK, 6, &[(0, 1), (6, 0)], Fault::BadOrder),
        (DECIMAL, 5, &[(7, 0)], Fault::BadOrder),
        (DECIMAL, 9, &[(7, 0xff)], Fault::BadOrder),
        (MASK, 2, &[(5, 2)], Fault::BadRegister),
    ];
    for (vector, word, changes, wanted) in cases {
        let (name, mut bytes) = vectors().swap_remove(vector);
        let words = u32::from_le_bytes(bytes[20..24].try_into().unwrap()) as usize;
        let at = bytes.len() - 16 * (words - word);
        for &(offset, byte) in changes {
            bytes[at + offset] = byte;
        }
        let place = |number: usize| u32::try_from(number).unwrap();
        let wanted = (wanted, Some(place(word)), place(at));
        assert_eq!(
            fault(&signed(bytes)),
            wanted,
            "{name}, word {word}: {changes:?}"
        );
    }

    // The mask is written before it is chosen.
    let (_, mut swapped) = vectors().swap_remove(MASK);
    let (head, last) = swapped.split_at_mut(176);
    head[160..].swap_with_slice(last);
    assert_eq!(fault(&signed(swapped)), (Fault::BadOrder, Some(5), 160));
    // One output is stored twice, and its neighbour not at all.
    let (_, mut twice) = vectors().swap_remove(DECIMAL);
    twice.copy_within(192..208, 256);
    assert_eq!(fault(&signed(twice)), (Fault::BadOrder, Some(9), 256));
    // No card asks what the code of a trap means.
    let (_, mut coded) = vectors().swap_remove(ADD);
    coded[192 + 10..192 + 12].copy_from_slice(&999u16.to_le_bytes());
    let text = disassemble(&signed(coded)).unwrap();
    assert!(text.contains("7: trap.999 m1, ordinal 2\n"), "{text}");
}
